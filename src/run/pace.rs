//! How long things take: a forecast for steps and for the rest of a host's way, by what was measured where enough was.

use super::{
    decide::rehearses,
    host::{HostPhase, HostState, Way},
    state::RunState,
};
use crate::{
    base::{quantile::quantile, time::Timestamp},
    plan::{MEASURED_MIN, Plan},
};
use serde::Serialize;
use std::{collections::BTreeMap, ops::Range, time::Duration};

/// How long attempts of each step took in this run, by the step's index; in milliseconds, sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pace(BTreeMap<usize, Vec<u64>>);

/// Which of the lengths that a step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Half of the hosts take no longer.
    P50,
    /// Nine of ten hosts take no longer: what must fit into a window.
    P90,
}

impl Mark {
    fn percent(self) -> usize {
        match self {
            Self::P50 => 50,
            Self::P90 => 90,
        }
    }
}

/// Where a forecast comes from. The order is that of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The playbook's own estimates.
    Playbook,
    /// Runs of the same playbook before this one.
    PastRuns,
    /// What this run has measured.
    ThisRun,
}

impl Pace {
    pub(super) fn take(&mut self, step: usize, millis: u64) {
        let lengths = self.0.entry(step).or_default();
        let place = lengths.partition_point(|known| *known <= millis);
        lengths.insert(place, millis);
    }

    fn of(&self, step: usize, mark: Mark) -> Option<Duration> {
        let lengths = self.0.get(&step).filter(|lengths| lengths.len() >= MEASURED_MIN)?;
        quantile(lengths, mark.percent()).map(Duration::from_millis)
    }
}

/// How long a step takes: by this run where it has measured enough, else by runs before it, else by the playbook's word.
pub(super) fn step_length(
    plan: &Plan,
    state: &RunState,
    step: usize,
    mark: Mark,
) -> (Duration, Basis) {
    if let Some(length) = state.pace.of(step, mark) {
        return (length, Basis::ThisRun);
    }
    let planned = &plan.steps[step];
    match (&planned.measured, mark) {
        (Some(measured), Mark::P50) => (measured.p50, Basis::PastRuns),
        (Some(measured), Mark::P90) => (measured.p90, Basis::PastRuns),
        (None, _) => (planned.estimate, Basis::Playbook),
    }
}

/// How long the rest of a host's way takes. What is known to be skipped takes no time; retries and a rollback that may
/// come are nobody's forecast.
pub fn rest_of_way(
    plan: &Plan,
    state: &RunState,
    index: usize,
    mark: Mark,
    now: Timestamp,
) -> Duration {
    let host = &state.hosts[index];
    if host.already || host.blocked || host.fate.is_some() {
        return Duration::ZERO;
    }
    let length = |step: usize| match plan.rendered(index, step).skip {
        Some(_) => Duration::ZERO,
        None => step_length(plan, state, step, mark).0,
    };
    let mut rest: Duration = steps_left(plan, host).map(length).sum();
    if host.rehearsing {
        rest += plan.hops.iter().flat_map(|hop| hop.forward.clone()).map(length).sum::<Duration>();
    } else if will_rehearse(plan, state, index) {
        let once_more =
            plan.hops.iter().flat_map(|hop| hop.rollback.clone().chain(hop.forward.clone()));
        rest += once_more.map(length).sum::<Duration>();
    }
    match host.phase {
        // The step that runs is a part of the rest, and some of it is over.
        HostPhase::Running { step, .. } => {
            rest.saturating_sub(now.since(host.since).min(length(step)))
        }
        HostPhase::Pending
        | HostPhase::Idle
        | HostPhase::Waiting { .. }
        | HostPhase::Resting { .. } => rest,
        HostPhase::Ended(_) => Duration::ZERO,
    }
}

/// Whether a host is, or will be, a canary that goes its way twice.
fn will_rehearse(plan: &Plan, state: &RunState, index: usize) -> bool {
    let (host, number) = (&state.hosts[index], plan.hosts[index].wave);
    let next = || {
        let mut next = state.waves[number].ready.iter().take(state.canaries_left(plan, number));
        next.any(|next| *next == index)
    };
    rehearses(plan, state, index) && (host.is_in_flight() || host.between || next())
}

/// The steps that are still to come for a host, as far as anyone can know.
fn steps_left(plan: &Plan, host: &HostState) -> impl Iterator<Item = usize> {
    let hops = plan.hops.iter();
    // The range that the host is in comes first: of that one only the rest is left.
    let mut ranges: Vec<Range<usize>> = match host.way {
        Way::Forward => hops.skip(host.hop).map(|hop| hop.forward.clone()).collect(),
        Way::Back { hop, all } => {
            let hops = hops.take(hop + 1).rev().take(if all { usize::MAX } else { 1 });
            hops.map(|hop| hop.rollback.clone()).collect()
        }
        Way::Commit { hop } => hops.skip(hop).map(|hop| hop.commit.clone()).collect(),
    };
    if let Some(range) = ranges.first_mut() {
        range.start = range.start.max(host.cursor);
    }
    ranges.into_iter().flatten()
}

/// What most of the forecast of this way rests on: the least trusted of the bases that carry a tenth of it or more.
pub fn basis(plan: &Plan, state: &RunState) -> Basis {
    let mut by: BTreeMap<Basis, Duration> = BTreeMap::new();
    for step in plan.hops.iter().flat_map(|hop| hop.forward.clone()) {
        let (length, basis) = step_length(plan, state, step, Mark::P90);
        *by.entry(basis).or_default() += length;
    }
    let whole: Duration = by.values().sum();
    let carries = |length: &Duration| *length * 10 >= whole;
    by.iter().find(|(_, length)| carries(length)).map_or(Basis::Playbook, |(basis, _)| *basis)
}
