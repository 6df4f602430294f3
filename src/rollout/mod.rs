//! When, and with what care: waves, canaries, limits.

mod model;
mod read;
mod shape;

pub use model::{Allowance, Budget, OnFailure, Rollout, Wave};
pub use read::{fault_in_wave, of_fleet, read};
pub use shape::schema;
