//! Plans from a few lines of text, and a run of one by the real `decide` and the real fold, step by step.

pub use crate::support::plans::read_plan as plan;
use crate::{support::tape::run_started, wall::at};
use fleetlift::{
    base::time::Timestamp,
    journal::{Event, Failure, Outcome, Record, Then},
    plan::Plan,
    run::{HostPhase, RunPhase, RunState, Todo, WaitingOn, decide},
};
use std::{collections::BTreeMap, time::Duration};

/// A step of one minute before anything is changed, one that changes the host, and one after it. With the two looks of
/// ours a host takes this many seconds more than `change`.
pub const BESIDE: u64 = 60 + 60 + 60 + 2;

/// A playbook whose change takes so many minutes.
pub fn playbook(change: u64) -> String {
    format!(
        "name = \"p\"\n[[backup]]\nname = \"copy\"\nrun = \"copy\"\nverify = \"look\"\nestimate = \"1m\"\n\
         [[precheck]]\nname = \"ask\"\nrun = \"ask\"\nestimate = \"1m\"\n\
         [[migrate]]\nname = \"change\"\nrun = \"change\"\nestimate = \"{change}m\"\nretries = 3\nretry_delay = \"10m\"\n\
         [[verify]]\nname = \"see\"\nrun = \"see\"\nestimate = \"1m\"\n"
    )
}

/// A run without an engine: every attempt takes its step's estimate, by a clock of its own.
pub struct Play {
    pub plan: Plan,
    pub state: RunState,
    pub now: Timestamp,
    /// When attempts end, and how.
    ends: Vec<(Timestamp, usize)>,
    pub spans: BTreeMap<usize, (Timestamp, Option<Timestamp>)>,
    pub records: Vec<Record>,
    /// What was waited on at last.
    pub waiting_on: Vec<WaitingOn>,
    /// Steps that take longer than they should, by name.
    pub slow: BTreeMap<String, Duration>,
    /// Attempts of steps that fail first, by name: so many of each host.
    pub fails: BTreeMap<String, u32>,
}

impl Play {
    pub fn begin(plan: Plan, now: &str) -> Self {
        let mut play = Self {
            state: RunState::new(&plan),
            plan,
            now: at(now),
            ends: Vec::new(),
            spans: BTreeMap::new(),
            records: Vec::new(),
            waiting_on: Vec::new(),
            slow: BTreeMap::new(),
            fails: BTreeMap::new(),
        };
        play.record(run_started(play.plan.hosts.len()));
        play
    }

    pub fn record(&mut self, event: Event) {
        let host = event.host().map(|name| self.state.host(name).unwrap());
        match (&event, host) {
            (Event::HostStarted { .. }, Some(host)) => {
                self.spans.entry(host).or_insert((self.now, None));
            }
            (Event::HostFinished { .. }, Some(host)) => {
                self.spans.get_mut(&host).unwrap().1 = Some(self.now);
            }
            (_, _) => {}
        }
        let record = Record { seq: self.state.next_seq, at: self.now, event };
        self.state.apply(&self.plan, &record).unwrap();
        self.records.push(record);
    }

    /// Decides until there is nothing to do at this instant. Returns when something happens next.
    pub fn settle(&mut self) -> Option<Timestamp> {
        loop {
            let decision = decide(&self.plan, &self.state, self.now);
            self.waiting_on = decision.waiting_on.clone();
            if decision.todo.is_empty() {
                let ends = self.ends.iter().map(|(at, _)| *at).min();
                let running = self.state.phase == RunPhase::Running;
                let next = ends.into_iter().chain(decision.wake).min();
                assert!(!running || next.is_some(), "silent: {:?}", decision.waiting_on);
                assert!(!running || !decision.waiting_on.is_empty(), "waits for nothing");
                return next.filter(|_| running);
            }
            for todo in decision.todo {
                match todo {
                    Todo::Record(event) => self.record(event),
                    Todo::Attempt { host, step, attempt } => self.attempt(host, step, attempt),
                }
            }
        }
    }

    fn attempt(&mut self, host: usize, step: usize, attempt: u32) {
        let planned = &self.plan.steps[step];
        let length = self.slow.get(planned.id.step.as_str()).copied().unwrap_or(planned.estimate);
        let (name, id) = (self.plan.hosts[host].name.clone(), planned.id.clone());
        self.ends.push((self.now + length, host));
        self.record(Event::AttemptStarted { host: name, step: id, attempt });
    }

    /// Whatever ends now.
    pub fn land(&mut self) {
        let now = self.now;
        let (landed, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.ends).into_iter().partition(|(at, _)| *at <= now);
        self.ends = left;
        for (_, host) in landed {
            let HostPhase::Running { step, attempt } = self.state.hosts[host].phase else {
                panic!()
            };
            let planned = &self.plan.steps[step];
            let (name, id) = (self.plan.hosts[host].name.clone(), planned.id.clone());
            let fails = self.fails.get(id.step.as_str()).is_some_and(|n| attempt <= *n);
            let not_before = now + planned.retry_delay;
            let duration_ms = now.since(self.state.hosts[host].since).as_millis() as u64;
            self.record(match fails {
                false => Event::AttemptPassed {
                    host: name,
                    step: id,
                    attempt,
                    exit: Some(0),
                    duration_ms,
                    outcome: Outcome::Changed,
                    stdout: None,
                },
                true => Event::AttemptFailed {
                    host: name,
                    step: id,
                    attempt,
                    failure: Failure::Exited { code: 1 },
                    duration_ms,
                    tail: String::new(),
                    never: false,
                    then: Then::Retry { not_before },
                },
            });
        }
    }

    /// Goes on to this instant, or to the end where that comes first.
    pub fn until(&mut self, until: &str) {
        let until = at(until);
        while let Some(next) = self.settle() {
            if next > until {
                self.now = until;
                self.settle();
                return;
            }
            self.now = self.now.max(next);
            self.land();
        }
    }

    pub fn play_out(&mut self) {
        self.until("9000-01-01T00:00:00Z");
    }

    /// The records of one kind, with their times, as `at host`.
    pub fn said(&self, kind: &str) -> Vec<String> {
        let of = |record: &&Record| serde_json::to_value(&record.event).unwrap()["event"] == kind;
        let line = |record: &Record| match record.event.host() {
            Some(host) => format!("{} {host}", record.at),
            None => record.at.to_string(),
        };
        self.records.iter().filter(of).map(line).collect()
    }
}
