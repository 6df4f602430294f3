//! What many hosts have in common, told once.

use super::{
    build::millis,
    findings::{Found, Item, grouped},
    history::{FailedAttempt, History, HostHistory, safe_system},
    model::{
        Aspect, Change, Difference, FailureCase, FailureGroup, FindingGroup, HostReport, ItemHosts,
        Message, Problem, ProblemKind, SkipGroup,
    },
    state::State,
};
use crate::{
    base::{
        facts::Facts,
        phase::Phase,
        text::{one_line, safe_lines},
        text_set::TextSet,
        time::Timestamp,
    },
    journal::{Acceptance, Failure, Finding, Moment, RebootVerdict, Skip, StepId, Then},
    plan::Plan,
    playbook::Severity,
};
use std::collections::BTreeMap;

/// How many different messages of one finding are kept; the rest says the same in other numbers.
const MESSAGES_MAX: usize = 5;

/// How many lines of output stand as evidence: what fits beside its neighbours on one screen.
const EVIDENCE_LINES_MAX: usize = 12;

/// Every way to fail that ended a host's forward way.
pub(super) fn failures(
    plan: &Plan,
    history: &History<'_>,
    hosts: &[HostReport],
) -> Vec<FailureGroup> {
    let mut groups: Vec<FailureGroup> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (host, report) in history.hosts.iter().zip(hosts) {
        for (group, case) in host_failures(plan, host, report) {
            let key = format!(
                "{:?}|{}|{:?}|{}|{}",
                group.step,
                group.failure,
                group.then,
                group.state.word(),
                group.touched
            );
            let place = *places.entry(key).or_insert_with(|| {
                groups.push(group);
                groups.len() - 1
            });
            groups[place].cases.push(case);
        }
    }
    // What asks for a person comes first, then what happened first.
    groups.sort_by_key(|group| {
        let first = group.cases.iter().map(|case| case.at).min();
        (std::cmp::Reverse(group.state.tone()), first)
    });
    groups
}

fn host_failures(
    plan: &Plan,
    host: &HostHistory<'_>,
    report: &HostReport,
) -> Vec<(FailureGroup, FailureCase)> {
    let decisive = |failed: &&FailedAttempt<'_>| match failed.then {
        Then::RollBack | Then::GiveUp => true,
        // A blocker is a finding; a retry or a warning ended nothing.
        Then::Retry { .. } | Then::GoOn | Then::Block => false,
    };
    let mut found: Vec<(FailureGroup, FailureCase)> = host
        .failed
        .iter()
        .filter(decisive)
        .map(|failed| attempt_failure(plan, host, report, failed))
        .collect();
    // Why a host is blocked is told as a finding, where there is one.
    let told = !found.is_empty() || host.findings.iter().any(|(_, f)| f.blocks());
    if let (false, Some(failure), Some(at)) = (told, host.failure, host.ended) {
        let group = failure_group(plan, report, None, failure, None);
        let case = FailureCase {
            host: report.name.clone(),
            at,
            attempt: None,
            evidence: Vec::new(),
            settled_ms: None,
        };
        found.push((group, case));
    }
    found
}

fn attempt_failure(
    plan: &Plan,
    host: &HostHistory<'_>,
    report: &HostReport,
    failed: &FailedAttempt<'_>,
) -> (FailureGroup, FailureCase) {
    let case = FailureCase {
        host: report.name.clone(),
        at: failed.at,
        attempt: Some(failed.attempt),
        evidence: evidence(failed.tail),
        settled_ms: host.ended.map(|ended| millis(failed.at, ended)),
    };
    (failure_group(plan, report, Some(failed.step), failed.failure, Some(failed.then)), case)
}

fn failure_group(
    plan: &Plan,
    report: &HostReport,
    step: Option<&StepId>,
    failure: &Failure,
    then: Option<&Then>,
) -> FailureGroup {
    let planned = step.and_then(|step| plan.step_index(step)).and_then(|i| plan.steps.get(i));
    FailureGroup {
        step: step.cloned(),
        failure: safe_failure(failure),
        then: then.cloned(),
        state: report.state,
        touched: report.touched,
        remedy: planned.and_then(|s| s.remedy.as_deref()).map(|text| one_line(text).into_owned()),
        cases: Vec::new(),
    }
}

/// The last lines of an output, safe to show.
pub(super) fn evidence(tail: &str) -> Vec<String> {
    let mut lines = safe_lines(tail.as_bytes());
    while lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
    lines.split_off(lines.len().saturating_sub(EVIDENCE_LINES_MAX))
}

/// A failure whose texts cannot steer a terminal: hosts said some of them.
pub(super) fn safe_failure(failure: &Failure) -> Failure {
    let safe = |text: &String| one_line(text).into_owned();
    match failure {
        Failure::Unreachable { reason } => Failure::Unreachable { reason: safe(reason) },
        Failure::Exited { code } => Failure::Exited { code: *code },
        Failure::Killed { signal } => Failure::Killed { signal: safe(signal) },
        Failure::TimedOut { limit_ms, stopped } => {
            Failure::TimedOut { limit_ms: *limit_ms, stopped: *stopped }
        }
        Failure::Lost { reason } => Failure::Lost { reason: safe(reason) },
        Failure::Unverified { check, reason } => {
            Failure::Unverified { check: safe(check), reason: safe(reason) }
        }
        Failure::Refused { reason } => Failure::Refused { reason: safe(reason) },
        Failure::Reboot(verdict) => Failure::Reboot(safe_verdict(verdict)),
    }
}

/// The same for the verdict of a reboot.
fn safe_verdict(verdict: &RebootVerdict) -> RebootVerdict {
    let safe = |text: &String| one_line(text).into_owned();
    match verdict {
        RebootVerdict::StayedUp { .. }
        | RebootVerdict::NeverBack { .. }
        | RebootVerdict::NotOver { .. } => verdict.clone(),
        RebootVerdict::OldSystem { system } => {
            RebootVerdict::OldSystem { system: safe_system(system) }
        }
        RebootVerdict::WrongSystem { system, wanted } => RebootVerdict::WrongSystem {
            system: system.as_ref().map(safe_system),
            wanted: safe_system(wanted),
        },
        RebootVerdict::KeyChanged { shown, expected, revoked } => RebootVerdict::KeyChanged {
            shown: safe(shown),
            expected: expected.as_ref().map(safe),
            revoked: *revoked,
        },
        RebootVerdict::OtherMachine { was, is } => {
            RebootVerdict::OtherMachine { was: safe(was), is: safe(is) }
        }
    }
}

/// The step that was the first to tell of a key in its hop: a migrator that tries first and then migrates says the same twice.
type Tellers<'a> = BTreeMap<(u16, &'a str), &'a StepId>;

fn tellers<'a>(history: &History<'a>) -> Tellers<'a> {
    let mut tellers = BTreeMap::new();
    for (_, finding) in history.hosts.iter().flat_map(|host| &host.findings) {
        if let Some(key) = finding.key() {
            tellers.entry((finding.step.hop, key)).or_insert(&finding.step);
        }
    }
    tellers
}

fn teller<'a>(tellers: &Tellers<'a>, finding: &'a Finding) -> &'a StepId {
    let told = finding.key().and_then(|key| tellers.get(&(finding.step.hop, key)));
    told.copied().unwrap_or(&finding.step)
}

/// The findings of all hosts, safe to print.
pub(super) fn findings(history: &History<'_>, hosts: &[HostReport]) -> Vec<FindingGroup> {
    let tellers = tellers(history);
    let items = history.hosts.iter().enumerate().flat_map(|(host, told)| {
        let findings = told.findings.iter().map(move |(at, finding)| (host, *at, *finding));
        findings.map(|(host, at, finding)| Item {
            host,
            at,
            step: teller(&tellers, finding),
            finding,
        })
    });
    let safe = |text: &str| one_line(text).into_owned();
    let group = |found: Found<'_, Timestamp>| {
        let Finding { severity, remedy, reported, accepted, .. } = found.finding;
        let summary = reported.as_ref().map(|reported| reported.summary.as_str());
        let messages = found.messages.iter().take(MESSAGES_MAX);
        FindingGroup {
            step: found.step.clone(),
            severity: *severity,
            key: found.finding.key().map(safe),
            summary: summary.filter(|s| !s.is_empty()).map(safe),
            remedy: remedy.as_deref().map(safe),
            accepted: accepted.as_ref().map(|accepted| Acceptance {
                by: safe(&accepted.by),
                until: accepted.until.clone(),
                reason: safe(&accepted.reason),
                expired: accepted.expired,
            }),
            messages: messages
                .map(|(text, hosts)| Message { text: safe(text), hosts: *hosts })
                .collect(),
            first: found.first,
            hosts: found.hosts.iter().map(|host| hosts[*host].name.clone()).collect(),
        }
    };
    grouped(items).into_iter().map(group).collect()
}

pub(super) fn skipped(history: &History<'_>, hosts: &[HostReport]) -> Vec<SkipGroup> {
    let mut groups: BTreeMap<(&StepId, u8, &str), (&Skip, Vec<String>)> = BTreeMap::new();
    for (host, report) in history.hosts.iter().zip(hosts) {
        for (step, reason) in &host.skipped {
            let (kind, text) = match reason {
                Skip::Guard { unless } => (0, unless),
                Skip::Condition { when } => (1, when),
                Skip::Proven { probe } => (2, probe),
            };
            let group = groups.entry((step, kind, text)).or_insert((reason, Vec::new()));
            group.1.push(report.name.clone());
        }
    }
    let group = |((step, _, _), (reason, hosts)): ((&StepId, u8, &str), (&Skip, Vec<String>))| {
        SkipGroup { step: step.clone(), reason: safe_skip(reason), hosts }
    };
    groups.into_iter().map(group).collect()
}

fn safe_skip(reason: &Skip) -> Skip {
    let safe = |text: &String| one_line(text).into_owned();
    match reason {
        Skip::Guard { unless } => Skip::Guard { unless: safe(unless) },
        Skip::Condition { when } => Skip::Condition { when: safe(when) },
        Skip::Proven { probe } => Skip::Proven { probe: safe(probe) },
    }
}

pub(super) fn changes(history: &History<'_>, hosts: &[HostReport]) -> Vec<Change> {
    let mut groups: BTreeMap<(Aspect, Moment, String, String), Vec<String>> = BTreeMap::new();
    for (host, report) in history.hosts.iter().zip(hosts) {
        let (Some(before), Some((moment, after))) = at_rest(host, report) else { continue };
        for aspect in [Aspect::System, Aspect::Kernel, Aspect::Openssl] {
            let (was, is) = (said(before, aspect), said(after, aspect));
            if was.is_empty() && is.is_empty() {
                continue;
            }
            groups.entry((aspect, moment, was, is)).or_default().push(report.name.clone());
        }
    }
    let mut changes: Vec<Change> = groups
        .into_iter()
        .map(|((aspect, moment, before, after), hosts)| Change {
            aspect,
            before,
            after,
            moment,
            hosts,
        })
        .collect();
    changes.sort_by_key(|c| (c.aspect, c.moment, std::cmp::Reverse(c.hosts.len())));
    changes
}

/// The first and the last look at a host, where it does not stand between two hops.
fn at_rest<'a>(
    host: &HostHistory<'a>,
    report: &HostReport,
) -> (Option<&'a Facts>, Option<(Moment, &'a Facts)>) {
    // One that is held, or released and waiting for a slot, has not come to its end either.
    let under_way = report.state.is_in_flight()
        || matches!(report.state, State::Held | State::Pending | State::NotStarted);
    if under_way { (None, None) } else { (host.before, host.after) }
}

fn said(facts: &Facts, aspect: Aspect) -> String {
    let text = match aspect {
        Aspect::System if !facts.pretty_name.is_empty() => facts.pretty_name.clone(),
        Aspect::System => facts.system.as_ref().map(ToString::to_string).unwrap_or_default(),
        Aspect::Kernel => facts.kernel.clone(),
        Aspect::Openssl => facts.openssl.clone(),
        Aspect::Services | Aspect::Ports | Aspect::Mounts | Aspect::FailedUnits => String::new(),
    };
    one_line(&text).into_owned()
}

pub(super) fn differences(history: &History<'_>, hosts: &[HostReport]) -> Vec<Difference> {
    type Set = fn(&Facts) -> &TextSet;
    let aspects: [(Aspect, Set); 4] = [
        (Aspect::Services, |facts| &facts.services),
        (Aspect::Ports, |facts| &facts.ports),
        (Aspect::Mounts, |facts| &facts.mounts),
        (Aspect::FailedUnits, |facts| &facts.failed_units),
    ];
    let mut differences = Vec::new();
    for (aspect, set) in aspects {
        let mut same = 0;
        let mut lost: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut gained: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut compared = 0;
        for (host, report) in history.hosts.iter().zip(hosts) {
            let (Some(before), Some((Moment::After, after))) = at_rest(host, report) else {
                continue;
            };
            let (before, after) = (set(before), set(after));
            compared += usize::from(!before.is_empty() || !after.is_empty());
            same += usize::from(before == after && !before.is_empty());
            for item in before.difference(after) {
                lost.entry(item).or_default().push(report.name.clone());
            }
            for item in after.difference(before) {
                gained.entry(item).or_default().push(report.name.clone());
            }
        }
        if compared > 0 {
            differences.push(Difference { aspect, same, lost: items(lost), gained: items(gained) });
        }
    }
    differences
}

fn items(of: BTreeMap<&str, Vec<String>>) -> Vec<ItemHosts> {
    let mut items: Vec<ItemHosts> = of
        .into_iter()
        .map(|(item, hosts)| ItemHosts { item: one_line(item).into_owned(), hosts })
        .collect();
    items.sort_by_key(|item| std::cmp::Reverse(item.hosts.len()));
    items
}

/// The table of problems: failures, what a retry mended, findings, pauses; in the order in which they came up.
pub(super) fn problems(
    history: &History<'_>,
    hosts: &[HostReport],
    failures: &[FailureGroup],
    findings: &[FindingGroup],
) -> Vec<Problem> {
    let mut problems: Vec<Problem> = failures.iter().filter_map(failure_problem).collect();
    problems.extend(retried(history, hosts));
    // Of a step that has failed the failure is told; its report's findings say why, in their own table.
    let is_problem = |finding: &&FindingGroup| match finding.severity {
        Severity::Info => false,
        Severity::Warning => true,
        Severity::Blocker => finding.step.phase == Phase::Precheck || !finding.blocks(),
    };
    problems.extend(findings.iter().filter(is_problem).map(|finding| Problem {
        kind: ProblemKind::Finding,
        step: Some(finding.step.clone()),
        what: finding.messages.first().map(|message| message.text.clone()).unwrap_or_default(),
        first: finding.first,
        state: finding.blocks().then_some(State::Blocked),
        remedy: finding.remedy.clone(),
        fixed_ms: None,
        hosts: finding.hosts.clone(),
    }));
    problems.extend(history.pauses.iter().map(|pause| Problem {
        kind: ProblemKind::Pause,
        step: None,
        what: pause.reason.clone(),
        first: pause.at,
        state: None,
        remedy: None,
        fixed_ms: pause.resumed.map(|resumed| millis(pause.at, resumed)),
        hosts: Vec::new(),
    }));
    problems.sort_by_key(|problem| problem.first);
    problems
}

fn failure_problem(group: &FailureGroup) -> Option<Problem> {
    let first = group.cases.iter().map(|case| case.at).min()?;
    // Only a rollback that is proven settles a failure; everything else waits for a person.
    let settled = group.state == State::RolledBack;
    Some(Problem {
        kind: ProblemKind::Failure,
        step: group.step.clone(),
        what: group.failure.to_string(),
        first,
        state: Some(group.state),
        remedy: group.remedy.clone(),
        fixed_ms: group.cases.iter().filter_map(|c| c.settled_ms).max().filter(|_| settled),
        hosts: group.cases.iter().map(|case| case.host.clone()).collect(),
    })
}

fn retried(history: &History<'_>, hosts: &[HostReport]) -> Vec<Problem> {
    let mut groups: BTreeMap<(&StepId, String), Problem> = BTreeMap::new();
    for (host, report) in history.hosts.iter().zip(hosts) {
        for failed in &host.failed {
            let (Then::Retry { .. }, Some(passed)) = (failed.then, failed.passed_at) else {
                continue;
            };
            let what = safe_failure(failed.failure).to_string();
            let took = millis(failed.at, passed);
            let problem = groups.entry((failed.step, what.clone())).or_insert_with(|| Problem {
                kind: ProblemKind::Retried,
                step: Some(failed.step.clone()),
                what,
                first: failed.at,
                state: None,
                remedy: None,
                fixed_ms: Some(took),
                hosts: Vec::new(),
            });
            problem.first = problem.first.min(failed.at);
            problem.fixed_ms = problem.fixed_ms.max(Some(took));
            if problem.hosts.last() != Some(&report.name) {
                problem.hosts.push(report.name.clone());
            }
        }
    }
    groups.into_values().collect()
}
