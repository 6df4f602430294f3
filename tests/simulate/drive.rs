//! One simulated run: controllers come, die and come again, until the run is finished.

use crate::{
    network::{Desk, Network},
    scenario::Scenario,
    sim::{Crash, Disk, Sim, SimClock},
};
use fleetlift::{
    base::{phase::Phase, template::Templates, time::Timestamp},
    engine::{
        Control, Driver, Engine, EngineError, Observer, Outcome, Secrets, Shared, can_commit,
        can_roll_back, not_left, opening, reopening,
    },
    journal::{Ask, End, Event, PauseReason, Record, Request},
    plan::Plan,
    run::{RunPhase, RunState, decide},
};
use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};
use tokio::{runtime::Builder, sync::mpsc};

/// Without a record for so long, the run hangs.
const HANGS_MS: u64 = 3 * 3600 * 1000;

/// What befalls the controllers of a run, one after another.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// The first of these befalls the first controller; who comes after the last of them lives.
    pub crashes: Vec<Crash>,
    /// When, in the life of each controller, an operator says stop.
    pub stops: Vec<u64>,
    /// Whether operators roll back and commit what has ended.
    pub verbs: bool,
    /// Controllers on machines with other clocks, which are set now and then.
    pub clocks: bool,
    /// Whether operators hold hosts, and release them.
    pub holds: bool,
}

impl Course {
    /// By chance.
    pub fn of(scenario: &Scenario) -> Self {
        let mut chance = scenario.chance("course");
        let number = chance.pick(&[0, 0, 1, 1, 2, 4]);
        let hosts = scenario.plan.hosts.len() as u64;
        let crash = |chance: &mut crate::chance::Chance| match chance.between(0, 3) {
            0 => Crash::Before(chance.between(1, 20 + hosts * 10)),
            1 => Crash::After(chance.between(1, 20 + hosts * 10)),
            2 => Crash::Call(chance.between(1, 30 + hosts * 30)),
            _ => Crash::At(chance.between(0, 30_000 * (hosts / 4 + 3))),
        };
        let crashes = (0..number).map(|_| crash(&mut chance)).collect();
        let stops = (0..chance.pick(&[0, 0, 0, 1, 2])).map(|_| chance.between(0, 120_000));
        let stops = stops.collect();
        Self {
            crashes,
            stops,
            verbs: chance.percent(40),
            clocks: chance.percent(20),
            holds: chance.percent(25),
        }
    }
}

/// What came of a run.
pub struct Came {
    pub wrong: Vec<String>,
    pub lines: Vec<String>,
    pub ends: BTreeMap<String, Option<End>>,
    /// Place in the chain of systems, and whether the journal says that the host was touched.
    pub places: BTreeMap<String, (Option<usize>, bool)>,
    /// Writes and calls of the last controller.
    pub writes: u64,
    pub calls: u64,
    pub virtual_ms: u64,
    /// Everything in order, for a reader.
    pub history: String,
}

/// Simulates a run.
pub fn simulate(scenario: &Scenario, course: &Course, traced: bool) -> Came {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let sim = Sim::new(scenario, traced);
        sim.world().oracle.clocks = course.clocks;
        let mut story = Story { sim: sim.clone(), course: course.clone(), epoch: 0 };
        if let Err(wrong) = story.run().await {
            sim.world().wrong.push(wrong);
        }
        came(&sim)
    })
}

fn came(sim: &Sim) -> Came {
    let virtual_ms = sim.now();
    let mut world = sim.world();
    let mut told = std::mem::take(&mut world.told);
    for (name, host) in &mut world.hosts {
        told.extend(host.told.drain(..).map(|(at, what)| (at, format!("    {name} {what}"))));
    }
    told.sort_by_key(|(at, _)| *at);
    let mut history = String::new();
    for (at, what) in told {
        let _ = writeln!(history, "{:>9}.{:03} {what}", at / 1000, at % 1000);
    }
    let touched: BTreeMap<String, bool> = world
        .scenario
        .plan
        .hosts
        .iter()
        .zip(&world.reader.hosts)
        .map(|(planned, host)| (planned.name.as_str().to_owned(), host.touched))
        .collect();
    let places = world.hosts.iter().map(|(name, host)| (name.clone(), (host.place, touched[name])));
    Came {
        wrong: world.wrong.clone(),
        lines: world.lines.clone(),
        ends: world.oracle.ends(),
        places: places.collect(),
        writes: world.writes,
        calls: world.calls,
        virtual_ms,
        history,
    }
}

struct Story {
    sim: Sim,
    course: Course,
    epoch: usize,
}

/// How a controller ended.
enum Left {
    Dead,
    Over(Outcome),
}

impl Story {
    fn driver(&self) -> Driver {
        Driver { operator: "op".to_owned(), controller: format!("c{}", self.epoch) }
    }

    fn state(&self) -> Result<RunState, String> {
        let (plan, known, many) = {
            let world = self.sim.world();
            let many = world.lines.len() > 500;
            (Arc::clone(&world.scenario.plan), world.reader.clone(), many)
        };
        // The reader has read every line; reading all of them anew for each controller would be most of the work.
        if many {
            return Ok(known);
        }
        let state = RunState::replay(&plan, &self.sim.records());
        state.map_err(|e| format!("on resuming: {e}"))
    }

    fn is_wrong(&self) -> bool {
        !self.sim.world().wrong.is_empty()
    }

    /// The whole story.
    async fn run(&mut self) -> Result<(), String> {
        self.go_to_the_end(true).await?;
        if !self.course.verbs || self.is_wrong() {
            return Ok(());
        }
        for phase in [Phase::Rollback, Phase::Commit] {
            let plan = Arc::clone(&self.sim.world().scenario.plan);
            let state = self.state()?;
            let able = |host: &usize| match phase {
                Phase::Commit => can_commit(&plan, &state, *host),
                _ => can_roll_back(&plan, &state, *host),
            };
            let mut chance = self.sim.world().scenario.chance(&format!("verb/{phase}"));
            let hosts: Vec<usize> =
                (0..plan.hosts.len()).filter(able).filter(|_| chance.percent(60)).collect();
            if hosts.is_empty() {
                continue;
            }
            let first = reopening(&plan, &hosts, phase, &self.driver());
            let mut behind = self.not_left(&state);
            behind.retain(|host| !hosts.contains(host));
            self.drive(state, first, behind).await?;
            self.go_to_the_end(false).await?;
        }
        Ok(())
    }

    /// Resumes until the run is finished.
    async fn go_to_the_end(&mut self, hurries: bool) -> Result<(), String> {
        let plan = Arc::clone(&self.sim.world().scenario.plan);
        let digest = self.sim.world().scenario.digest.clone();
        let most = plan.hosts.len() + self.course.crashes.len() + self.course.stops.len() + 80;
        for _ in 0..most {
            let state = self.state()?;
            let behind = self.not_left(&state);
            let first = opening(&plan, &digest, &state, &self.driver());
            if first.is_none() && behind.is_empty() {
                self.check_that_hosts_were_left();
                return Ok(());
            }
            let mut chance = self.sim.world().scenario.chance(&format!("hurry/{}", self.epoch));
            if first.is_none() && self.course.verbs && hurries && chance.percent(50) {
                // An operator who does not wait until everything was given back.
                return Ok(());
            }
            if let RunPhase::Paused(PauseReason::Domain { hosts, .. }) = &state.phase
                && behind.is_empty()
                && self.sim.world().oracle.limits.is_stuck(hosts)
            {
                self.check_that_hosts_were_left();
                return Ok(());
            }
            let mut first: Vec<Event> = first.into_iter().collect();
            if let RunPhase::Paused(PauseReason::Held { hosts }) = &state.phase {
                let request = format!("back-{}", self.epoch).parse().unwrap();
                let (by, hosts) = ("op".to_owned(), hosts.clone());
                first.push(Event::ReleaseRequested { by, hosts, request });
            }
            self.drive(state, first, behind).await?;
            if self.is_wrong() {
                return Ok(());
            }
        }
        Err("the run does not come to an end, however often it is resumed".to_owned())
    }

    fn not_left(&self, state: &RunState) -> Vec<usize> {
        let world = self.sim.world();
        not_left(&world.scenario.plan, state, &world.left)
    }

    /// Where nothing stood in its way, every host is given back in the end, whoever died: no lock of ours is left there.
    fn check_that_hosts_were_left(&self) {
        let mut world = self.sim.world();
        if world.scenario.trouble.network > 0 {
            return;
        }
        let ends = world.oracle.ends();
        let at_rest = |name: &str| match ends[name] {
            Some(End::NeedsHands | End::Unreachable) | None => false,
            Some(
                End::Migrated
                | End::Already
                | End::RolledBack
                | End::Committed
                | End::Blocked
                | End::Failed,
            ) => true,
        };
        let mut kept = Vec::new();
        for (name, host) in &world.hosts {
            if !at_rest(name) || !host.can_be_left() {
                continue;
            }
            if host.lock.is_some() {
                kept.push(format!("{name} has ended, and is still locked"));
            }
            for folder in host.open_folders() {
                kept.push(format!("{name} has ended, and something may begin in {folder}"));
            }
        }
        world.wrong.extend(kept);
    }

    /// One controller's life.
    async fn drive(
        &mut self,
        state: RunState,
        first: Vec<Event>,
        behind: Vec<usize>,
    ) -> Result<(), String> {
        let sim = self.sim.clone();
        let crash = self.course.crashes.get(self.epoch).copied();
        {
            let mut world = sim.world();
            (world.crash, world.writes, world.calls) = (crash, 0, 0);
            world.last_record = sim.now();
            if world.traced {
                let told = format!("--- controller {} ({crash:?})", self.epoch);
                world.told.push((sim.now(), told));
            }
        }
        // A word that the controller before did not hear is not for this one.
        tokio::select! { biased;
            () = sim.end_of_controller.notified() => {}
            () = std::future::ready(()) => {}
        }
        let left = self.live(state, first, behind, crash).await?;
        self.epoch += 1;
        // The lanes of a dead controller are dropped before the next one comes.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let mut chance = sim.world().scenario.chance(&format!("away/{}", self.epoch));
        match left {
            Left::Dead | Left::Over(Outcome::Left) => {
                // Mostly it is missed soon.
                let pure = sim.world().scenario.trouble.pure;
                let long = !pure && chance.percent(10);
                sim.pause(chance.between(0, if long { 7_200_000 } else { 120_000 })).await;
            }
            Left::Over(Outcome::Paused(_)) => sim.pause(10_000).await,
            Left::Over(Outcome::Finished(_)) => {}
        }
        Ok(())
    }

    /// What operators say to the present controller, and when in its life.
    fn said(&self) -> Vec<(u64, Control)> {
        let by = || "op".to_owned();
        let mut said = Vec::new();
        if let Some(at) = self.course.stops.get(self.epoch).copied() {
            said.push((at, Control::Stop { by: by() }));
            if at % 3 == 0 {
                said.push((at + at / 2, Control::Leave));
            }
        }
        let world = self.sim.world();
        let mut chance = world.scenario.chance(&format!("holds/{}", self.epoch));
        let names = || world.scenario.plan.hosts.iter().map(|host| host.name.clone());
        let mut ask = |at: u64, ask: Ask| {
            let id = format!("r{}-{}", self.epoch, said.len()).parse().unwrap();
            let epoch = self.epoch as u32;
            let now = Timestamp::from_millis(0);
            let request = Request { id, at: now, by: by(), epoch, ask };
            said.push((at, Control::Asked(request)));
        };
        if !self.course.holds {
            return said;
        }
        for _ in 0..chance.between(0, 3) {
            let hosts = names().filter(|_| chance.percent(30)).collect();
            let when = chance.between(0, 150_000);
            if self.epoch > 6 || chance.percent(40) {
                ask(when, Ask::Release { hosts });
            } else {
                ask(when, Ask::Hold { hosts });
            }
        }
        said.sort_by_key(|(at, _)| *at);
        said
    }

    async fn live(
        &self,
        state: RunState,
        first: Vec<Event>,
        behind: Vec<usize>,
        crash: Option<Crash>,
    ) -> Result<Left, String> {
        let sim = self.sim.clone();
        let plan = Arc::clone(&sim.world().scenario.plan);
        let mut chance = sim.world().scenario.chance(&format!("clock/{}", self.epoch));
        let far =
            if self.course.clocks { chance.between(0, 1_200_000) as i64 - 600_000 } else { 0 };
        let set = self.course.clocks.then(|| {
            let at = sim.now() + chance.between(0, 200_000);
            (at, chance.between(0, 1_200_000) as i64 - 600_000)
        });
        let shared = Shared {
            plan,
            run: "20261121-0900-test".parse().unwrap(),
            transport: Arc::new(Network(sim.clone())),
            clock: Arc::new(SimClock { sim: sim.clone(), ahead_ms: far, set }),
            controller: Arc::new(Desk(sim.clone())),
            secrets: Arc::new(Secrets::default()),
            templates: Templates::default(),
            outputs: None,
            artifacts: "/nowhere".into(),
        };
        let (control, orders) = mpsc::channel(4);
        let watch = Box::new(Watch { sim: sim.clone(), ticks: 0 });
        let engine = Engine::new(shared, state, Disk(sim.clone()), orders, watch).leaving(behind);
        let said = self.said();
        let operator = async {
            let began = sim.now();
            for (at, order) in said {
                sim.until(began + at).await;
                let _ = control.send(order).await;
            }
            std::future::pending::<()>().await;
        };
        let death = async {
            match crash {
                Some(Crash::At(ms)) => sim.pause(ms).await,
                _ => std::future::pending::<()>().await,
            }
        };
        tokio::select! { biased;
            () = sim.end_of_controller.notified() => Ok(Left::Dead),
            () = death => Ok(Left::Dead),
            () = operator => Ok(Left::Dead),
            driven = engine.drive(first) => match driven {
                Ok((outcome, _)) => Ok(Left::Over(outcome)),
                Err(EngineError::Illegal(illegal)) => Err(format!("the engine refuses itself: {illegal}")),
                Err(EngineError::Journal(error)) => Err(format!("the journal: {error}")),
            },
        }
    }
}

/// Watches a controller: whether it believes what a reader believes, and knows what it waits for.
struct Watch {
    sim: Sim,
    ticks: u64,
}

impl Watch {
    fn object(&self, wrong: String) {
        self.sim.world().wrong.push(wrong);
        self.sim.end_of_controller.notify_one();
    }

    fn waits(&self, now: Timestamp, state: &RunState, plan: &Plan) {
        let decision = decide(plan, state, now);
        let idle = decision.todo.is_empty() && decision.wake.is_none();
        if state.phase == RunPhase::Running && idle && decision.waiting_on.is_empty() {
            self.object(format!("silent at record {}", state.next_seq));
        }
    }
}

impl Observer for Watch {
    fn record(&mut self, record: &Record, state: &RunState, plan: &Plan) {
        if record.seq + 1 != state.next_seq {
            return;
        }
        let large = plan.hosts.len() > 100;
        if large && !state.next_seq.is_multiple_of(997) {
            return;
        }
        let wrong = {
            let world = self.sim.world();
            let mut wrong = Vec::new();
            if world.reader != *state {
                wrong.push(format!("after record {}, a reader sees another state", record.seq));
            }
            for (planned, host) in plan.hosts.iter().zip(&state.hosts) {
                let (name, word) = (planned.name.as_str(), host.word());
                let own = world.oracle.word(name);
                if word != own {
                    wrong.push(format!("record {}: {name} is {word}, not {own}", record.seq));
                }
            }
            let counts = world.oracle.counts();
            if counts != state.counts {
                let (told, own) = (&state.counts, counts);
                wrong.push(format!("record {}: counts {told:?}, they are {own:?}", record.seq));
            }
            let total: usize = state.counts.values().sum();
            if total != plan.hosts.len() {
                wrong.push(format!("record {}: counts add up to {total}", record.seq));
            }
            wrong
        };
        for wrong in wrong {
            self.object(wrong);
        }
        self.waits(record.at, state, plan);
    }

    fn tick(&mut self, now: Timestamp, state: &RunState, plan: &Plan) {
        self.ticks += 1;
        if self.ticks.is_multiple_of(64) {
            self.waits(now, state, plan);
            let last = self.sim.world().last_record;
            if self.sim.now().saturating_sub(last) > HANGS_MS {
                self.object(format!("nothing has happened since {} s", last / 1000));
            }
        }
    }
}
