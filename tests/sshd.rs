//! The SSH transport against real OpenSSH servers.

#[path = "support/sshd.rs"]
mod support;

#[path = "sshd/ask.rs"]
mod ask;
#[path = "sshd/basics.rs"]
mod basics;
#[path = "sshd/faults.rs"]
mod faults;
#[path = "sshd/files.rs"]
mod files;
#[path = "sshd/follow.rs"]
mod follow;
#[path = "sshd/host_keys.rs"]
mod host_keys;
#[path = "sshd/keys.rs"]
mod keys;
#[path = "sshd/locks.rs"]
mod locks;
#[path = "sshd/users.rs"]
mod users;
