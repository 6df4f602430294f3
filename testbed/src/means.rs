//! What this machine allows, found by trying.

use crate::enter::checked;
use std::{fmt, io, os::unix::process::CommandExt, process::Stdio};

/// How commands enter a host's root on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// As root, by `chroot`. Where the machine allows it (`isolated`), each host also has namespaces of its own: its processes
    /// see only each other, and it has its own host name. A plain container does not allow it; there a host's root could send
    /// signals to any process of the same container.
    Chroot { isolated: bool },
    /// As an ordinary user, by a user namespace in which that user is root.
    UserNamespace,
}

impl Means {
    /// Whether each host has namespaces of its own.
    pub(crate) fn isolated(self) -> bool {
        match self {
            Self::Chroot { isolated } => isolated,
            Self::UserNamespace => true,
        }
    }
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chroot { isolated: true } => "chroot as root, with namespaces",
            Self::Chroot { isolated: false } => "chroot as root",
            Self::UserNamespace => "user namespace",
        })
    }
}

/// Why simulated hosts cannot run here: sentences for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("simulated hosts cannot run on this machine: {what}")]
pub struct Missing {
    /// What is missing.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

/// Finds out how simulated hosts can run on this machine, by trying.
pub fn means() -> Result<Means, Missing> {
    if try_out(chroot_here).is_ok() {
        let isolated = try_out(namespaces).is_ok();
        return Ok(Means::Chroot { isolated });
    }
    let Err(error) = try_out(user_namespace) else {
        return Ok(Means::UserNamespace);
    };
    Err(explain(&error, try_out(bare_user_namespace).is_ok()))
}

fn explain(error: &io::Error, unshare_works: bool) -> Missing {
    let hint = "Run it as root (also in a container), or ".to_owned();
    if unshare_works {
        // What Ubuntu does since 23.10: the namespace is given, and every right in it is taken away.
        return Missing {
            what: format!("a user namespace is given here without any right in it ({error})."),
            hint: hint + "allow them: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        };
    }
    match error.raw_os_error() {
        Some(libc::ENOSPC) => Missing {
            what: "user namespaces are switched off (user.max_user_namespaces is 0).".into(),
            hint: hint + "switch them on: sysctl -w user.max_user_namespaces=10000",
        },
        Some(libc::EPERM | libc::EACCES) => Missing {
            what: "an ordinary user may not make user namespaces here.".into(),
            hint: hint + "allow them: sysctl -w kernel.unprivileged_userns_clone=1",
        },
        Some(libc::EINVAL | libc::ENOSYS) => Missing {
            what: "this kernel has no user namespaces.".into(),
            hint: "Run it as root.".into(),
        },
        _ => Missing {
            what: format!("a user namespace could not be made ({error})."),
            hint: "Run it as root.".into(),
        },
    }
}

/// Does something in a forked child, which then ends.
fn try_out(what: fn() -> io::Result<()>) -> io::Result<()> {
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", ":"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: the functions below make system calls only.
    unsafe {
        command.pre_exec(what);
    }
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("the shell did not run")) }
}

fn chroot_here() -> io::Result<()> {
    // SAFETY: a system call with a valid pointer.
    checked(unsafe { libc::chroot(c"/".as_ptr()) }).map(drop)
}

fn namespaces() -> io::Result<()> {
    unshare(libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS)
}

fn bare_user_namespace() -> io::Result<()> {
    // SAFETY: a system call without pointers.
    checked(unsafe { libc::unshare(libc::CLONE_NEWUSER) }).map(drop)
}

/// Without maps the user is nobody in there, but holds every right all the same: enough for the trial.
fn user_namespace() -> io::Result<()> {
    unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS)?;
    chroot_here()
}

fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: system calls with valid pointers.
    unsafe {
        checked(libc::unshare(flags))?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        let none = std::ptr::null();
        checked(libc::mount(none, c"/".as_ptr(), none, private, std::ptr::null()))?;
    }
    Ok(())
}
