//! Rehearsals of the way back, and rests between two hops.

use crate::{
    fake::{Answer, FakeFleet, FakeHost},
    stage::{Driver, Ran, Stage, good, lenient, playbook, run},
    support::plans::{self, build, hop, inventory, plan, step, system},
};
use fleetlift::{
    base::{facts::Facts, phase::Phase, text_set::TextSet},
    engine::Outcome,
    journal::{End, Event, Moment, Outcome as Passed, PauseReason, Record, Verdict},
    playbook::Playbook,
    rollout::{Rollout, Wave},
    run::{Ending, RunState, Todo, WaitingOn, decide, judge},
};
use std::{sync::Arc, time::Duration};

fn rehearsing() -> Rollout {
    let mut rollout = Rollout::default();
    rollout.waves[0].rehearse_rollback = true;
    rollout
}

fn canary() -> FakeHost {
    good().rule("restore", Answer::Becomes("old", "1"))
}

#[test]
fn a_canary_shows_the_way_back_before_the_others_start() {
    let fleet = FakeFleet::with([("a", canary()), ("b", good())]);
    let ran = run(&fleet, &playbook(), &rehearsing());
    assert_eq!(ran.outcome, Outcome::Finished(Verdict::Completed));
    let way = |host: &str| -> Vec<String> {
        let changes = ["upgrade", "reboot-now", "restore"];
        let ran = fleet.ran(host).into_iter();
        ran.filter(|text| changes.iter().any(|what| text.starts_with(what))).collect()
    };
    assert_eq!(way("a"), ["upgrade a", "reboot-now", "restore", "upgrade a", "reboot-now"]);
    assert_eq!(way("b"), ["upgrade b", "reboot-now"], "only canaries rehearse");
    let place = |wanted: &dyn Fn(&Event) -> bool| {
        ran.records.iter().position(|record| wanted(&record.event)).unwrap()
    };
    let passed = place(&|event| matches!(event, Event::RehearsalPassed { .. }));
    let ended =
        place(&|event| matches!(event, Event::HostFinished { host, .. } if host.as_str() == "a"));
    let next =
        place(&|event| matches!(event, Event::HostStarted { host, .. } if host.as_str() == "b"));
    assert!(passed < ended && ended < next);
}

#[test]
fn a_rehearsal_that_fails_closes_the_wave() {
    let stays = || good().rule("restore", Answer::Exit(1, "no snapshot"));
    let elsewhere = || good().rule("restore", Answer::Becomes("old", "9"));
    let twice = vec![Answer::Exit(0, ""), Answer::Exit(7, "")];
    let second = || canary().rule("upgrade", Answer::InTurn(twice.clone()));
    for (host, end) in
        [(stays(), End::NeedsHands), (elsewhere(), End::NeedsHands), (second(), End::RolledBack)]
    {
        let fleet = FakeFleet::with([("a", host), ("b", good())]);
        let ran = run(&fleet, &playbook(), &rehearsing());
        let Outcome::Paused(PauseReason::Rehearsal { host, .. }) = &ran.outcome else {
            panic!("{:?}", ran.outcome);
        };
        assert_eq!((host.as_str(), ran.end("a")), ("a", end));
        assert!(fleet.ran("b").is_empty());
    }
}

#[test]
fn a_rehearsal_needs_a_way_back() {
    let mut playbook = playbook();
    playbook.hops[0].steps.remove(&Phase::Rollback);
    let faults = build(&inventory(&["a"]), &playbook, &rehearsing()).unwrap_err();
    assert!(faults.render(false).contains("no rollback that could be rehearsed"));
}

/// Two hops, each of one step that changes the system.
fn two_hops() -> Playbook {
    let hop = |name: &str, (from, a): (&str, &str), (to, b): (&str, &str)| {
        let go = step("go", &format!("go-{to}"));
        hop(name, Some(system(from, a)), Some(system(to, b)), [(Phase::Migrate, vec![go])])
    };
    let first = hop("first", ("old", "1"), ("mid", "2"));
    let second = hop("second", ("mid", "2"), ("new", "3"));
    plans::playbook(vec![first, second])
}

#[test]
fn hosts_rest_between_two_hops_until_somebody_resumes() {
    let host = || {
        FakeHost::new("old", "1")
            .rule("go-mid", Answer::Becomes("mid", "2"))
            .rule("go-new", Answer::Becomes("new", "3"))
    };
    // One that is on the way already does not rest before what it begins with.
    let between = FakeHost::new("mid", "2").rule("go-new", Answer::Becomes("new", "3"));
    let fleet = FakeFleet::with([("a", host()), ("b", host()), ("c", between)]);
    let mut rollout = lenient();
    rollout.waves[0].rest_between_hops = true;
    rollout.waves[0].parallel = Some(1);
    let ran = run(&fleet, &two_hops(), &rollout);
    let Outcome::Paused(PauseReason::Hop { hosts }) = &ran.outcome else {
        panic!("{:?}", ran.outcome);
    };
    let hosts: Vec<&str> = hosts.iter().map(|host| host.as_str()).collect();
    assert_eq!(hosts, ["a", "b"]);
    assert_eq!((fleet.ran("a"), fleet.ran("b")), (vec!["go-mid".into()], vec!["go-mid".into()]));
    assert_eq!(ran.end("c"), End::Migrated);

    // A resume takes them on.
    let mut state = ran.state.clone();
    let resumed = Event::RunResumed {
        operator: "op".into(),
        controller: "here".into(),
        only_reopened: false,
    };
    let at = ran.records.last().unwrap().at;
    let record = fleetlift::journal::Record { seq: state.next_seq, at, event: resumed };
    state.apply(&ran.plan, &record).unwrap();
    let decision = fleetlift::run::decide(&ran.plan, &state, at);
    assert_eq!(decision.todo.len(), 1, "one at a time: {decision:?}");
    assert!(state.between.is_empty());
}

/// What the way back has left behind, the prechecks of the second way find: no other host is to learn that by itself.
#[test]
fn a_rehearsal_that_leaves_something_behind_blocks_nobody() {
    let later = Answer::InTurn(vec![Answer::Exit(0, ""), Answer::Exit(1, "40 MB left")]);
    let fleet = FakeFleet::with([("a", canary().rule("ask-space", later)), ("b", good())]);
    let ran = run(&fleet, &playbook(), &rehearsing());
    let Outcome::Paused(PauseReason::Rehearsal { host, .. }) = &ran.outcome else {
        panic!("{:?}", ran.outcome);
    };
    assert_eq!((host.as_str(), ran.end("a")), ("a", End::RolledBack));
    assert!(fleet.ran("b").is_empty());
}

/// The state before the record that takes in what the second way's first look has seen, and that look's facts.
fn second_look(ran: &Ran) -> (RunState, Facts) {
    let looks =
        |record: &Record| matches!(&record.event, Event::HostFacts { moment: Moment::Before, .. });
    let places: Vec<usize> = (0..ran.records.len()).filter(|n| looks(&ran.records[*n])).collect();
    assert_eq!(places.len(), 2, "one for each way");
    let Event::HostFacts { facts, .. } = &ran.records[places[1]].event else { unreachable!() };
    (RunState::replay(&ran.plan, &ran.records[..places[1]]).unwrap(), Facts::clone(facts))
}

#[test]
fn what_a_rehearsal_has_lost_is_missed_afterwards() {
    let fleet = FakeFleet::with([("a", canary())]);
    let mut ran = run(&fleet, &playbook(), &rehearsing());
    let nginx: TextSet = ["nginx.service".to_owned()].into_iter().collect();
    let first = ran.records.iter_mut().find_map(|record| match &mut record.event {
        Event::HostFacts { facts, .. } => Some(facts),
        _ => None,
    });
    Arc::make_mut(first.unwrap()).services = nginx.clone();
    let state = RunState::replay(&ran.plan, &ran.records).unwrap();
    assert_eq!(state.hosts[0].before.as_ref().unwrap().services, nginx);
    assert!(state.hosts[0].latest.as_ref().unwrap().services.is_empty());
}

#[test]
fn the_second_way_begins_on_the_machine_and_the_system_of_the_first() {
    let fleet = FakeFleet::with([("a", canary())]);
    let ran = run(&fleet, &playbook(), &rehearsing());
    let at = ran.records.last().unwrap().at;
    for (machine, version, end) in
        [("another", "1", Some(End::NeedsHands)), ("", "9", Some(End::NeedsHands)), ("", "1", None)]
    {
        let (mut state, mut facts) = second_look(&ran);
        facts.system = Some(system("old", version));
        facts.machine_id += machine;
        let result = fleetlift::run::Result {
            ending: Ending::Passed { exit: None, outcome: Passed::Unchanged, stdout: None },
            duration: Duration::ZERO,
            tail: String::new(),
            facts: Some(Arc::new(facts)),
            warnings: Vec::new(),
            findings: Vec::new(),
            never: false,
        };
        for event in judge(&ran.plan, &state, 0, &result, at) {
            let record = Record { seq: state.next_seq, at, event };
            state.apply(&ran.plan, &record).unwrap();
        }
        let ends = decide(&ran.plan, &state, at).todo.into_iter().find_map(|todo| match todo {
            Todo::Record(Event::HostFinished { end, .. }) => Some(end),
            Todo::Record(_) | Todo::Attempt { .. } => None,
        });
        assert_eq!(ends, end, "{machine} {version}");
    }
}

/// Blocked means that nothing was changed: else a whole fleet would come to rest between two hops, one after the other.
#[test]
fn a_blocker_of_a_later_hop_is_a_bad_end() {
    let host = || {
        FakeHost::new("old", "1")
            .rule("go-mid", Answer::Becomes("mid", "2"))
            .rule("ask-room", Answer::Exit(1, "40 MB left"))
    };
    let mut playbook = two_hops();
    playbook.hops[1].steps.insert(Phase::Precheck, vec![step("room", "ask-room")]);
    // One that is found there was not changed by this run.
    let between = || FakeHost::new("mid", "2").rule("ask-room", Answer::Exit(1, "40 MB left"));
    for (first, end, others) in [(host(), End::NeedsHands, 0), (between(), End::Blocked, 1)] {
        let fleet = FakeFleet::with([("a", first), ("b", host())]);
        let ran = run(&fleet, &playbook, &Rollout::default());
        assert_eq!(ran.end("a"), end);
        let paused = matches!(ran.outcome, Outcome::Paused(PauseReason::Canary { .. }));
        assert_eq!(paused, others == 0, "{:?}", ran.outcome);
        assert_eq!(fleet.ran("b").iter().filter(|ran| *ran == "go-mid").count(), others);
    }
}

/// The run waits for something else by itself, and no word is said to the hosts that only a person takes on.
#[test]
fn hosts_between_two_hops_are_named_while_the_run_waits_for_others() {
    let host = || FakeHost::new("old", "1").rule("go-mid", Answer::Becomes("mid", "2"));
    let there = || FakeHost::new("mid", "2").rule("go-new", Answer::Becomes("new", "3"));
    let fleet = FakeFleet::with([("a", host()), ("b", there())]);
    let wave = |name: &str| Wave::new(name.parse().unwrap(), name.to_owned());
    let mut rollout = lenient();
    rollout.waves = vec![
        Wave { rest_between_hops: true, ..wave("a") },
        Wave { soak: Some(Duration::from_millis(300)), ..wave("b") },
    ];
    let ran = run(&fleet, &two_hops(), &rollout);
    let hosts = vec!["a".parse().unwrap()];
    assert_eq!(ran.outcome, Outcome::Paused(PauseReason::Hop { hosts: hosts.clone() }));
    let mut soaked = 0;
    for n in 1..ran.records.len() {
        let state = RunState::replay(&ran.plan, &ran.records[..n]).unwrap();
        let decision = decide(&ran.plan, &state, ran.records[n - 1].at);
        let soaks = |on: &WaitingOn| matches!(on, WaitingOn::Soak { .. });
        if decision.todo.is_empty() && decision.waiting_on.iter().any(soaks) {
            soaked += 1;
            let told = WaitingOn::Hop { hosts: hosts.clone() };
            let rests = state.between.len() == 1;
            assert_eq!(decision.waiting_on.contains(&told), rests, "{:?}", decision.waiting_on);
            soaked += usize::from(rests);
        }
    }
    assert!(soaked > 1, "b soaks while a rests");
}

/// It was told to rest after each hop, and goes through each of them twice.
#[test]
fn the_second_way_of_a_canary_has_its_own_rests() {
    let back = |system: &str| (Phase::Rollback, vec![step("restore", &format!("back-{system}"))]);
    let mut playbook = two_hops();
    playbook.hops[0].steps.extend([back("old")]);
    playbook.hops[1].steps.extend([back("mid")]);
    let host = FakeHost::new("old", "1")
        .rule("go-mid", Answer::Becomes("mid", "2"))
        .rule("go-new", Answer::Becomes("new", "3"))
        .rule("back-mid", Answer::Becomes("mid", "2"))
        .rule("back-old", Answer::Becomes("old", "1"));
    let fleet = FakeFleet::with([("a", host)]);
    let mut rollout = rehearsing();
    rollout.waves[0].rest_between_hops = true;
    let stage = Stage::new(plan(&["a"], &playbook, &rollout));
    for way in 1..=2 {
        let ran = stage.drive(|| Driver::of(fleet.clone())).unwrap();
        assert!(matches!(ran.outcome, Outcome::Paused(PauseReason::Hop { .. })), "{way}");
        assert_eq!(fleet.ran("a").iter().filter(|ran| *ran == "go-mid").count(), way);
    }
    let ran = stage.drive(|| Driver::of(fleet.clone())).unwrap();
    assert_eq!(ran.outcome, Outcome::Finished(Verdict::Completed));
    let all = ["go-mid", "go-new", "back-mid", "back-old", "go-mid", "go-new"];
    assert_eq!(fleet.ran("a"), all);
}

/// Where canaries rest between two hops, the others wait all the same.
#[test]
fn a_canary_between_two_hops_is_still_the_canary() {
    let host = || {
        FakeHost::new("old", "1")
            .rule("go-mid", Answer::Becomes("mid", "2"))
            .rule("go-new", Answer::Becomes("new", "3"))
    };
    let fleet = FakeFleet::with([("a", host()), ("b", host()), ("c", host())]);
    let mut rollout = Rollout::default();
    rollout.waves[0].rest_between_hops = true;
    let ran = run(&fleet, &two_hops(), &rollout);
    let hosts = vec!["a".parse().unwrap()];
    assert_eq!(ran.outcome, Outcome::Paused(PauseReason::Hop { hosts }));
    assert!(fleet.ran("b").is_empty() && fleet.ran("c").is_empty());
}
