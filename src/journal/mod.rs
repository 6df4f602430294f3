//! The journal: what happened and what was decided, in order, durable before it is acted on.

mod event;
mod keep;
mod lengths;
mod line;
mod outcome;
mod reboot;
mod requests;
mod store;
mod writer;

pub use event::{Event, PauseReason, Record, StepId, Verdict, schema};
pub use keep::Journal;
pub use outcome::{Acceptance, End, Failure, Finding, Moment, Outcome, Reported, Skip, Then};
pub use reboot::{Contact, NewKey, Notice, RebootVerdict, Sighting, tell_sightings};
pub use requests::{Ask, Inbox, Place, Request};
pub use store::{Reader, Store, StoreError};
pub use writer::{OutputChunk, OutputWriter, Part, Writer};
