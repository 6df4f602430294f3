//! An operator's desk: a fleet folder, a state folder, and the program on its command line.

use crate::memory;
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};
use tempfile::TempDir;

/// Begins a run of the files that [`crate::bed::Bed::desk`] lays.
pub const RUN: [&str; 6] = ["run", "-i", "fleet", "-p", "playbook.toml", "--yes"];

/// A record of an attempt that starts.
pub fn starts(step: &str, host: &str) -> impl Fn(&Value) -> bool {
    move |r| r["event"] == "attempt_started" && r["step"] == step && r["host"] == host
}

pub struct Desk {
    pub dir: TempDir,
    /// Where the program's state is: each record waits for its sync.
    state: TempDir,
    env: Vec<(String, String)>,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Self { code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Its exit code is this one. What it said is shown where not.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\nstdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}

impl Desk {
    pub fn new() -> Self {
        let dir = TempDir::with_prefix("fleetlift-desk-").unwrap();
        fs::create_dir(dir.path().join("fleet")).unwrap();
        let state = memory::folder("fleetlift-state-");
        Self { dir, state, env: Vec::new() }
    }

    /// A file of the desk; `state` is the program's own folder.
    pub fn path(&self, path: &str) -> PathBuf {
        match Path::new(path).starts_with("state") {
            true => self.state.path().join(path),
            false => self.dir.path().join(path),
        }
    }

    /// Writes a file of the fleet, or beside it.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// The program's environment from here on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// The program, on this desk and nothing else of this machine's.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleetlift"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("USER", "tester")
            .env("LC_ALL", "C.UTF-8")
            .env("FLEETLIFT_STATE_DIR", self.path("state"))
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null());
        command
    }

    pub fn say(&self, args: &[&str]) -> Said {
        Said::of(&self.command(args).output().unwrap())
    }

    /// The same, with its outputs as bytes.
    pub fn bytes(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs the playbook `playbook.toml` on the fleet.
    pub fn run(&self) -> Said {
        self.say(&["run", "-i", "fleet", "-p", "playbook.toml", "--yes"])
    }

    pub fn status(&self) -> Value {
        self.say(&["status", "last", "--json"]).exits(0).json()
    }

    pub fn journal(&self) -> Vec<Value> {
        let said = self.say(&["journal", "last"]).exits(0);
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What the step printed, byte for byte.
    pub fn log(&self, host: &str, step: &str) -> Vec<u8> {
        let output = self.bytes(&["log", "last", "--", host, step]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Starts a run whose records come as they are written.
    pub fn start(&self, args: &[&str]) -> Running {
        let mut all = args.to_vec();
        all.extend(["--output", "json"]);
        let mut child =
            self.command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let records = BufReader::new(child.stdout.take().unwrap());
        Running { child, records, seen: Vec::new() }
    }
}

/// The state of a host in `status --json`: state, touched, and its failure's kind or "".
pub fn end_of<'s>(status: &'s Value, host: &str) -> (&'s str, bool, &'s str) {
    let host = &status["hosts"][host];
    (
        host["state"].as_str().unwrap_or_default(),
        host["touched"].as_bool().unwrap(),
        host["failure"]["kind"].as_str().unwrap_or_default(),
    )
}

/// A controller at work.
pub struct Running {
    child: Child,
    records: BufReader<std::process::ChildStdout>,
    pub seen: Vec<Value>,
}

impl Running {
    /// Reads records until one is as wanted.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) {
        let mut line = String::new();
        while self.records.read_line(&mut line).unwrap() > 0 {
            let record: Value = serde_json::from_str(&line).unwrap();
            line.clear();
            let found = wanted(&record);
            self.seen.push(record);
            if found {
                return;
            }
        }
        let mut err = String::new();
        let _ = self.child.stderr.take().unwrap().read_to_string(&mut err);
        panic!("no record of {what}, but the end.\n{:#?}\n{err}", self.seen);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Said {
        let mut out = Vec::new();
        let mut stderr = self.child.stderr.take().unwrap();
        let err = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            text
        });
        let _ = self.records.read_to_end(&mut out);
        let status = self.child.wait().unwrap();
        Said::of(&Output { status, stdout: out, stderr: err.join().unwrap() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed leaves no controller behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder of case files.
pub fn cases(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(path)
}

/// Compares with a case file; `UPDATE_CASES=1` writes it anew, for a person to review.
#[track_caller]
pub fn expect_case(file: &str, found: &str) {
    let path = cases(file);
    if std::env::var_os("UPDATE_CASES").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::File::create(&path).unwrap().write_all(found.as_bytes()).unwrap();
        return;
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert!(wanted == found, "{} differs; found:\n{found}", path.display());
}
