//! What becomes of an attempt and of a host: how they ended, what was found, and what was skipped.

use super::{
    event::StepId,
    reboot::{Notice, RebootVerdict},
};
use crate::base::time::Timestamp;
use crate::playbook::Severity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// When facts were gathered.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Before anything was changed.
    Before,
    /// After the last step of the migration.
    After,
    /// After a rollback.
    RolledBack,
}

/// How an attempt passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The step ran.
    Changed,
    /// The step only asked, or found nothing to do.
    Unchanged,
}

/// Why a step did not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Skip {
    /// The guard passed: the work is done already.
    Guard { unless: String },
    /// The condition does not hold for this host.
    Condition { when: String },
    /// A probe showed that a lost attempt had done its work.
    Proven { probe: String },
}

/// How an attempt failed. The first question is always: was the host touched?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Failure {
    /// No session was opened: untouched by this attempt.
    Unreachable { reason: String },
    /// Ran, and said no.
    Exited { code: i32 },
    /// A signal ended it.
    Killed { signal: String },
    /// Exceeded its limit. `stopped` says whether its processes are proven gone.
    TimedOut { limit_ms: u64, stopped: bool },
    /// Began, and nobody can know how it ended.
    Lost { reason: String },
    /// Ran and passed; the check after it did not.
    Unverified { check: String, reason: String },
    /// The host's own check, its key, its lock or its sudo said no: untouched by this attempt.
    Refused { reason: String },
    /// A reboot was asked for, and something else came of it.
    Reboot(RebootVerdict),
}

impl Failure {
    /// How the refusal of a host begins that another holds the lock of.
    pub const LOCKED: &str = "locked by run ";

    /// Whether the host is locked by another run or controller.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Refused { reason } if reason.starts_with(Self::LOCKED))
    }

    /// Whether an attempt that failed so may have changed the host.
    pub fn touches(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Refused { .. } => false,
            Self::Exited { .. }
            | Self::Killed { .. }
            | Self::TimedOut { .. }
            | Self::Lost { .. }
            | Self::Unverified { .. }
            | Self::Reboot(_) => true,
        }
    }
}

impl fmt::Display for Failure {
    /// One line, without control characters only as far as its texts are: show it through `base::text`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { reason } => write!(f, "unreachable: {reason}"),
            Self::Exited { code } => write!(f, "exit code {code}"),
            Self::Killed { signal } => write!(f, "killed by {signal}"),
            Self::TimedOut { limit_ms, stopped } => {
                let limit =
                    crate::base::time::format_length(std::time::Duration::from_millis(*limit_ms));
                let proof = if *stopped { "stopped" } else { "may still run" };
                write!(f, "timed out after {limit}, {proof}")
            }
            Self::Lost { reason } => write!(f, "lost: {reason}"),
            Self::Unverified { check, reason } => write!(f, "{check} not met: {reason}"),
            Self::Refused { reason } => write!(f, "refused: {reason}"),
            Self::Reboot(verdict) => write!(f, "reboot: {verdict}"),
        }
    }
}

/// What was decided about a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Then {
    Retry {
        not_before: Timestamp,
    },
    /// A warning: recorded as a finding, and the host goes on.
    GoOn,
    /// A blocker: the other prechecks are still asked, then the host ends blocked.
    Block,
    RollBack,
    GiveUp,
}

/// What a person should know about a host: what a precheck, a migrator's report or a look has found, or what came of a reboot, a
/// host key, a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    #[serde(flatten)]
    pub step: StepId,
    pub severity: Severity,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remedy: Option<String>,
    /// What it is about, where it is not the step's own.
    #[serde(flatten, skip_serializing_if = "Option::is_none", default)]
    pub notice: Option<Notice>,
    /// By whose word it does not block, or did not until that expired.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accepted: Option<Box<Acceptance>>,
    /// What a migrator's own report says of it, where it is from there; `message` is its title.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reported: Option<Box<Reported>>,
}

/// A finding as a migrator's own report has it.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Reported {
    /// The migrator, and its own key for this kind of finding: `leapp:9881b25f…`.
    pub key: String,
    /// What it says beside the title; shortened.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub summary: String,
}

/// Somebody's word that a finding does not block.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Acceptance {
    pub by: String,
    /// The last day on which it holds, in UTC.
    pub until: String,
    pub reason: String,
    /// That day was over: the finding blocks again.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub expired: bool,
}

impl Finding {
    /// The key under which a migrator's report has it.
    pub fn key(&self) -> Option<&str> {
        self.reported.as_ref().map(|reported| reported.key.as_str())
    }

    /// Whether it keeps its host from being changed.
    pub fn blocks(&self) -> bool {
        let accepted = self.accepted.as_ref().is_some_and(|accepted| !accepted.expired);
        self.severity == Severity::Blocker && !accepted
    }
}

/// The end of a host in a run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Migrated,
    /// Was on the target system when we came.
    Already,
    /// A precheck found a blocker, before anything was changed. One that is found after a change is a bad end.
    Blocked,
    /// Failed before anything was changed.
    Failed,
    /// Back on its old system, and proven so.
    RolledBack,
    /// A rollback failed, or a step's result cannot be known, or the rollout says hold, or a later hop cannot begin.
    NeedsHands,
    Unreachable,
    /// Migrated, and the way back is gone.
    Committed,
}

impl End {
    /// The word of `status` for this end.
    pub fn word(self) -> &'static str {
        match self {
            Self::Migrated => "migrated",
            Self::Already => "already",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::NeedsHands => "needs_hands",
            Self::Unreachable => "unreachable",
            Self::Committed => "committed",
        }
    }

    /// Whether the host counts against the budget.
    pub fn is_bad(self) -> bool {
        match self {
            Self::Failed | Self::RolledBack | Self::NeedsHands | Self::Unreachable => true,
            Self::Migrated | Self::Already | Self::Blocked | Self::Committed => false,
        }
    }

    /// Whether the host is on the target system.
    pub fn is_good(self) -> bool {
        match self {
            Self::Migrated | Self::Already | Self::Committed => true,
            Self::Blocked
            | Self::Failed
            | Self::RolledBack
            | Self::NeedsHands
            | Self::Unreachable => false,
        }
    }
}
