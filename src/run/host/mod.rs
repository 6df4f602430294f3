//! A host of a run: what it is doing, what is remembered of it, and what it is given.

mod doing;
mod ended;
mod given;
mod remembered;

pub use doing::{HostPhase, Retry, Way};
pub use remembered::{Fate, HostState, LeftBoot, Registered, Unseen};
