//! What must hold, whatever happens. It knows the rules from the plan and the truth from the hosts, and shares no code with
//! the fold, with deciding or with judging.

mod attempts;
mod dark;
mod ends;
mod run;
mod starts;
mod way;

use crate::{
    host::{Cause, Host, Sentence},
    limits::Limits,
    scenario::{Scenario, Spec},
};
use fleetlift::{
    journal::{End, Failure, Record, StepId, Then},
    plan::Plan,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// An attempt that began and has not ended, by the journal.
#[derive(Clone, Debug)]
struct Open {
    step: String,
    attempt: u32,
    /// The intent to reboot is on the disk.
    dark: bool,
    returned: bool,
    /// The boot that the host was in when its reboot was decided.
    boot: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Pending,
    /// An operator holds it, or did: it has no slot, and nothing runs.
    Resting,
    InFlight,
    Ended(End),
}

/// A host, as the journal tells of it.
#[derive(Clone, Debug)]
struct Told {
    at: At,
    wave: usize,
    /// Taken up again by an operator: it has no slot.
    reopened: bool,
    /// How often it was taken up again.
    lives: u32,
    open: Option<Open>,
    /// Steps that are over, in the phase that the host is in.
    settled: BTreeSet<String>,
    failed: Option<(String, u32, Failure, Then)>,
    /// The hop that is rolled back, or was last.
    back: Option<usize>,
    /// Where a rollback by hand ends.
    lowest: Option<usize>,
    armed: bool,
    held: bool,
    /// The hop that it is in.
    hop: usize,
    blocked: bool,
    /// Hops whose migration was begun since the host was last what it had been.
    begun: BTreeSet<usize>,
    /// It goes back as a rehearsal; and it has done so.
    rehearsing: bool,
    rehearsed: bool,
    /// The system that its rehearsal has brought it back to.
    rehearsed_on: Option<usize>,
    /// Hops that it rested before.
    rested: BTreeSet<usize>,
    /// The last hop that it has finished.
    finished: Option<usize>,
    /// The last attempt of each step.
    last: BTreeMap<String, u32>,
}

/// A wave's own count.
#[derive(Clone, Debug, Default)]
struct WaveTold {
    in_flight: usize,
    good: usize,
    ended: usize,
    bad_canary: bool,
}

pub struct Oracle {
    plan: Arc<Plan>,
    specs: Arc<Vec<Spec>>,
    hosts: BTreeMap<String, Told>,
    waves: Vec<WaveTold>,
    running: bool,
    finished: bool,
    stopping: bool,
    only_reopened: bool,
    bad: usize,
    row: usize,
    records: u64,
    resumes: u64,
    at: i64,
    pub limits: Limits,
    /// Controllers have clocks that do not agree: what was counted across two of them is as wrong as they are.
    pub clocks: bool,
}

/// A step by its name, as `0.migrate.switch`.
fn id(step: &StepId) -> String {
    format!("{}.{}.{}", step.hop, step.phase.as_str(), step.step.as_str())
}

impl Oracle {
    pub fn new(scenario: &Scenario) -> Self {
        let plan = Arc::clone(&scenario.plan);
        let told = |wave| Told {
            at: At::Pending,
            wave,
            reopened: false,
            lives: 0,
            open: None,
            settled: BTreeSet::new(),
            failed: None,
            back: None,
            lowest: None,
            armed: false,
            held: false,
            hop: 0,
            blocked: false,
            begun: BTreeSet::new(),
            rehearsing: false,
            rehearsed: false,
            rehearsed_on: None,
            rested: BTreeSet::new(),
            finished: None,
            last: BTreeMap::new(),
        };
        let hosts = plan.hosts.iter().map(|h| (h.name.as_str().to_owned(), told(h.wave))).collect();
        let waves = vec![WaveTold::default(); plan.waves.len()];
        let limits = Limits::new(&plan);
        Self {
            limits,
            clocks: false,
            specs: Arc::clone(&scenario.specs),
            plan,
            hosts,
            waves,
            running: false,
            finished: false,
            stopping: false,
            only_reopened: false,
            bad: 0,
            row: 0,
            records: 0,
            resumes: 0,
            at: 0,
        }
    }

    /// Why a script may be sent to a host now.
    pub fn cause(&self, host: &str, sentence: &Sentence, dir: &str) -> Result<Cause, String> {
        let told = &self.hosts[host];
        let Some(open) = &told.open else {
            return Err(format!("{host}: {dir} was sent with no attempt in the journal"));
        };
        let cause = Cause { step: open.step.clone(), attempt: open.attempt };
        let Sentence::Say { word, step } = sentence else { return Ok(cause) };
        let wrong = |why: &str| Err(format!("{host}: {dir} was sent {why}: {open:?}"));
        match word.as_str() {
            "reboot" if !open.dark => wrong("before its intent was in the journal"),
            "reboot" if step.is_empty() => Ok(cause),
            "disarm" if open.step.contains(".rollback.disarm-") => Ok(cause),
            "run" | "local" | "reboot" | "guard" | "verify" | "probe" | "until" | "wait"
            | "file"
                if *step == open.step =>
            {
                Ok(cause)
            }
            _ => wrong("for another step"),
        }
    }

    /// Whether a host has come to its end in this life, by the journal.
    pub fn has_ended(&self, host: &str, life: u32) -> bool {
        let told = &self.hosts[host];
        life < told.lives || (life == told.lives && matches!(told.at, At::Ended(_)))
    }

    /// The word for a host's state, by the journal.
    pub fn word(&self, host: &str) -> &'static str {
        let told = &self.hosts[host];
        let dark = told.open.as_ref().is_some_and(|open| open.dark && !open.returned);
        match told.at {
            At::Pending | At::Resting if told.held => "held",
            At::Pending | At::Resting => "pending",
            At::Ended(end) => end.word(),
            At::InFlight if dark => "dark",
            At::InFlight if told.armed => "armed",
            At::InFlight => "running",
        }
    }

    /// How many hosts are in each state, by the journal.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for host in self.hosts.keys() {
            let word = match self.word(host) {
                "pending" if self.finished => "not_started",
                word => word,
            };
            *counts.entry(word).or_default() += 1;
        }
        counts
    }

    /// How every host ended.
    pub fn ends(&self) -> BTreeMap<String, Option<End>> {
        let end = |told: &Told| match told.at {
            At::Ended(end) => Some(end),
            At::Pending | At::Resting | At::InFlight => None,
        };
        self.hosts.iter().map(|(name, told)| (name.clone(), end(told))).collect()
    }

    /// Takes in a record that is on the disk now.
    pub fn take(
        &mut self,
        record: &Record,
        truth: &BTreeMap<String, Host>,
        wrong: &mut Vec<String>,
    ) {
        let before = wrong.len();
        if record.seq != self.records {
            wrong.push(format!("{} records are there, now comes {}", self.records, record.seq));
        }
        self.records += 1;
        self.at = record.at.as_millis();
        let steps = self.plan.steps.len() as u64;
        let most = (self.plan.hosts.len() as u64 + 10) * (steps * 12 + 40) * (self.resumes + 1);
        if self.records > most {
            wrong.push(format!("{} records: the run turns in circles", self.records));
        }
        self.limits.take(record);
        wrong.append(&mut self.limits.wrong);
        match record.event.host().map(|name| name.as_str().to_owned()) {
            None => self.take_run(&record.event, wrong),
            Some(_) if !self.running => wrong.push("the run does not run".to_owned()),
            Some(name) => self.take_host(&name, &record.event, &truth[&name], wrong),
        }
        for said in &mut wrong[before..] {
            *said = format!("record {}: {said}", record.seq);
        }
    }

    fn told(&mut self, name: &str) -> &mut Told {
        self.hosts.get_mut(name).unwrap()
    }

    /// Whether the migration of a hop was begun on a host.
    fn has_begun(&self, name: &str, hop: usize) -> bool {
        self.hosts[name].begun.contains(&hop)
    }

    fn spec(&self, step: &str) -> Option<Spec> {
        let of = |s: &&Spec| crate::host::step_name(s.hop, s.phase, &s.name) == step;
        self.specs.iter().find(of).cloned()
    }
}
