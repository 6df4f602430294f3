//! How a command gets into a host's root: `chroot`, and before it the host's own namespaces where it has them.
//!
//! Everything below `between_fork_and_exec` runs in a forked child of a process with many threads. Only plain system calls
//! are allowed there: no allocation, no lock, no formatting. What they need is prepared before, in C strings.

use rustix::process::Pid;
use std::{
    ffi::{CStr, CString},
    io,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::Path,
};
use tokio::process::{Child, Command};

/// What a process of a host may still do as root. The rest could reach the machine: its clock, name, devices, network.
const KEPT_CAPABILITIES: [libc::c_ulong; 7] = [
    0, // CAP_CHOWN
    1, // CAP_DAC_OVERRIDE
    2, // CAP_DAC_READ_SEARCH
    3, // CAP_FOWNER
    4, // CAP_FSETID
    6, // CAP_SETGID
    7, // CAP_SETUID
];

/// More than any kernel has; the first unknown one ends the loop.
const CAPABILITIES: libc::c_ulong = 64;

/// The way into one host, between two boots of it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    root: CString,
    /// Joined by the child, in this order.
    namespaces: Vec<(CString, libc::c_int)>,
    pids: Pids,
}

/// How a command gets into the host's pid namespace, which a process can change only for its children.
#[derive(Clone, Debug)]
enum Pids {
    /// There is none.
    OfMachine,
    /// A thread of the server joins it and forks: root may do that, and it costs nothing.
    ByThread(CString),
    /// The child joins it with the others and forks once more. A thread cannot join a user namespace for itself alone.
    ByFork,
}

impl Entry {
    /// By `chroot` alone.
    pub(crate) fn plain(root: &Path) -> io::Result<Self> {
        Ok(Self { root: c_path(root)?, namespaces: Vec::new(), pids: Pids::OfMachine })
    }

    /// Through the namespaces of a host's process 1, as root.
    pub(crate) fn as_root(root: &Path, process_1: u32) -> io::Result<Self> {
        let kinds = [("mnt", libc::CLONE_NEWNS), ("uts", libc::CLONE_NEWUTS)];
        let pids = Pids::ByThread(namespace(process_1, "pid")?);
        Ok(Self { root: c_path(root)?, namespaces: namespaces(process_1, &kinds)?, pids })
    }

    /// Through the namespaces that the parent of a host's process 1 has made, as an ordinary user.
    pub(crate) fn as_user(root: &Path, parent: u32) -> io::Result<Self> {
        let kinds = [
            // First, because the right to join the others comes with it.
            ("user", libc::CLONE_NEWUSER),
            ("mnt", libc::CLONE_NEWNS),
            ("uts", libc::CLONE_NEWUTS),
            ("pid_for_children", libc::CLONE_NEWPID),
        ];
        let namespaces = namespaces(parent, &kinds)?;
        Ok(Self { root: c_path(root)?, namespaces, pids: Pids::ByFork })
    }

    /// Starts `command` inside, as the leader of its own session. Its program is a path inside the root. `kept` is kept until it
    /// is started, also where nobody waits for that any more.
    pub(crate) async fn spawn(
        &self,
        mut command: Command,
        kept: impl Send + 'static,
    ) -> io::Result<Child> {
        let entry = self.clone();
        // SAFETY: `between_fork_and_exec` makes system calls only, on memory that was prepared before the fork.
        unsafe {
            command.pre_exec(move || entry.between_fork_and_exec());
        }
        let start = move || {
            let child = command.spawn();
            drop(kept);
            child
        };
        match self.pids.clone() {
            Pids::ByThread(path) => {
                by_thread(move || join_pids(&path).and_then(|()| start())).await
            }
            // A fork takes a millisecond or more, in which no other task of this thread would move.
            Pids::OfMachine | Pids::ByFork => {
                tokio::task::spawn_blocking(start).await.map_err(io::Error::other)?
            }
        }
    }

    fn between_fork_and_exec(&self) -> io::Result<()> {
        // SAFETY: system calls with arguments that are valid for their whole duration.
        unsafe {
            libc::setsid();
            // All are opened before the first is joined: afterwards this process might not see them any more.
            let mut opened = [-1; 4];
            for ((path, _), fd) in self.namespaces.iter().zip(&mut opened) {
                *fd = checked(libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC))?;
            }
            for ((_, flag), fd) in self.namespaces.iter().zip(opened) {
                checked(libc::setns(fd, *flag))?;
            }
            if matches!(self.pids, Pids::ByFork) {
                fork_and_stand_in()?;
            }
            settle(&self.root, c"/root")
        }
    }
}

fn namespace(process: u32, name: &str) -> io::Result<CString> {
    c_path(format!("/proc/{process}/ns/{name}").as_ref())
}

fn namespaces(
    process: u32,
    kinds: &[(&str, libc::c_int)],
) -> io::Result<Vec<(CString, libc::c_int)>> {
    kinds.iter().map(|(name, flag)| Ok((namespace(process, name)?, *flag))).collect()
}

/// Starts a process in a thread that changes itself first, and ends with that, so nobody else meets the change.
pub(crate) async fn by_thread(
    start: impl FnOnce() -> io::Result<Child> + Send + 'static,
) -> io::Result<Child> {
    let runtime = tokio::runtime::Handle::current();
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("host".into()).spawn(move || {
        let _inside = runtime.enter();
        let _ = tell.send(start());
    })?;
    told.await.map_err(io::Error::other)?
}

fn join_pids(path: &CStr) -> io::Result<()> {
    let file = std::fs::File::open(Path::new(std::ffi::OsStr::from_bytes(path.to_bytes())))?;
    // SAFETY: a system call on a descriptor that is open; it changes only where this thread's children are born.
    checked(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWPID) }).map(drop)
}

/// Forks, and returns in the child only. The parent stays as its stand-in towards the server: it waits, and ends as the child ends.
///
/// # Safety
/// Only between fork and exec.
pub(crate) unsafe fn fork_and_stand_in() -> io::Result<()> {
    // SAFETY: as promised by the caller, this process has one thread.
    unsafe {
        let child = checked(libc::fork())?;
        if child == 0 {
            libc::setsid();
            return Ok(());
        }
        // The stand-in must hold nothing open: not the host's pipes, and not the pipe on which the server waits for the exec.
        close_from(0, 0);
        let mut status = 0;
        while libc::waitpid(child, &mut status, 0) < 0 {
            if *libc::__errno_location() != libc::EINTR {
                libc::_exit(255);
            }
        }
        if libc::WIFSIGNALED(status) {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            let signal = libc::WTERMSIG(status);
            libc::signal(signal, libc::SIG_DFL);
            libc::kill(libc::getpid(), signal);
        }
        libc::_exit(libc::WEXITSTATUS(status));
    }
}

/// Goes into the root and puts down what a host's process must not have.
///
/// # Safety
/// Only between fork and exec.
pub(crate) unsafe fn settle(root: &CStr, directory: &CStr) -> io::Result<()> {
    // SAFETY: as above.
    unsafe {
        libc::umask(0o022);
        checked(libc::chroot(root.as_ptr()))?;
        checked(libc::chdir(directory.as_ptr()))?;
        for capability in 0..CAPABILITIES {
            if !KEPT_CAPABILITIES.contains(&capability)
                && libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) < 0
            {
                break;
            }
        }
        // Descriptors that some other part of this program forgot to mark must not leak into a host.
        close_from(3, libc::CLOSE_RANGE_CLOEXEC);
        Ok(())
    }
}

/// # Safety
/// The caller must not use the descriptors again.
unsafe fn close_from(first: libc::c_uint, flags: libc::c_uint) {
    // SAFETY: closing is what the caller asked for.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) < 0 && flags == 0 {
            // Before Linux 5.9.
            for fd in first..1024 {
                libc::close(fd as libc::c_int);
            }
        }
    }
}

/// A system call's answer as a result.
pub(crate) fn checked(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// A path for a system call.
pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Ends every process whose root directory is `root`, and returns when there is none left.
///
/// This is for hosts without a pid namespace. A fork that happens while the table is read is found in the next round.
pub(crate) fn kill_inside(root: &Path) -> io::Result<()> {
    loop {
        let mut found = false;
        for entry in std::fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
            else {
                continue;
            };
            // A process that is gone, or a zombie, has no root to read.
            if std::fs::read_link(entry.path().join("root")).is_ok_and(|of| of == root)
                && let Some(pid) = Pid::from_raw(pid)
            {
                found = true;
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        if !found {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
