//! The real scripts, led step by step: every program that they call asks for leave before it does anything.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};
use tempfile::TempDir;

pub const COMMON: &str = include_str!("../../src/host/ssh/remote/common.sh");
pub const LOCK: &str = include_str!("../../src/host/ssh/remote/lock.sh");
pub const LAUNCH: &str = include_str!("../../src/host/ssh/remote/launch.sh");
pub const LOOK: &str = include_str!("../../src/host/ssh/remote/look.sh");
pub const CORE: &str = include_str!("../../src/host/ssh/remote/core.sh");
pub const HEAD: &str = include_str!("../../src/host/ssh/remote/head.sh");

/// Only a machine that stands still needs longer for one step.
const PATIENCE: Duration = Duration::from_secs(60);

/// Programs that ask for leave, in the names of which the model's operations are told apart.
const GATES: [&str; 7] = ["mkdir", "cat", "wc", "ln", "rm", "setsid", "sleep"];

/// What stands in the place of each of them. It asks, waits, and becomes the real one.
const GATE: &str = r#"#!/bin/sh
name=${0##*/}
real=$(PATH=$STAGE_PATH; command -v "$name")
if [ ! -e "$STAGE/free.$STAGE_ACTOR" ]; then
  (PATH=$STAGE_PATH; mkfifo "$STAGE/go.$$")
  echo "$STAGE_ACTOR $$ $name" >>"$STAGE/asks"
  read -r word <"$STAGE/go.$$"
fi
exec "$real" "$@"
"#;

/// Waits for its release, so that it runs as long as it should.
const SCRIPT: &str = "PATH=$STAGE_PATH\necho ran >>\"$STAGE/count\"\nwhile [ ! -e \"$STAGE/release\" ]; do sleep 0.01; done\n";

/// A program that asks for leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub pid: u32,
    pub name: String,
}

/// What an actor does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Asks(Asked),
    /// It has ended, and said this.
    Ended(String),
}

struct Actor {
    child: Child,
    asked: Option<Asked>,
}

/// One directory on a host, and who works in it.
pub struct Stage {
    dir: TempDir,
    asks: Receiver<String>,
    /// Keeps the other end of the pipe from ending.
    _open: File,
    actors: BTreeMap<String, Actor>,
}

impl Stage {
    pub fn new() -> Self {
        let dir = TempDir::with_prefix("fleetlift-stage-").unwrap();
        let gates = dir.path().join("bin");
        fs::create_dir(&gates).unwrap();
        fs::write(gates.join("gate"), GATE).unwrap();
        fs::set_permissions(gates.join("gate"), fs::Permissions::from_mode(0o755)).unwrap();
        for name in GATES {
            std::os::unix::fs::symlink("gate", gates.join(name)).unwrap();
        }
        let pipe = dir.path().join("asks");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let open = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        let lines = BufReader::new(open.try_clone().unwrap());
        let (sender, asks) = channel();
        // It ends with the line that `drop` writes.
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok).take_while(|line| line != "over") {
                let _ = sender.send(line);
            }
        });
        Self { dir, asks, _open: open, actors: BTreeMap::new() }
    }

    /// A file of the attempt's directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("remote/run/step.1").join(name)
    }

    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// How often the script has begun.
    pub fn begun(&self) -> usize {
        fs::read_to_string(self.dir.path().join("count")).unwrap_or_default().lines().count()
    }

    /// Lets the script come to its end.
    pub fn release(&self) {
        fs::write(self.dir.path().join("release"), "").unwrap();
    }

    /// Launches the script, sent behind the launcher or within it.
    pub fn launch(&mut self, actor: &str, within: bool) -> Next {
        let script = format!("{HEAD}FLEETLIFT_TOKEN={actor}\nexport FLEETLIFT_TOKEN\n{SCRIPT}");
        let size = script.len().to_string();
        let mut values = vec![("machine", ""), ("token", actor), ("core", CORE)];
        let body = if within {
            values.push(("script", &script));
            ""
        } else {
            values.push(("size", &size));
            &script
        };
        self.begin(actor, &values, LAUNCH, body)
    }

    pub fn look(&mut self, actor: &str) -> Next {
        self.begin(actor, &[], LOOK, "")
    }

    /// From here on nothing changes that anybody could wait for: naps are short.
    pub fn stands_still(&self) {
        let sleep = self.dir.path().join("bin/sleep");
        fs::remove_file(&sleep).unwrap();
        std::os::unix::fs::symlink("/bin/true", sleep).unwrap();
    }

    fn begin(&mut self, actor: &str, values: &[(&str, &str)], program: &str, body: &str) -> Next {
        let root = self.dir.path().join("remote").display().to_string();
        let quote = |value: &str| format!("'{}'", value.replace('\'', "'\\''"));
        let mut text = String::new();
        for (name, value) in [("root", root.as_str()), ("dir", "run/step.1")].iter().chain(values) {
            text.push_str(&format!("fl_{name}={}\n", quote(value)));
        }
        let path = std::env::var("PATH").unwrap();
        let out =
            |name: &str| File::create(self.dir.path().join(format!("{name}.{actor}"))).unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("{text}{COMMON}{LOCK}{program}"), "fleetlift", "mark"])
            .env("STAGE", self.dir.path())
            .env("STAGE_ACTOR", actor)
            .env("STAGE_PATH", &path)
            .env("PATH", format!("{}:{path}", self.dir.path().join("bin").display()))
            .stdin(Stdio::piped())
            .stdout(out("out"))
            .stderr(out("err"))
            .process_group(0)
            .spawn()
            .unwrap();
        // A small text finds room in the pipe, whoever reads it.
        child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
        self.actors.insert(actor.to_owned(), Actor { child, asked: None });
        self.next(actor)
    }

    /// Waits until the actor asks for leave, or has ended.
    pub fn next(&mut self, actor: &str) -> Next {
        let began = std::time::Instant::now();
        loop {
            let mine = self.actors.get_mut(actor).unwrap();
            if let Some(asked) = &mine.asked {
                return Next::Asks(asked.clone());
            }
            // Whoever has asked and ended since has asked before: its line is in the pipe already.
            let ended = mine.child.try_wait().unwrap().is_some();
            while let Ok(line) = self.asks.recv_timeout(Duration::from_millis(5)) {
                let [who, pid, name]: [&str; 3] =
                    line.split(' ').collect::<Vec<_>>().try_into().unwrap();
                let asked = Asked { pid: pid.parse().unwrap(), name: name.to_owned() };
                self.actors.get_mut(who).unwrap().asked = Some(asked);
            }
            if ended && self.actors[actor].asked.is_none() {
                return Next::Ended(self.said(actor));
            }
            assert!(began.elapsed() < PATIENCE, "{actor} stands still");
        }
    }

    /// What the actor said between its marks, or that it refused.
    pub fn said(&self, actor: &str) -> String {
        let text = |name: &str| {
            fs::read_to_string(self.dir.path().join(format!("{name}.{actor}"))).unwrap_or_default()
        };
        let (out, err) = (text("out"), text("err"));
        if let Some((_, no)) = err.split_once("mark-no ") {
            return format!("no: {}", no.split("mark-on").next().unwrap_or_default().trim());
        }
        let out = out.split_once("mark-go\n").map_or("", |(_, out)| out);
        out.split("mark-end").next().unwrap_or_default().trim().to_owned()
    }

    /// Gives leave to what the actor asked for, and waits for its next question.
    pub fn step(&mut self, actor: &str) -> Next {
        self.leave(actor);
        self.next(actor)
    }

    fn leave(&mut self, actor: &str) {
        let asked = self.actors.get_mut(actor).unwrap().asked.take().expect("it asked for leave");
        fs::write(self.dir.path().join(format!("go.{}", asked.pid)), "go\n").unwrap();
    }

    /// From here on the actor needs no leave.
    pub fn free(&mut self, actor: &str) {
        fs::write(self.dir.path().join(format!("free.{actor}")), "").unwrap();
        while self.actors[actor].asked.is_some() {
            self.leave(actor);
        }
    }

    /// Sets the actor free and waits for its end.
    pub fn free_to_end(&mut self, actor: &str) -> String {
        self.free(actor);
        self.end(actor)
    }

    /// Waits for the actor's end.
    pub fn end(&mut self, actor: &str) -> String {
        loop {
            match self.next(actor) {
                // It asked before it was free.
                Next::Asks(_) => self.leave(actor),
                Next::Ended(said) => return said,
            }
        }
    }

    /// Ends what asks for leave, and all of its process group, as a host does that runs out of memory.
    pub fn kill(&mut self, actor: &str) {
        let asked = self.actors.get_mut(actor).unwrap().asked.take().expect("it asked for leave");
        let pid = rustix::process::Pid::from_raw(asked.pid.cast_signed()).unwrap();
        let group = rustix::process::getpgid(Some(pid)).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.release();
        let _ = writeln!(self._open, "over");
        for (name, actor) in &mut self.actors {
            let _ = fs::write(self.dir.path().join(format!("free.{name}")), "");
            if let Some(asked) = &actor.asked {
                let _ = fs::write(self.dir.path().join(format!("go.{}", asked.pid)), "go\n");
            }
            let _ = actor.child.kill();
            let _ = actor.child.wait();
        }
    }
}
