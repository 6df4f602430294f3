//! The records told by host: what every host went through, in order. The report is counted out of this.

use super::model::{ApprovalReport, Boot, Pause, Segment, SegmentKind, Takeover};
use crate::{
    base::{facts::Facts, phase::Phase, text::one_line, time::Timestamp},
    journal::{Event, Failure, Finding, Moment, PauseReason, Record, Skip, StepId, Then, Verdict},
    plan::Plan,
};
use std::collections::HashMap;

/// What happened, borrowed from the records.
pub(super) struct History<'a> {
    pub started: Option<Timestamp>,
    pub as_of: Option<Timestamp>,
    /// Verdict and time of the end, unless the run was taken up again.
    pub finished: Option<(Verdict, Timestamp)>,
    pub operator: Option<&'a str>,
    pub controller: Option<&'a str>,
    pub version: Option<&'a str>,
    pub pauses: Vec<Pause>,
    pub takeovers: Vec<Takeover>,
    pub approvals: Vec<ApprovalReport>,
    /// By wave of the plan: when it started and ended.
    pub waves: Vec<(Option<Timestamp>, Option<Timestamp>)>,
    /// By host of the plan.
    pub hosts: Vec<HostHistory<'a>>,
}

#[derive(Default)]
pub(super) struct HostHistory<'a> {
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    pub failure: Option<&'a Failure>,
    /// As recorded at the host's end.
    pub touched: Option<bool>,
    pub before: Option<&'a Facts>,
    pub after: Option<(Moment, &'a Facts)>,
    pub at_step: Option<&'a StepId>,
    pub attempts: u32,
    pub retries: u32,
    pub passed: Vec<(&'a StepId, u64)>,
    pub failed: Vec<FailedAttempt<'a>>,
    pub skipped: Vec<(&'a StepId, &'a Skip)>,
    pub findings: Vec<(Timestamp, &'a Finding)>,
    /// Hops begun, reached and left backwards, with when.
    pub began: Vec<(u16, Timestamp)>,
    pub reached: Vec<(u16, Timestamp)>,
    pub rolled_back: Vec<u16>,
    pub dark_ms: u64,
    pub dark_since: Option<Timestamp>,
    pub boots: Vec<Boot>,
    pub segments: Vec<Segment>,
}

pub(super) struct FailedAttempt<'a> {
    pub at: Timestamp,
    pub step: &'a StepId,
    pub attempt: u32,
    pub failure: &'a Failure,
    pub tail: &'a str,
    pub then: &'a Then,
    /// When a later attempt of the same step passed.
    pub passed_at: Option<Timestamp>,
}

impl<'a> History<'a> {
    pub fn new(plan: &Plan, records: &'a [Record]) -> Self {
        let index: HashMap<&str, usize> =
            plan.hosts.iter().enumerate().map(|(i, host)| (host.name.as_str(), i)).collect();
        let mut history = Self {
            started: None,
            as_of: records.last().map(|record| record.at),
            finished: None,
            operator: None,
            controller: None,
            version: None,
            pauses: Vec::new(),
            takeovers: Vec::new(),
            approvals: Vec::new(),
            waves: vec![(None, None); plan.waves.len()],
            hosts: plan.hosts.iter().map(|_| HostHistory::default()).collect(),
        };
        for record in records {
            history.take_run(plan, record);
            let host = record.event.host().and_then(|name| index.get(name.as_str()));
            if let Some(host) = host.and_then(|i| history.hosts.get_mut(*i)) {
                host.take(record);
            }
        }
        history
    }

    fn take_run(&mut self, plan: &Plan, record: &'a Record) {
        let at = record.at;
        match &record.event {
            Event::RunStarted { operator, controller, version, .. } => {
                self.started = Some(at);
                self.operator = Some(operator);
                self.controller = Some(controller);
                self.version = Some(version);
            }
            Event::RunResumed { operator, controller, .. } => {
                self.finished = None;
                if let Some(pause) = self.pauses.last_mut() {
                    pause.resumed.get_or_insert(at);
                }
                self.takeovers.push(Takeover {
                    at,
                    operator: one_line(operator).into_owned(),
                    controller: one_line(controller).into_owned(),
                });
            }
            Event::GateDecided { approval, by, .. } => {
                self.approvals.push(ApprovalReport::of(plan, at, approval, by));
            }
            Event::RunPaused { reason } => {
                let gate = gate_of(reason);
                let reason = one_line(&reason.to_string()).into_owned();
                self.pauses.push(Pause { at, reason, gate, resumed: None });
            }
            Event::RunFinished { verdict } => self.finished = Some((*verdict, at)),
            Event::WaveStarted { wave } => {
                if let Some(i) = plan.waves.iter().position(|w| w.name == *wave) {
                    self.waves[i].0.get_or_insert(at);
                }
            }
            Event::WaveFinished { wave } => {
                if let Some(i) = plan.waves.iter().position(|w| w.name == *wave) {
                    self.waves[i].1 = Some(at);
                }
            }
            Event::StopRequested { .. }
            | Event::LeaveRequested { .. }
            | Event::WatchTold { .. }
            | Event::LimitsTuned { .. }
            | Event::RehearsalStarted { .. }
            | Event::RehearsalPassed { .. }
            | Event::HoldRequested { .. }
            | Event::ReleaseRequested { .. }
            | Event::HostHeld { .. }
            | Event::HostRested { .. }
            | Event::HostStarted { .. }
            | Event::HostFacts { .. }
            | Event::HopFinished { .. }
            | Event::HostFinding { .. }
            | Event::RollbackStarted { .. }
            | Event::HostFinished { .. }
            | Event::HostReopened { .. }
            | Event::AttemptStarted { .. }
            | Event::AttemptPassed { .. }
            | Event::AttemptFailed { .. }
            | Event::StepSkipped { .. }
            | Event::HostDark { .. }
            | Event::HostReturned { .. }
            | Event::HostKeyTaken { .. } => {}
        }
    }
}

/// The gate that a run paused for, where it did.
fn gate_of(reason: &PauseReason) -> Option<String> {
    let PauseReason::Approval { gate, .. } = reason else { return None };
    Some(gate.to_string())
}

impl<'a> HostHistory<'a> {
    fn take(&mut self, record: &'a Record) {
        let at = record.at;
        match &record.event {
            Event::HostStarted { .. } => {
                self.started.get_or_insert(at);
            }
            Event::HostHeld { .. } | Event::HostRested { .. } => {
                self.segment(SegmentKind::Waiting, self.at_step.map_or(0, |step| step.hop), at);
            }
            Event::HostFacts { moment, facts, .. } => self.look(at, *moment, facts),
            Event::HopFinished { hop, .. } => self.reached.push((*hop, at)),
            Event::HostFinding { finding, .. } => self.findings.push((at, finding)),
            Event::RollbackStarted { hop, .. } => {
                self.rolled_back.push(*hop);
                self.segment(SegmentKind::Rollback, *hop, at);
            }
            // It goes back on purpose, and was not rolled back.
            Event::RehearsalStarted { hop, .. } => self.segment(SegmentKind::Rollback, *hop, at),
            Event::RehearsalPassed { .. } => self.begin_again(),
            Event::HostFinished { failure, touched, .. } => {
                self.ended = Some(at);
                self.touched = Some(*touched);
                self.failure = failure.as_ref();
                self.close_segment(at);
            }
            Event::HostReopened { .. } => (self.ended, self.touched) = (None, None),
            Event::AttemptStarted { step, .. } => self.begin(at, step),
            Event::AttemptPassed { step, duration_ms, .. } => {
                self.passed.push((step, *duration_ms));
                for failed in self.failed.iter_mut().rev().take_while(|f| f.step == step) {
                    failed.passed_at.get_or_insert(at);
                }
            }
            Event::AttemptFailed { step, attempt, failure, tail, then, .. } => {
                self.failed.push(FailedAttempt {
                    at,
                    step,
                    attempt: *attempt,
                    failure,
                    tail,
                    then,
                    passed_at: None,
                });
                // An attempt on another way, after a rollback, has a higher number as well, and repeats nothing.
                if let Then::Retry { .. } = then {
                    self.retries += 1;
                    self.segment(SegmentKind::Waiting, step.hop, at);
                }
            }
            Event::StepSkipped { step, reason, .. } => self.skipped.push((step, reason)),
            Event::HostDark { boot_id, .. } => {
                self.saw_boot(at, boot_id, None);
                self.dark_since = Some(at);
                self.segment(SegmentKind::Dark, self.at_step.map_or(0, |step| step.hop), at);
            }
            Event::HostReturned { boot_id, dark_ms, system, .. } => {
                self.come_back(at, boot_id, *dark_ms, system.as_ref());
            }
            Event::HostKeyTaken { .. }
            | Event::RunStarted { .. }
            | Event::RunResumed { .. }
            | Event::StopRequested { .. }
            | Event::LeaveRequested { .. }
            | Event::HoldRequested { .. }
            | Event::ReleaseRequested { .. }
            | Event::GateDecided { .. }
            | Event::WatchTold { .. }
            | Event::LimitsTuned { .. }
            | Event::RunPaused { .. }
            | Event::RunFinished { .. }
            | Event::WaveStarted { .. }
            | Event::WaveFinished { .. } => {}
        }
    }

    fn come_back(
        &mut self,
        at: Timestamp,
        boot_id: &str,
        dark_ms: u64,
        system: Option<&crate::base::facts::System>,
    ) {
        self.dark_ms += dark_ms;
        self.dark_since = None;
        self.boots.push(Boot {
            boot_id: one_line(boot_id).into_owned(),
            seen: at,
            dark_ms: Some(dark_ms),
            system: system.map(safe_system),
            unexpected: false,
        });
        let (phase, hop) = self.at_step.map_or((Phase::Migrate, 0), |s| (s.phase, s.hop));
        self.segment(kind_of(phase), hop, at);
    }

    /// What was reached in a rehearsal was taken back.
    fn begin_again(&mut self) {
        self.reached.clear();
        self.began.clear();
    }

    fn begin(&mut self, at: Timestamp, step: &'a StepId) {
        self.at_step = Some(step);
        self.attempts += 1;
        if step.phase.is_forward() && self.began.last().is_none_or(|(hop, _)| *hop < step.hop) {
            self.began.push((step.hop, at));
        }
        self.segment(kind_of(step.phase), step.hop, at);
    }

    fn look(&mut self, at: Timestamp, moment: Moment, facts: &'a Facts) {
        match moment {
            Moment::Before => {
                self.before.get_or_insert(facts);
            }
            Moment::After | Moment::RolledBack => self.after = Some((moment, facts)),
        }
        self.saw_boot(at, &facts.boot_id, facts.system.as_ref());
    }

    /// A boot id that was seen without a return: the first of the chain, or one that no step of ours asked for.
    fn saw_boot(
        &mut self,
        at: Timestamp,
        boot_id: &str,
        system: Option<&crate::base::facts::System>,
    ) {
        if boot_id.is_empty() {
            return;
        }
        let boot_id = one_line(boot_id);
        match self.boots.last_mut() {
            Some(last) if last.boot_id == *boot_id => {
                if last.system.is_none() {
                    last.system = system.map(safe_system);
                }
            }
            last => {
                // A controller that died meanwhile saw it go, and not come back.
                let unexpected = last.is_some() && self.dark_since.take().is_none();
                self.boots.push(Boot {
                    boot_id: boot_id.into_owned(),
                    seen: at,
                    dark_ms: None,
                    system: system.map(safe_system),
                    unexpected,
                });
            }
        }
    }

    fn segment(&mut self, kind: SegmentKind, hop: u16, at: Timestamp) {
        if self.segments.last().is_some_and(|s| s.to.is_none() && s.kind == kind && s.hop == hop) {
            return;
        }
        self.close_segment(at);
        self.segments.push(Segment { kind, hop, from: at, to: None });
    }

    /// Ends the open segment; one that lasted no time is forgotten.
    fn close_segment(&mut self, at: Timestamp) {
        if self.segments.last().is_some_and(|last| last.to.is_none() && last.from == at) {
            self.segments.pop();
        }
        if let Some(last) = self.segments.last_mut() {
            last.to.get_or_insert(at);
        }
    }
}

fn kind_of(phase: Phase) -> SegmentKind {
    match phase {
        Phase::Backup => SegmentKind::Backup,
        Phase::Precheck => SegmentKind::Precheck,
        Phase::Migrate => SegmentKind::Migrate,
        Phase::Verify => SegmentKind::Verify,
        Phase::Rollback => SegmentKind::Rollback,
        Phase::Commit => SegmentKind::Commit,
    }
}

/// A system whose texts cannot steer a terminal: a host said them.
pub(super) fn safe_system(system: &crate::base::facts::System) -> crate::base::facts::System {
    crate::base::facts::System {
        id: one_line(&system.id).into_owned(),
        version: one_line(&system.version).into_owned(),
    }
}
