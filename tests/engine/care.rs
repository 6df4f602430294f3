//! Rehearsals of the way back, and rests between two hops.

use crate::{
    fake::{Answer, FakeFleet, FakeHost},
    stage::{good, lenient, playbook, run},
    support::plans::{self, build, hop, inventory, step, system},
};
use fleetlift::{
    base::phase::Phase,
    engine::Outcome,
    journal::{End, Event, PauseReason, Verdict},
    playbook::Playbook,
    rollout::Rollout,
};

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
