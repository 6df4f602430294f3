//! What a migrator's own report means for a host: findings by key, and whether the step has failed.

use crate::{
    base::{phase::Phase, time::Timestamp},
    journal::{Failure, Finding, Reported},
    migrator::{Item, Said, clean, told, weigh},
    plan::{Plan, PlanStep},
    playbook::{Reads, Severity},
};

/// Findings of one attempt that are kept, those that block first: a report of a host that was never tidied has dozens.
const FINDINGS_MAX: usize = 40;
/// What blocks, in the record of a failure, in lines: fewer than of an output, since a title may be long.
const EVIDENCE_LINES: usize = 8;
/// Of titles in a failure, in characters.
const TITLES_MAX: usize = 300;

/// What came of a report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    pub findings: Vec<Finding>,
    pub failure: Option<Failure>,
    /// What blocks, a line each, where that is all there is to know. Beside a doubt the output says more.
    pub evidence: Option<String>,
}

/// Weighs what a migrator has said to this host's step, with what was accepted.
pub fn hear(
    plan: &Plan,
    host: usize,
    step: usize,
    reads: Reads,
    said: &Said<'_>,
    now: Timestamp,
) -> Heard {
    let planned = &plan.steps[step];
    let items = weigh(reads, said);
    let mut findings: Vec<Finding> =
        items.iter().map(|item| finding(plan, host, step, reads, item, now)).collect();
    let open: Vec<&Finding> = findings.iter().filter(|finding| finding.blocks()).collect();
    let failure = (!open.is_empty()).then(|| failure(reads, said.exit, &open));
    let doubts = items.iter().any(|item| item.blocks() && !item.acceptable);
    let evidence = (!doubts && !open.is_empty()).then(|| evidence(&open));
    keep_the_first(planned, reads, &mut findings);
    Heard { findings, failure, evidence }
}

/// What a step has told that was ended, or whose end nobody saw: why it failed is known, and this is what was found until
/// then.
pub fn hear_until_then(
    plan: &Plan,
    host: usize,
    step: usize,
    reads: Reads,
    said: &Said<'_>,
    now: Timestamp,
) -> Vec<Finding> {
    let items = told(reads, said);
    let mut findings = items.iter().map(|i| finding(plan, host, step, reads, i, now)).collect();
    keep_the_first(&plan.steps[step], reads, &mut findings);
    findings
}

/// What is open comes before what is accepted, so that it is never among what is left out.
fn keep_the_first(planned: &PlanStep, reads: Reads, findings: &mut Vec<Finding>) {
    if findings.len() > FINDINGS_MAX {
        findings.sort_by_key(|finding| (!finding.blocks(), std::cmp::Reverse(finding.severity)));
        let left_out = findings.split_off(FINDINGS_MAX - 1);
        findings.push(rest(planned, reads, &left_out));
    }
}

fn finding(
    plan: &Plan,
    host: usize,
    step: usize,
    reads: Reads,
    item: &Item,
    now: Timestamp,
) -> Finding {
    let planned = &plan.steps[step];
    let key = format!("{reads}:{}", item.key);
    // A precheck that only warns does not block, whatever it finds.
    let most = match planned.id.phase {
        Phase::Precheck => planned.severity,
        Phase::Backup | Phase::Migrate | Phase::Verify | Phase::Rollback | Phase::Commit => {
            Severity::Blocker
        }
    };
    let severity = item.severity.min(most);
    let accepted = match severity == Severity::Blocker && item.acceptable {
        true => plan.acceptance(host, step, Some((&key, &item.title)), now),
        false => None,
    };
    Finding {
        step: planned.id.clone(),
        severity,
        message: item.title.clone(),
        remedy: item.remedy.clone().or_else(|| planned.remedy.clone().filter(|_| item.blocks())),
        accepted: accepted.map(Box::new),
        notice: None,
        reported: Some(Box::new(Reported { key, summary: item.summary.clone() })),
    }
}

fn failure(reads: Reads, exit: i32, open: &[&Finding]) -> Failure {
    let titles: Vec<&str> = open.iter().map(|finding| finding.message.as_str()).collect();
    let count = match open.len() {
        1 => "1 blocker".to_owned(),
        n => format!("{n} blockers"),
    };
    let exit = match exit {
        0 => "though it ended with exit code 0".to_owned(),
        code => format!("exit code {code}"),
    };
    let reason = format!("{count}: {} ({exit})", clean(&titles.join("; "), TITLES_MAX));
    Failure::Unverified { check: format!("a clean report of {reads}"), reason }
}

fn evidence(open: &[&Finding]) -> String {
    let lines = open.iter().take(EVIDENCE_LINES).map(|finding| {
        let key = finding.key().unwrap_or_default();
        format!("{key} {}", finding.message)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Tells what is not kept.
fn rest(planned: &PlanStep, reads: Reads, left_out: &[Finding]) -> Finding {
    let blocks = left_out.iter().filter(|finding| finding.blocks()).count();
    let message = match blocks {
        0 => format!("{} more findings are in its report on the host", left_out.len()),
        n => format!(
            "{} more findings are in its report on the host, {n} of them block",
            left_out.len()
        ),
    };
    Finding {
        step: planned.id.clone(),
        severity: if blocks > 0 { Severity::Warning } else { Severity::Info },
        message,
        remedy: None,
        accepted: None,
        notice: None,
        reported: Some(Box::new(Reported { key: format!("{reads}:more"), summary: String::new() })),
    }
}
