//! What must hold, told again from the rollout as drawn and from the records alone.

use crate::spec::{Budget, Fate, Spec};
use fleetlift::{
    base::time::Timestamp,
    journal::{End, Event, PauseReason, Record},
    run::WaitingOn,
};
use std::collections::BTreeMap;

/// A run that looks at every host at every rest is only asked of small fleets.
const ASKED_MAX: usize = 120;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Waiting,
    InFlight,
    Ended(End),
}

/// An end that counts, since the last resume.
#[derive(Clone, Copy, Debug)]
struct Ended {
    host: usize,
    at: i64,
    bad: bool,
    good: bool,
}

pub struct Oracle<'s> {
    spec: &'s Spec,
    at: Vec<At>,
    /// Ended badly, known to be up, and a person has resumed since.
    accepted: Vec<bool>,
    ends: Vec<Ended>,
    wave_over: Vec<bool>,
    wave_begun: Vec<bool>,
    /// The last end of a host of each wave.
    last_end: Vec<i64>,
    /// The batch of each wave that is on its way.
    batch: Vec<Vec<usize>>,
    /// A canary of it has ended badly since the last resume.
    bad_canary: Vec<bool>,
    running: bool,
    pub wrong: Vec<String>,
}

fn index(name: &str) -> usize {
    name[1..].parse().unwrap()
}

impl<'s> Oracle<'s> {
    pub fn new(spec: &'s Spec) -> Self {
        let waves = spec.waves.len();
        Self {
            spec,
            at: vec![At::Waiting; spec.hosts.len()],
            accepted: vec![false; spec.hosts.len()],
            ends: Vec::new(),
            wave_over: vec![false; waves],
            wave_begun: vec![false; waves],
            last_end: vec![0; waves],
            batch: vec![Vec::new(); waves],
            bad_canary: vec![false; waves],
            running: false,
            wrong: Vec::new(),
        }
    }

    pub fn take(&mut self, record: &Record) {
        let now = record.at.as_millis();
        let before = self.wrong.len();
        match &record.event {
            Event::RunStarted { .. } => self.running = true,
            Event::RunResumed { .. } => self.resumed(),
            Event::RunPaused { reason } => self.paused(reason, now),
            Event::RunFinished { .. } => {
                self.running = false;
                if self.at.iter().any(|at| !matches!(at, At::Ended(_))) {
                    self.wrong.push("finished, and a host was forgotten".to_owned());
                }
            }
            Event::WaveStarted { wave } => {
                let wave = index(wave.as_str());
                self.wave_begun[wave] = true;
                if let Some(open) = self.open_before(wave) {
                    self.wrong.push(format!("wave {wave} begins before wave {open} is over"));
                }
            }
            Event::WaveFinished { wave } => self.wave_finished(index(wave.as_str()), now),
            Event::HostStarted { host, .. } => {
                let host = index(host.as_str());
                if let Some(why) = self.may_not_start(host, now) {
                    self.wrong.push(format!("host {host} starts, but {why}"));
                }
                self.start(host);
            }
            Event::HostRested { host, .. } => self.at[index(host.as_str())] = At::Waiting,
            Event::HostFinished { host, end, .. } => self.ended(index(host.as_str()), *end, now),
            Event::AttemptStarted { host, .. } => {
                let host = index(host.as_str());
                if self.at[host] != At::InFlight || !self.running {
                    self.wrong.push(format!("an attempt on host {host}: {:?}", self.at[host]));
                }
            }
            _ => {}
        }
        for said in &mut self.wrong[before..] {
            *said = format!("record {} at {}: {said}", record.seq, record.at);
        }
    }

    fn resumed(&mut self) {
        self.running = true;
        self.ends.clear();
        self.bad_canary.iter_mut().for_each(|bad| *bad = false);
        for host in 0..self.at.len() {
            let bad = matches!(self.at[host], At::Ended(end) if end.is_bad());
            self.accepted[host] |= bad && self.spec.hosts[host].fate.stands();
        }
    }

    fn wave_finished(&mut self, wave: usize, now: i64) {
        self.wave_over[wave] = true;
        if self.of_wave(wave).any(|host| !matches!(self.at[host], At::Ended(_))) {
            self.wrong.push(format!("wave {wave} is over, and a host has not ended"));
        }
        let good = self.of_wave(wave).any(|host| self.at[host] == At::Ended(End::Migrated));
        let soak = self.spec.waves[wave].soak_s.unwrap_or(0) as i64 * 1000;
        if good && now < self.last_end[wave] + soak {
            self.wrong.push(format!("wave {wave} is over before it has soaked"));
        }
    }

    fn start(&mut self, host: usize) {
        let wave = self.spec.hosts[host].wave;
        if self.batch[wave].iter().all(|other| self.at[*other] != At::InFlight) {
            self.batch[wave].clear();
        }
        self.at[host] = At::InFlight;
        self.batch[wave].push(host);
    }

    fn ended(&mut self, host: usize, end: End, now: i64) {
        let fate = self.spec.hosts[host].fate;
        let meant = match fate {
            Fate::Good => End::Migrated,
            Fate::Blocked => End::Blocked,
            Fate::Failed => End::Failed,
            Fate::RolledBack => End::RolledBack,
            Fate::NeedsHands => End::NeedsHands,
            Fate::Unreachable => End::Unreachable,
        };
        if end != meant {
            self.wrong.push(format!("host {host} ends {end:?}, not {meant:?}"));
        }
        let wave = self.spec.hosts[host].wave;
        let canaries = self.spec.waves[wave].canary as usize;
        if fate.is_bad() && self.good(wave) < canaries.min(self.of_wave(wave).count()) {
            self.bad_canary[wave] = true;
        }
        self.at[host] = At::Ended(end);
        self.last_end[wave] = now;
        self.ends.push(Ended { host, at: now, bad: fate.is_bad(), good: fate == Fate::Good });
    }

    fn of_wave(&self, wave: usize) -> impl Iterator<Item = usize> {
        (0..self.spec.hosts.len()).filter(move |host| self.spec.hosts[*host].wave == wave)
    }

    fn good(&self, wave: usize) -> usize {
        self.of_wave(wave).filter(|host| self.at[*host] == At::Ended(End::Migrated)).count()
    }

    fn is_away(&self, host: usize) -> bool {
        match self.at[host] {
            At::Waiting => false,
            At::InFlight => true,
            At::Ended(end) => end.is_bad() && !self.accepted[host],
        }
    }

    /// A wave that this one comes after, and that is not over.
    fn open_before(&self, wave: usize) -> Option<usize> {
        let after = self.spec.waves[wave].after.iter().copied();
        let mut open = after.filter(|other| self.of_wave(*other).next().is_some());
        open.find(|other| !self.wave_over[*other])
    }

    /// Why a host may not start now; nothing where it may.
    fn may_not_start(&self, host: usize, now: i64) -> Option<String> {
        if !self.running || self.at[host] != At::Waiting {
            return Some(format!("it is {:?}, and the run runs: {}", self.at[host], self.running));
        }
        let wave = self.spec.hosts[host].wave;
        let planned = &self.spec.waves[wave];
        if !self.wave_begun[wave] || self.open_before(wave).is_some() {
            return Some("its wave has not begun".to_owned());
        }
        let flying: Vec<usize> =
            (0..self.at.len()).filter(|other| self.at[*other] == At::InFlight).collect();
        let of_wave = flying.iter().filter(|other| self.spec.hosts[**other].wave == wave).count();
        if flying.len() >= self.spec.parallel as usize {
            return Some(format!("{} are in flight", flying.len()));
        }
        if planned.parallel.is_some_and(|most| of_wave >= most as usize) {
            return Some(format!("{of_wave} of its wave are in flight"));
        }
        if let Some(full) = self.full_domain(host) {
            return Some(full);
        }
        let canaries = (planned.canary as usize).min(self.of_wave(wave).count());
        if self.good(wave) < canaries && self.good(wave) + of_wave >= canaries {
            return Some("it is no canary".to_owned());
        }
        if let Some(barrier) = planned.barrier {
            let on_its_way = self.batch[wave].iter().any(|other| self.at[*other] == At::InFlight);
            if on_its_way && self.batch[wave].len() >= barrier as usize {
                return Some("the batch before is on its way".to_owned());
            }
        }
        if let Some((from, to)) = planned.window {
            let hour = (now / 3_600_000 % 24) as u64;
            if hour < from || hour >= to {
                return Some(format!("its window is closed at {hour}"));
            }
        }
        self.halted()
    }

    /// A domain of the host in which nobody more may be away.
    fn full_domain(&self, host: usize) -> Option<String> {
        let planned = &self.spec.waves[self.spec.hosts[host].wave];
        for (label, most) in self.spec.at_most.iter().chain(&planned.at_most) {
            let Some(value) = self.spec.hosts[host].labels.get(label) else { continue };
            let same = |other: &usize| self.spec.hosts[*other].labels.get(label) == Some(value);
            let away = (0..self.at.len()).filter(same).filter(|other| self.is_away(*other)).count();
            if away >= *most as usize {
                return Some(format!("{away} of its {label} {value} are away"));
            }
        }
        None
    }

    /// Why no host at all may start.
    fn halted(&self) -> Option<String> {
        let everyone: Vec<usize> = (0..self.spec.hosts.len()).collect();
        if let Some(over) = self.over(&self.spec.budget, &everyone) {
            return Some(over);
        }
        for (number, wave) in self.spec.waves.iter().enumerate() {
            let own: Vec<usize> = self.of_wave(number).collect();
            if let Some(over) = wave.budget.as_ref().and_then(|budget| self.over(budget, &own)) {
                return Some(format!("in wave {number} {over}"));
            }
        }
        self.bad_canary.iter().position(|bad| *bad).map(|wave| format!("a canary of {wave} is bad"))
    }

    /// Whether a budget of these hosts is spent.
    fn over(&self, budget: &Budget, hosts: &[usize]) -> Option<String> {
        let ends: Vec<&Ended> =
            self.ends.iter().filter(|end| hosts.binary_search(&end.host).is_ok()).collect();
        let bad: Vec<&&Ended> = ends.iter().filter(|end| end.bad).collect();
        if let Some(part) = &budget.failures
            && bad.len() > part.of(hosts.len())
        {
            return Some(format!("{} ended badly", bad.len()));
        }
        if let Some(most) = budget.consecutive {
            let last_good = ends.iter().rposition(|end| end.good).map_or(0, |at| at + 1);
            let row = ends[last_good..].iter().filter(|end| end.bad).count();
            if row >= most as usize {
                return Some(format!("{row} in a row ended badly"));
            }
        }
        if let Some(most) = budget.per_hour {
            let in_hour = |first: &&Ended| {
                bad.iter().filter(|end| (0..3_600_000).contains(&(end.at - first.at))).count()
            };
            if bad.iter().any(|first| in_hour(first) > most as usize) {
                return Some("too many ended badly within an hour".to_owned());
            }
        }
        for (label, part) in &budget.per {
            let mut domains: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
            for host in hosts {
                if let Some(value) = self.spec.hosts[*host].labels.get(label) {
                    domains.entry(value).or_default().0 += 1;
                }
            }
            for end in &bad {
                if let Some(value) = self.spec.hosts[end.host].labels.get(label) {
                    domains.entry(value).or_default().1 += 1;
                }
            }
            if let Some((value, _)) = domains.iter().find(|(_, (all, bad))| *bad > part.of(*all)) {
                return Some(format!("too many of {label} {value} ended badly"));
            }
        }
        None
    }

    /// The run pauses: only when nothing is on its way, and for a reason that holds.
    fn paused(&mut self, reason: &PauseReason, now: i64) {
        self.running = false;
        if self.at.contains(&At::InFlight) {
            self.wrong.push("paused with hosts in flight".to_owned());
        }
        let halted = self.halted();
        let holds = match reason {
            PauseReason::OverBudget { .. }
            | PauseReason::Consecutive { .. }
            | PauseReason::Rate { .. }
            | PauseReason::Canary { .. } => halted.is_some(),
            PauseReason::Domain { hosts, .. } => {
                let away = hosts.iter().all(|host| self.is_away(index(host.as_str())));
                halted.is_none() && away && !hosts.is_empty()
            }
            _ => false,
        };
        if !holds {
            self.wrong.push(format!("paused by {reason:?}, which does not hold: {halted:?}"));
        }
        self.running = true;
        let could = (0..self.at.len()).find(|host| self.may_not_start(*host, now).is_none());
        self.running = false;
        if let Some(host) = could {
            self.wrong.push(format!("paused by {reason:?}, but host {host} could start"));
        }
    }

    /// Nothing is to be done now: then something is named, and no host is kept waiting that could start.
    pub fn is_at_rest(&mut self, now: Timestamp, waiting_on: &[WaitingOn]) {
        if waiting_on.is_empty() {
            self.wrong.push("it rests, and does not say for what".to_owned());
        }
        if self.at.len() > ASKED_MAX {
            return;
        }
        // A host at the end of its window may be too late to start: that is another test's.
        let free = |host: &usize| self.spec.waves[self.spec.hosts[*host].wave].window.is_none();
        let now = now.as_millis();
        let could =
            (0..self.at.len()).filter(free).find(|host| self.may_not_start(*host, now).is_none());
        if let Some(host) = could {
            self.wrong.push(format!("host {host} could start, and {waiting_on:?} is waited for"));
        }
    }
}
