//! A run by hand, without an engine: records that a test writes, and the real fold of them.

use fleetlift::{
    base::{
        facts::{Facts, System},
        time::Timestamp,
    },
    journal::{Event, Failure, Outcome, Record},
    plan::Plan,
    run::{Ending, Illegal, Result as AttemptResult, RunState, judge},
};
use std::{sync::Arc, time::Duration};

pub struct Tape {
    pub plan: Plan,
    pub state: RunState,
    pub now: Timestamp,
}

impl Tape {
    /// A run that has just been started.
    pub fn begin(plan: Plan, now: Timestamp) -> Self {
        let hosts = plan.hosts.len();
        let mut tape = Self { state: RunState::new(&plan), plan, now };
        tape.record(run_started(hosts));
        tape
    }

    pub fn record(&mut self, event: Event) {
        let told = format!("{event:?}");
        self.try_record(event).unwrap_or_else(|illegal| panic!("{told}: {illegal}"));
    }

    pub fn try_record(&mut self, event: Event) -> Result<(), Illegal> {
        let record = Record { seq: self.state.next_seq, at: self.now, event };
        self.state.apply(&self.plan, &record)
    }

    /// An attempt begins.
    pub fn attempt(&mut self, host: usize, step: usize, attempt: u32) {
        let (host, step) = (self.plan.hosts[host].name.clone(), self.plan.steps[step].id.clone());
        self.record(Event::AttemptStarted { host, step, attempt });
    }

    /// The attempt of this host ends, and is judged.
    pub fn judged(&mut self, host: usize, result: &AttemptResult) {
        for event in judge(&self.plan, &self.state, host, result, self.now) {
            self.record(event);
        }
    }
}

/// A run's first record, by nobody in particular.
pub fn run_started(hosts: usize) -> Event {
    let none = String::new;
    let (plan, playbook, operator, controller, version) = (none(), none(), none(), none(), none());
    Event::RunStarted { plan, playbook, operator, controller, version, hosts }
}

/// An attempt that ended so, and of which nothing else is to be said.
pub fn result(ending: Ending) -> AttemptResult {
    AttemptResult {
        ending,
        duration: Duration::ZERO,
        tail: String::new(),
        facts: None,
        warnings: Vec::new(),
        findings: Vec::new(),
        never: false,
    }
}

pub fn passed() -> Ending {
    Ending::Passed { exit: Some(0), outcome: Outcome::Changed, stdout: None }
}

pub fn exited() -> Ending {
    Ending::Failed(Failure::Exited { code: 1 })
}

/// What a look at a host found that is on this system.
pub fn facts(system: System) -> Option<Arc<Facts>> {
    Some(Arc::new(Facts { system: Some(system), ..Facts::default() }))
}
