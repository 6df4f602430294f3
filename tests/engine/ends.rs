//! How hosts end, and that the journal says so.

use crate::{
    fake::{Answer, FakeFleet, FakeHost},
    stage::{good, lenient, playbook, run},
    support::plans::step,
};
use fleetlift::{
    base::phase::Phase,
    engine::Outcome,
    journal::{End, Event, Failure, PauseReason, Record, Scope, Verdict},
    playbook::{Action, Compare, OnLost, Step},
    rollout::{Allowance, Rollout},
};
use std::collections::BTreeSet;

#[test]
fn a_good_host_goes_all_the_way() {
    let fleet = FakeFleet::with([("a", good()), ("b", good()), ("c", good())]);
    let ran = run(&fleet, &playbook(), &Rollout::default());
    assert_eq!(ran.outcome, Outcome::Finished(Verdict::Completed));
    assert_eq!(ran.end("a"), End::Migrated);
    assert!(ran.touched("a"));
    assert_eq!(
        fleet.ran("b"),
        [
            "copy",
            "check-backup",
            "ask-space",
            "ask-mounts",
            "is-done",
            "upgrade b",
            "reboot-now",
            "ask-services"
        ]
    );
    let dark = ran.records.iter().filter(|r| matches!(r.event, Event::HostDark { .. })).count();
    assert_eq!(dark, 3);
    assert_eq!(ran.plan.waves[0].canary, 1);
}

#[test]
fn a_guard_that_passes_skips_its_step_and_says_why() {
    let host = FakeHost::new("old", "1").rule("reboot-now", Answer::Becomes("new", "2"));
    let fleet = FakeFleet::with([("a", host)]);
    let ran = run(&fleet, &playbook(), &lenient());
    assert_eq!(ran.end("a"), End::Migrated);
    assert!(!fleet.ran("a").contains(&"upgrade a".to_owned()));
    let said = ran.records.iter().any(
        |r| matches!(&r.event, Event::StepSkipped { reason, .. } if format!("{reason:?}").contains("is-done")),
    );
    assert!(said);
}

#[test]
fn a_backup_that_is_not_verified_stops_the_host_untouched() {
    let fleet = FakeFleet::with([("a", good().rule("check-backup", Answer::Exit(1, "corrupt")))]);
    let ran = run(&fleet, &playbook(), &lenient());
    assert_eq!(ran.end("a"), End::Failed);
    assert!(!ran.touched("a"));
    assert_eq!(fleet.ran("a"), ["copy", "check-backup"]);
}

/// It may be the one whose verification failed a moment ago.
#[test]
fn a_backup_that_its_guard_finds_is_verified_all_the_same() {
    let mut playbook = playbook();
    let copy = &mut playbook.hops[0].steps.get_mut(&Phase::Backup).unwrap()[0];
    copy.unless = Some("is-there".into());
    let fleet = FakeFleet::with([("a", good().rule("check-backup", Answer::Exit(1, "corrupt")))]);
    let ran = run(&fleet, &playbook, &lenient());
    assert_eq!(ran.end("a"), End::Failed);
    assert!(!ran.touched("a"));
    assert_eq!(fleet.ran("a"), ["is-there", "check-backup", "copy", "check-backup"]);

    let fleet = FakeFleet::with([("a", good())]);
    assert_eq!(run(&fleet, &playbook, &lenient()).end("a"), End::Migrated);
    assert_eq!(fleet.ran("a")[..3], ["is-there", "check-backup", "ask-space"]);
}

#[test]
fn a_lost_backup_that_its_probe_finds_is_verified_all_the_same() {
    let mut playbook = playbook();
    let copy = &mut playbook.hops[0].steps.get_mut(&Phase::Backup).unwrap()[0];
    copy.probe = Some("is-there".into());
    copy.on_lost = Some(OnLost::Probe);
    let host = good().rule("copy", Answer::Lost);
    let fleet =
        FakeFleet::with([("a", host.clone().rule("check-backup", Answer::Exit(1, "corrupt")))]);
    let ran = run(&fleet, &playbook, &lenient());
    assert_eq!(ran.end("a"), End::Failed);
    assert!(!ran.touched("a"));
    let fleet = FakeFleet::with([("a", host)]);
    assert_eq!(run(&fleet, &playbook, &lenient()).end("a"), End::Migrated);
}

#[test]
fn a_blocker_ends_the_host_after_every_precheck_was_asked() {
    let fleet = FakeFleet::with([("a", good().rule("ask-space", Answer::Exit(1, "40 MB left")))]);
    let ran = run(&fleet, &playbook(), &lenient());
    assert_eq!(ran.end("a"), End::Blocked);
    assert!(!ran.touched("a"));
    assert_eq!(fleet.ran("a"), ["copy", "check-backup", "ask-space", "ask-mounts"]);
    let found = ran.records.iter().find_map(|r| match &r.event {
        Event::HostFinding { finding, .. } => Some(finding.message.clone()),
        _ => None,
    });
    assert_eq!(found.as_deref(), Some("40 MB left"));
}

#[test]
fn a_failure_after_the_first_change_is_rolled_back_and_proven() {
    let host = good().rule("ask-services", Answer::Exit(1, "nginx is dead"));
    let host = host.rule("restore", Answer::Becomes("old", "1"));
    let fleet = FakeFleet::with([("a", host)]);
    let ran = run(&fleet, &playbook(), &lenient());
    assert_eq!(ran.end("a"), End::RolledBack);
    assert!(ran.touched("a"));
    assert_eq!(ran.outcome, Outcome::Finished(Verdict::Incomplete));
}

#[test]
fn a_rollback_that_does_not_bring_the_old_system_back_needs_hands() {
    let fleet = FakeFleet::with([("a", good().rule("ask-services", Answer::Exit(1, "dead")))]);
    let ran = run(&fleet, &playbook(), &lenient());
    assert_eq!(ran.end("a"), End::NeedsHands);
    let host = &ran.state.hosts[0];
    assert_eq!(host.failure, Some(Failure::Exited { code: 1 }), "the first failure is kept");
}

#[test]
fn a_lost_step_without_a_probe_is_left_to_a_person() {
    let fleet = FakeFleet::with([("a", good().rule("upgrade", Answer::Lost))]);
    let ran = run(&fleet, &playbook(), &lenient());
    assert_eq!(ran.end("a"), End::NeedsHands);
    assert_eq!(fleet.ran("a").iter().filter(|text| *text == "upgrade a").count(), 1);
}

#[test]
fn an_attempt_that_never_began_costs_no_retry() {
    let never = Answer::Never { power_cut: false };
    let fails_once = Answer::InTurn(vec![never, Answer::Exit(1, ""), Answer::Exit(0, "")]);
    let fleet = FakeFleet::with([("a", good().rule("upgrade", fails_once))]);
    let mut playbook = playbook();
    playbook.hops[0].steps.get_mut(&Phase::Migrate).unwrap()[0].retries = 1;
    let ran = run(&fleet, &playbook, &lenient());
    assert_eq!(ran.end("a"), End::Migrated);
    assert_eq!(fleet.ran("a").iter().filter(|text| *text == "upgrade a").count(), 2);
}

#[test]
fn an_attempt_that_never_begins_is_not_tried_for_ever() {
    let never = Answer::Never { power_cut: false };
    let fleet = FakeFleet::with([("a", good().rule("upgrade", never))]);
    let ran = run(&fleet, &playbook(), &lenient());
    assert_eq!((ran.end("a"), ran.touched("a")), (End::Unreachable, false));
    let failed = |record: &&Record| matches!(record.event, Event::AttemptFailed { .. });
    assert_eq!(ran.records.iter().filter(failed).count(), 5);
}

#[test]
fn never_is_not_believed_after_a_power_cut() {
    // The host has lost what it had written, and with it that the step began.
    let never = Answer::Never { power_cut: true };
    let fleet = FakeFleet::with([("a", good().rule("upgrade", never))]);
    let ran = run(&fleet, &playbook(), &lenient());
    assert_eq!((ran.end("a"), ran.touched("a")), (End::NeedsHands, true));
    let failure = ran.state.hosts[0].failure.clone();
    assert!(matches!(failure, Some(Failure::Lost { .. })), "{failure:?}");
    assert!(!fleet.ran("a").contains(&"upgrade a".to_owned()));
}

#[test]
fn a_host_on_the_target_is_left_alone_and_a_strange_one_is_refused() {
    let strange = FakeHost::new("bsd", "14");
    let fleet = FakeFleet::with([("a", FakeHost::new("new", "2.1")), ("b", strange)]);
    let ran = run(&fleet, &playbook(), &lenient());
    assert_eq!(ran.end("a"), End::Already);
    assert_eq!(ran.end("b"), End::Blocked);
    assert!(fleet.ran("a").is_empty() && fleet.ran("b").is_empty());
}

#[test]
fn a_host_on_the_target_that_cannot_prove_it_is_not_there() {
    let mut playbook = playbook();
    let proofs = vec![
        step("services", "ask-services"),
        Step { already: true, ..step("whole", "ask-whole") },
        Step { already: true, when: Some("false".into()), ..step("never", "ask-never") },
        Step { already: true, ..step("kernel", "ask-kernel") },
    ];
    playbook.hops[0].steps.insert(Phase::Verify, proofs);
    let there = || FakeHost::new("new", "2");
    let half = there().rule("ask-whole", Answer::Exit(1, "half installed"));
    let fleet = FakeFleet::with([("a", there()), ("b", half), ("c", good())]);
    let ran = run(&fleet, &playbook, &lenient());
    assert_eq!(ran.end("a"), End::Already);
    assert_eq!(ran.end("b"), End::Failed);
    assert!(!ran.touched("b"), "it was only asked");
    assert_eq!(ran.end("c"), End::Migrated);
    assert_eq!(fleet.ran("a"), ["ask-whole", "ask-kernel"]);
    assert_eq!(fleet.ran("b"), ["ask-whole"]);
    assert!(fleet.ran("c").contains(&"ask-whole".to_owned()));
}

#[test]
fn an_unreachable_host_is_an_end_of_its_own_and_disturbs_nobody() {
    let mut gone = good();
    gone.reachable = false;
    let fleet = FakeFleet::with([("a", gone), ("b", good())]);
    let ran = run(&fleet, &playbook(), &lenient());
    assert_eq!(ran.end("a"), End::Unreachable);
    assert!(!ran.touched("a"));
    assert_eq!(ran.end("b"), End::Migrated);
}

#[test]
fn a_bad_canary_pauses_the_run_before_the_others_start() {
    let bad = good().rule("ask-services", Answer::Exit(1, "dead"));
    let bad = bad.rule("restore", Answer::Becomes("old", "1"));
    let fleet = FakeFleet::with([("a", bad), ("b", good()), ("c", good())]);
    let mut rollout = Rollout::default();
    rollout.budget.failures = Allowance::Hosts(5);
    let ran = run(&fleet, &playbook(), &rollout);
    let Outcome::Paused(PauseReason::Canary { host, .. }) = &ran.outcome else {
        panic!("{:?}", ran.outcome);
    };
    assert_eq!(host.as_str(), "a");
    assert_eq!(ran.state.counts.get("pending"), Some(&2));
    assert!(fleet.ran("b").is_empty());
}

#[test]
fn over_budget_no_host_starts_and_the_run_says_why() {
    let bad = || good().rule("copy", Answer::Exit(2, "disk full"));
    let fleet = FakeFleet::with([("a", bad()), ("b", bad()), ("c", good()), ("d", good())]);
    let mut rollout = lenient();
    rollout.budget.failures = Allowance::Hosts(1);
    rollout.parallel = 1;
    let ran = run(&fleet, &playbook(), &rollout);
    assert_eq!(
        ran.outcome,
        Outcome::Paused(PauseReason::OverBudget { failures: 2, allowed: 1, of: Scope::default() })
    );
    assert_eq!(ran.state.counts.get("pending"), Some(&2));
}

#[test]
fn two_names_for_one_machine_are_found_also_when_both_answer_at_once() {
    let twin = || FakeHost { machine: Some("the-one"), ..good() };
    let fleet = FakeFleet::with([("a", twin()), ("b", twin()), ("c", twin())]);
    let ran = run(&fleet, &playbook(), &lenient());
    let ends: Vec<End> = ["a", "b", "c"].iter().map(|host| ran.end(host)).collect();
    assert_eq!(ends.iter().filter(|end| **end == End::Migrated).count(), 1, "{ends:?}");
    assert_eq!(ends.iter().filter(|end| **end == End::Blocked).count(), 2, "{ends:?}");
    assert_eq!(["a", "b", "c"].iter().filter(|host| ran.touched(host)).count(), 1);
}

/// Two names may lead to one machine: the second must not find the folders of the first, and be refused for that.
#[test]
fn every_host_has_folders_of_its_own() {
    let fleet = FakeFleet::with([("a", good()), ("b", good())]);
    run(&fleet, &playbook(), &lenient());
    let hosts = fleet.0.lock().unwrap();
    let dirs: Vec<&String> =
        hosts.values().flat_map(|host| &host.ran).map(|(dir, _)| dir).collect();
    let distinct: BTreeSet<_> = dirs.iter().collect();
    assert_eq!(dirs.len(), distinct.len(), "{dirs:#?}");
}

#[test]
fn a_step_that_only_looks_does_not_touch_the_host() {
    let mut playbook = playbook();
    let look = Action::Compare { what: Compare::Services, ignore: Vec::new() };
    let hop = &mut playbook.hops[0];
    hop.to = None;
    hop.steps.insert(Phase::Migrate, vec![Step { action: look, ..step("same", "") }]);
    let ran = run(&FakeFleet::with([("a", good())]), &playbook, &lenient());
    assert_eq!(ran.end("a"), End::Migrated);
    assert!(!ran.touched("a"));
}

#[test]
fn a_plan_shows_hosts_together_whose_steps_read_alike() {
    let mut playbook = playbook();
    let hop = &mut playbook.hops[0];
    let own = Step { when: Some("false".into()), ..step("own", "save {{ host.name }}") };
    hop.steps.insert(Phase::Backup, vec![own, step("tell", "tell {{ host.name }}")]);
    let ran = run(&FakeFleet::with([("a", good()), ("b", good())]), &playbook, &lenient());
    let text = fleetlift::report::plan_text(&ran.plan, "sha256:x", false, false);
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.iter().filter(|line| line.contains("`false` does not hold")).count();
    assert_eq!(skipped, 1, "{text}");
    assert_eq!(lines.iter().filter(|line| line.contains("tell ")).count(), 2, "{text}");
    assert!(lines.iter().all(|line| !line.ends_with(' ')), "{text}");
}
