//! A testbed of real hosts for one test: its own disks, network and names, gone when the test ends.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long anything may take that a test waits for: far longer than on a busy machine, so that only what never comes fails.
const LONG: Duration = Duration::from_secs(1800);

pub struct Bed {
    dir: TempDir,
    name: String,
    pub fleet: PathBuf,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Self { code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\nstdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testbed/real/testbed")
}

/// What this machine lacks for real hosts; empty where it can.
pub fn missing() -> String {
    missing_for(&[])
}

/// What it lacks for a kind of host.
pub fn missing_for(kind: &[&str]) -> String {
    let output = Command::new(script()).arg("needs").args(kind).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Ends the test as skipped where no real hosts can be. CI asks the testbed first: where it has called a test, that is a failure.
#[macro_export]
macro_rules! need_real_hosts {
    () => {
        let missing = $crate::bed::missing();
        if !missing.is_empty() {
            let on_ci = std::env::var_os("FLEETLIFT_CI").is_some_and(|v| v == "1");
            assert!(!on_ci, "no real hosts here: {missing}");
            eprintln!("SKIPPED: no real hosts here: {missing}");
            return;
        }
    };
}

impl Bed {
    /// So many hosts, all on Debian 12. The name is short: network namespaces are called by it.
    pub fn up(name: &str, hosts: usize) -> Self {
        Self::bring(name, "up", hosts)
    }

    /// By a verb of the testbed.
    pub fn bring(name: &str, verb: &str, hosts: usize) -> Self {
        let bed = Self::at(name);
        let began = Instant::now();
        bed.testbed(&[verb, &hosts.to_string()]).exits(0);
        println!("{hosts} hosts were up after {:.0?}", began.elapsed());
        bed
    }

    /// One virtual machine, whose disk has this layout.
    pub fn machine(layout: &str) -> Self {
        let bed = Self::at("vm");
        let began = Instant::now();
        bed.testbed(&["vm", layout]).exits(0);
        println!("a machine was up after {:.0?}", began.elapsed());
        bed
    }

    fn at(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        let root = if memory.is_dir() { memory } else { Path::new("/var/tmp") };
        let dir = TempDir::with_prefix_in(format!("fleetlift-real-{name}-"), root).unwrap();
        let name = format!("flt{}{name}", std::process::id());
        let fleet = dir.path().join("bed/fleet");
        Self { dir, name, fleet }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(script());
        command
            .args(args)
            .env("TESTBED_NAME", &self.name)
            .env("TESTBED_DIR", self.dir.path().join("bed"))
            .env("FLEETLIFT_STATE_DIR", self.dir.path().join("state"))
            .stdin(Stdio::null());
        command
    }

    pub fn testbed(&self, args: &[&str]) -> Said {
        Said::of(&self.command(args).output().unwrap())
    }

    /// A command of root on a host, which must pass.
    #[track_caller]
    pub fn sh(&self, host: &str, command: &str) -> String {
        let said = self.testbed(&["ssh", host, &format!("sudo sh -c '{command}'")]);
        said.exits(0).out.trim().to_owned()
    }

    fn fleetlift_command(&self, args: &[&str]) -> Command {
        let mut all = vec!["exec", env!("CARGO_BIN_EXE_fleetlift")];
        all.extend(args);
        self.command(&all)
    }

    pub fn fleetlift(&self, args: &[&str]) -> Said {
        Said::of(&self.fleetlift_command(args).output().unwrap())
    }

    /// The same by somebody who keeps runs elsewhere, and so knows nothing of ours.
    pub fn stranger(&self, args: &[&str]) -> Said {
        let elsewhere = self.dir.path().join("elsewhere");
        let mut command = self.fleetlift_command(args);
        Said::of(&command.env("FLEETLIFT_STATE_DIR", elsewhere).output().unwrap())
    }

    /// Starts a run and goes on.
    pub fn start(&self, args: &[&str]) -> Running {
        let mut all = args.to_vec();
        all.extend(["--output", "json"]);
        let mut child = self
            .fleetlift_command(&all)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, records) = mpsc::channel();
        // Read all the time, whatever the test waits for: a controller whose output nobody takes stands still.
        thread::spawn(move || {
            for line in out.lines() {
                let _ = sender.send(serde_json::from_str(&line.unwrap()).unwrap());
            }
        });
        Running { child, records }
    }

    pub fn run(&self) -> Running {
        self.run_on("@all", "debian12-to-debian13")
    }

    pub fn run_on(&self, hosts: &str, playbook: &str) -> Running {
        let fleet = self.fleet.to_str().unwrap();
        let way = ["-p", playbook, "--limit", hosts, "--yes"];
        self.start(&[&["run", "-i", fleet][..], &way].concat())
    }

    pub fn rollout(&self, text: &str) {
        fs::write(self.fleet.join("rollout.toml"), text).unwrap();
    }

    /// The testbed's own rollout with another budget.
    pub fn budget(&self, budget: &str) {
        let rollout = fs::read_to_string(self.fleet.join("rollout.toml")).unwrap();
        let lines = rollout.lines().map(|line| {
            if line.starts_with("budget =") {
                format!("budget = {budget}")
            } else {
                line.to_owned()
            }
        });
        let changed = lines.collect::<Vec<_>>().join("\n");
        assert_ne!(changed, rollout.trim_end(), "the testbed's rollout has a budget");
        self.rollout(&changed);
    }

    pub fn journal(&self) -> Vec<Value> {
        let said = self.fleetlift(&["journal", "last", "--verify"]).exits(0);
        println!("{}", said.err.trim());
        let said = self.fleetlift(&["journal", "last"]).exits(0);
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Every host's state.
    pub fn ends(&self) -> BTreeMap<String, String> {
        let said = self.fleetlift(&["status", "last", "--json"]).exits(0);
        let status: Value = serde_json::from_str(&said.out).unwrap();
        let hosts = status["hosts"].as_object().unwrap();
        hosts
            .iter()
            .map(|(name, host)| (name.clone(), host["state"].as_str().unwrap().to_owned()))
            .collect()
    }

    pub fn report(&self) -> Value {
        let said = self.fleetlift(&["report", "last", "--format", "json"]).exits(0);
        serde_json::from_str(&said.out).unwrap()
    }

    pub fn why(&self, host: &str) -> String {
        self.fleetlift(&["why", "last", host]).out
    }

    /// A file of a host, as whoever holds its disk sees it.
    pub fn disk(&self, host: &str, path: &str) -> PathBuf {
        self.dir.path().join("bed/disk").join(host).join("root").join(path)
    }

    /// How often the host went down, by its power supply's own book.
    pub fn boots(&self, host: &str) -> usize {
        let book = self.dir.path().join("bed/hosts").join(host).join("boots");
        fs::read_to_string(book).unwrap_or_default().lines().count()
    }

    /// A command of root at the host's console, which needs neither network nor sshd, and disturbs neither.
    pub fn console(&self, host: &str, command: &str) -> Said {
        self.testbed(&["console", host, "bash", "-c", command])
    }

    /// Waits until a command passes at the host's console.
    #[track_caller]
    pub fn until(&self, host: &str, command: &str) {
        wait(&format!("{host} passes: {command}"), || self.console(host, command).code == 0);
    }

    /// Waits until the host lets its user in.
    #[track_caller]
    pub fn until_it_answers(&self, host: &str) {
        wait(&format!("{host} answers"), || self.testbed(&["ssh", host, "true"]).code == 0);
    }

    /// Waits until a file is on a host's disk.
    #[track_caller]
    pub fn until_there(&self, host: &str, path: &str) {
        wait(&format!("{host} has {path}"), || self.disk(host, path).exists());
    }

    /// A host's cable: `up`, `down`, or as slow as this.
    #[track_caller]
    pub fn link(&self, host: &str, how: &str) {
        self.testbed(&["link", host, how]).exits(0);
    }

    /// A service of the house that wants what is gone with Debian 12.
    #[track_caller]
    pub fn ends_with_debian_12(&self, host: &str) {
        let start = "grep -q bookworm /etc/os-release && exec sleep infinity";
        self.service(host, "house", &format!("ExecStart=/bin/sh -c '{start}'"));
    }

    /// A service of the house, running and enabled.
    #[track_caller]
    pub fn service(&self, host: &str, name: &str, lines: &str) {
        let file = self.disk(host, &format!("etc/systemd/system/{name}.service"));
        fs::write(file, format!("[Service]\n{lines}\n[Install]\nWantedBy=multi-user.target\n"))
            .unwrap();
        self.sh(host, &format!("systemctl daemon-reload && systemctl -q enable --now {name}"));
    }
}

#[track_caller]
fn wait(what: &str, mut passes: impl FnMut() -> bool) {
    let began = Instant::now();
    while !passes() {
        assert!(began.elapsed() < LONG, "it never comes to this: {what}");
        thread::sleep(Duration::from_millis(500));
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if thread::panicking() && env::var_os("FLEETLIFT_REAL_KEEP").is_some() {
            self.dir.disable_cleanup(true);
            let dir = self.dir.path().display();
            eprintln!(
                "kept: TESTBED_NAME={} TESTBED_DIR={dir}/bed FLEETLIFT_STATE_DIR={dir}/state",
                self.name
            );
            return;
        }
        let said = self.testbed(&["down"]);
        if said.code != 0 {
            eprintln!("the testbed did not go away: {}", said.err);
        }
    }
}

/// A run under way; its records come as they are written.
pub struct Running {
    child: Child,
    records: mpsc::Receiver<Value>,
}

impl Running {
    /// Waits for a record with these keys.
    #[track_caller]
    pub fn sees(&self, event: &str, host: &str, step: &str) {
        for record in &self.records {
            if record["event"] == event && record["host"] == host && record["step"] == step {
                return;
            }
        }
        panic!("the run ended without {event} of {step} on {host}");
    }

    /// Ends the controller at once, as the kernel does when memory runs out.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the run's end; its exit code.
    pub fn ends(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}
