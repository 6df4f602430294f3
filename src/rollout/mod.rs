//! When, and with what care: waves, canaries, limits, windows, approvals.

mod approval;
mod limits;
mod model;
mod read;
mod shape;
mod window;

pub use model::{Accept, Allowance, AtMost, Budget, OnFailure, Rollout, Wave};
pub use read::{fault_in_accept, fault_in_key, fault_in_wave, fault_in_window, of_fleet, read};
pub use shape::schema;
