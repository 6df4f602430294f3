//! Hands of another process on a run: stop, stop --now, hold, release.

use crate::{
    bed::{Bed, NARROW},
    desk::{Desk, RUN, Said, end_of, starts},
    need_bed,
};
use fleetlift::{
    base::time::Timestamp,
    journal::{Ask, Request, Store},
};
use rustix::process::Signal;
use serde_json::Value;

/// Steps of both kinds wait for the test: one that changes nothing, and one that does.
const PLAYBOOK: &str = r#"
name = "Counts"

[[backup]]
name = "copy"
run = "echo backup >>/count; while ! test -e /copied; do sleep 0.05; done"
verify = "test -e /copied"
timeout = "60s"

[[precheck]]
name = "room"
run = "echo precheck >>/count"

[[migrate]]
name = "first"
run = "echo first >>/count; while ! test -e /go; do sleep 0.05; done"
timeout = "60s"

[[verify]]
name = "fine"
run = "echo verify >>/count"
"#;

const ONCE: &str = "backup\nprecheck\nfirst\nverify\n";

fn desk(bed: &Bed) -> Desk {
    let desk = bed.desk("", PLAYBOOK);
    desk.write("fleet/rollout.toml", NARROW);
    desk
}

fn may(bed: &Bed, host: &str, what: &str) {
    std::fs::write(bed.file(host, what), "").unwrap();
}

fn is(event: &str) -> impl Fn(&Value) -> bool {
    move |r| r["event"] == event
}

fn count(desk: &Desk, event: &str) -> usize {
    desk.journal().iter().filter(|record| record["event"] == event).count()
}

#[test]
fn another_process_holds_releases_and_stops() {
    need_bed!("another_process_holds_releases_and_stops");
    let bed = Bed::plain(&["web-01", "web-02", "web-03"]);
    for host in ["web-02", "web-03"] {
        may(&bed, host, "/copied");
        may(&bed, host, "/go");
    }
    let desk = desk(&bed);
    let mut running = desk.start(&RUN);
    running.wait_for("the first host's backup", starts("copy", "web-01"));

    // One in flight and one that waits for its turn; a selection that matches nothing is none.
    desk.say(&["hold", "last", "web-9"]).exits(2);
    let said = desk.say(&["hold", "last", "web-01", "web-02"]).exits(0);
    assert!(
        said.out.contains("Held: web-02.") && said.out.contains("safe point: web-01"),
        "{said:?}"
    );
    running.wait_for("the request", is("hold_requested"));
    let asked = running.seen.last().unwrap();
    assert!(asked["by"].as_str().unwrap().starts_with("tester@"), "{asked}");
    assert_eq!(asked["hosts"], serde_json::json!(["web-01", "web-02"]));
    let status = desk.status();
    assert_eq!(end_of(&status, "web-01").0, "running", "a step under way is not cut off");
    assert_eq!(end_of(&status, "web-02").0, "held");
    let waits = status["waiting_on"].as_array().unwrap();
    assert!(
        waits.iter().any(|on| on["kind"] == "held" && on["hosts"][0] == "web-02"),
        "{status:#}"
    );
    let text = desk.say(&["status", "last"]).exits(0).out;
    assert!(text.contains("to be held, by tester@") && text.contains("held by tester@"), "{text}");

    // It comes to rest, and the next that is free takes its slot.
    may(&bed, "web-01", "/copied");
    running.wait_for("the rest", is("host_held"));
    running.wait_for("the next host", |r| r["event"] == "host_started" && r["host"] == "web-03");
    let said = running.end().exits(3);
    let status = desk.status();
    assert_eq!(status["state"], "paused");
    assert_eq!(status["counts"], serde_json::json!({"held": 2, "migrated": 1}));
    assert_eq!(bed.read("web-01", "/count"), "backup\n");
    assert_eq!(bed.read("web-02", "/count"), "");
    let paused = desk.journal().pop().unwrap();
    assert_eq!(paused["reason"]["kind"], "held");
    assert_eq!(said.code, 3);

    // A resume keeps the holds; a release of a run that nobody drives holds for the next one.
    desk.say(&["resume"]).exits(3);
    let said = desk.say(&["release", "last", "web-01"]).exits(0);
    assert!(said.out.contains("Nobody drives the run now"), "{said:?}");
    let said = desk.say(&["release", "last", "web-01"]).exits(4);
    assert!(said.err.contains("nobody holds web-01"), "{said:?}");
    let mut running = desk.start(&["resume"]);
    running.wait_for("the change", starts("first", "web-01"));
    let said = desk.say(&["release", "last", "state=held"]).exits(0);
    assert!(said.out.starts_with("Released: web-02."), "{said:?}");

    // As the first Ctrl-C: the host in flight is led to its end, and no other starts.
    let said = desk.say(&["stop"]).exits(0);
    assert!(said.out.contains("On to their end, since they are being changed: web-01"), "{said:?}");
    may(&bed, "web-01", "/go");
    running.wait_for("the pause", is("run_paused"));
    assert_eq!(running.seen.last().unwrap()["reason"]["kind"], "stopped");
    running.end().exits(3);
    let why = desk.say(&["why", "last", "web-01"]).exits(0).out;
    for told in ["said hold", "rests at a safe point", "said release", "said stop"] {
        assert!(why.contains(told), "{told}: {why}");
    }
    let of_other = desk.say(&["why", "last", "web-03"]).exits(0).out;
    assert!(!of_other.contains("said hold"), "{of_other}");

    desk.say(&["resume"]).exits(0);
    for host in ["web-01", "web-02", "web-03"] {
        assert_eq!(bed.read(host, "/count"), ONCE, "{host}");
    }
    desk.say(&["journal", "last", "--verify"]).exits(0);
}

#[test]
fn stop_now_leaves_and_the_next_controller_is_not_meant() {
    need_bed!("stop_now_leaves_and_the_next_controller_is_not_meant");
    let bed = Bed::plain(&["web-01"]);
    may(&bed, "web-01", "/copied");
    let desk = desk(&bed);
    let mut running = desk.start(&RUN);
    running.wait_for("the change", starts("first", "web-01"));
    let said = desk.say(&["stop", "--now"]).exits(0);
    assert!(said.out.contains("What runs goes on there: web-01."), "{said:?}");
    running.end().exits(130);
    assert_eq!(desk.status()["state"], "abandoned");
    let said = desk.say(&["stop", "last"]).exits(4);
    assert!(said.err.contains("its controller is gone"), "{said:?}");

    // What was said to a controller that is gone and had not heard it is nothing to the next; a hold is.
    let run = desk.status()["run"].as_str().unwrap().parse().unwrap();
    let inbox = Store::new(desk.path("state")).inbox(&run);
    let put = |id: &str, ask: Ask| {
        let (id, at, by) =
            (id.parse().unwrap(), Timestamp::from_millis(0), "killed@desk".to_owned());
        let request = Request { id, at, by, epoch: 0, ask };
        inbox.put(&request).unwrap();
        request.id
    };
    put("1-stop", Ask::Stop);
    let claimed = put("2-leave", Ask::Leave);
    assert!(inbox.claim(&claimed).is_some());
    let claimed = put("3-hold", Ask::Hold { hosts: vec!["web-01".parse().unwrap()] });
    assert!(inbox.claim(&claimed).is_some(), "its controller died before it was recorded");
    let mut running = desk.start(&["resume"]);
    running.wait_for("the hold", is("hold_requested"));
    may(&bed, "web-01", "/go");
    running.end().exits(0);
    assert_eq!(bed.read("web-01", "/count"), ONCE);
    assert_eq!(count(&desk, "stop_requested"), 0);
    assert_eq!(count(&desk, "leave_requested"), 1);
    assert!(inbox.list().is_empty(), "nothing is left lying about: {:?}", inbox.list());
}

#[test]
fn what_there_is_nobody_to_hear_is_said_so() {
    need_bed!("what_there_is_nobody_to_hear_is_said_so");
    let bed = Bed::plain(&["web-01", "web-02"]);
    for host in ["web-01", "web-02"] {
        may(&bed, host, "/copied");
        may(&bed, host, "/go");
    }
    let desk = desk(&bed);
    let refused = |args: &[&str], code: i32, word: &str| {
        let Said { err, .. } = desk.say(args).exits(code);
        assert!(err.contains(word), "{args:?}: {err}");
    };
    refused(&["stop"], 2, "there is no run yet");
    desk.run().exits(0);
    refused(&["stop"], 2, "no run is driven now");
    refused(&["stop", "last"], 4, "is finished");
    refused(&["hold", "last", "web-01"], 4, "is finished");
    refused(&["release", "last", "web-01"], 4, "is finished");
    refused(&["hold", "last"], 2, "HOST");
    desk.say(&["journal", "last", "--verify"]).exits(0);
}

#[test]
fn a_controller_that_is_stopped_does_not_answer_and_what_was_asked_is_withdrawn() {
    need_bed!("a_controller_that_is_stopped_does_not_answer_and_what_was_asked_is_withdrawn");
    let bed = Bed::plain(&["web-01"]);
    let desk = desk(&bed);
    let mut running = desk.start(&RUN);
    running.wait_for("the backup", starts("copy", "web-01"));
    running.signal(Signal::STOP);
    let said = desk.say(&["hold", "last", "web-01"]);
    running.signal(Signal::CONT);
    let said = said.exits(4);
    let driver = format!("process {}", running.pid());
    assert!(said.err.contains("has not answered") && said.err.contains(&driver), "{said:?}");
    for gate in ["/copied", "/go"] {
        may(&bed, "web-01", gate);
    }
    // It may have claimed the request in the instant before it was stopped; then it says so.
    let claimed = said.err.contains("may still carry it out");
    assert!(claimed || said.err.contains("is withdrawn"), "{said:?}");
    let code = running.end().code;
    assert!(claimed || (code == 0 && count(&desk, "hold_requested") == 0), "{code}");
}

/// Whenever the controller is killed: what was asked is in the journal once, and holds.
#[test]
fn a_request_under_a_killed_controller_is_taken_once() {
    need_bed!("a_request_under_a_killed_controller_is_taken_once");
    let bed = Bed::plain(&["web-01", "web-02"]);
    let desk = desk(&bed);
    let mut running = desk.start(&RUN);
    running.wait_for("the backup", starts("copy", "web-01"));
    for round in 1..=6 {
        // Each round the kill comes a little later in the way of the request.
        let asking =
            desk.command(&["hold", "last", "web-02"]).stdout(std::process::Stdio::piped()).spawn();
        let asking = asking.unwrap();
        std::thread::sleep(std::time::Duration::from_millis(60 * (round - 1)));
        running.signal(Signal::KILL);
        running.end();
        Said::of(&asking.wait_with_output().unwrap()).exits(0);
        assert_eq!(count(&desk, "hold_requested"), round as usize, "round {round}");
        assert_eq!(end_of(&desk.status(), "web-02").0, "held", "round {round}");
        desk.say(&["release", "last", "web-02"]).exits(0);
        running = desk.start(&["resume"]);
        running.wait_for("the next controller", is("run_resumed"));
    }
    for host in ["web-01", "web-02"] {
        may(&bed, host, "/copied");
        may(&bed, host, "/go");
    }
    running.end().exits(0);
    for host in ["web-01", "web-02"] {
        assert_eq!(bed.read(host, "/count"), ONCE, "{host}");
    }
    assert_eq!(count(&desk, "hold_requested"), 6, "none was taken again by a later controller");
    desk.say(&["journal", "last", "--verify"]).exits(0);
}
