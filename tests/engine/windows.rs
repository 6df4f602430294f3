//! Windows in the engine: it waits for them, rests its hosts outside of them, or pauses where nobody waits.

use crate::{
    fake::FakeFleet,
    stage::{Driver, PausedClock, Ran, Stage, good, lenient, planned, playbook},
};
use fleetlift::{
    base::time::{Clock, Timestamp},
    engine::Outcome,
    journal::{Event, PauseReason, Record, Verdict},
    rollout::{self, Rollout},
};
use std::{sync::Arc, time::Duration};

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
fn drive(stage: &Stage, fleet: &FakeFleet, start: &str, no_wait: bool) -> Ran {
    let clock = || Arc::new(PausedClock::starting(at(start)));
    stage.drive(|| Driver { clock: Some(clock()), no_wait, ..Driver::of(fleet.clone()) }).unwrap()
}

fn staged(fleet: &FakeFleet, window: &str) -> Stage {
    Stage::new(planned(fleet, &playbook(), &with_window(window)))
}

const NIGHT: &str = "{ from = \"01:00\", to = \"03:00\", zone = \"Asia/Shanghai\" }";

#[test]
fn a_run_waits_for_its_window_and_goes_on_by_itself() {
    let fleet = FakeFleet::with([("a", good()), ("b", good())]);
    let stage = staged(&fleet, NIGHT);
    let ran = drive(&stage, &fleet, "2026-11-21T16:50:00Z", false);
    assert_eq!(ran.outcome, Outcome::Finished(Verdict::Completed));
    let opens = at("2026-11-21T17:00:00Z");
    let started = |record: &&Record| matches!(record.event, Event::HostStarted { .. });
    let started = ran.records.iter().filter(started);
    let started: Vec<Timestamp> = started.map(|record| record.at).collect();
    assert_eq!(started.len(), 2);
    assert!(started.iter().all(|at| *at >= opens && at.since(opens).as_secs() < 60), "{started:?}");
    assert!(!ran.records.iter().any(|record| matches!(record.event, Event::RunPaused { .. })));
}

#[test]
fn without_waiting_a_run_pauses_and_is_taken_up_in_its_window() {
    let fleet = FakeFleet::with([("a", good())]);
    let stage = staged(&fleet, NIGHT);
    for _ in 0..2 {
        let ran = drive(&stage, &fleet, "2026-11-21T12:00:00Z", true);
        let Outcome::Paused(PauseReason::Window { opens, .. }) = ran.outcome else {
            panic!("{:?}", ran.outcome)
        };
        assert_eq!(opens, Some(at("2026-11-21T17:00:00Z")));
    }
    assert!(fleet.ran("a").is_empty(), "no host was contacted");
    let ran = drive(&stage, &fleet, "2026-11-21T17:30:00Z", true);
    assert_eq!(ran.outcome, Outcome::Finished(Verdict::Completed));
}

#[test]
fn a_run_whose_windows_are_over_says_so_whether_it_waits_or_not() {
    let past =
        "{ from = \"2024-09-08 01:00\", to = \"2024-09-08 05:00\", zone = \"Asia/Shanghai\" }";
    let fleet = FakeFleet::with([("a", good())]);
    for no_wait in [false, true] {
        let stage = staged(&fleet, past);
        let outcome = drive(&stage, &fleet, "2026-11-21T12:00:00Z", no_wait).outcome;
        assert!(
            matches!(&outcome, Outcome::Paused(PauseReason::Window { opens: None, .. })),
            "{outcome:?}"
        );
    }
}

/// A clock that was set an hour ahead, and is set right a while later.
struct SetRight {
    paused: PausedClock,
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
    let stage = staged(&fleet, NIGHT);
    // It is 15:50; the clock says 16:50 for five minutes. By the run's own time the window would open at 16:00.
    let clock = || SetRight {
        paused: PausedClock::starting(at("2026-11-21T15:50:00Z")),
        right_after: Duration::from_secs(300),
    };
    let driver = || Driver { clock: Some(Arc::new(clock())), ..Driver::of(fleet.clone()) };
    let ran = stage.drive(driver).unwrap();
    assert_eq!(ran.outcome, Outcome::Finished(Verdict::Completed));
    assert!(ran.took.as_secs() >= 70 * 60, "the window was entered after {:?}", ran.took);
}
