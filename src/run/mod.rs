//! The state of a run: a fold of its records. What to do next: a pure function of plan, state and time.

mod approvals;
mod calendar;
mod decide;
mod domains;
mod footing;
mod foresee;
mod gate;
mod host;
mod judge;
mod learned;
mod pace;
mod reported;
mod starts;
mod state;
mod survey;
mod tally;
mod waiting;
mod watching;

pub use approvals::{GateState, Word, good_until};
pub use calendar::{Calendar, Forecast, Night, WaveCalendar, calendar, forecast};
pub use decide::{Decision, Todo, decide, decide_at};
pub use domains::Domains;
pub use foresee::{Course, Stuck, foresee};
pub use gate::{Forecast as Expected, ROOM};
pub use host::{Fate, HostPhase, HostState, LeftBoot, Registered, Retry, Unseen, Way};
pub use judge::{Ending, Result, acceptance, found, judge, key_taken, tells, wrong_system};
pub use learned::{Learned, Past};
pub use pace::{Basis, Mark, Pace, basis, rest_of_way};
pub use reported::{Heard, hear, hear_until_then};
pub use state::{Illegal, RunPhase, RunState, Tuned, WaveState};
pub use survey::{Downtime, HostSurvey, Lengths, Prospect, Reach, Until};
pub use tally::Tally;
pub use waiting::{HostWaits, OwnWait, WaitingOn, Waits};
pub use watching::{Answer, Trip, Watches, answered, watched};
