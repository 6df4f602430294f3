//! A run without an engine: the real `decide`, `judge` and fold, by a clock of its own.

use crate::{
    chance::Chance,
    oracle::Oracle,
    spec::{Fate, Spec},
    support::{
        plans::read_plan,
        tape::{exited, passed, result, run_started},
    },
};
use fleetlift::{
    base::time::Timestamp,
    journal::{End, Event, Failure, PauseReason, Record},
    plan::Plan,
    run::{Ending, HostPhase, RunPhase, RunState, Todo, decide, judge},
};
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

const PLAYBOOK: &str = r#"
name = "p"
[[backup]]
name = "copy"
run = "copy"
verify = "look"
[[precheck]]
name = "ask"
run = "ask"
[[migrate]]
name = "change"
run = "change"
[[verify]]
name = "see"
run = "see"
[[rollback]]
name = "back"
run = "back"
"#;

/// 2026-01-05 10:00 in UTC.
const MORNING: i64 = 1_767_607_200_000;
/// So often a person resumes.
const RESUMES: usize = 40;

pub fn plan(spec: &Spec) -> Plan {
    read_plan(&spec.inventory(), PLAYBOOK, &spec.rollout())
}

/// How a host of this fate does at a step, and whether that is the end of it.
pub fn ending(fate: Fate, step: &str) -> Ending {
    match (fate, step) {
        (Fate::Failed, "copy") | (Fate::Blocked, "ask") => exited(),
        (Fate::RolledBack | Fate::NeedsHands, "change") | (Fate::NeedsHands, "back") => exited(),
        (Fate::Unreachable, "change") => {
            Ending::Failed(Failure::Unreachable { reason: "gone".to_owned() })
        }
        (_, _) => passed(),
    }
}

/// What came of a run.
pub struct Came {
    pub wrong: Vec<String>,
    pub phase: RunPhase,
    pub records: usize,
    /// Calls of `decide`, what they cost together, and what the dearest did.
    pub calls: u32,
    pub cost: Duration,
    pub dearest: Duration,
}

pub struct World<'s> {
    spec: &'s Spec,
    plan: Plan,
    state: RunState,
    now: Timestamp,
    chance: Chance,
    /// When attempts end.
    ends: BinaryHeap<Reverse<(Timestamp, usize)>>,
    records: Vec<Record>,
    oracle: Oracle<'s>,
    came: (u32, Duration, Duration),
}

/// Plays a whole run, with persons who resume it.
pub fn play(spec: &Spec, seed: u64) -> Came {
    let plan = plan(spec);
    let mut world = World {
        spec,
        state: RunState::new(&plan),
        plan,
        now: Timestamp::from_millis(MORNING),
        chance: Chance::new(seed ^ 0xABCD),
        ends: BinaryHeap::new(),
        records: Vec::new(),
        oracle: Oracle::new(spec),
        came: (0, Duration::ZERO, Duration::ZERO),
    };
    world.record(run_started(spec.hosts.len()));
    world.go_to_the_end();
    let (calls, cost, dearest) = world.came;
    Came {
        wrong: world.oracle.wrong,
        phase: world.state.phase,
        records: world.records.len(),
        calls,
        cost,
        dearest,
    }
}

impl World<'_> {
    fn record(&mut self, event: Event) {
        let record = Record { seq: self.state.next_seq, at: self.now, event };
        if let Err(illegal) = self.state.apply(&self.plan, &record) {
            self.oracle.wrong.push(illegal.to_string());
        }
        self.oracle.take(&record);
        self.records.push(record);
    }

    fn go_to_the_end(&mut self) {
        for _ in 0..RESUMES {
            self.run();
            if !self.oracle.wrong.is_empty() {
                return;
            }
            match self.state.phase.clone() {
                RunPhase::Paused(reason) => {
                    if self.is_final(&reason) {
                        return;
                    }
                    self.now = self.now + Duration::from_secs(self.chance.between(1, 7200));
                    self.read_anew();
                    let (operator, controller) = (String::new(), String::new());
                    let only_reopened = false;
                    self.record(Event::RunResumed { operator, controller, only_reopened });
                }
                RunPhase::New | RunPhase::Running | RunPhase::Finished(_) => return,
            }
        }
    }

    /// Who resumes reads the whole journal, and must see what the controller saw.
    fn read_anew(&mut self) {
        let read = RunState::replay(&self.plan, &self.records).unwrap();
        if read != self.state {
            self.oracle.wrong.push("a reader sees another state".to_owned());
        }
        self.state = read;
    }

    /// Whether nobody can go on with this run: what is left waits for hosts that may be down.
    fn is_final(&self, reason: &PauseReason) -> bool {
        let down = |host: &fleetlift::base::name::HostName| {
            let index = self.state.host(host).unwrap();
            let phase = &self.state.hosts[index].phase;
            matches!(phase, HostPhase::Ended(End::NeedsHands | End::Unreachable))
        };
        matches!(reason, PauseReason::Domain { hosts, .. } if hosts.iter().all(down))
    }

    /// Until the run pauses or is finished.
    fn run(&mut self) {
        while self.state.phase == RunPhase::Running && self.oracle.wrong.is_empty() {
            let began = Instant::now();
            let decision = decide(&self.plan, &self.state, self.now);
            let took = began.elapsed();
            self.came = (self.came.0 + 1, self.came.1 + took, self.came.2.max(took));
            if decision.todo.is_empty() {
                self.oracle.is_at_rest(self.now, &decision.waiting_on);
                let next = self.ends.peek().map(|Reverse((at, _))| *at);
                let Some(next) = next.into_iter().chain(decision.wake).min() else {
                    self.oracle.wrong.push(format!("silent: {:?}", decision.waiting_on));
                    return;
                };
                self.now = self.now.max(next);
                self.land();
                continue;
            }
            for todo in decision.todo {
                match todo {
                    Todo::Record(event) => self.record(event),
                    Todo::Attempt { host, step, attempt } => {
                        let length = Duration::from_secs(self.chance.between(1, 900));
                        self.ends.push(Reverse((self.now + length, host)));
                        let (name, id) =
                            (self.plan.hosts[host].name.clone(), self.plan.steps[step].id.clone());
                        self.record(Event::AttemptStarted { host: name, step: id, attempt });
                    }
                }
            }
        }
    }

    /// What ends now.
    fn land(&mut self) {
        while let Some(Reverse((at, host))) = self.ends.peek().copied()
            && at <= self.now
        {
            self.ends.pop();
            let HostPhase::Running { step, .. } = self.state.hosts[host].phase else { continue };
            let name = self.plan.steps[step].id.step.to_string();
            let index: usize = self.plan.hosts[host].name.as_str()[1..].parse().unwrap();
            let result = result(ending(self.spec.hosts[index].fate, &name));
            for event in judge(&self.plan, &self.state, host, &result, self.now) {
                self.record(event);
            }
        }
    }
}
