//! Who × what × when, with no choice left: a plan is built from inventory, playbook and rollout, and then frozen.

mod build;
mod model;
mod render;

pub use build::{IDENTITY, SYSTEM, build};
pub use model::{
    Input, Limits, MEASURED_MIN, Measured, PLAN_FORMAT, Plan, PlanHop, PlanHost, PlanStep,
    PlanWave, Rendered, Task,
};
pub use render::{host_value, render};
