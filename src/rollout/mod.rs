//! When, and with what care: waves, canaries, limits, windows, approvals.

mod approval;
mod limits;
mod model;
mod read;
mod shape;
mod watch;
mod window;

pub use model::{
    Accept, Act, Allowance, AtMost, Budget, Interrupt, OnFailure, Question, Rollout, Watch, Wave,
};
pub use read::{fault_in_accept, fault_in_key, fault_in_wave, fault_in_window, of_fleet, read};
pub use shape::{parse_percentage, schema};
