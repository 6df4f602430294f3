//! What is decided about windows.

use crate::{
    fleet::{Play, plan, playbook},
    wall::at,
};
use fleetlift::{
    journal::{Event, PauseReason, Verdict},
    run::{Expected, HostPhase, HostWaits, RunPhase, WaitingOn, Waits, decide},
};
use std::time::Duration;

const TWO: &str = "[groups.web]\nhosts = [\"web-1\", \"web-2\"]\n";

fn nightly(more: &str) -> String {
    format!(
        "[[wave]]\nname = \"web\"\nhosts = \"@web\"\nwindow = {{ from = \"01:00\", to = \"03:00\", zone = \"Asia/Shanghai\" }}\n{more}"
    )
}

/// 01:00 in Shanghai.
const OPENS: &str = "2026-11-21T17:00:00.000Z";

fn window(waiting_on: &[WaitingOn]) -> Option<&WaitingOn> {
    waiting_on.iter().find(|waits| matches!(waits, WaitingOn::Window { .. }))
}

#[test]
fn hosts_start_when_their_window_opens() {
    let mut play = Play::begin(plan(TWO, &playbook(30), &nightly("")), "2026-11-21T12:00:00Z");
    let next = play.settle();
    assert_eq!(next, Some(at(OPENS)));
    let zone = "Asia/Shanghai".to_owned();
    let wave = "web".parse().unwrap();
    assert_eq!(
        play.waiting_on,
        [WaitingOn::Window { wave, opens: Some(at(OPENS)), zone }],
        "it says what it waits on"
    );
    assert!(play.said("wave_started").is_empty(), "nor does the wave begin before");
    play.play_out();
    assert_eq!(play.said("host_started"), [format!("{OPENS} web-1"), format!("{OPENS} web-2")]);
    assert_eq!(play.state.phase, RunPhase::Finished(Verdict::Completed));
}

#[test]
fn a_host_starts_only_where_it_ends_inside() {
    // 33 minutes and two looks: three of them fit one after the other into two hours, the fourth does not.
    let hosts = "[groups.web]\nhosts = [\"web-[1:4]\"]\n";
    let mut play =
        Play::begin(plan(hosts, &playbook(30), &nightly("parallel = 1\n")), "2026-11-21T12:00:00Z");
    play.play_out();
    let days: Vec<String> = play.said("host_started").iter().map(|s| s[..10].to_owned()).collect();
    assert_eq!(days, ["2026-11-21", "2026-11-21", "2026-11-21", "2026-11-22"]);
    for (start, end) in play.spans.values() {
        let night = if *start < at("2026-11-22T00:00:00Z") { "2026-11-21" } else { "2026-11-22" };
        assert!(end.unwrap() <= at(&format!("{night}T19:00:00Z")), "{start} to {end:?}");
    }
}

/// Three hosts one after the other: the first needs two hours and a half, which only weekends have.
fn one_long(more: &str) -> Play {
    let hosts = "[groups.web]\nhosts = [\"web-[1:3]\"]\n[hosts.web-1]\nvars.long = true\n[vars]\nlong = false\n";
    let book = playbook(150).replace("run = \"change\"\n", "run = \"change\"\nwhen = \"long\"\n");
    let rollout = format!(
        "[[wave]]\nname = \"web\"\nhosts = \"@web\"\nwindow = [{{ from = \"01:00\", to = \"03:00\", zone = \"UTC\" }},\
         {{ days = [\"sat\"], from = \"10:00\", to = \"18:00\", zone = \"UTC\" }}]\n{more}"
    );
    // A Monday.
    Play::begin(plan(hosts, &book, &rollout), "2026-11-23T00:00:00Z")
}

#[test]
fn a_host_that_is_too_long_for_tonight_keeps_nobody_waiting() {
    let mut play = one_long("parallel = 1\n");
    assert_eq!(play.settle(), Some(at("2026-11-23T01:00:00Z")), "the first that can go wakes us");
    let opens = window(&play.waiting_on).cloned();
    let Some(WaitingOn::Window { opens: Some(opens), .. }) = opens else { panic!("{opens:?}") };
    assert_eq!(opens, at("2026-11-23T01:00:00Z"));
    play.until("2026-11-23T12:00:00Z");
    let started: Vec<String> = play.said("host_started");
    let hosts: Vec<&str> = started.iter().filter_map(|said| said.split(' ').nth(1)).collect();
    assert_eq!(hosts, ["web-2", "web-3"]);
    assert_eq!(play.state.counts["pending"], 1);
    let opens = window(&play.waiting_on).cloned();
    let Some(WaitingOn::Window { opens: Some(opens), .. }) = opens else { panic!("{opens:?}") };
    assert_eq!(opens, at("2026-11-28T10:00:00Z"));
    play.play_out();
    assert_eq!(play.said("host_started")[2], "2026-11-28T10:00:00.000Z web-1");
    assert_eq!(play.state.phase, RunPhase::Finished(Verdict::Completed));
}

/// Each host by itself says what it waits for: those behind the first for other things than it does.
#[test]
fn every_host_says_what_it_waits_for() {
    let mut play = one_long("parallel = 1\n");
    let waits = |play: &Play| -> Vec<String> {
        let expected = Expected { plan: &play.plan, state: &play.state, now: play.now };
        let waits = Waits::new(&expected, &play.waiting_on);
        let told = |wait| match wait {
            None => "nothing".to_owned(),
            Some(HostWaits::Own(own)) => format!("{own:?}"),
            Some(HostWaits::For(WaitingOn::Window { opens, .. })) => {
                opens.map_or_else(|| "never".to_owned(), |opens| opens.to_string())
            }
            Some(HostWaits::For(other)) => format!("{other:?}"),
        };
        (0..3).map(|host| told(waits.of(host))).collect()
    };
    let (night, weekend) = ("2026-11-23T01:00:00.000Z", "2026-11-28T10:00:00.000Z");
    play.settle();
    assert_eq!(waits(&play), [weekend, night, night]);
    play.until("2026-11-23T01:00:30Z");
    assert_eq!(waits(&play), [weekend, "nothing", "Slot"]);
    // Two hosts rest where their window has closed; one is held, which is said otherwise.
    play.slow.insert("ask".into(), Duration::from_secs(7200));
    play.until("2026-11-23T04:00:00Z");
    assert_eq!(play.said("host_rested").len(), 1, "{:?}", play.said("host_rested"));
    let tomorrow = "2026-11-24T01:00:00.000Z";
    assert_eq!(waits(&play), [weekend, tomorrow, tomorrow]);
    play.record(Event::HoldRequested {
        hosts: vec!["web-3".parse().unwrap()],
        by: "alice".into(),
        request: "r1".parse().unwrap(),
    });
    play.settle();
    assert_eq!(waits(&play), [weekend, tomorrow, "nothing"]);
}

/// Who goes first was chosen: canaries keep their order.
#[test]
fn nobody_overtakes_a_canary() {
    let mut play = one_long("canary = 1\n");
    play.until("2026-11-27T12:00:00Z");
    assert!(play.said("host_started").is_empty());
    play.play_out();
    assert!(play.said("host_started")[0].ends_with("web-1"));
    assert_eq!(play.state.phase, RunPhase::Finished(Verdict::Completed));
}

#[test]
fn hosts_that_change_go_on_and_others_rest() {
    let rollout = nightly("");
    let mut play = Play::begin(plan(TWO, &playbook(30), &rollout), "2026-11-21T18:00:00Z");
    // web-1 is in its change when the window closes; web-2 is kept in its precheck until then.
    play.until("2026-11-21T18:00:30Z");
    play.slow.insert("ask".into(), Duration::from_secs(7200));
    play.until("2026-11-21T19:30:00Z");
    // Both are in the slow precheck, beyond the end of their window.
    assert_eq!(play.state.running, 2);
    play.slow.clear();
    play.until("2026-11-21T21:00:00Z");
    assert_eq!(play.said("host_rested").len(), 2, "{:?}", play.said("host_rested"));
    assert_eq!(play.state.counts["pending"], 2, "they have given back their slots");
    assert_eq!(play.state.waves[0].in_flight, 0);
    assert!(window(&play.waiting_on).is_some(), "{:?}", play.waiting_on);
    play.play_out();
    let again: Vec<String> = play.said("host_started").split_off(2);
    assert_eq!(again, ["2026-11-22T17:00:00.000Z web-1", "2026-11-22T17:00:00.000Z web-2"]);
    // They go on where they were: the backup is not made again.
    let copies = |play: &Play| {
        let copy = |event: &&Event| matches!(event, Event::AttemptStarted { step, .. } if step.step.as_str() == "copy");
        play.records.iter().map(|record| &record.event).filter(copy).count()
    };
    assert_eq!(copies(&play), 2);
    assert_eq!(play.state.phase, RunPhase::Finished(Verdict::Completed));
}

#[test]
fn a_change_that_has_begun_is_not_interrupted() {
    let mut play = Play::begin(plan(TWO, &playbook(30), &nightly("")), "2026-11-21T17:00:00Z");
    play.slow.insert("change".into(), Duration::from_secs(5 * 3600));
    play.play_out();
    assert!(play.said("host_rested").is_empty());
    assert!(play.spans.values().all(|(_, end)| end.unwrap() > at("2026-11-21T19:00:00Z")));
    assert_eq!(play.said("host_started").len(), 2);
}

#[test]
fn a_retry_that_is_due_after_the_window_waits_for_the_next_one() {
    // The retry of a step that changes the host is made at once; one before it is not.
    let mut book = playbook(30);
    book = book.replace("run = \"ask\"\n", "run = \"ask\"\nretries = 5\nretry_delay = \"60m\"\n");
    let mut play = Play::begin(plan(TWO, &book, &nightly("")), "2026-11-21T17:00:00Z");
    play.fails.insert("ask".into(), 2);
    play.until("2026-11-22T12:00:00Z");
    assert_eq!(play.said("host_rested").len(), 2);
    assert!(
        play.state
            .hosts
            .iter()
            .all(|host| matches!(host.phase, HostPhase::Resting { retry: Some(_) }))
    );
    play.play_out();
    assert_eq!(play.state.phase, RunPhase::Finished(Verdict::Completed));
    let attempts = play.said("attempt_failed");
    assert_eq!(attempts.len(), 4, "the retry was not lost: {attempts:?}");
}

#[test]
fn a_window_that_never_opens_again_is_said() {
    let rollout = "[[wave]]\nname = \"web\"\nhosts = \"@web\"\n\
        window = { from = \"2026-11-20 01:00\", to = \"2026-11-20 03:00\", zone = \"UTC\" }\n\
        [[wave]]\nname = \"db\"\nhosts = \"@db\"\n";
    let hosts = format!("{TWO}[groups.db]\nhosts = [\"db-1\"]\n");
    let mut play = Play::begin(plan(&hosts, &playbook(30), rollout), "2026-11-21T12:00:00Z");
    play.play_out();
    // What could be done was done before.
    assert_eq!(play.state.counts["migrated"], 1);
    let RunPhase::Paused(reason) = &play.state.phase else { panic!("{:?}", play.state.phase) };
    let PauseReason::Window { wave, opens: None, .. } = reason else { panic!("{reason:?}") };
    assert_eq!(wave.as_str(), "web");
    assert_eq!(reason.to_string(), "no window of wave web opens any more that is long enough");
}

#[test]
fn a_controller_that_does_not_wait_knows_when_to_go() {
    let mut play = Play::begin(plan(TWO, &playbook(30), &nightly("")), "2026-11-21T12:00:00Z");
    play.settle();
    let reason = decide(&play.plan, &play.state, play.now).waits_outside().unwrap();
    assert_eq!(
        reason.to_string(),
        "the window of wave web opens Sun 2026-11-22 01:00 Asia/Shanghai"
    );
    play.until("2026-11-21T17:00:10Z");
    assert_eq!(decide(&play.plan, &play.state, play.now).waits_outside(), None, "it is busy");
}

#[test]
fn a_wave_without_a_window_goes_on_meanwhile() {
    let rollout = format!(
        "[defaults]\nparallel = 1\n{}[[wave]]\nname = \"db\"\nhosts = \"@db\"\n",
        nightly("")
    );
    let hosts = format!("{TWO}[groups.db]\nhosts = [\"db-1\", \"db-2\"]\n");
    let mut play = Play::begin(plan(&hosts, &playbook(30), &rollout), "2026-11-21T12:00:00Z");
    play.until("2026-11-21T16:00:00Z");
    assert_eq!(play.state.counts["migrated"], 2, "a closed window takes no slot");
    assert!(decide(&play.plan, &play.state, play.now).waits_outside().is_some());
}

/// The clock is asked anew at each decision: it may jump to anywhere.
#[test]
fn clock_jumps_change_what_is_decided_and_nothing_else() {
    let mut play = Play::begin(plan(TWO, &playbook(30), &nightly("parallel = 1\n")), OPENS);
    play.settle();
    let decided = |time: &str| decide(&play.plan, &play.state, at(time));
    // Ahead over the end of the window, and back before its beginning: the running attempt goes on, nothing starts.
    for time in ["2026-11-21T19:00:00Z", "2026-11-21T16:59:59Z", "2020-01-01T00:00:00Z"] {
        assert!(decided(time).todo.is_empty(), "{time}");
        assert!(!decided(time).waiting_on.is_empty(), "{time}");
    }
    let jumped = "2026-11-21T18:59:00Z";
    play.until("2026-11-21T17:01:30Z");
    play.now = at(jumped);
    play.land();
    play.settle();
    assert_eq!(play.said("host_rested"), ["2026-11-21T18:59:00.000Z web-1"]);
    // Back inside, it goes on.
    play.now = at("2026-11-21T17:05:00Z");
    play.play_out();
    assert_eq!(play.state.phase, RunPhase::Finished(Verdict::Completed));
}

#[test]
fn the_edge_of_a_window_follows_the_clocks_of_its_zone() {
    // 01:00 to 03:00 in Berlin, in the night that has the hour from 2 to 3 twice: three hours, of which a host of two
    // hours and three minutes needs most.
    let rollout = nightly("").replace("Asia/Shanghai", "Europe/Berlin");
    let mut play = Play::begin(plan(TWO, &playbook(125), &rollout), "2026-10-20T12:00:00Z");
    play.play_out();
    let started = play.said("host_started");
    assert_eq!(started, ["2026-10-24T23:00:00.000Z web-1", "2026-10-24T23:00:00.000Z web-2"]);
}

#[test]
fn a_stop_does_not_wait_for_a_window() {
    let mut play = Play::begin(plan(TWO, &playbook(30), &nightly("")), "2026-11-21T12:00:00Z");
    play.settle();
    play.record(Event::StopRequested { by: "alice".into(), request: None });
    play.settle();
    assert_eq!(play.state.phase, RunPhase::Paused(PauseReason::Stopped { by: "alice".into() }));
}

#[test]
fn what_a_run_measures_counts_at_once() {
    // The playbook says half an hour; hosts take 50 minutes. After five of them nobody starts with less than that left.
    let hosts = "[groups.web]\nhosts = [\"web-[1:8]\"]\n";
    let mut play =
        Play::begin(plan(hosts, &playbook(30), &nightly("parallel = 5\n")), "2026-11-21T17:00:00Z");
    play.slow.insert("change".into(), Duration::from_secs(50 * 60));
    play.until("2026-11-21T17:55:00Z");
    assert_eq!(play.said("host_started").len(), 8, "{:?}", play.said("host_started"));
    let mut play =
        Play::begin(plan(hosts, &playbook(30), &nightly("parallel = 5\n")), "2026-11-21T17:20:00Z");
    play.slow.insert("change".into(), Duration::from_secs(50 * 60));
    play.until("2026-11-21T18:20:00Z");
    assert_eq!(
        play.said("host_started").len(),
        5,
        "46 minutes are left: {:?}",
        play.said("host_started")
    );
    assert!(window(&play.waiting_on).is_some(), "{:?}", play.waiting_on);
    play.play_out();
    assert_eq!(play.state.phase, RunPhase::Finished(Verdict::Completed));
}
