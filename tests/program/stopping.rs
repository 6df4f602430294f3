//! Stop, leave, resume, and a second controller.

use crate::{
    bed::{Bed, NARROW},
    desk::{Desk, RUN, end_of, starts},
    need_bed,
};
use rustix::process::Signal;
use std::collections::BTreeMap;

/// Each step says that it ran; one of them waits for the test.
const PLAYBOOK: &str = r#"
name = "Counts"

[[backup]]
name = "copy"
run = "echo backup >>/count"
verify = "grep -q backup /count"

[[precheck]]
name = "room"
run = "echo precheck >>/count"
retry_delay = "1s"

[[migrate]]
name = "first"
run = "echo first >>/count; while ! test -e /go; do sleep 0.05; done"
timeout = "60s"

[[migrate]]
name = "second"
run = "echo second >>/count"

[[verify]]
name = "fine"
run = "echo verify >>/count"

[[rollback]]
name = "back"
run = "echo back >>/count"
"#;

const ONCE: &str = "backup\nprecheck\nfirst\nsecond\nverify\n";

fn desk(bed: &Bed) -> Desk {
    let desk = bed.desk("", PLAYBOOK);
    desk.write("fleet/rollout.toml", NARROW);
    desk
}

#[test]
fn the_first_signal_stops_at_a_safe_point_and_resume_finishes_with_every_step_once() {
    need_bed!("the_first_signal_stops_at_a_safe_point_and_resume_finishes_with_every_step_once");
    let bed = Bed::plain(&["web-01", "web-02", "web-03"]);
    let desk = desk(&bed);
    let mut running = desk.start(&RUN);
    running.wait_for("the first host's change", starts("first", "web-01"));
    running.signal(Signal::INT);
    running.wait_for("the stop", |r| r["event"] == "stop_requested");
    std::fs::write(bed.file("web-01", "/go"), "").unwrap();
    running.end().exits(3);

    // The host in flight went on to its end; the others were not started.
    let status = desk.status();
    assert_eq!(status["state"], "paused");
    assert_eq!(end_of(&status, "web-01"), ("migrated", true, ""));
    assert_eq!(end_of(&status, "web-02"), ("pending", false, ""));
    let text = desk.say(&["status"]).exits(0).out;
    assert!(text.contains("resume"), "what to do next is told:\n{text}");

    for host in ["web-02", "web-03"] {
        std::fs::write(bed.file(host, "/go"), "").unwrap();
    }
    desk.say(&["resume"]).exits(0);
    for host in ["web-01", "web-02", "web-03"] {
        assert_eq!(bed.read(host, "/count"), ONCE, "{host}");
    }
    let mut started: BTreeMap<String, u32> = BTreeMap::new();
    for record in desk.journal().iter().filter(|r| r["event"] == "attempt_started") {
        let [host, phase, step] =
            ["host", "phase", "step"].map(|key| record[key].as_str().unwrap());
        *started.entry(format!("{host} {phase} {step}")).or_default() += 1;
    }
    assert!(started.values().all(|times| *times == 1), "{started:#?}");
    assert_eq!(desk.status()["state"], "finished");
    // There is nothing left to go on with, and that is said.
    let said = desk.say(&["resume"]).exits(2);
    assert!(said.err.contains("no run to go on with"), "{}", said.err);
    let said = desk.say(&["resume", "last"]).exits(4);
    assert!(said.err.contains("finished"), "{}", said.err);
}

#[test]
fn the_second_signal_leaves_and_resume_accounts_for_what_was_in_flight() {
    need_bed!("the_second_signal_leaves_and_resume_accounts_for_what_was_in_flight");
    let bed = Bed::plain(&["web-01", "web-02"]);
    let desk = desk(&bed);
    let mut running = desk.start(&RUN);
    running.wait_for("the first host's change", starts("first", "web-01"));
    bed.wait_for("web-01", "/count", "first");
    running.signal(Signal::INT);
    running.wait_for("the stop", |r| r["event"] == "stop_requested");
    running.signal(Signal::INT);
    running.end().exits(130);
    let status = desk.status();
    assert_eq!(status["state"], "abandoned");
    assert_eq!(end_of(&status, "web-01"), ("running", true, ""));
    let runs = desk.say(&["runs", "--json"]).exits(0).json();
    assert_eq!(runs[0]["state"], "abandoned");

    for host in ["web-01", "web-02"] {
        std::fs::write(bed.file(host, "/go"), "").unwrap();
    }
    // The step went on without us: it is followed to its end, and nothing ran twice.
    desk.say(&["resume"]).exits(0);
    let status = desk.status();
    assert_eq!(end_of(&status, "web-01"), ("migrated", true, ""));
    assert_eq!(bed.read("web-01", "/count"), ONCE);
    assert_eq!(end_of(&status, "web-02"), ("migrated", true, ""));
    assert_eq!(bed.read("web-02", "/count"), ONCE);
}

#[test]
fn sigterm_stops_like_the_first_signal() {
    need_bed!("sigterm_stops_like_the_first_signal");
    let bed = Bed::plain(&["web-01", "web-02"]);
    let desk = desk(&bed);
    let mut running = desk.start(&RUN);
    running.wait_for("the first host's change", starts("first", "web-01"));
    running.signal(Signal::TERM);
    running.wait_for("the stop", |r| r["event"] == "stop_requested");
    // A service manager asks twice, too: that is not leave.
    running.signal(Signal::TERM);
    std::fs::write(bed.file("web-01", "/go"), "").unwrap();
    running.end().exits(3);
    assert_eq!(end_of(&desk.status(), "web-01"), ("migrated", true, ""));
}

#[test]
fn a_killed_controller_leaves_a_run_that_can_be_resumed() {
    need_bed!("a_killed_controller_leaves_a_run_that_can_be_resumed");
    let bed = Bed::plain(&["web-01", "web-02"]);
    let desk = desk(&bed);
    let mut running = desk.start(&RUN);
    running.wait_for("the first host's check", starts("room", "web-01"));
    running.signal(Signal::KILL);
    running.end();
    desk.say(&["journal", "last", "--verify"]).exits(0);
    assert_eq!(desk.status()["state"], "abandoned");
    for host in ["web-01", "web-02"] {
        std::fs::write(bed.file(host, "/go"), "").unwrap();
    }
    desk.say(&["resume"]).exits(0);
    for host in ["web-01", "web-02"] {
        let count = bed.read(host, "/count");
        assert_eq!(count.matches("first").count(), 1, "{host}: {count}");
        assert_eq!(count.matches("second").count(), 1, "{host}: {count}");
    }
}

#[test]
fn a_second_controller_is_refused_and_told_who_holds_the_run() {
    need_bed!("a_second_controller_is_refused_and_told_who_holds_the_run");
    let bed = Bed::plain(&["web-01"]);
    let desk = desk(&bed);
    let mut running = desk.start(&RUN);
    running.wait_for("the host's change", starts("first", "web-01"));
    let holder = format!("process {}", running.pid());
    for verb in [&["resume", "last"][..], &["rollback", "last", "--yes"]] {
        let said = desk.say(verb).exits(4);
        assert!(said.err.contains(&holder), "{verb:?}: {}", said.err);
    }
    // Looking is free.
    assert_eq!(desk.status()["state"], "running");
    assert_eq!(end_of(&desk.status(), "web-01").0, "running");
    std::fs::write(bed.file("web-01", "/go"), "").unwrap();
    running.end().exits(0);
    assert_eq!(bed.read("web-01", "/count"), ONCE);
}
