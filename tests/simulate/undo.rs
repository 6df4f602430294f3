//! How far `rollback-wave` goes, told again from the records: as many at once as may be in flight and down, and all of them
//! before their wave is over.

use fleetlift::{
    journal::{End, Event, PauseReason, Record, Told, WatchId},
    plan::{Plan, PlanHost},
    rollout::{Act, Watch},
};
use std::{collections::BTreeSet, sync::Arc};

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// It has no slot, and has not ended.
    Waiting,
    Flying,
    Ended(End),
}

/// A host, as far as an undo asks.
struct Seen {
    at: At,
    touched: bool,
    /// Hops whose migration was begun.
    begun: BTreeSet<usize>,
}

pub struct Undo {
    plan: Arc<Plan>,
    hosts: Vec<Seen>,
    /// Waves that are over: nothing of them goes back.
    over: BTreeSet<usize>,
    tripped: Option<WatchId>,
}

impl Undo {
    pub fn new(plan: &Arc<Plan>) -> Self {
        let seen = |_: &PlanHost| Seen { at: At::Waiting, touched: false, begun: BTreeSet::new() };
        Self {
            hosts: plan.hosts.iter().map(seen).collect(),
            plan: Arc::clone(plan),
            over: BTreeSet::new(),
            tripped: None,
        }
    }

    /// Takes in a record, and says what is wrong with it.
    pub fn take(&mut self, record: &Record, wrong: &mut Vec<String>) {
        let named = record.event.host();
        let host = named.and_then(|name| self.plan.hosts.iter().position(|h| h.name == *name));
        match (&record.event, host) {
            (Event::RunResumed { .. }, _) => self.tripped = None,
            (Event::WatchTold { watch, told, in_a_row }, _) => {
                let most = self.watch(watch).map_or(0, |planned| planned.failures);
                if *told != Told::Well && *in_a_row >= most {
                    self.tripped.get_or_insert_with(|| watch.clone());
                }
            }
            (Event::RunPaused { reason: PauseReason::Watch { .. } }, _) => {
                let left = (0..self.hosts.len()).filter(|host| self.is_left(*host));
                let left = left.filter(|host| self.full_domain(*host).is_none());
                wrong.extend(left.map(|host| format!("{} was left migrated", self.name(host))));
            }
            (Event::WaveFinished { wave }, _) => {
                let number = self.plan.waves.iter().position(|w| w.name == *wave).unwrap();
                let own =
                    |host: &usize| self.plan.hosts[*host].wave == number && self.is_left(*host);
                if let Some(host) = (0..self.hosts.len()).find(own) {
                    let name = self.name(host);
                    wrong.push(format!("wave {wave} is over, and {name} is still to go back"));
                }
                self.over.insert(number);
            }
            (Event::HostStarted { .. }, Some(host)) => self.hosts[host].at = At::Flying,
            (Event::HostHeld { .. } | Event::HostRested { .. }, Some(host)) => {
                self.hosts[host].at = At::Waiting;
            }
            (Event::AttemptStarted { step, .. }, Some(host)) => {
                if step.phase == fleetlift::base::phase::Phase::Migrate {
                    self.hosts[host].begun.insert(usize::from(step.hop));
                }
            }
            (Event::HostFinished { end, touched, .. }, Some(host)) => {
                self.hosts[host].at = At::Ended(*end);
                self.hosts[host].touched = *touched;
            }
            (Event::HostReopened { operator, .. }, Some(host)) => {
                if operator != "op" {
                    let why = self.may_not_go_back(host).into_iter();
                    wrong
                        .extend(why.map(|why| format!("{} goes back, but {why}", self.name(host))));
                }
                self.hosts[host].at = At::Flying;
            }
            (_, _) => {}
        }
    }

    fn name(&self, host: usize) -> &str {
        self.plan.hosts[host].name.as_str()
    }

    fn watch(&self, id: &WatchId) -> Option<&Watch> {
        match id {
            WatchId::Health(name) => {
                self.plan.waves.iter().find(|wave| wave.name == *name)?.health.as_ref()
            }
            WatchId::Interrupt(name) => {
                let found = self.plan.interrupts.iter().find(|i| i.name == *name);
                found.map(|interrupt| &interrupt.watch)
            }
        }
    }

    /// Whether a host is to go back, and has not.
    fn is_left(&self, host: usize) -> bool {
        let Some(id) = &self.tripped else { return false };
        let own = match id {
            WatchId::Health(name) => self.plan.waves[self.plan.hosts[host].wave].name == *name,
            WatchId::Interrupt(_) => true,
        };
        let seen = &self.hosts[host];
        let back = seen.begun.iter().any(|hop| !self.plan.hops[*hop].rollback.is_empty());
        let is_over = self.over.contains(&self.plan.hosts[host].wave);
        own && !is_over
            && self.watch(id).is_some_and(|watch| watch.act == Act::RollbackWave)
            && seen.at == At::Ended(End::Migrated)
            && seen.touched
            && back
    }

    fn flying(&self, wave: Option<usize>) -> usize {
        let own = |host: &usize| wave.is_none_or(|wave| self.plan.hosts[*host].wave == wave);
        let hosts = (0..self.hosts.len()).filter(own);
        hosts.filter(|host| self.hosts[*host].at == At::Flying).count()
    }

    fn may_not_go_back(&self, host: usize) -> Vec<String> {
        let wave = self.plan.hosts[host].wave;
        let mut why = Vec::new();
        let of = |n: usize, most: usize, whose: &str| {
            (n >= most).then(|| format!("{n} of {most} slots of its {whose} are taken"))
        };
        why.extend(of(self.flying(None), self.plan.limits.parallel, "fleet"));
        why.extend(of(self.flying(Some(wave)), self.plan.waves[wave].parallel, "wave"));
        why.extend(self.full_domain(host));
        why
    }

    /// A domain in which nobody more may be down. Whoever stands on its old system is not down, however it came there.
    fn full_domain(&self, host: usize) -> Option<String> {
        let of = |host: usize| -> &PlanHost { &self.plan.hosts[host] };
        let own = &self.plan.waves[of(host).wave].at_most;
        let down = |other: &usize| match self.hosts[*other].at {
            At::Waiting => false,
            At::Flying => true,
            At::Ended(end) => matches!(end, End::NeedsHands | End::Unreachable),
        };
        self.plan.limits.at_most.iter().chain(own).find_map(|limit| {
            let value = of(host).labels.get(&limit.per)?;
            let same = |n: &usize| *n != host && of(*n).labels.get(&limit.per) == Some(value);
            let down = (0..self.hosts.len()).filter(same).filter(down).count();
            (down >= limit.hosts as usize)
                .then(|| format!("{down} of {} {value} are down", limit.per))
        })
    }
}
