//! What the tests of the engine stand on: one plan, its journal on disk, and controllers that come and go in paused time.

use crate::{
    fake::{Answer, FakeFleet, FakeHost},
    support::{
        memory,
        plans::{self, hop, reboot, step, system},
    },
};
use fleetlift::{
    base::{
        digest::digest,
        name::{HostName, RunId},
        phase::Phase,
        template::Templates,
        time::{Clock, Timestamp},
    },
    engine::{Control, Engine, EngineError, Observer, Outcome, Secrets, Shared, ThisMachine},
    host::Transport,
    journal::{End, Event, Record, Store},
    plan::Plan,
    playbook::{Action, Playbook, Reboot, Step},
    rollout::{Allowance, Rollout},
    run::{HostPhase, RunState},
};
use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{sync::mpsc, time::Instant};

/// 2026-11-21 09:15 in UTC.
pub const MORNING: Timestamp = Timestamp::from_millis(1_795_252_500_000);

/// Waits for something in time that goes on at once where everybody sleeps.
pub fn paused<T>(what: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(what)
}

/// A clock that goes with the timer of the runtime.
pub struct PausedClock {
    pub since: Instant,
    pub start: Timestamp,
}

impl PausedClock {
    /// It shows this time now.
    pub fn starting(start: Timestamp) -> Self {
        Self { since: Instant::now(), start }
    }
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        self.start + self.since.elapsed()
    }
}

/// Sees nothing.
pub struct Silent;

impl Observer for Silent {
    fn record(&mut self, _: &Record, _: &RunState, _: &Plan) {}
    fn tick(&mut self, _: Timestamp, _: &RunState, _: &Plan) {}
}

/// A controller: how it reaches hosts, its clock, and who watches and steers it.
pub struct Driver {
    pub transport: Arc<dyn Transport>,
    /// Else one that goes on where the run stands.
    pub clock: Option<Arc<dyn Clock>>,
    pub observer: Box<dyn Observer>,
    pub orders: Option<mpsc::Receiver<Control>>,
    pub no_wait: bool,
    /// What it begins with, where that is not all of the run.
    pub first: Option<Vec<Event>>,
}

impl Driver {
    pub fn of(transport: impl Transport + 'static) -> Self {
        let (transport, observer) = (Arc::new(transport), Box::new(Silent));
        Self { transport, clock: None, observer, orders: None, no_wait: false, first: None }
    }
}

/// A run whose controllers come and go.
pub struct Stage {
    dir: TempDir,
    store: Store,
    digest: String,
    pub plan: Arc<Plan>,
}

fn run_id() -> RunId {
    "20261121-0915-test".parse().unwrap()
}

impl Stage {
    pub fn new(plan: Plan) -> Self {
        let text = serde_json::to_string(&plan).unwrap();
        let digest = digest(text.as_bytes());
        let dir = memory::folder("fleetlift-stage-");
        let store = Store::new(dir.path());
        drop(store.create(&run_id(), &text, &digest).unwrap());
        Self { dir, store, digest, plan: Arc::new(plan) }
    }

    pub fn journal_file(&self) -> PathBuf {
        self.store.run_dir(&run_id()).join("journal.db")
    }

    pub fn records(&self) -> Vec<Record> {
        self.store.read(&run_id()).unwrap().records(0).unwrap()
    }

    /// As every reader sees it.
    pub fn state(&self) -> RunState {
        RunState::replay(&self.plan, &self.records()).unwrap()
    }

    /// Records something as a process does that finds no controller.
    pub fn note(&self, event: Event) {
        let mut state = self.state();
        let record = Record { seq: state.next_seq, at: Timestamp::from_millis(0), event };
        state.apply(&self.plan, &record).unwrap();
        let writer = self.store.take_over(&run_id()).unwrap();
        paused(writer.append([record].into())).unwrap();
    }

    /// One controller drives the run, from its beginning or from where it stands. It is made when time stands still.
    pub fn drive(&self, driver: impl FnOnce() -> Driver) -> Result<Ran, EngineError> {
        paused(async {
            let driver = driver();
            let journal = self.store.take_over(&run_id()).unwrap();
            let before = self.records();
            let state = RunState::replay(&self.plan, &before).unwrap();
            let stands = before.iter().map(|record| record.at).max().unwrap_or(MORNING);
            let first = driver.first.unwrap_or_else(|| vec![self.first(&state)]);
            let shared = Shared {
                plan: Arc::clone(&self.plan),
                run: run_id(),
                transport: driver.transport,
                clock: driver.clock.unwrap_or_else(|| Arc::new(PausedClock::starting(stands))),
                controller: Arc::new(ThisMachine),
                secrets: Arc::new(Secrets::default()),
                templates: Templates::default(),
                outputs: journal.outputs(),
                artifacts: self.dir.path().join("artifacts"),
            };
            let (_control, nobody) = mpsc::channel(1);
            let orders = driver.orders.unwrap_or(nobody);
            let engine = Engine::new(shared, state, journal, orders, driver.observer);
            let began = Instant::now();
            let (outcome, state) = engine.no_wait(driver.no_wait).drive(first).await?;
            let took = began.elapsed();
            let reader = self.store.read(&run_id()).unwrap();
            reader.verify().unwrap();
            let records = reader.records(0).unwrap();
            let replayed = RunState::replay(&self.plan, &records).unwrap();
            assert_eq!(replayed, state, "a reader sees what the writer saw");
            let counted = state.counts.values().sum::<usize>();
            assert_eq!(counted, self.plan.hosts.len(), "counts partition the fleet");
            Ok(Ran { outcome, state, records, plan: Arc::clone(&self.plan), took })
        })
    }

    /// The record that a controller begins with.
    fn first(&self, state: &RunState) -> Event {
        let (operator, controller) = ("tester".to_owned(), "here".to_owned());
        match state.next_seq {
            0 => Event::RunStarted {
                plan: self.digest.clone(),
                playbook: self.plan.playbook.clone(),
                operator,
                controller,
                version: "0".into(),
                hosts: self.plan.hosts.len(),
            },
            _ => Event::RunResumed { operator, controller, only_reopened: false },
        }
    }
}

/// What came of a controller's work.
pub struct Ran {
    pub outcome: Outcome,
    pub state: RunState,
    /// All of the run.
    pub records: Vec<Record>,
    pub plan: Arc<Plan>,
    pub took: Duration,
}

impl Ran {
    fn host(&self, name: &str) -> usize {
        self.state.host(&name.parse::<HostName>().unwrap()).unwrap()
    }

    pub fn end(&self, host: &str) -> End {
        match self.state.hosts[self.host(host)].phase {
            HostPhase::Ended(end) => end,
            ref phase => panic!("{host} has not ended: {phase:?}"),
        }
    }

    pub fn touched(&self, host: &str) -> bool {
        self.state.hosts[self.host(host)].touched
    }
}

/// One run over a made-up fleet, by one controller.
pub fn run(fleet: &FakeFleet, playbook: &Playbook, rollout: &Rollout) -> Ran {
    let stage = Stage::new(planned(fleet, playbook, rollout));
    stage.drive(|| Driver::of(fleet.clone())).unwrap()
}

pub fn planned(fleet: &FakeFleet, playbook: &Playbook, rollout: &Rollout) -> Plan {
    plans::plan(&fleet.names(), playbook, rollout)
}

/// A backup, two prechecks, a step, a reboot into the new system, a check, and a way back.
pub fn playbook() -> Playbook {
    let boot = Reboot {
        down: Duration::from_secs(20),
        command: Some("reboot-now".into()),
        ..reboot(Duration::from_secs(60))
    };
    let upgrade = step("upgrade", "upgrade {{ host.name }}");
    let steps = [
        (Phase::Backup, vec![Step { verify: Some("check-backup".into()), ..step("copy", "copy") }]),
        (Phase::Precheck, vec![step("space", "ask-space"), step("mounts", "ask-mounts")]),
        (
            Phase::Migrate,
            vec![
                Step { unless: Some("is-done".into()), ..upgrade },
                Step { action: Action::Reboot(boot), ..step("boot", "") },
            ],
        ),
        (Phase::Verify, vec![step("services", "ask-services")]),
        (Phase::Rollback, vec![step("restore", "restore")]),
    ];
    let (from, to) = (system("old", "1"), system("new", "2"));
    plans::playbook(vec![hop("old-to-new", Some(from), Some(to), steps)])
}

/// A host that goes all the way of [`playbook`].
pub fn good() -> FakeHost {
    FakeHost::new("old", "1")
        .rule("reboot-now", Answer::Becomes("new", "2"))
        .rule("is-done", Answer::Exit(1, ""))
}

/// All at once, whatever becomes of them.
pub fn lenient() -> Rollout {
    let mut rollout = Rollout::default();
    rollout.budget.failures = Allowance::Hosts(10_000);
    rollout.waves[0].canary = 0;
    rollout
}
