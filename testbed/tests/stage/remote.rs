//! A host of the real testbed, reached by the machine's own `ssh`.

use super::{drive::Machine, host::Out};
use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

pub struct Remote {
    pub port: u16,
    pub address: String,
    /// Where key and known hosts are.
    pub dir: PathBuf,
    /// The boot id seen last, and how many there were.
    pub seen: Mutex<(String, u32)>,
}

impl Machine for Remote {
    fn sh(&self, script: &str) -> Out {
        let dir = self.dir.display();
        let mut child = Command::new("ssh")
            .args([
                "-F",
                "none",
                "-o",
                "LogLevel=ERROR",
                "-o",
                "ControlMaster=auto",
                "-o",
                "ControlPersist=5",
            ])
            .args([
                "-o",
                &format!("ControlPath={dir}/control"),
                "-o",
                "ConnectTimeout=5",
                "-o",
                "BatchMode=yes",
            ])
            .args([
                "-o",
                &format!("UserKnownHostsFile={dir}/known_hosts"),
                "-i",
                &format!("{dir}/id_ed25519"),
            ])
            .args([
                "-p",
                &self.port.to_string(),
                &format!("admin@{}", self.address),
                "LC_ALL=C sh -s",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Read whole before anything runs, so that no command takes the rest of the script for its input.
        let wrapped = format!("{{\n{script}\n}} < /dev/null\n");
        let _ = child.stdin.take().unwrap().write_all(wrapped.as_bytes());
        let out = child.wait_with_output().unwrap();
        Out {
            code: out.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }

    fn boots(&self) -> u32 {
        let id = self.sh("cat /proc/sys/kernel/random/boot_id").stdout.trim().to_owned();
        let mut seen = self.seen.lock().unwrap();
        if !id.is_empty() && id != seen.0 {
            *seen = (id, seen.1 + 1);
        }
        seen.1
    }

    fn wait_for_boot(&self, before: u32) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if self.boots() > before {
                return true;
            }
            thread::park_timeout(Duration::from_millis(100));
        }
        false
    }

    fn read(&self, path: &str) -> String {
        self.sh(&format!("cat '/{path}'")).stdout
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // The shared connection would outlive the test by a few seconds.
        let control = format!("ControlPath={}/control", self.dir.display());
        let _ = Command::new("ssh")
            .args(["-F", "none", "-o", &control, "-O", "exit", "admin@nowhere"])
            .output();
    }
}
