//! What the display remembers beside the state: who is in flight, in the order of their start, and how long hosts took.

use crate::{
    base::time::Timestamp,
    journal::{End, Event, Record},
    plan::Plan,
    report::build::millis,
    run::{Basis, Forecast, HostPhase, RunPhase, RunState, forecast},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// So often the rest of a small run is foreseen anew.
const FORESEE_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(in crate::report) struct Track {
    /// Hosts in flight by when they came: the oldest first, so that lines do not jump.
    flying: BTreeMap<u64, usize>,
    came: BTreeMap<usize, u64>,
    next: u64,
    /// Hosts that rest on their way.
    resting: BTreeSet<usize>,
    /// How long each migrated host took, sorted.
    took: Vec<u64>,
    /// When the display saw its first record, and how many hosts have ended since.
    pub since: Option<Timestamp>,
    pub ended: usize,
    /// What was foreseen, and when.
    foreseen: Option<(Timestamp, Forecast)>,
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
            if let HostPhase::Resting { .. } = host.phase {
                track.resting.insert(index);
            }
            if let (HostPhase::Ended(End::Migrated), Some(from)) = (&host.phase, host.started) {
                insert(&mut track.took, millis(from, host.since));
            }
        }
        track
    }

    pub fn take(&mut self, record: &Record, state: &RunState) {
        self.since.get_or_insert(record.at);
        let Some(index) = record.event.host().and_then(|host| state.host(host)) else { return };
        match &record.event {
            Event::HostStarted { .. } | Event::HostReopened { .. } => {
                self.resting.remove(&index);
                self.come(index);
            }
            Event::HostFinished { end, .. } => {
                self.go(index);
                self.resting.remove(&index);
                self.ended += 1;
                let started = state.hosts.get(index).and_then(|host| host.started);
                if let (End::Migrated, Some(from)) = (end, started) {
                    insert(&mut self.took, millis(from, record.at));
                }
            }
            Event::HostHeld { .. } | Event::HostRested { .. } => {
                self.go(index);
                self.resting.insert(index);
            }
            Event::RunStarted { .. }
            | Event::RunResumed { .. }
            | Event::StopRequested { .. }
            | Event::LeaveRequested { .. }
            | Event::HoldRequested { .. }
            | Event::ReleaseRequested { .. }
            | Event::GateDecided { .. }
            | Event::WatchTold { .. }
            | Event::LimitsTuned { .. }
            | Event::RehearsalStarted { .. }
            | Event::RehearsalPassed { .. }
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

    /// Hosts that rest on their way, held or not.
    pub fn resting(&self) -> &BTreeSet<usize> {
        &self.resting
    }

    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }

    /// Hosts ended in a minute since the display began.
    pub fn per_minute(&self, now: Timestamp) -> Option<f64> {
        let millis = millis(self.since?, now);
        (self.ended > 0 && millis > 0).then(|| self.ended as f64 * 60_000.0 / millis as f64)
    }

    /// Foresees the rest of the run, where that was not done a moment ago. It costs more in a large fleet, and is done
    /// the less often there.
    pub fn refresh(&mut self, now: Timestamp, state: &RunState, plan: &Plan) {
        let pause = FORESEE_EVERY * (1 + plan.hosts.len() as u32 / 1000);
        let is_fresh = self.foreseen.is_some_and(|(at, _)| at <= now && now.since(at) < pause);
        if state.phase == RunPhase::Running && !is_fresh {
            self.foreseen = Some((now, forecast(plan, state, now)));
        }
    }

    /// How long the rest may take, where hosts are as quick as most, and where they are slow; in milliseconds. Nothing as
    /// long as only the playbook's word is known and no host is done.
    pub fn left(&self, now: Timestamp) -> Option<(u64, u64)> {
        let (at, foreseen) = self.foreseen.as_ref()?;
        let known = foreseen.basis != Basis::Playbook || !self.took.is_empty();
        let left = |seconds: u64| (seconds * 1000).saturating_sub(millis(*at, now));
        known.then(|| (left(foreseen.p50_s), left(foreseen.p90_s)))
    }
}

fn insert(sorted: &mut Vec<u64>, value: u64) {
    let place = sorted.partition_point(|known| *known <= value);
    sorted.insert(place, value);
}
