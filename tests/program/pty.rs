//! A terminal for one command.

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    fs::File,
    io::{Read, Write},
    process::{Command, Stdio},
};

pub struct Pty;

impl Pty {
    /// Runs a command on a terminal of its own until it ends. Returns all that the terminal was sent.
    pub fn run(command: Command) -> Vec<u8> {
        Self::run_with(command, b"")
    }

    /// The same, with a line that was typed before it was asked for.
    pub fn answer(command: Command, line: &str) -> String {
        let said = Self::run_with(command, format!("{line}\n").as_bytes());
        String::from_utf8_lossy(&said).into_owned()
    }

    fn run_with(mut command: Command, typed: &[u8]) -> Vec<u8> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        let mut child = command
            .env("TERM", "xterm-256color")
            .stdin(Stdio::from(open()))
            .stdout(Stdio::from(open()))
            .stderr(Stdio::from(open()))
            .spawn()
            .unwrap();
        // The command holds the other side too; only the child's may stay open.
        drop(command);
        let mut said = Vec::new();
        let mut master = File::from(master);
        master.write_all(typed).unwrap();
        let mut buffer = [0; 4096];
        // Reading fails, rather than ends, when the other side is closed.
        while let Ok(n @ 1..) = master.read(&mut buffer) {
            said.extend_from_slice(&buffer[..n]);
        }
        child.wait().unwrap();
        said
    }
}
