//! Counts the report out of the history.

use super::{
    build_groups as groups,
    history::{History, safe_system},
    model::{
        Batch, DarkStats, HopReport, HostReport, HostSystem, REPORT_FORMAT, Report, RunInfo,
        RunStanding, StepStats, Summary,
    },
    state::State,
};
use crate::{
    base::{facts::Facts, name::RunId, quantile::quantile, text::one_line, time::Timestamp},
    journal::{Record, StepId},
    plan::{Plan, PlanWave},
    run::{HostState, RunState},
};
use std::collections::BTreeMap;

impl Report {
    /// Makes the report of a run from its records, whether it goes on, rests, failed or is done.
    pub fn build(plan: &Plan, digest: &str, run: &RunId, records: &[Record]) -> Self {
        let (state, fault) = replay(plan, records);
        // A record that cannot follow those before it ends what can be told.
        let told = usize::try_from(state.next_seq).unwrap_or(records.len()).min(records.len());
        let history = History::new(plan, &records[..told]);
        let hosts: Vec<HostReport> = (0..plan.hosts.len())
            .map(|i| host_report(plan, i, &history, &state.hosts[i]))
            .collect();
        let everyone: Vec<usize> = (0..hosts.len()).collect();
        let mut total = batch("", &everyone, &hosts);
        total.started = history.started;
        total.ended = history.finished.map(|(_, at)| at);
        let failures = groups::failures(plan, &history, &hosts);
        let findings = groups::findings(&history, &hosts);
        let problems = groups::problems(&history, &hosts, &failures, &findings);
        Self {
            format: REPORT_FORMAT,
            run: RunInfo { fault, records: told, ..run_info(plan, digest, run, &history) },
            summary: Summary {
                verdict: history.finished.map(|(verdict, _)| verdict),
                hosts: hosts.len(),
                on_target: total.on_target,
                completion_percent: total.success_percent,
                counts: total.counts.clone(),
            },
            batches: batches(plan, &history, &hosts),
            approvals: history.approvals.clone(),
            hops: hops(plan, &history),
            changes: groups::changes(&history, &hosts),
            differences: groups::differences(&history, &hosts),
            steps: steps(plan, &history, &hosts),
            skipped: groups::skipped(&history, &hosts),
            dark: dark(&hosts),
            total,
            findings,
            failures,
            problems,
            hosts,
        }
    }
}

/// The state after all records, or after those before the first that is not legal, and what is wrong with that one.
fn replay(plan: &Plan, records: &[Record]) -> (RunState, Option<String>) {
    let mut state = RunState::new(plan);
    for record in records {
        if let Err(illegal) = state.apply(plan, record) {
            return (state, Some(one_line(&illegal.to_string()).into_owned()));
        }
    }
    (state, None)
}

fn run_info(plan: &Plan, digest: &str, run: &RunId, history: &History<'_>) -> RunInfo {
    let safe = |text: &str| one_line(text).into_owned();
    let rests = history.pauses.last().is_some_and(|pause| pause.resumed.is_none());
    let state = match history.finished {
        Some(_) => RunStanding::Finished,
        None if rests => RunStanding::Paused,
        None => RunStanding::Running,
    };
    RunInfo {
        id: safe(run.as_str()),
        plan: safe(digest),
        playbook: safe(&plan.playbook),
        title: safe(&plan.title),
        support: plan.support.as_deref().map(safe),
        selection: safe(&plan.selection),
        target: plan.to().map(safe_system),
        operator: history.operator.map(safe),
        controller: history.controller.map(safe),
        version: history.version.map(safe),
        started: history.started,
        ended: history.finished.map(|(_, at)| at),
        as_of: history.as_of,
        records: 0,
        fault: None,
        state,
        pauses: history.pauses.clone(),
        takeovers: history.takeovers.clone(),
        can_commit: plan.hops.iter().any(|hop| !hop.commit.is_empty()),
    }
}

fn host_report(plan: &Plan, index: usize, history: &History<'_>, now: &HostState) -> HostReport {
    let host = &plan.hosts[index];
    let finished = history.finished.is_some();
    let history = &history.hosts[index];
    let safe = |text: &str| one_line(text).into_owned();
    HostReport {
        name: safe(host.name.as_str()),
        groups: host.groups.iter().map(|group| safe(group.as_str())).collect(),
        wave: plan.waves.get(host.wave).map(|wave| safe(wave.name.as_str())).unwrap_or_default(),
        state: State::of(now, finished),
        touched: history.touched.unwrap_or_else(|| now.is_touched(plan)),
        armed: now.armed,
        held_by: now.held_by.as_deref().map(safe),
        at_step: history.at_step.cloned(),
        started: history.started,
        ended: history.ended,
        duration_ms: history.started.zip(history.ended).map(|(from, to)| millis(from, to)),
        dark_ms: history.dark_ms,
        attempts: history.attempts,
        retries: history.retries,
        failure: history.failure.map(groups::safe_failure),
        before: history.before.map(host_system),
        after: history.after.map(|(_, facts)| host_system(facts)),
        boots: history.boots.clone(),
        segments: history.segments.clone(),
    }
}

fn host_system(facts: &Facts) -> HostSystem {
    HostSystem {
        system: facts.system.as_ref().map(safe_system),
        kernel: one_line(&facts.kernel).into_owned(),
        openssl: one_line(&facts.openssl).into_owned(),
    }
}

/// Whole milliseconds from one point to a later one.
pub(super) fn millis(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
}

fn batches(plan: &Plan, history: &History<'_>, hosts: &[HostReport]) -> Vec<Batch> {
    let one = |(wave, times): (&PlanWave, &(Option<Timestamp>, Option<Timestamp>))| {
        let mut batch = batch(&one_line(wave.name.as_str()), &wave.hosts, hosts);
        batch.started = times.0;
        batch.ended = times.1;
        batch
    };
    plan.waves.iter().zip(&history.waves).map(one).collect()
}

fn batch(name: &str, members: &[usize], hosts: &[HostReport]) -> Batch {
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut on_target = 0;
    for state in members.iter().filter_map(|i| hosts.get(*i)).map(|host| host.state) {
        *counts.entry(state.word()).or_default() += 1;
        on_target += usize::from(state.is_good());
    }
    Batch {
        name: name.to_owned(),
        planned: members.len(),
        on_target,
        counts,
        success_percent: percent(on_target, members.len()),
        started: None,
        ended: None,
    }
}

/// A share in percent, to one decimal, and never rounded up to a whole that it is not.
fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    let tenths = (part * 2000 + whole) / (whole * 2);
    let tenths = if part < whole { tenths.min(999) } else { tenths };
    tenths as f64 / 10.0
}

fn hops(plan: &Plan, history: &History<'_>) -> Vec<HopReport> {
    let one = |(index, hop): (usize, &crate::plan::PlanHop)| {
        let (mut began, mut reached, mut rolled_back, mut lengths) = (0, 0, 0, Vec::new());
        for host in &history.hosts {
            let from = host.began.iter().find(|(hop, _)| usize::from(*hop) == index);
            let to = host.reached.iter().find(|(hop, _)| usize::from(*hop) == index);
            began += usize::from(from.is_some());
            reached += usize::from(to.is_some());
            rolled_back +=
                usize::from(host.rolled_back.iter().any(|hop| usize::from(*hop) == index));
            lengths.extend(from.zip(to).map(|(from, to)| millis(from.1, to.1)));
        }
        lengths.sort_unstable();
        HopReport {
            name: one_line(&hop.name).into_owned(),
            title: one_line(&hop.title).into_owned(),
            from: hop.from.as_ref().map(safe_system),
            to: hop.to.as_ref().map(safe_system),
            began,
            reached,
            rolled_back,
            p50_ms: quantile(&lengths, 50),
        }
    };
    plan.hops.iter().enumerate().map(one).collect()
}

#[derive(Default)]
struct Tally {
    lengths: Vec<u64>,
    slowest: Option<(u64, usize)>,
    failed: usize,
    skipped: usize,
    retries: usize,
}

fn steps(plan: &Plan, history: &History<'_>, hosts: &[HostReport]) -> Vec<StepStats> {
    let mut tallies: BTreeMap<&StepId, Tally> = BTreeMap::new();
    for (index, host) in history.hosts.iter().enumerate() {
        for (step, length) in &host.passed {
            let tally = tallies.entry(step).or_default();
            tally.lengths.push(*length);
            if tally.slowest.is_none_or(|(longest, _)| longest < *length) {
                tally.slowest = Some((*length, index));
            }
        }
        for failed in &host.failed {
            let tally = tallies.entry(failed.step).or_default();
            tally.failed += 1;
            tally.retries += usize::from(matches!(failed.then, crate::journal::Then::Retry { .. }));
        }
        for (step, _) in &host.skipped {
            tallies.entry(step).or_default().skipped += 1;
        }
    }
    let mut steps: Vec<(usize, StepStats)> = tallies
        .into_iter()
        .map(|(step, tally)| {
            let place = plan.step_index(step).unwrap_or(usize::MAX);
            (place, step_stats(step, tally, hosts))
        })
        .collect();
    steps.sort_by_key(|(place, _)| *place);
    steps.into_iter().map(|(_, stats)| stats).collect()
}

fn step_stats(step: &StepId, mut tally: Tally, hosts: &[HostReport]) -> StepStats {
    tally.lengths.sort_unstable();
    StepStats {
        step: step.clone(),
        passed: tally.lengths.len(),
        failed: tally.failed,
        skipped: tally.skipped,
        retries: tally.retries,
        p50_ms: quantile(&tally.lengths, 50),
        p95_ms: quantile(&tally.lengths, 95),
        max_ms: tally.lengths.last().copied(),
        slowest: tally.slowest.and_then(|(_, i)| hosts.get(i)).map(|host| host.name.clone()),
    }
}

fn dark(hosts: &[HostReport]) -> Option<DarkStats> {
    let longest = hosts.iter().filter(|h| h.dark_ms > 0).max_by_key(|host| host.dark_ms)?;
    let mut lengths: Vec<u64> =
        hosts.iter().map(|host| host.dark_ms).filter(|ms| *ms > 0).collect();
    lengths.sort_unstable();
    Some(DarkStats {
        hosts: lengths.len(),
        p50_ms: quantile(&lengths, 50)?,
        p95_ms: quantile(&lengths, 95)?,
        max_ms: longest.dark_ms,
        longest: longest.name.clone(),
        total_ms: lengths.iter().sum(),
    })
}

/// The states that a batch has, with their numbers, in the order of showing.
pub(super) fn in_order(counts: &BTreeMap<&'static str, usize>) -> Vec<(State, usize)> {
    State::ALL
        .into_iter()
        .filter_map(|state| counts.get(state.word()).map(|n| (state, *n)))
        .filter(|(_, n)| *n > 0)
        .collect()
}
