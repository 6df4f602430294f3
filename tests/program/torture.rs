//! Controllers that are killed, again and again: every step runs exactly once all the same.

use crate::{
    bed::Bed,
    desk::{Desk, end_of},
    need_bed,
};
use rustix::process::Signal;

/// Counting steps, output on both streams, a reboot, a check after it.
const PLAYBOOK: &str = r#"
name = "Counts"

[[backup]]
name = "copy"
run = "echo backup >>/count"
verify = "grep -q backup /count"

[[precheck]]
name = "room"
run = "echo precheck >>/count"

[[migrate]]
name = "first"
run = "echo first >>/count; i=0; while [ $i -lt 40 ]; do echo out $i; echo err $i >&2; i=$((i + 1)); sleep 0.01; done"

[[migrate]]
name = "boot"
reboot = { timeout = "60s", command = "echo boot >>/count; reboot" }

[[migrate]]
name = "second"
run = "echo second >>/count; sleep 0.1"

[[verify]]
name = "fine"
run = "echo verify >>/count"
"#;

const ONCE: &str = "backup\nprecheck\nfirst\nboot\nsecond\nverify\n";
const HOSTS: [&str; 3] = ["a", "b", "c"];

/// How many runs are tortured: a few in every test run, more by `just torture N`.
fn rounds() -> u64 {
    std::env::var("FLEETLIFT_TORTURE").ok().and_then(|n| n.parse().ok()).unwrap_or(6)
}

/// Checks that the run is as if nobody had been killed.
fn as_uninterrupted(bed: &Bed, desk: &Desk, told: &str) {
    let status = desk.status();
    assert_eq!(status["state"], "finished", "{told}: {status:#}");
    let lines: String = (0..40).map(|i| format!("out {i}\n")).collect();
    for host in HOSTS {
        assert_eq!(end_of(&status, host), ("migrated", true, ""), "{told}");
        assert_eq!(bed.read(host, "/count"), ONCE, "{told}: {host}");
        let log = String::from_utf8(desk.log(host, "migrate.first")).unwrap();
        assert_eq!(log, lines, "{told}: {host}");
    }
    desk.say(&["journal", "last", "--verify"]).exits(0);
}

#[test]
fn a_controller_killed_at_any_record_costs_nothing() {
    need_bed!("a_controller_killed_at_any_record_costs_nothing");
    // An uninterrupted run of this fleet has about this many records.
    let records = 70;
    for round in 0..rounds() {
        let killed_after = 1 + (round * 37 + 11) % records;
        let bed = Bed::plain(&HOSTS);
        let desk = bed.desk("", PLAYBOOK);
        let mut running = desk.start(&["run", "-i", "fleet", "-p", "playbook.toml", "--yes"]);
        running.wait_for("its turn", |record| record["seq"] == killed_after);
        running.signal(Signal::KILL);
        running.end();
        desk.say(&["resume", "last"]).exits(0);
        as_uninterrupted(&bed, &desk, &format!("killed after record {killed_after}"));
    }
}

#[test]
fn a_run_whose_every_controller_is_killed_comes_to_its_end() {
    need_bed!("a_run_whose_every_controller_is_killed_comes_to_its_end");
    let bed = Bed::plain(&HOSTS);
    let desk = bed.desk("", PLAYBOOK);
    let mut running = desk.start(&["run", "-i", "fleet", "-p", "playbook.toml", "--yes"]);
    let mut killed = 0;
    loop {
        let left = std::cell::Cell::new(9);
        running.wait_for("the next death, or the end", |record| {
            left.set(left.get() - 1);
            record["event"] == "run_finished" || left.get() == 0
        });
        if running.seen.last().is_some_and(|record| record["event"] == "run_finished") {
            if running.end().code != 0 {
                let why: Vec<String> =
                    HOSTS.iter().map(|host| desk.say(&["why", "last", host]).out).collect();
                panic!("after {killed} deaths:\n{}", why.join("\n"));
            }
            break;
        }
        running.signal(Signal::KILL);
        running.end();
        killed += 1;
        assert!(killed < 60, "it gets nowhere");
        // Its last records may have been durable together, before the one that it was killed for was read.
        if desk.status()["state"] == "finished" {
            break;
        }
        running = desk.start(&["resume", "last"]);
    }
    assert!(killed >= 5, "{killed}");
    as_uninterrupted(&bed, &desk, &format!("{killed} controllers were killed"));
}
