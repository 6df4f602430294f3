//! Hands of operators on a run: hold, release, stop and leave, at whatever record they come.

mod hands;
mod table;

use crate::{
    fake::{Answer, FakeFleet, FakeHost},
    stage::{Driver, Stage, good, lenient, planned, playbook},
};
use fleetlift::{
    base::{name::HostName, time::Timestamp},
    engine::{Control, EngineError, Observer, Outcome},
    journal::{Ask, End, Event, PauseReason, Record, Request, Then, Verdict},
    plan::Plan,
    playbook::Playbook,
    rollout::{Allowance, Rollout, Wave},
    run::{HostPhase, RunState, WaitingOn, decide},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::sync::mpsc;

/// A run whose controllers come and go, and hear operators.
struct Bench {
    stage: Stage,
    fleet: FakeFleet,
    asked: u32,
}

type Wanted = Box<dyn Fn(&Record) -> bool + Send>;

/// Says something at a record.
struct At(Wanted, Control);

struct Steering {
    script: Vec<At>,
    control: mpsc::Sender<Control>,
}

impl Observer for Steering {
    fn record(&mut self, record: &Record, state: &RunState, plan: &Plan) {
        assert_eq!(state.counts.values().sum::<usize>(), plan.hosts.len(), "after {record:?}");
        let (now, later) =
            std::mem::take(&mut self.script).into_iter().partition(|at| at.0(record));
        self.script = later;
        for At(_, control) in now {
            self.control.try_send(control).unwrap();
        }
    }

    fn tick(&mut self, _: Timestamp, _: &RunState, _: &Plan) {}
}

impl Bench {
    fn new(fleet: FakeFleet, rollout: &Rollout) -> Self {
        Self::with(fleet, &playbook(), rollout)
    }

    fn with(fleet: FakeFleet, playbook: &Playbook, rollout: &Rollout) -> Self {
        Self { stage: Stage::new(planned(&fleet, playbook, rollout)), fleet, asked: 0 }
    }

    fn records(&self) -> Vec<Record> {
        self.stage.records()
    }

    fn state(&self) -> RunState {
        self.stage.state()
    }

    fn ask(&mut self, ask: Ask) -> Request {
        self.asked += 1;
        let id = format!("{:04}", self.asked).parse().unwrap();
        Request { id, at: Timestamp::from_millis(0), by: "alice@laptop".into(), epoch: 0, ask }
    }

    /// Records a request as a process does that finds no controller.
    fn note(&mut self, ask: Ask) {
        let event = self.ask(ask).event();
        self.stage.note(event);
    }

    /// Drives the run, from its beginning or from where it stands.
    fn drive(&self, script: Vec<At>) -> (Outcome, RunState) {
        self.try_drive(script).unwrap()
    }

    fn try_drive(&self, script: Vec<At>) -> Result<(Outcome, RunState), EngineError> {
        let (control, orders) = mpsc::channel(64);
        let ran = self.stage.drive(|| Driver {
            observer: Box::new(Steering { script, control }),
            orders: Some(orders),
            ..Driver::of(self.fleet.clone())
        })?;
        Ok((ran.outcome, ran.state))
    }

    fn word(&self, host: &str) -> &'static str {
        let state = self.state();
        state.hosts[state.host(&name(host)).unwrap()].word()
    }

    /// Whether an attempt of this host began between its rest and its next slot.
    fn moved_while_it_rested(&self) -> Option<HostName> {
        let mut resting = BTreeSet::new();
        for record in self.records() {
            match &record.event {
                Event::HostHeld { host } => {
                    resting.insert(host.clone());
                }
                Event::HostStarted { host, .. } => {
                    resting.remove(host);
                }
                event => {
                    if let Some(host) = event.host().filter(|host| resting.contains(*host)) {
                        return Some(host.clone());
                    }
                }
            }
        }
        None
    }
}

fn name(host: &str) -> HostName {
    host.parse().unwrap()
}

fn names(hosts: &[&str]) -> Vec<HostName> {
    hosts.iter().map(|host| name(host)).collect()
}

fn hold(hosts: &[&str]) -> Ask {
    Ask::Hold { hosts: names(hosts) }
}

fn release(hosts: &[&str]) -> Ask {
    Ask::Release { hosts: names(hosts) }
}

/// When an attempt of this step begins on this host.
fn begins(step: &'static str, host: &'static str) -> Wanted {
    Box::new(move |record| match &record.event {
        Event::AttemptStarted { host: of, step: id, .. } => {
            of.as_str() == host && id.step.as_str() == step
        }
        _ => false,
    })
}

fn started() -> Wanted {
    Box::new(|record| matches!(record.event, Event::RunStarted { .. } | Event::RunResumed { .. }))
}

fn fleet(names: &[&'static str]) -> FakeFleet {
    FakeFleet::with(names.iter().map(|name| (*name, good())))
}

fn one_by_one() -> Rollout {
    Rollout { parallel: 1, ..lenient() }
}

#[test]
fn a_pending_host_that_is_held_is_not_started_and_the_run_pauses_for_it_alone() {
    let mut bench = Bench::new(fleet(&["a", "b", "c"]), &one_by_one());
    let asked = bench.ask(hold(&["b"]));
    let (outcome, _) = bench.drive(vec![At(started(), Control::Asked(asked))]);
    assert_eq!(outcome, Outcome::Paused(PauseReason::Held { hosts: names(&["b"]) }));
    assert_eq!(
        (bench.word("a"), bench.word("b"), bench.word("c")),
        ("migrated", "held", "migrated")
    );
    assert!(bench.fleet.ran("b").is_empty());
    assert!(!bench.state().waves[0].finished, "a wave with a held host is not finished");
    assert_eq!(bench.state().tally.bad, 0, "nobody counts it as bad");

    // A resume keeps the hold, and says at once that there is nothing else to do.
    let before = bench.records().len();
    let (outcome, _) = bench.drive(Vec::new());
    assert_eq!(outcome, Outcome::Paused(PauseReason::Held { hosts: names(&["b"]) }));
    assert_eq!(bench.records().len(), before + 2, "taken over, and paused");

    bench.note(release(&["b"]));
    assert_eq!(bench.word("b"), "pending");
    let (outcome, _) = bench.drive(Vec::new());
    assert_eq!(outcome, Outcome::Finished(Verdict::Completed));
}

#[test]
fn a_host_in_flight_rests_at_its_next_safe_point_and_goes_on_where_it_was() {
    let mut bench = Bench::new(fleet(&["a", "b"]), &one_by_one());
    let asked = bench.ask(hold(&["a"]));
    let (outcome, _) = bench.drive(vec![At(begins("copy", "a"), Control::Asked(asked))]);
    assert_eq!(outcome, Outcome::Paused(PauseReason::Held { hosts: names(&["a"]) }));
    // The step under way was not cut off, nothing began after it, and its slot went to the other.
    assert_eq!(bench.fleet.ran("a"), ["copy", "check-backup"]);
    assert_eq!((bench.word("a"), bench.word("b")), ("held", "migrated"));
    assert_eq!(bench.moved_while_it_rested(), None);

    bench.note(release(&["a"]));
    let (outcome, _) = bench.drive(Vec::new());
    assert_eq!(outcome, Outcome::Finished(Verdict::Completed));
    let ran = bench.fleet.ran("a");
    assert_eq!(ran[..3], ["copy", "check-backup", "ask-space"], "nothing ran twice");
}

#[test]
fn a_host_that_is_being_changed_goes_on_to_its_end() {
    let mut bench = Bench::new(fleet(&["a"]), &lenient());
    let asked = bench.ask(hold(&["a"]));
    let (outcome, _) = bench.drive(vec![At(begins("upgrade", "a"), Control::Asked(asked))]);
    assert_eq!(outcome, Outcome::Finished(Verdict::Completed));
    assert_eq!(bench.state().hosts[0].held_by, None, "nothing is left to hold");
}

#[test]
fn a_retry_waits_out_the_hold_with_its_number() {
    let host = good().rule("check-backup", Answer::Exit(1, "corrupt"));
    let mut playbook = playbook();
    for step in playbook.hops[0].steps.values_mut().flatten() {
        step.retries = 2;
    }
    let mut bench = Bench::with(FakeFleet::with([("a", host)]), &playbook, &lenient());
    let asked = bench.ask(hold(&["a"]));
    let failed: Wanted = Box::new(|record| {
        matches!(&record.event, Event::AttemptFailed { then: Then::Retry { .. }, .. })
    });
    bench.drive(vec![At(failed, Control::Asked(asked))]);
    let HostPhase::Resting { retry: Some(retry) } = bench.state().hosts[0].phase else {
        panic!("{:?}", bench.state().hosts[0].phase);
    };
    assert_eq!(retry.next, 2);
    bench.note(release(&["a"]));
    let (outcome, state) = bench.drive(Vec::new());
    assert_eq!(outcome, Outcome::Finished(Verdict::Incomplete));
    assert_eq!(state.hosts[0].phase, HostPhase::Ended(End::Failed));
    let copies = bench.fleet.ran("a").iter().filter(|text| *text == "copy").count();
    assert_eq!(copies, 3, "one attempt and two retries, as without the hold");
}

#[test]
fn a_canary_that_is_held_leaves_its_place_to_the_next() {
    let mut rollout = Rollout::default();
    rollout.budget.failures = Allowance::Hosts(5);
    let mut bench = Bench::new(fleet(&["a", "b", "c"]), &rollout);
    let asked = bench.ask(hold(&["a"]));
    let (outcome, state) = bench.drive(vec![At(begins("copy", "a"), Control::Asked(asked))]);
    assert_eq!(outcome, Outcome::Paused(PauseReason::Held { hosts: names(&["a"]) }));
    assert_eq!(state.counts, BTreeMap::from([("held", 1), ("migrated", 2)]));
}

#[test]
fn a_later_wave_waits_for_a_held_host_of_the_one_before_it() {
    let wave = |name: &str, hosts: &str, after: &[&str]| Wave {
        name: name.parse().unwrap(),
        hosts: hosts.into(),
        after: after.iter().map(|wave| wave.parse().unwrap()).collect(),
        ..lenient().waves.remove(0)
    };
    let waves = vec![wave("first", "a,b", &[]), wave("second", "c", &["first"])];
    let mut bench = Bench::new(fleet(&["a", "b", "c"]), &Rollout { waves, ..lenient() });
    let asked = bench.ask(hold(&["a"]));
    let (outcome, state) = bench.drive(vec![At(started(), Control::Asked(asked))]);
    assert_eq!(outcome, Outcome::Paused(PauseReason::Held { hosts: names(&["a"]) }));
    assert_eq!(state.counts, BTreeMap::from([("held", 1), ("migrated", 1), ("pending", 1)]));
    assert!(!state.waves[0].finished && !state.waves[1].started);
    bench.note(release(&["a"]));
    assert_eq!(bench.drive(Vec::new()).0, Outcome::Finished(Verdict::Completed));
}

#[test]
fn a_released_host_takes_no_slot_that_is_not_free() {
    let mut bench = Bench::new(fleet(&["a", "b", "c"]), &one_by_one());
    let (held, released) = (bench.ask(hold(&["a"])), bench.ask(release(&["a"])));
    let (outcome, _) = bench.drive(vec![
        At(begins("copy", "a"), Control::Asked(held)),
        At(begins("upgrade", "b"), Control::Asked(released)),
    ]);
    assert_eq!(outcome, Outcome::Finished(Verdict::Completed));
    let mut in_flight = 0_i32;
    for record in bench.records() {
        match record.event {
            Event::HostStarted { .. } => in_flight += 1,
            Event::HostHeld { .. } | Event::HostFinished { .. } => in_flight -= 1,
            _ => {}
        }
        assert!(in_flight <= 1, "{:?}", record.event);
    }
}

#[test]
fn a_request_is_taken_once_however_often_it_comes() {
    let mut bench = Bench::new(fleet(&["a", "b"]), &one_by_one());
    let (held, released) = (bench.ask(hold(&["b"])), bench.ask(release(&["b"])));
    let strange = bench.ask(Ask::Hold { hosts: names(&["nobody"]) });
    let (outcome, _) = bench.drive(vec![
        At(started(), Control::Asked(held.clone())),
        At(started(), Control::Asked(released)),
        At(started(), Control::Asked(held)),
        At(started(), Control::Asked(strange)),
    ]);
    assert_eq!(
        outcome,
        Outcome::Finished(Verdict::Completed),
        "it was released, and not held again"
    );
    let taken = bench.records().iter().filter(|record| record.event.request().is_some()).count();
    assert_eq!(taken, 3);
}

#[test]
fn stop_and_leave_of_another_process_are_as_at_the_controller() {
    let mut bench = Bench::new(fleet(&["a", "b"]), &one_by_one());
    let asked = bench.ask(Ask::Stop);
    let (outcome, state) = bench.drive(vec![At(begins("upgrade", "a"), Control::Asked(asked))]);
    let by = "alice@laptop".to_owned();
    assert_eq!(outcome, Outcome::Paused(PauseReason::Stopped { by }));
    assert_eq!(state.counts, BTreeMap::from([("migrated", 1), ("pending", 1)]));

    let asked = bench.ask(Ask::Leave);
    let (outcome, _) = bench.drive(vec![At(begins("upgrade", "b"), Control::Asked(asked))]);
    assert_eq!(outcome, Outcome::Left);
    let last = bench.records().pop().unwrap();
    assert!(matches!(last.event, Event::LeaveRequested { .. }), "it is on disk: {last:?}");
}

#[test]
fn a_journal_that_breaks_ends_the_run_also_with_hosts_in_flight() {
    let bench = Bench::new(fleet(&["a", "b", "c"]), &lenient());
    let path = bench.stage.journal_file();
    let breaks: Wanted = Box::new(move |record| {
        let in_flight = begins("upgrade", "b")(record);
        if in_flight {
            let other = rusqlite::Connection::open(&path).unwrap();
            other.execute_batch("drop table records").unwrap();
        }
        in_flight
    });
    let error = bench.try_drive(vec![At(breaks, Control::Stop { by: "me".into() })]).unwrap_err();
    assert!(matches!(error, EngineError::Journal(_)), "{error:?}");
}

#[test]
fn what_the_run_waits_on_names_who_is_held() {
    let mut bench = Bench::new(fleet(&["a", "b"]), &one_by_one());
    let (held, leave) = (bench.ask(hold(&["b"])), bench.ask(Ask::Leave));
    bench.drive(vec![
        At(started(), Control::Asked(held)),
        At(begins("upgrade", "a"), Control::Asked(leave)),
    ]);
    let mut records = bench.records();
    while !matches!(records.last().unwrap().event, Event::AttemptStarted { .. }) {
        records.pop();
    }
    let state = RunState::replay(&bench.stage.plan, &records).unwrap();
    let decision = decide(&bench.stage.plan, &state, Timestamp::from_millis(0));
    assert_eq!(decision.todo, []);
    let told = WaitingOn::Held { hosts: names(&["b"]) };
    assert!(decision.waiting_on.contains(&told), "{:?}", decision.waiting_on);
}

/// What is given back at a rest is the lock of the next lane, too: that one waits for the goodbye of the first.
#[test]
fn a_host_is_not_taken_up_again_while_it_is_still_being_left() {
    let host = FakeHost { farewell: Some(Duration::from_secs(10)), ..good() };
    let mut bench = Bench::new(FakeFleet::with([("a", host), ("b", good())]), &lenient());
    let (held, released) = (bench.ask(hold(&["a"])), bench.ask(release(&["a"])));
    let rests: Wanted = Box::new(|record| matches!(record.event, Event::HostHeld { .. }));
    let (outcome, _) = bench.drive(vec![
        At(begins("space", "a"), Control::Asked(held)),
        At(rests, Control::Asked(released)),
    ]);
    assert_eq!(outcome, Outcome::Finished(Verdict::Completed));
    let ran = bench.fleet.ran("a");
    let place = |text: &str| ran.iter().position(|ran| ran == text).unwrap();
    assert!(place("ask-space") < place("left") && place("left") < place("ask-mounts"), "{ran:?}");
    assert_eq!(ran.iter().filter(|ran| *ran == "left").count(), 2, "{ran:?}");
}
