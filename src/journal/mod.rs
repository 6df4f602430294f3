//! The journal: what happened and what was decided, in order, durable before it is acted on.

mod event;
mod keep;
mod lengths;
mod line;
mod outcome;
mod pause;
mod reboot;
mod requests;
mod store;
mod watch;
mod writer;

pub use event::{Event, Record, StepId, Verdict, schema};
pub use keep::Journal;
pub use outcome::{Acceptance, End, Failure, Finding, Moment, Outcome, Reported, Skip, Then};
pub use pause::{Domain, PauseReason, Scope};
pub use reboot::{Contact, NewKey, Notice, RebootVerdict, Sighting, tell_sightings};
pub use requests::{Ask, Inbox, Place, Request};
pub use store::{Reader, Store, StoreError};
pub use watch::{Told, WatchId};
pub use writer::{OutputChunk, OutputWriter, Part, Writer};
