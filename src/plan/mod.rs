//! Who × what × when, with no choice left: a plan is built from inventory, playbook and rollout, and then frozen.

mod accept;
mod build;
mod care;
mod inputs;
mod model;
mod render;
mod saved;
mod stale;

pub use build::{IDENTITY, SYSTEM, build};
pub use model::{
    Input, Limits, MEASURED_MIN, Measured, Origin, PLAN_FORMAT, Plan, PlanAccept, PlanHop,
    PlanHost, PlanStep, PlanWave, Rendered, Task, Told,
};
pub use render::{host_value, names, render};
pub use saved::{PROGRAM, Saved, SavedError, read as read_saved, write as write_saved};
pub use stale::{
    About, Change, FileChange, FileState, Found, Shown, Stale, What, compare_inputs, differences,
};
