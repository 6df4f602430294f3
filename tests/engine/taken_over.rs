//! What a controller does that takes up what another has begun, and what a busy fleet must not keep from its controller.

use super::{good, inventory, lenient, playbook, step, system};
use crate::support::fake::{Answer, FakeFleet, FakeHost, Play, Shows, TokioClock};
use fleetlift::{
    base::{phase::Phase, template::Templates, time::Timestamp},
    engine::{
        Control, Controller, Driver, Engine, LocalScript, Observer, Outcome, Page, Secrets, Shared,
        ThisMachine, opening, reopening,
    },
    host::{BoxFuture, Exit, OutputSink},
    journal::{Contact, End, Event, Failure, PauseReason, Record, Store},
    plan::{Plan, build},
    playbook::{Action, Playbook, Reboot},
    rollout::{Act, Interrupt, OnFailure, Question, Rollout, Watch},
    run::{HostPhase, RunState},
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

/// Leaves the run at a record of this kind.
struct LeavesAt(Option<fn(&Event) -> bool>, mpsc::Sender<Control>);

impl Observer for LeavesAt {
    fn record(&mut self, record: &Record, _: &RunState, _: &Plan) {
        if self.0.is_some_and(|wanted| wanted(&record.event)) {
            self.1.try_send(Control::Leave).unwrap();
        }
    }

    fn tick(&mut self, _: Timestamp, _: &RunState, _: &Plan) {}
}

/// A run whose controllers come and go, in paused time.
struct Desk {
    dir: tempfile::TempDir,
    store: Store,
    fleet: FakeFleet,
    plan: Arc<Plan>,
    digest: String,
    controller: Arc<dyn Controller>,
    clock: Arc<TokioClock>,
}

impl Desk {
    fn new(
        fleet: &FakeFleet,
        playbook: &Playbook,
        rollout: &Rollout,
        controller: Arc<dyn Controller>,
    ) -> Self {
        let names: Vec<String> = fleet.0.lock().unwrap().keys().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let inventory = inventory(&names);
        let selected = inventory.hosts.keys().cloned().collect();
        let plan = build(&inventory, playbook, rollout, "@all", &selected).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        let digest = fleetlift::base::digest::digest(text.as_bytes());
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        drop(store.create(&"r".parse().unwrap(), &text, &digest).unwrap());
        let (fleet, clock) = (fleet.clone(), Arc::new(TokioClock::start()));
        Self { dir, store, fleet, plan: Arc::new(plan), digest, controller, clock }
    }

    fn records(&self) -> Vec<Record> {
        self.store.read(&"r".parse().unwrap()).unwrap().records(0).unwrap()
    }

    fn state(&self) -> RunState {
        RunState::replay(&self.plan, &self.records()).unwrap()
    }

    fn driver(&self) -> Driver {
        Driver { operator: "tester".into(), controller: "here".into() }
    }

    /// One controller: up to a record of this kind, or to the end.
    async fn drive(&self, until: Option<fn(&Event) -> bool>) -> Outcome {
        let first = opening(&self.plan, &self.digest, &self.state(), &self.driver());
        self.begin_with(first.into_iter().collect(), until).await
    }

    async fn begin_with(&self, first: Vec<Event>, until: Option<fn(&Event) -> bool>) -> Outcome {
        let run = "r".parse().unwrap();
        let journal = self.store.take_over(&run).unwrap();
        let shared = Shared {
            plan: Arc::clone(&self.plan),
            run,
            transport: Arc::new(self.fleet.clone()),
            clock: Arc::clone(&self.clock) as _,
            controller: Arc::clone(&self.controller),
            secrets: Arc::new(Secrets::default()),
            templates: Templates::default(),
            outputs: journal.outputs(),
            artifacts: self.dir.path().join("artifacts"),
        };
        let (control, orders) = mpsc::channel(4);
        let observer = Box::new(LeavesAt(until, control));
        let engine = Engine::new(shared, self.state(), journal, orders, observer);
        engine.drive(first).await.unwrap().0
    }
}

fn in_paused_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(work)
}

/// The intent to reboot was on the disk, and its controller died before the command: the host has all of the reboot's time.
#[test]
fn the_time_of_a_reboot_begins_with_its_command() {
    const SLOW: Play = &[(150, Shows::Out(Contact::PortClosed)), (0, Shows::Boot("new", "2"))];
    let host = good();
    let rules = host.rules.into_iter().filter(|rule| rule.containing != "reboot-now").collect();
    let host = FakeHost { rules, ..FakeHost::new("old", "1") };
    let fleet = FakeFleet::with([("a", host.rule("reboot-now", Answer::Plays(SLOW)))]);
    let mut playbook = playbook();
    let migrate = playbook.hops[0].steps.get_mut(&Phase::Migrate).unwrap();
    let time = Duration::from_secs(600);
    let Action::Reboot(reboot) = &migrate[1].action else { panic!("{migrate:?}") };
    let longer = Reboot { timeout: time, down: time, each: time, ..reboot.clone() };
    migrate[1].action = Action::Reboot(longer);
    in_paused_time(async {
        let desk = Desk::new(&fleet, &playbook, &lenient(), Arc::new(ThisMachine));
        let is_dark = |event: &Event| matches!(event, Event::HostDark { .. });
        assert_eq!(desk.drive(Some(is_dark)).await, Outcome::Left);
        assert!(!fleet.ran("a").contains(&"reboot-now".to_owned()));
        tokio::time::sleep(Duration::from_secs(7200)).await;
        desk.drive(None).await;
        assert_eq!(desk.state().hosts[0].phase, HostPhase::Ended(End::Migrated));
        let dark = desk.records().into_iter().find_map(|record| match record.event {
            Event::HostReturned { dark_ms, .. } => Some(dark_ms),
            _ => None,
        });
        assert!((100_000..400_000).contains(&dark.unwrap()), "{dark:?}");
    });
}

/// Whoever takes up an attempt that was recorded and not made looks first, as the controller before had to.
#[test]
fn nothing_is_written_beside_a_step_that_still_runs_whoever_comes() {
    let host = good().rule("upgrade", Answer::Lost);
    let fleet = FakeFleet::with([("a", host)]);
    let mut playbook = playbook();
    let template =
        Action::Template { text: "restored".into(), to: "/etc/restored".into(), mode: 0o644 };
    let restore = fleetlift::playbook::Step { action: template, ..step("restore", "") };
    playbook.hops[0].steps.insert(Phase::Rollback, vec![restore]);
    let rollout = Rollout { on_failure: OnFailure::Hold, ..lenient() };
    in_paused_time(async {
        let desk = Desk::new(&fleet, &playbook, &rollout, Arc::new(ThisMachine));
        desk.drive(None).await;
        assert_eq!(desk.state().hosts[0].phase, HostPhase::Ended(End::NeedsHands));
        fleet.0.lock().unwrap().values_mut().for_each(|host| host.at_work = true);
        let first = reopening(&desk.plan, &[0], Phase::Rollback, &desk.driver());
        let begins = |event: &Event| matches!(event, Event::AttemptStarted { step, .. } if step.phase == Phase::Rollback);
        assert_eq!(desk.begin_with(first, Some(begins)).await, Outcome::Left);
        desk.drive(None).await;
        let host = fleet.0.lock().unwrap().values().next().unwrap().clone();
        assert_eq!(host.uploaded, [""; 0]);
        let state = desk.state();
        let Some(Failure::Refused { reason }) = &state.hosts[0].failure else {
            panic!("{:?}", state.hosts[0].failure)
        };
        assert!(reason.contains("still runs on the host"), "{reason}");
        // When it is over the way back is free, and is asked for once.
        fleet.0.lock().unwrap().values_mut().for_each(|host| host.at_work = false);
        let first = reopening(&desk.plan, &[0], Phase::Rollback, &desk.driver());
        desk.begin_with(first, None).await;
        let host = fleet.0.lock().unwrap().values().next().unwrap().clone();
        assert_eq!(host.uploaded, ["/etc/restored"]);
    });
}

/// A question that is answered well once, and never again.
struct Alarm(AtomicU32);

impl Controller for Alarm {
    fn run<'a>(
        &'a self,
        _: &'a LocalScript,
        _: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, std::io::Result<Exit>> {
        let asked = self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { Ok(Exit::Code(i32::from(asked == 0))) })
    }

    fn make_folder<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, std::io::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn answers<'a>(&'a self, _: &'a str, _: u16, _: Duration) -> BoxFuture<'a, bool> {
        Box::pin(async { true })
    }

    fn get<'a>(&'a self, _: &'a str, _: Duration) -> BoxFuture<'a, Result<Page, String>> {
        Box::pin(async { Err("there is no server here".to_owned()) })
    }
}

#[test]
fn an_interrupt_is_heard_however_much_a_fleet_has_to_say() {
    const NAMES: [&str; 2] = ["a", "b"];
    let names: Vec<String> =
        (0..150).flat_map(|n| NAMES.map(|name| format!("{name}{n:03}"))).collect();
    let fleet = FakeFleet::default();
    for name in &names {
        let host = FakeHost::new("old", "1").rule("step-9", Answer::Becomes("new", "2"));
        fleet.0.lock().unwrap().insert(name.parse().unwrap(), host);
    }
    let mut playbook = playbook();
    let steps = (0..10).map(|n| step(&format!("s{n}"), &format!("step-{n}"))).collect();
    playbook.hops[0].steps = [(Phase::Migrate, steps)].into();
    playbook.hops[0].to = system("new", "2");
    let watch = Watch {
        ask: Question::Holds { run: "alarm".to_owned() },
        every: Duration::from_millis(1),
        timeout: Duration::from_secs(10),
        failures: 1,
        act: Act::Pause,
        recovery: None,
    };
    let interrupts = vec![Interrupt { name: "alarm".to_owned(), watch }];
    let rollout = Rollout { parallel: 40, interrupts, ..lenient() };
    in_paused_time(async {
        let alarm = Arc::new(Alarm(AtomicU32::new(0)));
        let desk = Desk::new(&fleet, &playbook, &rollout, alarm);
        let outcome = desk.drive(None).await;
        assert!(matches!(outcome, Outcome::Paused(PauseReason::Watch { .. })), "{outcome:?}");
        let started = desk.state().hosts.iter().filter(|at| at.phase != HostPhase::Pending).count();
        assert!(started <= 80, "{started} hosts have started since");
    });
}
