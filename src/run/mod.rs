//! The state of a run: a fold of its records. What to do next: a pure function of plan, state and time.

mod decide;
mod host;
mod judge;
mod learned;
mod state;

pub use decide::{Decision, Todo, WaitingOn, decide};
pub use host::{Fate, HostPhase, HostState, LeftBoot, Registered, Retry, Way};
pub use judge::{Ending, Result, judge, key_taken};
pub use learned::{Learned, Past, quantile};
pub use state::{Illegal, RunPhase, RunState, WaveState};
