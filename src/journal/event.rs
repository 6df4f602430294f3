//! Events: everything a journal can say. Each records a fact or a decision, so a replay never decides again.

use super::{
    outcome::{End, Failure, Finding, Moment, Outcome, Skip, Then},
    pause::PauseReason,
    watch::{Told, WatchId},
};
use crate::base::{
    approval::Approval,
    facts::{Facts, System},
    name::{HostName, RequestId, StepName, WaveName},
    phase::Phase,
    time::Timestamp,
};
use crate::rollout::Allowance;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// Position in the journal: 0, 1, 2, without gaps.
    pub seq: u64,
    pub at: Timestamp,
    #[serde(flatten)]
    pub event: Event,
}

/// Which step: its hop (0 is the first), phase and name. Flat in a record's JSON.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct StepId {
    pub hop: u16,
    pub phase: Phase,
    pub step: StepName,
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.hop, self.phase, self.step)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Always the first record.
    RunStarted {
        /// The plan's digest: `sha256:…`.
        plan: String,
        playbook: String,
        operator: String,
        /// Host name and process of the controller.
        controller: String,
        version: String,
        hosts: usize,
    },
    /// A controller took over again, after a pause or after the one before it was gone.
    RunResumed {
        operator: String,
        controller: String,
        /// Only hosts that are reopened now go on; all others stay where they are.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        only_reopened: bool,
    },
    /// An operator said stop: no new host starts, and those in flight go on to a safe point.
    StopRequested {
        by: String,
        /// Absent where it was said at the controller itself.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        request: Option<RequestId>,
    },
    /// An operator said leave: the controller goes at once, and what runs on hosts goes on there.
    LeaveRequested {
        by: String,
        request: RequestId,
    },
    /// An operator takes hosts out of the run: those that wait for their turn now, those in flight at their next safe
    /// point. One that has ended is not concerned.
    HoldRequested {
        by: String,
        hosts: Vec<HostName>,
        request: RequestId,
    },
    /// An operator takes hosts back in: each goes on where it was, as soon as there is a slot for it.
    ReleaseRequested {
        by: String,
        hosts: Vec<HostName>,
        request: RequestId,
    },
    /// A person who may has approved a wave, or rejected it.
    GateDecided {
        #[serde(flatten)]
        approval: Arc<Approval>,
        /// Who handed it in: `alice@laptop`.
        by: String,
        /// Absent where it was given to the plan, before the run.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        request: Option<RequestId>,
    },
    /// A question that is put again and again has another answer than before, or one more that is not good.
    WatchTold {
        watch: WatchId,
        told: Told,
        /// So many answers in a row were not good.
        in_a_row: u32,
    },
    /// An operator changes limits of the run.
    LimitsTuned {
        by: String,
        /// Hosts in flight at once, over all waves.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        parallel: Option<u32>,
        /// How many hosts of the plan may end badly.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        failures: Option<Allowance>,
        request: RequestId,
    },
    /// No new host starts; nothing runs any more.
    RunPaused {
        reason: PauseReason,
    },
    /// Always the last record of a run that ended; a rollback or a commit by hand may reopen it with `RunResumed`.
    RunFinished {
        verdict: Verdict,
    },

    WaveStarted {
        wave: WaveName,
    },
    WaveFinished {
        wave: WaveName,
    },

    /// The host takes a slot: from here on it is in flight. One that was held and released takes a slot again.
    HostStarted {
        host: HostName,
        wave: WaveName,
    },
    /// A host in flight has come to a safe point, and rests there without a slot, since an operator holds it.
    HostHeld {
        host: HostName,
    },
    /// A host in flight has come to a safe point, and rests there without a slot, since its window is closed, or closes
    /// before the rest of its way would end; or since its wave rests between two hops.
    HostRested {
        host: HostName,
        /// The hop that it has finished, where its wave says that hosts rest after each.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        hop: Option<u16>,
    },
    /// A canary that is migrated goes back through this hop, and those before it, to show that it can.
    RehearsalStarted {
        host: HostName,
        hop: u16,
    },
    /// The canary is on its old system, and proven so. It is migrated again.
    RehearsalPassed {
        host: HostName,
    },
    /// A look at the host. `before` is the one before anything was changed.
    HostFacts {
        host: HostName,
        moment: Moment,
        facts: Arc<Facts>,
    },
    /// The host rests at the end of a hop, on this hop's target system, which it has proven. In a commit: the hop's
    /// leftovers are gone.
    HopFinished {
        host: HostName,
        hop: u16,
    },
    /// Something that a person should know about the host.
    HostFinding {
        host: HostName,
        finding: Finding,
    },
    /// From here on the host is going back. Without a reason, since an operator asked for it.
    RollbackStarted {
        host: HostName,
        hop: u16,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        because: Option<Failure>,
    },
    /// The host's end in this run.
    HostFinished {
        host: HostName,
        end: End,
        /// Whether anything on the host was changed. The first question about every failure.
        touched: bool,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        failure: Option<Failure>,
    },
    /// An ended host is taken up again, to roll it back or to commit it: by an operator, or by an answer that was not good, whose
    /// question is named in the operator's place.
    HostReopened {
        host: HostName,
        phase: Phase,
        operator: String,
    },

    /// Written, and on disk, before the first byte of the attempt goes to the host. The first attempt is 1.
    AttemptStarted {
        host: HostName,
        #[serde(flatten)]
        step: StepId,
        attempt: u32,
    },
    AttemptPassed {
        host: HostName,
        #[serde(flatten)]
        step: StepId,
        attempt: u32,
        /// Absent where the step is not a command.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        exit: Option<i32>,
        duration_ms: u64,
        outcome: Outcome,
        /// What the step printed, where it is registered; bounded and redacted.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        stdout: Option<String>,
    },
    AttemptFailed {
        host: HostName,
        #[serde(flatten)]
        step: StepId,
        attempt: u32,
        failure: Failure,
        duration_ms: u64,
        /// The last lines of the output, both streams, bounded and redacted. Never shown raw on a terminal.
        #[serde(skip_serializing_if = "String::is_empty", default)]
        tail: String,
        /// By the host's own word it never began there, and cannot begin any more. Such an attempt costs no retry.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        never: bool,
        then: Then,
    },
    StepSkipped {
        host: HostName,
        #[serde(flatten)]
        step: StepId,
        reason: Skip,
    },
    /// The host reboots: no SSH is expected.
    HostDark {
        host: HostName,
        boot_id: String,
    },
    /// The host is back from a boot that it had not been in before.
    HostReturned {
        host: HostName,
        boot_id: String,
        /// Since it went dark, or since it answered last from a boot before this one.
        dark_ms: u64,
        system: Option<System>,
    },
    /// The host shows a new key, as a step announced: it is taken from here on, in this run only, beside those of known_hosts.
    HostKeyTaken {
        host: HostName,
        #[serde(flatten)]
        step: StepId,
        /// Fingerprint of the key that known_hosts expects, where it has one of this type.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        old: Option<String>,
        /// Fingerprint of the new key.
        new: String,
        /// The new key as OpenSSH writes it.
        key: String,
    },
}

impl Event {
    /// The host that the event is about.
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::RunStarted { .. }
            | Self::RunResumed { .. }
            | Self::StopRequested { .. }
            | Self::LeaveRequested { .. }
            | Self::HoldRequested { .. }
            | Self::ReleaseRequested { .. }
            | Self::GateDecided { .. }
            | Self::WatchTold { .. }
            | Self::LimitsTuned { .. }
            | Self::RunPaused { .. }
            | Self::RunFinished { .. }
            | Self::WaveStarted { .. }
            | Self::WaveFinished { .. } => None,
            Self::HostStarted { host, .. }
            | Self::HostHeld { host }
            | Self::HostRested { host, .. }
            | Self::RehearsalStarted { host, .. }
            | Self::RehearsalPassed { host }
            | Self::HostFacts { host, .. }
            | Self::HopFinished { host, .. }
            | Self::HostFinding { host, .. }
            | Self::RollbackStarted { host, .. }
            | Self::HostFinished { host, .. }
            | Self::HostReopened { host, .. }
            | Self::AttemptStarted { host, .. }
            | Self::AttemptPassed { host, .. }
            | Self::AttemptFailed { host, .. }
            | Self::StepSkipped { host, .. }
            | Self::HostDark { host, .. }
            | Self::HostReturned { host, .. }
            | Self::HostKeyTaken { host, .. } => Some(host),
        }
    }

    /// The request of another process that the event takes, and the hosts that it names.
    fn asked(&self) -> (Option<&RequestId>, &[HostName]) {
        match self {
            Self::StopRequested { request, .. } | Self::GateDecided { request, .. } => {
                (request.as_ref(), &[])
            }
            Self::LeaveRequested { request, .. } | Self::LimitsTuned { request, .. } => {
                (Some(request), &[])
            }
            Self::HoldRequested { request, hosts, .. }
            | Self::ReleaseRequested { request, hosts, .. } => (Some(request), hosts),
            Self::RunStarted { .. }
            | Self::RunResumed { .. }
            | Self::WatchTold { .. }
            | Self::RehearsalStarted { .. }
            | Self::RehearsalPassed { .. }
            | Self::RunPaused { .. }
            | Self::RunFinished { .. }
            | Self::WaveStarted { .. }
            | Self::WaveFinished { .. }
            | Self::HostStarted { .. }
            | Self::HostHeld { .. }
            | Self::HostRested { .. }
            | Self::HostFacts { .. }
            | Self::HopFinished { .. }
            | Self::HostFinding { .. }
            | Self::RollbackStarted { .. }
            | Self::HostFinished { .. }
            | Self::HostReopened { .. }
            | Self::AttemptStarted { .. }
            | Self::AttemptPassed { .. }
            | Self::AttemptFailed { .. }
            | Self::StepSkipped { .. }
            | Self::HostDark { .. }
            | Self::HostReturned { .. }
            | Self::HostKeyTaken { .. } => (None, &[]),
        }
    }

    /// The request of another process that the event takes.
    pub fn request(&self) -> Option<&RequestId> {
        self.asked().0
    }

    /// The hosts that an operator's request names.
    pub fn named(&self) -> &[HostName] {
        self.asked().1
    }

    /// Whether the event says something of this host, or of the run as a whole.
    pub fn is_about(&self, host: &HostName) -> bool {
        match (self.host(), self.named()) {
            (Some(of), _) => of == host,
            (None, []) => true,
            (None, hosts) => hosts.contains(host),
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every host is on the target system.
    Completed,
    /// At least one host is not.
    Incomplete,
}

/// The JSON Schema of a line of the journal.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Record).to_value()
}
