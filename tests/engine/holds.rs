//! Hands of operators on a run: hold, release, stop and leave, at whatever record they come.

use super::{good, inventory, lenient, playbook};
use crate::support::fake::{Answer, FakeFleet, FakeHost};
use fleetlift::{
    base::{
        name::HostName,
        template::Templates,
        time::{SystemClock, Timestamp},
    },
    engine::{Control, Engine, EngineError, Observer, Outcome, Secrets, Shared, ThisMachine},
    journal::{
        Ask, End, Event, Failure, Outcome as Passed, PauseReason, Record, Request, Store, Then,
        Verdict,
    },
    plan::{Plan, build},
    rollout::{Allowance, Rollout, Wave},
    run::{HostPhase, RunState, Todo, WaitingOn, decide},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// A run whose controllers come and go.
struct Bench {
    _dir: tempfile::TempDir,
    store: Store,
    fleet: FakeFleet,
    plan: Arc<Plan>,
    digest: String,
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
        let names: Vec<String> = fleet.0.lock().unwrap().keys().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let inventory = inventory(&names);
        let selected = inventory.hosts.keys().cloned().collect();
        let plan = build(&inventory, &playbook(), rollout, "@all", &selected).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        let digest = fleetlift::base::digest::digest(text.as_bytes());
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        drop(store.create(&"r".parse().unwrap(), &text, &digest).unwrap());
        Self { _dir: dir, store, fleet, plan: Arc::new(plan), digest, asked: 0 }
    }

    fn records(&self) -> Vec<Record> {
        self.store.read(&"r".parse().unwrap()).unwrap().records(0).unwrap()
    }

    fn state(&self) -> RunState {
        RunState::replay(&self.plan, &self.records()).unwrap()
    }

    fn ask(&mut self, ask: Ask) -> Request {
        self.asked += 1;
        let id = format!("{:04}", self.asked).parse().unwrap();
        Request { id, at: Timestamp::from_millis(0), by: "alice@laptop".into(), epoch: 0, ask }
    }

    /// Records a request as a process does that finds no controller.
    fn note(&mut self, ask: Ask) {
        let event = self.ask(ask).event();
        let writer = self.store.take_over(&"r".parse().unwrap()).unwrap();
        let record = Record { seq: self.state().next_seq, at: Timestamp::from_millis(0), event };
        self.state().apply(&self.plan, &record).unwrap();
        runtime().block_on(writer.append([record].into())).unwrap();
    }

    /// Drives the run, from its beginning or from where it stands.
    fn drive(&self, script: Vec<At>) -> (Outcome, RunState) {
        let driven = self.try_drive(script).unwrap();
        assert_eq!(self.state(), driven.1, "a reader sees what the writer saw");
        driven
    }

    fn try_drive(&self, script: Vec<At>) -> Result<(Outcome, RunState), EngineError> {
        runtime().block_on(async {
            let run = "r".parse().unwrap();
            let journal = self.store.take_over(&run).unwrap();
            let state = self.state();
            let first = match state.next_seq {
                0 => Event::RunStarted {
                    plan: self.digest.clone(),
                    playbook: "old-to-new".into(),
                    operator: "tester".into(),
                    controller: "here".into(),
                    version: "0".into(),
                    hosts: self.plan.hosts.len(),
                },
                _ => Event::RunResumed {
                    operator: "tester".into(),
                    controller: "here".into(),
                    only_reopened: false,
                },
            };
            let shared = Shared {
                plan: Arc::clone(&self.plan),
                run,
                transport: Arc::new(self.fleet.clone()),
                clock: Arc::new(SystemClock),
                controller: Arc::new(ThisMachine),
                secrets: Arc::new(Secrets::default()),
                templates: Templates::default(),
                outputs: journal.outputs(),
                artifacts: self._dir.path().join("artifacts"),
            };
            let (control, orders) = mpsc::channel(64);
            let observer = Box::new(Steering { script, control });
            let engine = Engine::new(shared, state, journal, orders, observer);
            engine.drive(vec![first]).await
        })
    }

    fn word(&self, host: &str) -> &'static str {
        let state = self.state();
        state.hosts[state.host(&name(host)).unwrap()].word()
    }

    /// Whether an attempt of this host began between its rest and its next slot.
    fn moved_while_it_rested(&self) -> Option<HostName> {
        let mut resting = std::collections::BTreeSet::new();
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

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap()
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
    let mut bench = Bench::new(FakeFleet::with([("a", host)]), &lenient());
    let hosts = inventory(&["a"]);
    let selected = hosts.hosts.keys().cloned().collect();
    bench.plan = Arc::new(build(&hosts, &playbook, &lenient(), "@all", &selected).unwrap());
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
    let path = bench.store.run_dir(&"r".parse().unwrap()).join("journal.db");
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
    let state = RunState::replay(&bench.plan, &records).unwrap();
    let decision = decide(&bench.plan, &state, Timestamp::from_millis(0));
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

/// A host's way, and what a hold and a release make of it: the word after each record.
#[test]
fn the_table_of_holds() {
    let bench = Bench::new(fleet(&["a"]), &lenient());
    let host = || name("a");
    let step = |place: usize| bench.plan.steps[place].id.clone();
    let ask = |n: u32, hold: bool| {
        let (by, hosts, request) =
            ("alice".to_owned(), vec![host()], format!("{n}").parse().unwrap());
        match hold {
            true => Event::HoldRequested { by, hosts, request },
            false => Event::ReleaseRequested { by, hosts, request },
        }
    };
    let start = || Event::HostStarted { host: host(), wave: bench.plan.waves[0].name.clone() };
    let began = |place| Event::AttemptStarted { host: host(), step: step(place), attempt: 1 };
    let rest = || Event::HostHeld { host: host() };
    let passed = |place| Event::AttemptPassed {
        host: host(),
        step: step(place),
        attempt: 1,
        exit: None,
        duration_ms: 0,
        outcome: Passed::Changed,
        stdout: None,
    };
    let end =
        || Event::HostFinished { host: host(), end: End::Failed, touched: false, failure: None };
    let lost = |place| Event::AttemptFailed {
        host: host(),
        step: step(place),
        attempt: 1,
        failure: Failure::Lost { reason: String::new() },
        duration_ms: 0,
        tail: String::new(),
        then: Then::Retry { not_before: Timestamp::from_millis(9) },
        never: false,
    };
    type Row = (&'static str, Vec<Event>, Event, Option<&'static str>);
    let rows: Vec<Row> = vec![
        ("pending", vec![], ask(1, true), Some("held")),
        ("pending, and held", vec![ask(1, true)], start(), None),
        ("pending, and held", vec![ask(1, true)], rest(), None),
        ("pending, and held", vec![ask(1, true)], ask(2, true), Some("held")),
        ("pending, and held", vec![ask(1, true)], ask(2, false), Some("pending")),
        ("the same request", vec![ask(1, true)], ask(1, false), None),
        ("released", vec![ask(1, true), ask(2, false)], start(), Some("running")),
        ("in flight", vec![start()], ask(1, true), Some("running")),
        ("in flight, not held", vec![start()], rest(), None),
        ("in flight, held", vec![start(), ask(1, true)], rest(), Some("held")),
        ("in flight, held", vec![start(), ask(1, true)], began(0), Some("running")),
        ("a step runs", vec![start(), began(0), ask(1, true)], rest(), None),
        ("a retry is due", vec![start(), began(0), lost(0), ask(1, true)], rest(), Some("held")),
        ("a retry is due", vec![start(), began(0), lost(0)], ask(1, true), Some("running")),
        ("at rest", vec![start(), ask(1, true), rest()], began(0), None),
        ("at rest", vec![start(), ask(1, true), rest()], start(), None),
        ("at rest", vec![start(), ask(1, true), rest()], end(), None),
        ("at rest", vec![start(), ask(1, true), rest()], ask(2, false), Some("pending")),
        ("waits for a slot", vec![start(), ask(1, true), rest(), ask(2, false)], began(0), None),
        (
            "waits for a slot",
            vec![start(), ask(1, true), rest(), ask(2, false)],
            ask(3, true),
            Some("held"),
        ),
        (
            "waits for a slot",
            vec![start(), ask(1, true), rest(), ask(2, false)],
            start(),
            Some("running"),
        ),
        ("ended", vec![start(), end()], ask(1, true), Some("failed")),
        ("ended, while held", vec![start(), ask(1, true), end()], ask(2, false), Some("failed")),
        (
            "after its first step",
            vec![start(), began(0), passed(0), ask(1, true)],
            rest(),
            Some("held"),
        ),
    ];
    for (what, before, event, word) in rows {
        let mut state = RunState::new(&bench.plan);
        let run = Event::RunStarted {
            plan: String::new(),
            playbook: String::new(),
            operator: String::new(),
            controller: String::new(),
            version: String::new(),
            hosts: 1,
        };
        let wave = Event::WaveStarted { wave: bench.plan.waves[0].name.clone() };
        let told = format!("{what}, then {event:?}");
        let mut all = vec![run, wave];
        all.extend(before);
        for event in all {
            let record = Record { seq: state.next_seq, at: Timestamp::from_millis(1), event };
            state.apply(&bench.plan, &record).unwrap_or_else(|e| panic!("{told}: {e}"));
        }
        let record = Record { seq: state.next_seq, at: Timestamp::from_millis(1), event };
        let legal = state.apply(&bench.plan, &record);
        assert_eq!(legal.is_ok(), word.is_some(), "{told}: {legal:?}");
        let Some(word) = word else { continue };
        assert_eq!(state.hosts[0].word(), word, "{told}");
        assert_eq!(state.counts, BTreeMap::from([(word, 1)]), "{told}");
        // Nothing is ever undecided in silence.
        let decision = decide(&bench.plan, &state, Timestamp::from_millis(10));
        let silent = decision.todo.is_empty() && decision.waiting_on.is_empty();
        assert!(!silent, "{told}");
        let starts = decision.todo.iter().any(|todo| matches!(todo, Todo::Attempt { .. }));
        assert!(!starts || state.hosts[0].held_by.is_none(), "{told}: {:?}", decision.todo);
    }
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn some(&mut self, hosts: &[&str]) -> Vec<HostName> {
        hosts.iter().filter(|_| self.below(2) == 0).map(|host| name(host)).collect()
    }

    fn ask(&mut self, hosts: &[&str]) -> Ask {
        // Made-up hosts do not know a script again that an earlier controller began: nobody leaves here.
        match self.below(8) {
            0 => Ask::Stop,
            1..5 => Ask::Hold { hosts: self.some(hosts) },
            _ => Ask::Release { hosts: self.some(hosts) },
        }
    }
}

const HOSTS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn mixed() -> FakeFleet {
    let down = || good().rule("ask-services", Answer::Exit(1, "dead"));
    FakeFleet::with([
        ("a", good()),
        ("b", down().rule("restore", Answer::Becomes("old", "1"))),
        ("c", good().rule("ask-space", Answer::Exit(1, "40 MB left"))),
        ("d", good().rule("check-backup", Answer::Exit(1, "corrupt"))),
        ("e", good()),
    ])
}

/// Whatever operators say and whenever: every host comes to the end that it would have come to, by the same scripts.
#[test]
fn hands_change_when_things_happen_and_not_what() {
    let plain = Bench::new(mixed(), &lenient());
    assert_eq!(plain.drive(Vec::new()).0, Outcome::Finished(Verdict::Incomplete));
    let rounds = std::env::var("FLEETLIFT_HANDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let mut rested = 0;
    for seed in 0..rounds {
        let mut dice = Dice(seed);
        let rollout = Rollout { parallel: 1 + dice.below(3) as u32, ..lenient() };
        let mut bench = Bench::new(mixed(), &rollout);
        let mut last = Outcome::Left;
        for controller in 0..12 {
            // What is said while nobody drives the run, and then to its controller.
            if controller > 0 && dice.below(3) == 0 {
                let hosts = dice.some(&HOSTS);
                let held = dice.below(2) == 0;
                bench.note(if held { Ask::Hold { hosts } } else { Ask::Release { hosts } });
            }
            let mut script = Vec::new();
            let from = bench.records().len() as u64;
            for _ in 0..dice.below(5) {
                let at = from + dice.below(60);
                let ask = dice.ask(&HOSTS);
                let asked = bench.ask(ask);
                script.push(At(Box::new(move |r: &Record| r.seq == at), Control::Asked(asked)));
            }
            last = bench.drive(script).0;
            if let Outcome::Finished(_) = last {
                break;
            }
        }
        if !matches!(last, Outcome::Finished(_)) {
            bench.note(release(&HOSTS));
            last = bench.drive(Vec::new()).0;
        }
        assert_eq!(last, Outcome::Finished(Verdict::Incomplete), "seed {seed}");
        for (host, (is, was)) in bench.state().hosts.iter().zip(&plain.state().hosts).enumerate() {
            assert_eq!(is.phase, was.phase, "seed {seed}: {}", HOSTS[host]);
            assert_eq!(bench.fleet.ran(HOSTS[host]), plain.fleet.ran(HOSTS[host]), "seed {seed}");
        }
        assert_eq!(bench.moved_while_it_rested(), None, "seed {seed}");
        rested +=
            bench.records().iter().filter(|r| matches!(r.event, Event::HostHeld { .. })).count();
    }
    assert!(rounds < 20 || rested > 5, "holds were met on the way: {rested}");
}
