//! The journal: what happened and what was decided, in order, durable before it is acted on.

mod event;
mod keep;
mod lengths;
mod pause;
mod reboot;
mod requests;
mod store;
mod watch;

pub use event::{
    Acceptance, End, Event, Failure, Finding, Moment, Outcome, Record, Skip, StepId, Then, Verdict,
    schema,
};
pub use keep::Journal;
pub use pause::{Domain, PauseReason, Scope};
pub use reboot::{Contact, NewKey, Notice, RebootVerdict, Sighting, tell_sightings};
pub use requests::{Ask, Inbox, Place, Request};
pub use store::{OutputChunk, OutputWriter, Part, Reader, Store, StoreError, Writer};
pub use watch::{Told, WatchId};
