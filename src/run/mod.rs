//! The state of a run: a fold of its records. What to do next: a pure function of plan, state and time.

mod decide;
mod judge;
mod learned;
mod state;

pub use decide::{Decision, Todo, WaitingOn, decide};
pub use judge::{Ending, Result, judge, key_taken};
pub use learned::{Learned, Past, quantile};
pub use state::{
    Fate, HostPhase, HostState, Illegal, LeftBoot, Registered, RunPhase, RunState, WaveState, Way,
};
