//! fleetlift moves fleets of hosts from one operating system to another.
//!
//! The rooms, from the ground up, and what each may use, are in `ARCHITECTURE.md`; `tests/tidy.rs` keeps them.

#![warn(clippy::unwrap_used)]

pub mod base;
pub mod cli;
pub mod engine;
pub mod host;
pub mod inventory;
pub mod journal;
pub mod migrator;
pub mod plan;
pub mod playbook;
pub mod report;
pub mod rollout;
pub mod run;
