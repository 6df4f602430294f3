//! Child processes, and what each of them used.

use crate::Result;
use std::{
    env,
    fs::File,
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// The name under which this program is the product.
pub const PRODUCT: &str = "fleetlift";

/// What a process used, from its start to its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// User and system time of the process and of the children that it waited for.
    pub cpu: Duration,
    pub wall: Duration,
    /// The most memory that was resident, in KiB.
    pub peak_kib: u64,
}

/// The product with these arguments.
pub fn product<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg0(PRODUCT).args(arguments);
    Ok(command)
}

/// This program with these arguments.
pub fn own<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args(arguments);
    Ok(command)
}

/// Runs a command to its end. What it prints goes into the folder `dir`; an exit code other than 0 is an error.
pub fn measure(mut command: Command, dir: &Path) -> Result<Used> {
    let said = dir.join("stderr");
    command.stdin(Stdio::null());
    command.stdout(File::create(dir.join("stdout"))?).stderr(File::create(&said)?);
    let began = Instant::now();
    // `wait` below takes the place of the standard library's own.
    let child = command.spawn()?;
    let (status, mut used) = wait(child.id())?;
    used.wall = began.elapsed();
    if status.success() {
        return Ok(used);
    }
    let said = std::fs::read_to_string(said).unwrap_or_default();
    let tail: Vec<&str> = said.lines().rev().take(20).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    Err(format!("{command:?} ended with {status}:\n{}", tail.join("\n")).into())
}

/// Waits for a child, and asks what it used.
fn wait(pid: u32) -> Result<(ExitStatus, Used)> {
    let pid = libc::pid_t::try_from(pid)?;
    let mut status = 0;
    // SAFETY: a `rusage` is numbers only, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to locals of the right types, which live longer than the call.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        if waited == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error.into());
        }
    }
    let time = |t: libc::timeval| {
        Duration::from_secs(t.tv_sec.unsigned_abs())
            + Duration::from_micros(t.tv_usec.unsigned_abs())
    };
    let used = Used {
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        wall: Duration::ZERO,
        peak_kib: usage.ru_maxrss.unsigned_abs(),
    };
    Ok((ExitStatus::from_raw(status), used))
}
