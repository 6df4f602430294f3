//! What the display remembers beside the state: who is in flight, in the order of their start, and how long hosts took.

use crate::{
    base::time::Timestamp,
    journal::{End, Event, Record},
    plan::Plan,
    report::build::millis,
    run::{RunState, quantile},
};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(in crate::report) struct Track {
    /// Hosts in flight by when they came: the oldest first, so that lines do not jump.
    flying: BTreeMap<u64, usize>,
    came: BTreeMap<usize, u64>,
    next: u64,
    /// How long each migrated host took, sorted.
    took: Vec<u64>,
    /// When the display saw its first record, and how many hosts have ended since.
    pub since: Option<Timestamp>,
    pub ended: usize,
}

impl Track {
    /// Looks at every host once; from then on only at those that move.
    pub fn new(plan: &Plan, state: &RunState) -> Self {
        let mut track = Self::default();
        for index in 0..plan.hosts.len() {
            let Some(host) = state.hosts.get(index) else { continue };
            if host.is_in_flight() {
                track.come(index);
            }
            if let (crate::run::HostPhase::Ended(End::Migrated), Some(from)) =
                (&host.phase, host.started)
            {
                insert(&mut track.took, millis(from, host.since));
            }
        }
        track
    }

    pub fn take(&mut self, record: &Record, state: &RunState) {
        self.since.get_or_insert(record.at);
        let Some(index) = record.event.host().and_then(|host| state.host(host)) else { return };
        match &record.event {
            Event::HostStarted { .. } | Event::HostReopened { .. } => self.come(index),
            Event::HostFinished { end, .. } => {
                self.go(index);
                self.ended += 1;
                let started = state.hosts.get(index).and_then(|host| host.started);
                if let (End::Migrated, Some(from)) = (end, started) {
                    insert(&mut self.took, millis(from, record.at));
                }
            }
            Event::HostHeld { .. } => self.go(index),
            Event::RunStarted { .. }
            | Event::RunResumed { .. }
            | Event::StopRequested { .. }
            | Event::LeaveRequested { .. }
            | Event::HoldRequested { .. }
            | Event::ReleaseRequested { .. }
            | Event::RunPaused { .. }
            | Event::RunFinished { .. }
            | Event::WaveStarted { .. }
            | Event::WaveFinished { .. }
            | Event::HostFacts { .. }
            | Event::HopFinished { .. }
            | Event::HostFinding { .. }
            | Event::RollbackStarted { .. }
            | Event::AttemptStarted { .. }
            | Event::AttemptPassed { .. }
            | Event::AttemptFailed { .. }
            | Event::StepSkipped { .. }
            | Event::HostDark { .. }
            | Event::HostReturned { .. }
            | Event::HostKeyTaken { .. } => {}
        }
    }

    fn come(&mut self, index: usize) {
        if self.came.contains_key(&index) {
            return;
        }
        self.flying.insert(self.next, index);
        self.came.insert(index, self.next);
        self.next += 1;
    }

    fn go(&mut self, index: usize) {
        if let Some(place) = self.came.remove(&index) {
            self.flying.remove(&place);
        }
    }

    /// Hosts in flight, the oldest first.
    pub fn flying(&self) -> impl Iterator<Item = usize> + '_ {
        self.flying.values().copied()
    }

    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }

    /// Hosts ended in a minute since the display began.
    pub fn per_minute(&self, now: Timestamp) -> Option<f64> {
        let millis = millis(self.since?, now);
        (self.ended > 0 && millis > 0).then(|| self.ended as f64 * 60_000.0 / millis as f64)
    }

    /// How long the rest may take, at least and at most: as many hosts side by side as are allowed, each taking as long
    /// as a quick one and as a slow one of those migrated so far. Nothing until one is.
    pub fn remaining(&self, pending: usize, parallel: usize) -> Option<(u64, u64)> {
        let (quick, slow) = (quantile(&self.took, 25)?, quantile(&self.took, 95)?);
        // A host in flight has on average half of its way before it.
        let rest = pending as u64 * 2 + self.in_flight() as u64;
        let lanes = (parallel.max(1) as u64).min(rest.max(1));
        let shortest = quick * rest / (2 * lanes);
        let longest = slow * rest.div_ceil(2).div_ceil(lanes).max(1);
        Some((shortest, longest))
    }
}

fn insert(sorted: &mut Vec<u64>, value: u64) {
    let place = sorted.partition_point(|known| *known <= value);
    sorted.insert(place, value);
}
