//! Who × what × when, with no choice left: a plan is built from inventory, playbook and rollout, and then frozen.

mod model;

pub use model::{
    Input, Limits, Plan, PlanHop, PlanHost, PlanStep, PlanWave, Rendered, Task, PLAN_FORMAT,
};
