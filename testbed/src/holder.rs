//! The process that keeps a host's namespaces between two boots: its "process 1".
//!
//! It is a `cat` that reads a pipe of which the server holds the other end. When the server lets go of it, also by dying, `cat`
//! ends, and with process 1 the kernel ends every process of that pid namespace.

use crate::{
    enter::{Entry, by_thread, c_path, checked, fork_and_stand_in, settle},
    full::FullDisk,
    means::Means,
    root::HostRoot,
};
use std::{
    ffi::{CStr, CString},
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    ptr,
};
use tokio::process::{Child, ChildStdin, Command};

/// A host's namespaces, alive as long as this value.
#[derive(Debug)]
pub(crate) struct Holder {
    child: Child,
    alive: Option<ChildStdin>,
    pid: u32,
    /// Whether `pid` is not process 1 but its parent, which stands in for it.
    by_user: bool,
}

/// Everything that the child needs between fork and exec.
struct Preparation {
    flags: libc::c_int,
    /// Where there is a user namespace: the two maps to write.
    maps: Option<(CString, CString)>,
    binds: Vec<(CString, CString)>,
    /// Where it is mounted, and its options.
    disk: Option<(CString, CString)>,
    host_name: CString,
    root: CString,
}

impl Holder {
    /// Makes namespaces for a host. The directory of `full` is hidden by an empty disk of that size.
    pub(crate) async fn start(
        means: Means,
        root: &HostRoot,
        full: Option<&FullDisk>,
    ) -> io::Result<Self> {
        let by_user = means == Means::UserNamespace;
        let mut preparation = Preparation {
            flags: libc::CLONE_NEWNS | libc::CLONE_NEWUTS,
            maps: None,
            binds: Vec::new(),
            disk: full.map(disk).transpose()?,
            host_name: CString::new(root.name.as_str()).map_err(io::Error::other)?,
            root: c_path(&root.path)?,
        };
        if by_user {
            preparation.flags |= libc::CLONE_NEWUSER | libc::CLONE_NEWPID;
            let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
            let map = |id: u32| CString::new(format!("0 {id} 1")).map_err(io::Error::other);
            preparation.maps = Some((map(user.as_raw())?, map(group.as_raw())?));
        }
        for device in &root.stand_in_devices {
            let of_machine = Path::new("/dev").join(device);
            let of_host = root.path.join("dev").join(device);
            preparation.binds.push((c_path(&of_machine)?, c_path(&of_host)?));
        }
        let mut command = Command::new(&root.cat);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env_clear();
        // SAFETY: `between_fork_and_exec` makes system calls only, on memory that was prepared before the fork.
        unsafe {
            command.pre_exec(move || preparation.between_fork_and_exec());
        }
        let mut child = if by_user {
            tokio::task::spawn_blocking(move || command.spawn())
                .await
                .map_err(io::Error::other)??
        } else {
            by_thread(move || new_pids().and_then(|()| command.spawn())).await?
        };
        let alive = child.stdin.take();
        let pid = child.id().ok_or_else(|| io::Error::other("process 1 ended at once"))?;
        Ok(Self { child, alive, pid, by_user })
    }

    /// The way into these namespaces.
    pub(crate) fn entry(&self, root: &Path) -> io::Result<Entry> {
        if self.by_user { Entry::as_user(root, self.pid) } else { Entry::as_root(root, self.pid) }
    }

    /// Where the server sees the host's file systems as the host sees them, mounts included.
    pub(crate) fn seen_from_outside(&self) -> io::Result<PathBuf> {
        let mut process_1 = self.pid.to_string();
        if self.by_user {
            let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid))?;
            children.trim().clone_into(&mut process_1);
        }
        Ok(format!("/proc/{process_1}/root").into())
    }

    /// Ends every process of the host; none is left when this returns.
    pub(crate) async fn end(mut self) {
        drop(self.alive.take());
        if let Err(error) = self.child.wait().await {
            tracing::warn!(%error, "process 1 of a host could not be waited for");
        }
    }
}

impl Preparation {
    fn between_fork_and_exec(&self) -> io::Result<()> {
        // SAFETY: system calls with arguments that are valid for their whole duration.
        unsafe {
            libc::setsid();
            checked(libc::unshare(self.flags))?;
            if let Some((user, group)) = &self.maps {
                // Since Linux 3.19 a group map needs this; before, the file does not exist.
                let _ = write_file(c"/proc/self/setgroups", c"deny");
                write_file(c"/proc/self/uid_map", user)?;
                write_file(c"/proc/self/gid_map", group)?;
                fork_and_stand_in()?;
            }
            mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE, None)?;
            for (from, to) in &self.binds {
                // A machine without such a device leaves the plain file in its place.
                let _ = mount(Some(from), to, None, libc::MS_BIND, None);
            }
            if let Some((directory, options)) = &self.disk {
                mount(Some(c"tmpfs"), directory, Some(c"tmpfs"), 0, Some(options))?;
            }
            let name = self.host_name.to_bytes();
            checked(libc::sethostname(name.as_ptr().cast(), name.len()))?;
            // Orphans become children of process 1, which never waits for them: let the kernel forget them.
            libc::signal(libc::SIGCHLD, libc::SIG_IGN);
            settle(&self.root, c"/")
        }
    }
}

/// A pid namespace for the next child of this thread.
fn new_pids() -> io::Result<()> {
    // SAFETY: a system call without pointers; it changes only where this thread's children are born.
    checked(unsafe { libc::unshare(libc::CLONE_NEWPID) }).map(drop)
}

fn disk(full: &FullDisk) -> io::Result<(CString, CString)> {
    let options = format!("size={},mode=755", full.size);
    Ok((c_path(&full.directory)?, CString::new(options).map_err(io::Error::other)?))
}

/// # Safety
/// Only between fork and exec.
unsafe fn write_file(path: &CStr, content: &CStr) -> io::Result<()> {
    // SAFETY: valid pointers, and the descriptor is our own.
    unsafe {
        let fd = checked(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
        let bytes = content.to_bytes();
        let written = libc::write(fd, bytes.as_ptr().cast(), bytes.len());
        let result = if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
        libc::close(fd);
        result
    }
}

/// # Safety
/// Only between fork and exec.
unsafe fn mount(
    from: Option<&CStr>,
    to: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    options: Option<&CStr>,
) -> io::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: every pointer is null or a C string that outlives the call.
    unsafe {
        checked(libc::mount(
            pointer(from),
            to.as_ptr(),
            pointer(kind),
            flags,
            pointer(options).cast(),
        ))?;
    }
    Ok(())
}
