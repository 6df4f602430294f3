//! What a run will do, if nothing goes wrong: the real `decide` and the real fold, driven by a clock of their own.
//!
//! So a forecast cannot disagree with the run about waves, canaries, slots and windows. What a host does all by itself is
//! drawn together to one step of the length that is foreseen for its way.

use super::{
    decide::{Todo, decide_by},
    gate::{Gates, Needs, ROOM},
    host::{HostPhase, Way},
    pace::{Mark, rest_of_way},
    state::{RunPhase, RunState},
    waiting::WaitingOn,
};
use crate::{
    base::{name::WaveName, phase::Phase, time::Timestamp},
    journal::{Event, Outcome, Record, StepId},
    plan::{Plan, PlanHop, PlanHost, PlanStep, PlanWave, Rendered, Task},
    playbook::Action,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

/// What is foreseen.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    pub began: Timestamp,
    /// When the last host ends, or the last thing that happens by itself.
    pub ends: Timestamp,
    /// For each host of the plan that moves: when it takes a slot, and when it ends.
    pub hosts: BTreeMap<usize, (Timestamp, Option<Timestamp>)>,
    /// Waves whose hosts no window is long enough for any more.
    pub stuck: Vec<Stuck>,
}

/// A wave that cannot end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    pub wave: WaveName,
    /// Index of the wave, and of the host that cannot begin.
    pub number: usize,
    pub host: usize,
    /// What the host needs, and what the longest window has that is to come.
    pub needs: Duration,
    pub longest: Option<Duration>,
}

/// By the length that each host was given.
struct Given {
    /// What windows are asked for; by host.
    needs: Vec<Duration>,
}

impl Needs for Given {
    fn need(&self, host: usize) -> Duration {
        self.needs[host]
    }
}

/// The course of a run from this state on. Windows are asked for what nine of ten hosts keep; hosts take the length of the
/// mark.
pub fn foresee(plan: &Plan, state: &RunState, now: Timestamp, mark: Mark) -> Course {
    let lengths = |mark| -> Vec<Duration> {
        (0..plan.hosts.len()).map(|host| rest_of_way(plan, state, host, mark, now)).collect()
    };
    let given = Given { needs: lengths(Mark::P90) };
    let took = match mark {
        Mark::P50 => lengths(Mark::P50),
        Mark::P90 => given.needs.clone(),
    };
    let short = shortened(plan);
    let mut model = Model {
        state: drawn_together(&short, state),
        plan: short,
        took,
        now,
        ends: BinaryHeap::new(),
        course: Course { began: now, ends: now, hosts: BTreeMap::new(), stuck: Vec::new() },
    };
    model.take_up();
    model.go(&given);
    model.course
}

struct Model {
    plan: Plan,
    state: RunState,
    /// By host.
    took: Vec<Duration>,
    now: Timestamp,
    /// When hosts in flight end.
    ends: BinaryHeap<Reverse<(Timestamp, usize)>>,
    course: Course,
}

impl Model {
    /// Hosts that are at work already.
    fn take_up(&mut self) {
        for (index, host) in self.state.hosts.iter().enumerate() {
            if let HostPhase::Running { .. } = host.phase {
                self.ends.push(Reverse((self.now + self.took[index], index)));
                self.course.hosts.insert(index, (host.started.unwrap_or(self.now), None));
            }
        }
    }

    fn go(&mut self, needs: &Given) {
        loop {
            let gates = Gates::new(needs, self.now, self.now);
            let decision = decide_by(&self.plan, &self.state, self.now, &gates);
            if decision.todo.is_empty() {
                let next = self.ends.peek().map(|Reverse((at, _))| *at);
                let next = next.into_iter().chain(decision.wake).min();
                match next {
                    // A wake that has come already, with nothing to do, would come for ever.
                    Some(at) if at > self.now || self.is_due() => self.now = self.now.max(at),
                    Some(_) | None => return,
                }
                while let Some(Reverse((at, host))) = self.ends.peek().copied()
                    && at <= self.now
                {
                    self.ends.pop();
                    if !self.record(self.passed(host)) {
                        return;
                    }
                }
                continue;
            }
            for todo in decision.todo {
                let event = match todo {
                    Todo::Record(event) => event,
                    Todo::Attempt { host, attempt, .. } => {
                        self.ends.push(Reverse((self.now + self.took[host], host)));
                        Event::AttemptStarted {
                            host: self.plan.hosts[host].name.clone(),
                            step: self.plan.steps[0].id.clone(),
                            attempt,
                        }
                    }
                };
                if let Event::RunPaused { .. } = event {
                    self.say_what_is_stuck(&decision.waiting_on, needs);
                }
                if !self.record(event) {
                    return;
                }
            }
            if self.state.phase != RunPhase::Running {
                return;
            }
        }
    }

    fn is_due(&self) -> bool {
        self.ends.peek().is_some_and(|Reverse((at, _))| *at <= self.now)
    }

    fn passed(&self, host: usize) -> Event {
        Event::AttemptPassed {
            host: self.plan.hosts[host].name.clone(),
            step: self.plan.steps[0].id.clone(),
            attempt: 1,
            exit: None,
            duration_ms: 0,
            outcome: Outcome::Changed,
            stdout: None,
        }
    }

    /// Takes in a record. False where the fold refuses it: then nothing more is foreseen.
    fn record(&mut self, event: Event) -> bool {
        let host = event.host().and_then(|name| self.state.host(name));
        match (&event, host) {
            (Event::HostStarted { .. }, Some(host)) => {
                self.course.hosts.insert(host, (self.now, None));
            }
            // A wave that soaks ends after its hosts.
            (Event::WaveFinished { .. }, _) => self.course.ends = self.course.ends.max(self.now),
            (Event::HostFinished { .. }, Some(host)) => {
                self.course.ends = self.course.ends.max(self.now);
                if let Some((_, ends)) = self.course.hosts.get_mut(&host) {
                    *ends = Some(self.now);
                }
            }
            (_, _) => {}
        }
        let record = Record { seq: self.state.next_seq, at: self.now, event };
        self.state.apply(&self.plan, &record).is_ok()
    }

    fn say_what_is_stuck(&mut self, waiting_on: &[WaitingOn], needs: &Given) {
        for waits in waiting_on {
            let WaitingOn::Window { wave, opens: None, .. } = waits else { continue };
            let Some(number) = self.plan.waves.iter().position(|w| w.name == *wave) else {
                continue;
            };
            let planned = &self.plan.waves[number];
            let Some(host) = self.state.waves[number].ready.first().copied() else { continue };
            self.course.stuck.push(Stuck {
                wave: wave.clone(),
                number,
                host,
                needs: needs.need(host) + ROOM,
                longest: planned.windows.as_ref().and_then(|w| w.longest(self.now)),
            });
        }
    }
}

/// The plan with one step, which is the whole way of a host and no place to rest.
fn shortened(plan: &Plan) -> Plan {
    let step = "way".parse().expect("a constant name");
    let step = PlanStep::new(StepId { hop: 0, phase: Phase::Migrate, step });
    let hop = PlanHop {
        name: String::new(),
        title: String::new(),
        from: None,
        to: None,
        forward: 0..1,
        rollback: 1..1,
        commit: 1..1,
        vars: BTreeMap::new(),
    };
    let host = |host: &PlanHost| PlanHost {
        name: host.name.clone(),
        groups: Vec::new(),
        labels: host.labels.clone(),
        wave: host.wave,
        addresses: Vec::new(),
        connection: host.connection,
        steps: vec![0],
        vars: BTreeMap::new(),
        variables: 0,
    };
    Plan {
        format: plan.format,
        playbook: plan.playbook.clone(),
        title: String::new(),
        support: None,
        selection: String::new(),
        hops: vec![hop],
        steps: vec![step],
        waves: plan.waves.iter().map(foreseen).collect(),
        hosts: plan.hosts.iter().map(host).collect(),
        rendered: vec![Rendered::new(0, Task::Act(Action::Run(Arc::from(""))))],
        connections: plan.connections.clone(),
        limits: plan.limits.clone(),
        interrupts: Vec::new(),
        variables: Vec::new(),
        accepts: Vec::new(),
        inputs: Vec::new(),
        origin: None,
    }
}

/// Nobody foresees when people speak, and what answers are. A rehearsal is a part of its host's way.
fn foreseen(wave: &PlanWave) -> PlanWave {
    PlanWave {
        approval: None,
        health: None,
        rehearse_rollback: false,
        rest_between_hops: false,
        ..wave.clone()
    }
}

/// The state over the shortened plan: whoever is at work, or waits for a retry, is somewhere on the one step.
fn drawn_together(plan: &Plan, state: &RunState) -> RunState {
    let mut state = state.clone();
    if state.phase == RunPhase::New {
        state = RunState::new(plan);
        state.phase = RunPhase::Running;
    }
    state.idle.clear();
    state.due.clear();
    state.running = 0;
    for (index, host) in state.hosts.iter_mut().enumerate() {
        // Whose end is decided is not kept by a window, and neither is whose change has begun.
        let decided = host.already || host.blocked || host.fate.is_some();
        let safe = host.is_safe() && !decided;
        (host.cursor, host.hop, host.way, host.fate) = (0, 0, Way::Forward, None);
        (host.already, host.blocked) = (false, false);
        host.attempts.clear();
        match host.phase {
            // One that rests may go on; where it rests is a safe point still.
            HostPhase::Resting { .. } => {
                (host.phase, host.changing) = (HostPhase::Resting { retry: None }, false);
            }
            HostPhase::Idle | HostPhase::Waiting { .. } if safe => {
                host.phase = HostPhase::Idle;
                state.idle.insert(index);
            }
            HostPhase::Idle | HostPhase::Waiting { .. } | HostPhase::Running { .. } => {
                host.phase = HostPhase::Running { step: 0, attempt: 1 };
                host.changing = true;
                state.running += 1;
            }
            HostPhase::Pending | HostPhase::Ended(_) => {}
        }
    }
    state
}
