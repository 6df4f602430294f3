//! When, and with what care: waves, canaries, limits.

mod model;

pub use model::{Allowance, Budget, OnFailure, Rollout, Wave};
