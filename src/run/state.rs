//! The state of a run: a fold of its records through one table of transitions.

use crate::{
    base::{facts::Facts, name::HostName, time::Timestamp},
    journal::{End, Failure, PauseReason, Record, Verdict},
    plan::Plan,
};
use std::{collections::BTreeMap, sync::Arc};

/// Where the run as a whole stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunPhase {
    New,
    Running,
    Paused(PauseReason),
    Finished(Verdict),
}

/// Where a host stands. `step` is an index into the plan's steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPhase {
    Pending,
    /// In flight, and nothing runs: something must be decided.
    Idle,
    Running { step: usize, attempt: u32 },
    /// A retry is due.
    Waiting { step: usize, next: u32, not_before: Timestamp },
    Ended(End),
}

#[derive(Clone, Debug, PartialEq)]
pub struct HostState {
    pub phase: HostPhase,
    /// The next step to consider; an index into the plan's steps.
    pub cursor: usize,
    /// The hop whose rollback the host is in.
    pub rolling_back: Option<usize>,
    /// A blocker was found.
    pub blocked: bool,
    /// Something on the host was changed.
    pub touched: bool,
    /// Any reboot now migrates the host.
    pub armed: bool,
    /// Since when no SSH is expected.
    pub dark: Option<Timestamp>,
    /// Since when the host is in its present phase or step.
    pub since: Timestamp,
    pub started: Option<Timestamp>,
    /// The failure that decided the host's fate.
    pub failure: Option<Failure>,
    /// Facts before anything was changed.
    pub before: Option<Arc<Facts>>,
    /// The latest facts.
    pub latest: Option<Arc<Facts>>,
    /// What registered steps printed, by step name.
    pub registered: BTreeMap<String, Registered>,
}

/// What a registered step left for later templates.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Registered {
    pub stdout: String,
    pub exit: Option<i32>,
}

impl HostState {
    /// The word of `status` for this state.
    pub fn word(&self) -> &'static str {
        todo!("founder")
    }
}

/// A record that cannot follow those before it: a bug when writing, corrupt data when reading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {seq}: {message}")]
pub struct Illegal {
    pub seq: u64,
    pub message: String,
}

/// The whole run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    pub phase: RunPhase,
    /// One for each of the plan's hosts, in the plan's order.
    pub hosts: Vec<HostState>,
    /// How many hosts are in each state, by the word of `status`. They always add up to the number of hosts.
    pub counts: BTreeMap<&'static str, usize>,
    pub started: Option<Timestamp>,
    pub next_seq: u64,
}

impl RunState {
    pub fn new(_plan: &Plan) -> Self {
        todo!("founder")
    }

    /// Takes in one record.
    pub fn apply(&mut self, _plan: &Plan, _record: &Record) -> Result<(), Illegal> {
        todo!("founder")
    }

    /// The index of a host of the plan.
    pub fn host(&self, _name: &HostName) -> Option<usize> {
        todo!("founder")
    }
}
