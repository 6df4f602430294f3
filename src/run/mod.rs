//! The state of a run: a fold of its records. What to do next: a pure function of plan, state and time.

mod state;

pub use state::{HostPhase, HostState, Illegal, RunPhase, RunState};
