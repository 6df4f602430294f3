//! What: the steps that take one host from one system to another, as written and as resolved.

mod model;

pub use model::{Action, Compare, Hop, OnLost, Playbook, Reboot, Severity, Step, WaitFor};
