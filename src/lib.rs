//! fleetlift moves fleets of hosts from one operating system to another.

pub mod base;
pub mod cli;
pub mod engine;
pub mod host;
pub mod inventory;
pub mod journal;
pub mod plan;
pub mod playbook;
pub mod report;
pub mod rollout;
pub mod run;
