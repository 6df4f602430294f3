//! What an attempt's result means: a pure function from what was seen to what is recorded.

use super::{
    host::{HostPhase, HostState},
    state::RunState,
};
use crate::{
    base::{facts::Facts, facts::System, name::HostName, phase::Phase, time::Timestamp},
    journal::{Acceptance, Event, Failure, Finding, Moment, NewKey, Notice, Outcome, Skip, Then},
    plan::{Plan, PlanStep, Task},
    playbook::{OnLost, Severity},
    rollout::OnFailure,
};
use std::{sync::Arc, time::Duration};

/// How an attempt ended, as seen by what ran it.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    Passed { exit: Option<i32>, outcome: Outcome, stdout: Option<String> },
    Skipped(Skip),
    Failed(Failure),
}

/// All that came of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Result {
    pub ending: Ending,
    pub duration: Duration,
    /// The last lines of the output, bounded and redacted.
    pub tail: String,
    /// Of a look at the host.
    pub facts: Option<Arc<Facts>>,
    /// What else a person should know.
    pub warnings: Vec<Notice>,
    /// What a migrator's report has told.
    pub findings: Vec<Finding>,
    /// The host has proven that the attempt never began there, and cannot begin any more: another one is safe.
    pub never: bool,
}

/// So many attempts of a step that never began are followed by another. Every controller counts anew.
const NEVER_MAX: u32 = 4;

/// The records of a result. The host must be running the attempt.
pub fn judge(
    plan: &Plan,
    state: &RunState,
    host: usize,
    result: &Result,
    now: Timestamp,
) -> Vec<Event> {
    let at = &state.hosts[host];
    let HostPhase::Running { step, attempt } = at.phase else { return Vec::new() };
    let name = plan.hosts[host].name.clone();
    let planned = &plan.steps[step];
    let mut events = Vec::new();
    let mut ending = result.ending.clone();
    if let (Task::Look { moment, want }, Some(facts)) =
        (&plan.rendered(host, step).task, &result.facts)
    {
        if let Some(failure) = examine(plan, state, host, *moment, want.as_ref(), facts) {
            ending = Ending::Failed(failure);
        }
        events.extend(unasked(plan, state, host, *moment, facts));
        events.push(Event::HostFacts { host: name.clone(), moment: *moment, facts: facts.clone() });
    }
    let new = |notice: &&Notice| !at.knows(notice);
    events.extend(result.warnings.iter().filter(new).map(|n| finding(plan, host, step, n.clone())));
    let duration_ms = u64::try_from(result.duration.as_millis()).unwrap_or(u64::MAX);
    let id = planned.id.clone();
    match ending {
        Ending::Passed { exit, outcome, stdout } => {
            events.extend(heard(&name, result));
            events.push(Event::AttemptPassed {
                host: name,
                step: id,
                attempt,
                exit,
                duration_ms,
                outcome,
                stdout,
            });
        }
        Ending::Skipped(reason) => events.push(Event::StepSkipped { host: name, step: id, reason }),
        Ending::Failed(failure) => {
            let then = failed(plan, at, (host, step, attempt), result, &failure, now, &mut events);
            events.push(Event::AttemptFailed {
                host: name,
                step: id,
                attempt,
                failure,
                duration_ms,
                tail: result.tail.clone(),
                then,
                never: result.never,
            });
        }
    }
    events
}

/// What a migrator's report has told, as records.
fn heard(name: &HostName, result: &Result) -> impl Iterator<Item = Event> {
    let findings = result.findings.iter().cloned();
    findings.map(|finding| Event::HostFinding { host: name.clone(), finding })
}

/// What to do about a failed attempt, and what it has found.
fn failed(
    plan: &Plan,
    at: &HostState,
    (host, step, attempt): (usize, usize, u32),
    result: &Result,
    failure: &Failure,
    now: Timestamp,
    events: &mut Vec<Event>,
) -> Then {
    let (name, planned) = (&plan.hosts[host].name, &plan.steps[step]);
    // Only what began counts: how often a controller dies does not decide what becomes of a host.
    let tries = attempt - at.uncounted;
    let told = tells(planned, &result.findings);
    let accepted = acceptance(plan, host, step, failure, now).filter(|_| !told);
    let then = match result.never && at.nevers < NEVER_MAX {
        true => Then::Retry { not_before: now },
        false => then(plan, at, planned, is_look(plan, host, step), tries, failure, now),
    };
    let holds = accepted.as_ref().is_some_and(|accepted| !accepted.expired);
    let then = if then == Then::Block && holds { Then::GoOn } else { then };
    // What is tried again tells anew what it finds.
    if !matches!(then, Then::Retry { .. }) {
        events.extend(heard(name, result));
    }
    if matches!(then, Then::GoOn | Then::Block) && !told {
        let finding = found(planned, failure, &result.tail, accepted);
        events.push(Event::HostFinding { host: name.clone(), finding });
    }
    then
}

/// What a precheck that failed has found.
pub fn found(
    planned: &PlanStep,
    failure: &Failure,
    tail: &str,
    accepted: Option<Acceptance>,
) -> Finding {
    Finding {
        step: planned.id.clone(),
        severity: planned.severity,
        message: message(failure, tail),
        remedy: planned.remedy.clone(),
        accepted: accepted.map(Box::new),
        notice: None,
        reported: None,
    }
}

/// Whether a migrator's report has told why the step has failed, so that its findings say all, and what is accepted too.
pub fn tells(planned: &PlanStep, findings: &[Finding]) -> bool {
    planned.reads.is_some() && findings.iter().any(Finding::blocks)
}

/// By whose word this failure of a precheck does not block. Only what the check itself has said can be accepted: one that
/// did not come to its end has found nothing that anybody knows of.
pub fn acceptance(
    plan: &Plan,
    host: usize,
    step: usize,
    failure: &Failure,
    now: Timestamp,
) -> Option<Acceptance> {
    match failure {
        Failure::Exited { .. } | Failure::Unverified { .. } => {
            plan.acceptance(host, step, None, now)
        }
        Failure::Unreachable { .. }
        | Failure::Killed { .. }
        | Failure::TimedOut { .. }
        | Failure::Lost { .. }
        | Failure::Reboot(_)
        | Failure::Refused { .. } => None,
    }
}

/// A finding about a host that no step's own question has made.
pub(super) fn finding(plan: &Plan, host: usize, step: usize, notice: Notice) -> Event {
    let finding = Finding {
        step: plan.steps[step].id.clone(),
        severity: Severity::Warning,
        message: notice.to_string(),
        remedy: None,
        accepted: None,
        notice: Some(notice),
        reported: None,
    };
    Event::HostFinding { host: plan.hosts[host].name.clone(), finding }
}

/// The records of a host key that was taken: the fact, and the finding that tells where to write it down.
pub fn key_taken(plan: &Plan, state: &RunState, host: usize, key: NewKey) -> Vec<Event> {
    let Some(step) = state.hosts[host].step() else { return Vec::new() };
    let name = plan.hosts[host].name.clone();
    let notice = Notice::NewHostKey { old: key.expected.clone(), new: key.shown.clone() };
    let found = Finding {
        step: plan.steps[step].id.clone(),
        severity: Severity::Warning,
        message: notice.to_string(),
        remedy: Some(key.advice),
        accepted: None,
        notice: Some(notice),
        reported: None,
    };
    let taken = Event::HostKeyTaken {
        host: name.clone(),
        step: plan.steps[step].id.clone(),
        old: key.expected,
        new: key.shown,
        key: key.key,
    };
    vec![taken, Event::HostFinding { host: name, finding: found }]
}

/// The look after a migration finds the host on a boot that no step led to. On the way back this is not told: what restores a
/// host from outside starts it anew.
fn unasked(
    plan: &Plan,
    state: &RunState,
    host: usize,
    moment: Moment,
    facts: &Facts,
) -> Option<Event> {
    let at = &state.hosts[host];
    let step = at.step()?;
    match (moment, &at.boot_id) {
        (Moment::After, Some(was)) if *was != facts.boot_id && !facts.boot_id.is_empty() => {
            let (was, is) = (was.clone(), facts.boot_id.clone());
            let system = facts.system.clone();
            let notice = Notice::UnaskedBoot { was, is, armed: at.armed, system };
            (!at.knows(&notice)).then(|| finding(plan, host, step, notice))
        }
        (Moment::Before | Moment::After | Moment::RolledBack, _) => None,
    }
}

fn is_look(plan: &Plan, host: usize, step: usize) -> bool {
    matches!(plan.rendered(host, step).task, Task::Look { .. })
}

/// A finding in one line: the first that the host said about it, where that says more than the failure itself.
fn message(failure: &Failure, tail: &str) -> String {
    let mut lines = tail.lines().map(str::trim).filter(|line| !line.is_empty());
    let silence = |check: &str| check.replace(' ', "").starts_with("stdout==''");
    match (failure, lines.next()) {
        (Failure::Exited { .. } | Failure::Killed { .. }, Some(first)) => first.to_owned(),
        // What should not be there is the finding.
        (Failure::Unverified { check, .. }, Some(first)) if silence(check) => match lines.count() {
            0 => first.to_owned(),
            more => format!("{first}, and {more} more"),
        },
        (_, _) => failure.to_string(),
    }
}

/// Whether the host is the one that is meant, on the system that is wanted.
fn examine(
    plan: &Plan,
    state: &RunState,
    host: usize,
    moment: Moment,
    want: Option<&System>,
    facts: &Facts,
) -> Option<Failure> {
    let unverified =
        |check: &str, reason: String| Some(Failure::Unverified { check: check.to_owned(), reason });
    let runs = facts.system.as_ref().map_or("an unknown system".to_owned(), ToString::to_string);
    let id = &facts.machine_id;
    if let Some(before) = &state.hosts[host].before
        && before.machine_id != *id
        && (moment != Moment::Before || state.hosts[host].rehearsed)
    {
        let reason = format!("was {}, is {id}: another machine answers", before.machine_id);
        return unverified("machine id", reason);
    }
    match moment {
        Moment::Before => {
            let shared = plan.connections[plan.hosts[host].connection].allow_shared_machine;
            if let Some(other) = state.machines.get(id).filter(|other| **other != host && !shared) {
                let other = &plan.hosts[*other].name;
                let reason = format!("{id} is also that of {other}: two names for one machine");
                return unverified("machine id", reason);
            }
            wrong_system(plan, facts)
        }
        Moment::After | Moment::RolledBack => match (want, &facts.system) {
            (None, _) => None,
            (Some(want), Some(system)) if system.meets(want) => None,
            (Some(want), _) => unverified("system", format!("runs {runs}, should run {want}")),
        },
    }
}

/// Why the way of the playbook is not this host's.
pub fn wrong_system(plan: &Plan, facts: &Facts) -> Option<Failure> {
    let system = facts.system.as_ref();
    if plan.entry_hop(system).is_some() || plan.is_already(system) {
        return None;
    }
    let runs = system.map_or("an unknown system".to_owned(), ToString::to_string);
    let from: Vec<String> =
        plan.hops.iter().filter_map(|hop| hop.from.as_ref()).map(ToString::to_string).collect();
    let reason = format!("runs {runs}; the playbook begins with {}", from.join(" or "));
    Some(Failure::Unverified { check: "system".to_owned(), reason })
}

/// What to do about a failed attempt.
fn then(
    plan: &Plan,
    host: &HostState,
    step: &PlanStep,
    look: bool,
    tries: u32,
    failure: &Failure,
    now: Timestamp,
) -> Then {
    if may_retry(step, look, tries, failure) {
        return Then::Retry { not_before: now + step.retry_delay };
    }
    let touched = host.touched || (step.id.phase == Phase::Migrate && failure.touches());
    match (step.id.phase, failure) {
        (_, Failure::Unreachable { .. } | Failure::Refused { .. }) => Then::GiveUp,
        // There is no way back without a login.
        (_, Failure::Reboot(verdict)) if !verdict.answers() => Then::GiveUp,
        (Phase::Precheck, _) if look => Then::GiveUp,
        (Phase::Precheck, _) => match step.severity {
            Severity::Info | Severity::Warning => Then::GoOn,
            Severity::Blocker => Then::Block,
        },
        (Phase::Backup | Phase::Rollback | Phase::Commit, _) => Then::GiveUp,
        (Phase::Migrate, Failure::Lost { .. } | Failure::TimedOut { stopped: false, .. }) => {
            Then::GiveUp
        }
        (Phase::Migrate | Phase::Verify, _) => {
            let hop = &plan.hops[usize::from(step.id.hop)];
            let way_back =
                plan.limits.on_failure == OnFailure::Rollback && !hop.rollback.is_empty();
            if touched && way_back { Then::RollBack } else { Then::GiveUp }
        }
    }
}

/// Another attempt is made only where it cannot run a step twice that may still be running or have done its work.
fn may_retry(step: &PlanStep, look: bool, tries: u32, failure: &Failure) -> bool {
    let left = tries <= step.retries;
    match failure {
        Failure::Exited { .. } | Failure::Killed { .. } | Failure::Unverified { .. } => {
            left && !look
        }
        Failure::TimedOut { stopped, .. } => left && *stopped,
        Failure::Unreachable { .. } => left,
        Failure::Refused { .. } | Failure::Reboot(_) => false,
        Failure::Lost { .. } => match step.id.phase {
            // These only read, or write what they write anew.
            Phase::Backup | Phase::Precheck | Phase::Verify => tries <= step.retries.max(1),
            Phase::Migrate | Phase::Rollback | Phase::Commit => {
                step.on_lost == OnLost::Rerun && tries <= step.retries.max(1)
            }
        },
    }
}
