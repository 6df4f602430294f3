//! The program as its operators meet it: the binary, its command line, its exit codes, its files, and hosts behind real SSH.

#[path = "../support/memory.rs"]
mod memory;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/sshd.rs"]
#[expect(dead_code, reason = "the tests of the transport use the rest")]
mod support;

mod bed;
mod desk;
mod plain;
mod pty;

mod connect;
mod demo;
mod files;
mod gates;
mod guards;
mod hostile;
mod https;
mod locks;
mod penalties;
mod plans;
mod real_ssh;
mod reboots;
mod reports;
mod rollback;
mod saved;
mod secrets;
mod steering;
mod stopping;
mod store;
mod texts;
mod torture;
mod watches;
mod windows;
mod wire;
