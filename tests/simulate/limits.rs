//! The limits of a rollout, told again from the records: failure domains, budgets of waves, batches, soaking, answers.

use crate::undo::Undo;
use fleetlift::{
    journal::{End, Event, PauseReason, Record, Told, WatchId},
    plan::{Plan, PlanHost},
    rollout::{Act, Allowance, Watch},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Waiting,
    Flying,
    Ended(End),
}

pub struct Limits {
    plan: Arc<Plan>,
    numbers: BTreeMap<String, usize>,
    at: Vec<At>,
    accepted: BTreeSet<usize>,
    between: BTreeSet<usize>,
    batch: Vec<BTreeSet<usize>>,
    last_end: Vec<i64>,
    /// Ends since the last resume, in order: which host, when, and whether it was bad, or good.
    ends: Vec<(usize, i64, bool, bool)>,
    /// Whether the last answer to a question was good.
    well: BTreeMap<WatchId, bool>,
    rows: BTreeMap<WatchId, u32>,
    tripped: Option<(WatchId, Act)>,
    /// When each question was last put by this controller.
    put: BTreeMap<String, u64>,
    undo: Undo,
    pub wrong: Vec<String>,
}

impl Limits {
    pub fn new(plan: &Arc<Plan>) -> Self {
        let numbers = plan.hosts.iter().enumerate();
        Self {
            numbers: numbers.map(|(i, host)| (host.name.as_str().to_owned(), i)).collect(),
            at: vec![At::Waiting; plan.hosts.len()],
            accepted: BTreeSet::new(),
            between: BTreeSet::new(),
            batch: vec![BTreeSet::new(); plan.waves.len()],
            last_end: vec![0; plan.waves.len()],
            ends: Vec::new(),
            well: BTreeMap::new(),
            rows: BTreeMap::new(),
            tripped: None,
            put: BTreeMap::new(),
            undo: Undo::new(plan),
            wrong: Vec::new(),
            plan: Arc::clone(plan),
        }
    }

    fn watches(&self) -> impl Iterator<Item = (WatchId, &Watch)> {
        let plan = &*self.plan;
        let interrupts = plan.interrupts.iter();
        let interrupts = interrupts.map(|i| (WatchId::Interrupt(i.name.clone()), &i.watch));
        let healths = plan.waves.iter();
        interrupts.chain(
            healths.filter_map(|wave| {
                Some((WatchId::Health(wave.name.clone()), wave.health.as_ref()?))
            }),
        )
    }

    /// A question is put.
    pub fn asked(&mut self, id: &str, now: u64) {
        let every = self.watches().find(|(watch, _)| watch.to_string() == id).map(|(_, w)| w.every);
        let Some(every) = every else {
            self.wrong.push(format!("nobody asked for the {id}"));
            return;
        };
        if let Some(last) = self.put.insert(id.to_owned(), now)
            && u128::from(now - last) < every.as_millis()
        {
            self.wrong.push(format!("{id} is asked after {} ms, not {every:?}", now - last));
        }
    }

    pub fn take(&mut self, record: &Record) {
        self.undo.take(record, &mut self.wrong);
        let now = record.at.as_millis();
        let host = record.event.host().map(|host| self.numbers[host.as_str()]);
        match (&record.event, host) {
            (Event::RunResumed { only_reopened, .. }, _) => self.resumed(*only_reopened),
            (Event::RunPaused { reason }, _) => self.paused(reason),
            (Event::WaveFinished { wave }, _) => {
                let wave = self.plan.waves.iter().position(|w| w.name == *wave).unwrap();
                self.wave_is_over(wave, now);
            }
            (Event::WatchTold { watch, told, in_a_row }, _) => self.told(watch, told, *in_a_row),
            (Event::HostStarted { .. }, Some(host)) => {
                for why in self.may_not_start(host) {
                    self.wrong.push(format!("{} starts, but {why}", self.name(host)));
                }
                self.start(host);
            }
            (Event::HostReopened { operator, .. }, Some(host)) => {
                if let Some((watch, _)) = self.tripped.clone().filter(|_| operator != "op") {
                    self.undone(host, &watch);
                }
                self.at[host] = At::Flying;
                self.accepted.remove(&host);
            }
            (Event::HostHeld { .. }, Some(host)) => self.at[host] = At::Waiting,
            (Event::HostRested { hop, .. }, Some(host)) => {
                self.at[host] = At::Waiting;
                if hop.is_some() {
                    self.between.insert(host);
                }
            }
            (Event::HostFinished { end, .. }, Some(host)) => {
                let good = matches!(end, End::Migrated | End::Already | End::Committed);
                self.at[host] = At::Ended(*end);
                self.last_end[self.plan.hosts[host].wave] = now;
                self.ends.push((host, now, is_bad(*end), good));
            }
            (_, _) => {}
        }
    }

    fn name(&self, host: usize) -> &str {
        self.plan.hosts[host].name.as_str()
    }

    fn resumed(&mut self, only_reopened: bool) {
        self.ends.clear();
        self.well.clear();
        self.rows.clear();
        self.put.clear();
        self.tripped = None;
        if only_reopened {
            return;
        }
        self.between.clear();
        for (host, at) in self.at.iter().enumerate() {
            if matches!(at, At::Ended(End::Failed | End::RolledBack)) {
                self.accepted.insert(host);
            }
        }
    }

    fn told(&mut self, watch: &WatchId, told: &Told, in_a_row: u32) {
        let Some(planned) = self.watches().find(|(id, _)| id == watch).map(|(_, w)| w.clone())
        else {
            self.wrong.push(format!("nobody asked for the {watch}"));
            return;
        };
        let row = self.rows.entry(watch.clone()).or_default();
        *row = if *told == Told::Well { 0 } else { (*row + 1).min(planned.failures) };
        if *row != in_a_row {
            self.wrong.push(format!("{watch}: {in_a_row} in a row, they are {row}"));
        }
        self.well.insert(watch.clone(), *told == Told::Well);
        if *told != Told::Well && *row >= planned.failures && self.tripped.is_none() {
            self.tripped = Some((watch.clone(), planned.act));
        }
    }

    fn wave_is_over(&mut self, wave: usize, now: i64) {
        let own = |(host, _): &(usize, &At)| self.plan.hosts[*host].wave == wave;
        let good = self.at.iter().enumerate().filter(own).any(|(_, at)| is_good(*at));
        let soak = self.plan.waves[wave].soak.unwrap_or_default().as_millis() as i64;
        if good && now < self.last_end[wave] + soak {
            self.wrong.push(format!("wave {wave} is over before it has soaked"));
        }
        let health = WatchId::Health(self.plan.waves[wave].name.clone());
        let asked = self.plan.waves[wave].health.is_some() && soak > 0 && good;
        if asked && self.well.get(&health) != Some(&true) {
            self.wrong.push(format!("wave {wave} is over, and nobody knows that it is well"));
        }
    }

    fn start(&mut self, host: usize) {
        let wave = self.plan.hosts[host].wave;
        if self.batch[wave].iter().all(|other| self.at[*other] != At::Flying) {
            self.batch[wave].clear();
        }
        self.batch[wave].insert(host);
        self.at[host] = At::Flying;
    }

    fn is_away(&self, host: usize) -> bool {
        match self.at[host] {
            At::Waiting => false,
            At::Flying => true,
            At::Ended(end) => is_bad(end) && !self.accepted.contains(&host),
        }
    }

    fn full_domain(&self, host: usize) -> Option<String> {
        let of = |host: usize| -> &PlanHost { &self.plan.hosts[host] };
        let own = &self.plan.waves[of(host).wave].at_most;
        for limit in self.plan.limits.at_most.iter().chain(own) {
            let Some(value) = of(host).labels.get(&limit.per) else { continue };
            let same =
                |other: &usize| *other != host && of(*other).labels.get(&limit.per) == Some(value);
            let away = (0..self.at.len()).filter(same).filter(|other| self.is_away(*other)).count();
            if away >= limit.hosts as usize {
                return Some(format!("{away} of {} {value} are away", limit.per));
            }
        }
        None
    }

    fn may_not_start(&self, host: usize) -> Vec<String> {
        let wave = &self.plan.waves[self.plan.hosts[host].wave];
        let mut why = Vec::new();
        why.extend(self.full_domain(host));
        let batch = &self.batch[self.plan.hosts[host].wave];
        if wave.barrier.is_some_and(|most| batch.len() >= most)
            && batch.iter().any(|other| self.at[*other] == At::Flying)
        {
            why.push("the batch before is on its way".to_owned());
        }
        let number = self.plan.hosts[host].wave;
        let of_wave = |fits: &dyn Fn(usize) -> bool| {
            let own = (0..self.at.len()).filter(|host| self.plan.hosts[*host].wave == number);
            own.filter(|host| fits(*host)).count()
        };
        let good = of_wave(&|host| is_good(self.at[host]));
        let on_its_way =
            of_wave(&|host| self.at[host] == At::Flying || self.between.contains(&host));
        if good < wave.canary && good + on_its_way >= wave.canary {
            why.push("the canaries are on their way, or rest between two hops".to_owned());
        }
        if self.between.contains(&host) {
            why.push("it rests between two hops".to_owned());
        }
        if let Some((watch, _)) = &self.tripped {
            why.push(format!("{watch} has stopped the run"));
        }
        for (id, _) in self.watches() {
            let own = match &id {
                WatchId::Health(name) => *name == wave.name,
                WatchId::Interrupt(_) => true,
            };
            if own && self.well.get(&id) != Some(&true) {
                why.push(format!("nobody knows that {id} is well"));
            }
        }
        why.extend(self.over(None));
        why.extend((0..self.plan.waves.len()).find_map(|wave| self.over(Some(wave))));
        why
    }

    /// Whether the budget of the fleet or of a wave is spent: what the other oracle does not count.
    fn over(&self, wave: Option<usize>) -> Option<String> {
        let budget = match wave {
            None => &self.plan.limits.budget,
            Some(wave) => self.plan.waves[wave].budget.as_ref()?,
        };
        let own = |host: usize| wave.is_none_or(|wave| self.plan.hosts[host].wave == wave);
        let hosts = (0..self.at.len()).filter(|host| own(*host)).count();
        let ends: Vec<_> = self.ends.iter().filter(|(host, ..)| own(*host)).collect();
        let bad: Vec<_> = ends.iter().filter(|(_, _, bad, _)| *bad).collect();
        let part = |allowance: Allowance, of: usize| match allowance {
            Allowance::Hosts(n) => n as usize,
            Allowance::Percent(p) => of * p as usize / 100,
        };
        if bad.len() > part(budget.failures, hosts) {
            return Some(format!("{} ended badly in {wave:?}", bad.len()));
        }
        let good = ends.iter().rposition(|(_, _, _, good)| *good).map_or(0, |at| at + 1);
        let row = ends[good..].iter().filter(|(_, _, bad, _)| *bad).count();
        if budget.consecutive.is_some_and(|most| row >= most as usize) {
            return Some(format!("{row} in a row ended badly in {wave:?}"));
        }
        let within = |first: i64| {
            bad.iter().filter(|(_, at, ..)| (0..3_600_000).contains(&(at - first))).count()
        };
        if let Some(most) = budget.per_hour
            && bad.iter().any(|(_, at, ..)| within(*at) > most as usize)
        {
            return Some(format!("too many within an hour in {wave:?}"));
        }
        for (label, allowance) in &budget.per {
            let value = |host: usize| self.plan.hosts[host].labels.get(label);
            for (host, ..) in &bad {
                let Some(own_value) = value(*host) else { continue };
                let all = (0..self.at.len()).filter(|h| own(*h) && value(*h) == Some(own_value));
                let bad = bad.iter().filter(|(h, ..)| value(*h) == Some(own_value)).count();
                if bad > part(*allowance, all.count()) {
                    return Some(format!("too many of {label} {own_value} in {wave:?}"));
                }
            }
        }
        None
    }

    /// A host goes back, since an answer was not good.
    fn undone(&mut self, host: usize, watch: &WatchId) {
        let act = self.tripped.as_ref().map(|(_, act)| *act);
        let wave = &self.plan.waves[self.plan.hosts[host].wave].name;
        let own = match watch {
            WatchId::Health(name) => name == wave,
            WatchId::Interrupt(_) => true,
        };
        if act != Some(Act::RollbackWave) || !own {
            self.wrong.push(format!("{} goes back, and nobody asked for it", self.name(host)));
        }
    }

    fn paused(&mut self, reason: &PauseReason) {
        let holds = match reason {
            PauseReason::Domain { hosts, .. } => {
                hosts.iter().all(|host| self.is_away(self.numbers[host.as_str()]))
            }
            PauseReason::Watch { watch, .. } => {
                self.tripped.as_ref().is_some_and(|(tripped, _)| tripped == watch)
            }
            PauseReason::Hop { hosts } => {
                hosts.iter().all(|host| self.between.contains(&self.numbers[host.as_str()]))
            }
            PauseReason::Soak { .. } => false,
            _ => true,
        };
        if !holds {
            self.wrong.push(format!("paused by {reason:?}, which does not hold"));
        }
    }

    /// Whether nobody can go on with the run: what is left waits for hosts that may be down.
    pub fn is_stuck(&self, hosts: &[fleetlift::base::name::HostName]) -> bool {
        let down = |host: &fleetlift::base::name::HostName| {
            let at = self.at[self.numbers[host.as_str()]];
            matches!(at, At::Ended(End::NeedsHands | End::Unreachable))
        };
        hosts.iter().all(down)
    }
}

fn is_good(at: At) -> bool {
    matches!(at, At::Ended(End::Migrated | End::Already | End::Committed))
}

fn is_bad(end: End) -> bool {
    matches!(end, End::Failed | End::RolledBack | End::NeedsHands | End::Unreachable)
}
