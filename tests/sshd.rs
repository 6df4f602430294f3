//! The SSH transport against real OpenSSH servers.

#[path = "support/sshd.rs"]
mod support;

#[path = "sshd/basics.rs"]
mod basics;
