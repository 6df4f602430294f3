//! What a host is doing: where it stands, and which way it is going.

use super::HostState;
use crate::{
    base::{phase::Phase, time::Timestamp},
    journal::End,
    plan::Plan,
};

/// Where a host stands. `step` is an index into the plan's steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPhase {
    Pending,
    /// In flight, and nothing runs: something must be decided.
    Idle,
    Running {
        step: usize,
        attempt: u32,
    },
    /// A retry is due.
    Waiting {
        step: usize,
        next: u32,
        not_before: Timestamp,
    },
    /// At a safe point, and in no slot: an operator holds it, or it waits for its window, for a slot, or between two hops for
    /// somebody who resumes the run. A retry that was due is due still.
    Resting {
        retry: Option<Retry>,
    },
    Ended(End),
}

/// An attempt that is still to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    pub step: usize,
    pub next: u32,
    pub not_before: Timestamp,
}

/// Which way a host is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through the hops to the target.
    Forward,
    /// Through the rollback of this hop; `all` goes on with the hops before it.
    Back { hop: usize, all: bool },
    /// Through the commit of this hop, and of those after it.
    Commit { hop: usize },
}

impl HostState {
    /// The word of `status` for this state.
    pub fn word(&self) -> &'static str {
        match &self.phase {
            HostPhase::Pending | HostPhase::Resting { .. } => match self.held_by {
                Some(_) => "held",
                None => "pending",
            },
            HostPhase::Ended(end) => end.word(),
            HostPhase::Idle | HostPhase::Running { .. } | HostPhase::Waiting { .. } => {
                match (self.dark, self.armed) {
                    (Some(_), _) => "dark",
                    (None, true) => "armed",
                    (None, false) => "running",
                }
            }
        }
    }

    /// Whether the host counts as changed now. While a step of the migration is at work nobody can say that it is not.
    pub fn is_touched(&self, plan: &Plan) -> bool {
        match self.phase {
            HostPhase::Running { step, .. } => {
                self.touched || plan.steps[step].id.phase == Phase::Migrate
            }
            HostPhase::Pending
            | HostPhase::Idle
            | HostPhase::Waiting { .. }
            | HostPhase::Resting { .. }
            | HostPhase::Ended(_) => self.touched,
        }
    }

    /// The step that runs or waits for a retry.
    pub fn step(&self) -> Option<usize> {
        match self.phase {
            HostPhase::Running { step, .. } | HostPhase::Waiting { step, .. } => Some(step),
            HostPhase::Resting { retry } => retry.map(|retry| retry.step),
            HostPhase::Pending | HostPhase::Idle | HostPhase::Ended(_) => None,
        }
    }
}
