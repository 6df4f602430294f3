//! The engine over made-up hosts: what becomes of them, and that the journal says so.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;

mod fake;
mod stage;

mod care;
mod ends;
mod holds;
mod late;
mod logins;
mod reboots;
mod taken_over;
mod windows;
mod wire;
