//! The report as data. Every text in it is safe to print; every sentence about it is made elsewhere, from `words`.

use super::state::State;
use crate::{
    base::{
        approval::{Approval, Decision},
        facts::System,
        text::one_line,
        time::Timestamp,
    },
    journal::{Acceptance, Failure, Moment, Skip, StepId, Then, Verdict},
    plan::Plan,
    playbook::Severity,
    run::good_until,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// The version of the report's JSON.
pub const REPORT_FORMAT: u32 = 1;

/// What a run did, made from its journal alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub format: u32,
    pub run: RunInfo,
    pub summary: Summary,
    /// One for each wave, in the plan's order.
    pub batches: Vec<Batch>,
    pub total: Batch,
    /// What people said about waves, in the order in which it was recorded.
    pub approvals: Vec<ApprovalReport>,
    pub hops: Vec<HopReport>,
    /// System, kernel and OpenSSL before and after, grouped over the fleet.
    pub changes: Vec<Change>,
    /// Services, ports, mounts and failed units that differ between before and after.
    pub differences: Vec<Difference>,
    pub findings: Vec<FindingGroup>,
    pub failures: Vec<FailureGroup>,
    pub problems: Vec<Problem>,
    /// One for each step that any host began, in the order of the way.
    pub steps: Vec<StepStats>,
    pub skipped: Vec<SkipGroup>,
    pub dark: Option<DarkStats>,
    /// One for each host, in the plan's order.
    pub hosts: Vec<HostReport>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunInfo {
    pub id: String,
    pub plan: String,
    pub playbook: String,
    pub title: String,
    pub support: Option<String>,
    pub selection: String,
    pub target: Option<System>,
    pub operator: Option<String>,
    pub controller: Option<String>,
    pub version: Option<String>,
    pub started: Option<Timestamp>,
    /// When the run ended; absent while it goes on or rests.
    pub ended: Option<Timestamp>,
    /// The time of the last record: what the report knows of.
    pub as_of: Option<Timestamp>,
    /// How many records the report is made from.
    pub records: usize,
    /// Why records after these are left out: the next one cannot follow them.
    pub fault: Option<String>,
    pub state: RunStanding,
    pub pauses: Vec<Pause>,
    pub takeovers: Vec<Takeover>,
    /// The playbook has steps that remove the way back.
    pub can_commit: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStanding {
    Running,
    Paused,
    Finished,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pause {
    pub at: Timestamp,
    pub reason: String,
    /// The wave whose approvals were waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    pub resumed: Option<Timestamp>,
}

/// A controller that took the run over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Takeover {
    pub at: Timestamp,
    pub operator: String,
    pub controller: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub verdict: Option<Verdict>,
    pub hosts: usize,
    /// Hosts on the target system: migrated, committed, or there already.
    pub on_target: usize,
    pub completion_percent: f64,
    /// Hosts in each state; they add up to `hosts`. States without a host are left out.
    pub counts: BTreeMap<&'static str, usize>,
}

/// A wave, or the sum of all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Batch {
    pub name: String,
    pub planned: usize,
    pub on_target: usize,
    pub counts: BTreeMap<&'static str, usize>,
    /// Hosts on the target system of those planned.
    pub success_percent: f64,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
}

/// What a person said about a wave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ApprovalReport {
    /// When it was recorded.
    pub at: Timestamp,
    pub wave: String,
    pub decision: Decision,
    pub principal: String,
    pub reason: String,
    pub issued: Timestamp,
    /// Until when it counts: no longer than the key that signed it.
    pub expires: Option<Timestamp>,
    /// `SHA256:…` of the key that signed it.
    pub key: Option<String>,
    /// Who handed it in.
    pub by: String,
    /// It was said of the plan, before the run.
    pub ahead: bool,
}

impl ApprovalReport {
    pub(super) fn of(plan: &Plan, at: Timestamp, approval: &Approval, by: &str) -> Self {
        let safe = |text: &str| one_line(text).into_owned();
        let said = &approval.statement;
        Self {
            at,
            wave: safe(said.wave.as_str()),
            decision: said.decision,
            principal: safe(said.principal.as_str()),
            reason: safe(&said.reason),
            issued: said.issued,
            expires: good_until(plan, approval),
            key: approval.key(),
            by: safe(by),
            ahead: said.run.is_none(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HopReport {
    pub name: String,
    pub title: String,
    pub from: Option<System>,
    pub to: Option<System>,
    /// Hosts that began the hop.
    pub began: usize,
    /// Hosts that proved its target system.
    pub reached: usize,
    /// Hosts that left it backwards.
    pub rolled_back: usize,
    pub p50_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub aspect: Aspect,
    pub before: String,
    pub after: String,
    pub moment: Moment,
    pub hosts: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    System,
    Kernel,
    Openssl,
    Services,
    Ports,
    Mounts,
    FailedUnits,
}

impl Aspect {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Kernel => "kernel",
            Self::Openssl => "openssl",
            Self::Services => "services",
            Self::Ports => "ports",
            Self::Mounts => "mounts",
            Self::FailedUnits => "failed_units",
        }
    }
}

/// How many hosts are the same in one aspect, and which lost or gained what.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub aspect: Aspect,
    pub same: usize,
    pub lost: Vec<ItemHosts>,
    pub gained: Vec<ItemHosts>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ItemHosts {
    pub item: String,
    pub hosts: Vec<String>,
}

/// One finding as many hosts had it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FindingGroup {
    #[serde(flatten)]
    pub step: StepId,
    pub severity: Severity,
    /// Of a migrator's report: its own key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of a migrator's report: what it says beside the title, as it said it of the first of these hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    pub remedy: Option<String>,
    /// By whose word it does not block, or did not until that expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Acceptance>,
    /// What was said, each with how many hosts said it; the most frequent first, at most `MESSAGES_MAX`.
    pub messages: Vec<Message>,
    pub first: Timestamp,
    pub hosts: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    pub text: String,
    pub hosts: usize,
}

impl FindingGroup {
    /// Whether it keeps its hosts from being changed.
    pub fn blocks(&self) -> bool {
        let accepted = self.accepted.as_ref().is_some_and(|accepted| !accepted.expired);
        self.severity == Severity::Blocker && !accepted
    }
}

/// One way to fail, with every host that failed so.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailureGroup {
    /// Absent where no attempt failed: the run itself gave the host up.
    pub step: Option<StepId>,
    pub failure: Failure,
    /// What the engine did next.
    pub then: Option<Then>,
    /// Where the hosts stand now.
    pub state: State,
    pub touched: bool,
    pub remedy: Option<String>,
    pub cases: Vec<FailureCase>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailureCase {
    pub host: String,
    pub at: Timestamp,
    pub attempt: Option<u32>,
    /// The last lines of output.
    pub evidence: Vec<String>,
    /// Until the host was at rest again.
    pub settled_ms: Option<u64>,
}

/// A row of the table of problems.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    pub kind: ProblemKind,
    pub step: Option<StepId>,
    /// A failure, a finding's message or the reason of a pause.
    pub what: String,
    pub first: Timestamp,
    pub state: Option<State>,
    pub remedy: Option<String>,
    /// The longest time until it was over, where it is over.
    pub fixed_ms: Option<u64>,
    pub hosts: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// A host did not get through.
    Failure,
    /// A later attempt passed.
    Retried,
    Finding,
    Pause,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepStats {
    #[serde(flatten)]
    pub step: StepId,
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    /// Attempts after the first.
    pub retries: usize,
    /// Of attempts that passed.
    pub p50_ms: Option<u64>,
    pub p95_ms: Option<u64>,
    pub max_ms: Option<u64>,
    pub slowest: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SkipGroup {
    #[serde(flatten)]
    pub step: StepId,
    pub reason: Skip,
    pub hosts: Vec<String>,
}

/// Time without SSH as the controller saw it: not a measured downtime of any service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DarkStats {
    pub hosts: usize,
    pub p50_ms: u64,
    pub p95_ms: u64,
    pub max_ms: u64,
    pub longest: String,
    pub total_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostReport {
    pub name: String,
    pub groups: Vec<String>,
    pub wave: String,
    pub state: State,
    pub touched: bool,
    pub armed: bool,
    /// Who holds it; one in flight goes on to its next safe point first.
    pub held_by: Option<String>,
    /// The step that the host is in, or was in last.
    pub at_step: Option<StepId>,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    pub duration_ms: Option<u64>,
    pub dark_ms: u64,
    pub attempts: u32,
    pub retries: u32,
    pub failure: Option<Failure>,
    pub before: Option<HostSystem>,
    pub after: Option<HostSystem>,
    pub boots: Vec<Boot>,
    pub segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostSystem {
    pub system: Option<System>,
    pub kernel: String,
    pub openssl: String,
}

/// One boot in a host's chain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Boot {
    pub boot_id: String,
    pub seen: Timestamp,
    /// How long the host was dark before it, where a step of ours rebooted it.
    pub dark_ms: Option<u64>,
    pub system: Option<System>,
    /// No step of ours asked for it.
    pub unexpected: bool,
}

/// A stretch of a host's time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Segment {
    pub kind: SegmentKind,
    pub hop: u16,
    pub from: Timestamp,
    /// Absent where it goes on.
    pub to: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentKind {
    Backup,
    Precheck,
    Migrate,
    Dark,
    Verify,
    Rollback,
    Commit,
    /// For a retry, or for a decision.
    Waiting,
}

impl SegmentKind {
    pub const ALL: [Self; 8] = [
        Self::Backup,
        Self::Precheck,
        Self::Migrate,
        Self::Dark,
        Self::Verify,
        Self::Rollback,
        Self::Commit,
        Self::Waiting,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Precheck => "precheck",
            Self::Migrate => "migrate",
            Self::Dark => "dark",
            Self::Verify => "verify",
            Self::Rollback => "rollback",
            Self::Commit => "commit",
            Self::Waiting => "waiting",
        }
    }
}
