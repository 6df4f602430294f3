//! Windows in the engine: it waits for them, rests its hosts outside of them, or pauses where nobody waits.

use super::{Silent, good, inventory, lenient, playbook};
use crate::support::fake::FakeFleet;
use fleetlift::{
    base::{
        template::Templates,
        time::{Clock, Timestamp},
    },
    engine::{Engine, Outcome, Secrets, Shared, ThisMachine},
    journal::{Event, PauseReason, Record, Store, Verdict},
    plan::{Plan, build},
    rollout::{self, Rollout},
    run::RunState,
};
use std::{sync::Arc, time::Duration};

/// The time of the runtime, which goes on where all tasks sleep, and which may jump.
struct Paused {
    since: tokio::time::Instant,
    start: Timestamp,
}

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        self.start + self.since.elapsed()
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The rollout of the other tests, with this window.
fn with_window(window: &str) -> Rollout {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rollout.toml");
    std::fs::write(&file, format!("[defaults]\nwindow = {window}\n")).unwrap();
    let read = rollout::read(&file).unwrap();
    let mut rollout = lenient();
    rollout.waves[0].windows = read.waves[0].windows.clone();
    rollout
}

/// Drives a run, from its beginning or from where it stands, by a clock that begins here.
fn drive(
    store: &Store,
    fleet: &FakeFleet,
    plan: &Arc<Plan>,
    start: &str,
    no_wait: bool,
) -> (Outcome, Vec<Record>) {
    let ((outcome, _), records) =
        drive_by(store, fleet, plan, no_wait, |since| Arc::new(Paused { since, start: at(start) }));
    (outcome, records)
}

/// The same by any clock. Also returns how long it took by one that nobody sets.
fn drive_by(
    store: &Store,
    fleet: &FakeFleet,
    plan: &Arc<Plan>,
    no_wait: bool,
    clock: impl FnOnce(tokio::time::Instant) -> Arc<dyn Clock>,
) -> ((Outcome, Duration), Vec<Record>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let run: fleetlift::base::name::RunId = "r".parse().unwrap();
    runtime.block_on(async {
        let text = serde_json::to_string(&**plan).unwrap();
        let known = store.read(&run).is_ok();
        let journal = match known {
            true => store.take_over(&run).unwrap(),
            false => store.create(&run, &text, "sha256:x").unwrap(),
        };
        let records = store.read(&run).unwrap().records(0).unwrap();
        let state = RunState::replay(plan, &records).unwrap();
        let began = tokio::time::Instant::now();
        let shared = Shared {
            plan: Arc::clone(plan),
            run: run.clone(),
            transport: Arc::new(fleet.clone()),
            clock: clock(began),
            controller: Arc::new(ThisMachine),
            secrets: Arc::new(Secrets::default()),
            templates: Templates::default(),
            outputs: journal.outputs(),
            artifacts: store.dir().join("artifacts"),
        };
        let first = match known {
            false => Event::RunStarted {
                plan: "sha256:x".into(),
                playbook: "old-to-new".into(),
                operator: "tester".into(),
                controller: "here".into(),
                version: "0".into(),
                hosts: plan.hosts.len(),
            },
            true => Event::RunResumed {
                operator: "tester".into(),
                controller: "here".into(),
                only_reopened: false,
            },
        };
        let (_control, orders) = tokio::sync::mpsc::channel(4);
        let engine = Engine::new(shared, state, journal, orders, Box::new(Silent)).no_wait(no_wait);
        let (outcome, state) = engine.drive(vec![first]).await.unwrap();
        let records = store.read(&run).unwrap().records(0).unwrap();
        assert_eq!(
            RunState::replay(plan, &records).unwrap(),
            state,
            "a reader sees what the writer saw"
        );
        ((outcome, began.elapsed()), records)
    })
}

fn planned(fleet: &FakeFleet, rollout: &Rollout) -> Arc<Plan> {
    let names: Vec<String> = fleet.0.lock().unwrap().keys().map(ToString::to_string).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let inventory = inventory(&names);
    let selected = inventory.hosts.keys().cloned().collect();
    Arc::new(build(&inventory, &playbook(), rollout, "@all", &selected).unwrap())
}

const NIGHT: &str = "{ from = \"01:00\", to = \"03:00\", zone = \"Asia/Shanghai\" }";

#[test]
fn a_run_waits_for_its_window_and_goes_on_by_itself() {
    let fleet = FakeFleet::with([("a", good()), ("b", good())]);
    let plan = planned(&fleet, &with_window(NIGHT));
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let (outcome, records) = drive(&store, &fleet, &plan, "2026-11-21T16:50:00Z", false);
    assert_eq!(outcome, Outcome::Finished(Verdict::Completed));
    let opens = at("2026-11-21T17:00:00Z");
    let started = records.iter().filter(|record| matches!(record.event, Event::HostStarted { .. }));
    let started: Vec<Timestamp> = started.map(|record| record.at).collect();
    assert_eq!(started.len(), 2);
    assert!(started.iter().all(|at| *at >= opens && at.since(opens).as_secs() < 60), "{started:?}");
    assert!(!records.iter().any(|record| matches!(record.event, Event::RunPaused { .. })));
}

#[test]
fn without_waiting_a_run_pauses_and_is_taken_up_in_its_window() {
    let fleet = FakeFleet::with([("a", good())]);
    let plan = planned(&fleet, &with_window(NIGHT));
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    for _ in 0..2 {
        let (outcome, _) = drive(&store, &fleet, &plan, "2026-11-21T12:00:00Z", true);
        let Outcome::Paused(PauseReason::Window { opens, .. }) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(opens, Some(at("2026-11-21T17:00:00Z")));
    }
    assert!(fleet.ran("a").is_empty(), "no host was contacted");
    let (outcome, _) = drive(&store, &fleet, &plan, "2026-11-21T17:30:00Z", true);
    assert_eq!(outcome, Outcome::Finished(Verdict::Completed));
}

#[test]
fn a_run_whose_windows_are_over_says_so_whether_it_waits_or_not() {
    let past =
        "{ from = \"2024-09-08 01:00\", to = \"2024-09-08 05:00\", zone = \"Asia/Shanghai\" }";
    let fleet = FakeFleet::with([("a", good())]);
    let plan = planned(&fleet, &with_window(past));
    for no_wait in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let (outcome, _) = drive(&store, &fleet, &plan, "2026-11-21T12:00:00Z", no_wait);
        assert!(
            matches!(&outcome, Outcome::Paused(PauseReason::Window { opens: None, .. })),
            "{outcome:?}"
        );
    }
}

/// A clock that was set an hour ahead, and is set right a while later.
struct SetRight {
    paused: Paused,
    right_after: Duration,
}

impl Clock for SetRight {
    fn now(&self) -> Timestamp {
        let wrong = self.paused.since.elapsed() < self.right_after;
        let ahead = Duration::from_secs(if wrong { 3600 } else { 0 });
        self.paused.now() + ahead
    }

    fn steady(&self) -> Duration {
        self.paused.since.elapsed()
    }
}

/// The time of the run never goes back; but a window is that of the wall, and an hour that was only dreamt of opens none.
#[test]
fn a_clock_that_is_set_right_opens_no_window() {
    let fleet = FakeFleet::with([("a", good())]);
    let plan = planned(&fleet, &with_window(NIGHT));
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    // It is 15:50; the clock says 16:50 for five minutes. By the run's own time the window would open at 16:00.
    let ((outcome, waited), _) = drive_by(&store, &fleet, &plan, false, |since| {
        let paused = Paused { since, start: at("2026-11-21T15:50:00Z") };
        Arc::new(SetRight { paused, right_after: Duration::from_secs(300) })
    });
    assert_eq!(outcome, Outcome::Finished(Verdict::Completed));
    assert!(waited.as_secs() >= 70 * 60, "the window was entered after {waited:?}");
}
