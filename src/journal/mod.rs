//! The journal: what happened and what was decided, in order, durable before it is acted on.

mod event;

pub use event::{
    End, Event, Failure, Finding, Moment, Outcome, PauseReason, Record, Skip, StepId, Then, Verdict,
};
