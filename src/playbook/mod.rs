//! What: the steps that take one host from one system to another, as written and as resolved.

mod action;
mod chain;
mod files;
mod model;
mod place;
mod read;
mod shape;
mod shipped;
mod step;

pub use files::is_name;
pub use model::{
    Action, Compare, Hop, HopSystem, OnLost, Playbook, Reads, Reboot, Severity, Step, StepFile,
    WaitFor,
};
pub use place::fault_in_step;
pub use read::read;
pub use shape::schema;
pub use shipped::{input_bytes, is_shipped, shipped};
