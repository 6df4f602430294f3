//! Windows on the command line: plans, calendars, runs that wait or do not.

use crate::{
    bed::Bed,
    desk::{Desk, RUN, cases, expect_case},
    need_bed,
};
use std::fs;

const HOSTS: &str = "[groups.web]\nhosts = [\"web-1\"]\n[hosts.web-1]\naddress = \"127.0.0.1\"\nconnection.port = 9\n";
const PLAYBOOK: &str =
    "name = \"p\"\n[[migrate]]\nname = \"change\"\nrun = \"true\"\nestimate = \"30m\"\n";

/// A fleet of one host that no test contacts, with this window.
fn desk(window: &str) -> Desk {
    let desk = Desk::new();
    desk.write("fleet/hosts.toml", HOSTS);
    desk.write("playbook.toml", PLAYBOOK);
    let rollout = format!("[[wave]]\nname = \"web\"\nhosts = \"@web\"\nwindow = {window}\n");
    desk.write("fleet/rollout.toml", rollout);
    desk
}

const FAR: &str =
    "{ from = \"2126-11-21 01:00\", to = \"2126-11-21 05:00\", zone = \"Asia/Shanghai\" }";
#[test]
fn a_run_that_does_not_wait_ends_with_3_and_can_be_resumed() {
    let desk = desk(FAR);
    let said = desk.say(&[&RUN[..], &["--no-wait"]].concat()).exits(3);
    let opens = "the window of wave web opens Thu 2126-11-21 01:00 Asia/Shanghai";
    assert!(said.err.contains(opens), "{}", said.err);
    let status = desk.status();
    assert_eq!((&status["state"], &status["counts"]["pending"]), (&"paused".into(), &1.into()));
    assert_eq!(status["forecast"], serde_json::Value::Null, "what rests has no forecast");
    desk.say(&["resume", "--no-wait"]).exits(3);
    assert!(desk.say(&["status"]).exits(0).out.contains(opens));
}

#[test]
fn a_run_that_waits_says_what_for_and_stops_at_a_word() {
    let desk = desk(FAR);
    let mut run = desk.start(&RUN);
    run.wait_for("its first record", |record| record["event"] == "run_started");
    let status = desk.status();
    let (waits, host) = (&status["waiting_on"][0], &status["hosts"]["web-1"]);
    assert_eq!((&host["state"], &host["resting"]), (&"pending".into(), &false.into()));
    assert_eq!(&host["waits_for"], waits);
    assert_eq!((&waits["kind"], &waits["wave"]), (&"window".into(), &"web".into()));
    assert_eq!(waits["opens"], "2126-11-20T17:00:00.000Z");
    assert_eq!(waits["zone"], "Asia/Shanghai");
    let text = desk.say(&["status"]).exits(0).out;
    assert!(
        text.contains("the window of wave web, which opens Thu 2126-11-21 01:00 Asia/Shanghai"),
        "{text}"
    );
    run.signal(rustix::process::Signal::INT);
    run.end().exits(3);
}

#[test]
fn a_plan_that_can_never_end_is_a_fault_of_its_rollout() {
    let past = desk(
        "{ from = \"2024-09-08 01:00\", to = \"2024-09-08 05:00\", zone = \"Asia/Shanghai\" }",
    );
    let short = desk("{ from = \"01:00\", to = \"01:30\", zone = \"Asia/Shanghai\" }");
    for (desk, word) in [(past, "no window of wave web opens any more"), (short, "web-1 needs 31m")]
    {
        for verb in [&["plan", "-i", "fleet", "-p", "playbook.toml"][..], &RUN[..]] {
            let said = desk.say(verb).exits(2);
            assert!(said.err.contains(word), "{}", said.err);
            assert!(said.err.contains("rollout.toml:4:10"), "{}", said.err);
            assert!(said.err.contains("no host was contacted"), "{}", said.err);
        }
        desk.say(&["validate", "-i", "fleet", "-p", "playbook.toml"]).exits(0);
        assert!(desk.say(&["runs", "--json"]).exits(0).out.starts_with("[]"), "no run was made");
    }
}

/// A saved plan has its windows with it; when they are over it is refused, since none of its files has changed.
#[test]
fn a_saved_plan_whose_windows_are_over_is_refused() {
    let desk = desk(
        "{ from = \"2024-09-08 01:00\", to = \"2024-09-08 05:00\", zone = \"Asia/Shanghai\" }",
    );
    let plan = ["plan", "-i", "fleet", "-p", "playbook.toml", "-o", "saved.plan"];
    desk.say(&[&plan[..], &["--at", "2024-09-07T00:00:00Z"]].concat()).exits(0);
    for more in ["--yes", "--dry-run"] {
        let said = desk.say(&["apply", "saved.plan", more]).exits(4);
        assert!(said.err.contains("no window of wave web opens any more"), "{}", said.err);
    }
}

/// The rollout of the reference report: four batches by role, with their dates in Shanghai.
#[test]
fn the_reference_rollout_has_the_dates_of_its_report() {
    let desk = Desk::new();
    desk.say(&["init", "fleet2"]).exits(0);
    fs::copy(cases("reference-rollout/rollout.toml"), desk.path("fleet2/rollout.toml")).unwrap();
    let what =
        ["plan", "-i", "fleet2", "-p", "centos7-to-rocky9", "--at", "2024-09-07T12:00:00+08:00"];
    let json = desk.say(&[&what[..], &["--json"]].concat()).exits(0).json();
    let calendar = &json["calendar"];
    let waves = calendar["waves"].as_array().unwrap();
    type Nights<'j> = Vec<(&'j str, u64)>;
    let shown: Vec<(&str, u64, Nights<'_>)> = waves
        .iter()
        .map(|wave| {
            let nights = wave["nights"].as_array().unwrap().iter();
            let nights =
                nights.map(|n| (n["date"].as_str().unwrap(), n["hosts"].as_u64().unwrap()));
            (wave["wave"].as_str().unwrap(), wave["hosts"].as_u64().unwrap(), nights.collect())
        })
        .collect();
    let expected = [
        ("monitoring", 1, vec![("2024-09-08", 1)]),
        ("cache", 2, vec![("2024-09-10", 2)]),
        (
            "web",
            8,
            vec![
                ("2024-09-12", 1),
                ("2024-09-13", 1),
                ("2024-09-14", 1),
                ("2024-09-15", 1),
                ("2024-09-16", 1),
                ("2024-09-17", 1),
                ("2024-09-18", 2),
            ],
        ),
        ("db", 4, vec![("2024-09-20", 1), ("2024-09-21", 1), ("2024-09-22", 2)]),
    ];
    assert_eq!(shown, expected);
    assert_eq!(calendar["nights"], 12);
    let text = desk.say(&what).exits(0).out;
    let from = text.find("\nCalendar\n").unwrap();
    expect_case("reference-rollout/calendar.expected", &text[from + 1..]);
    // A day too late, it can never be.
    let late = [&what[..6], &["2024-09-09T12:00:00+08:00"]].concat();
    let said = desk.say(&late).exits(2);
    assert!(said.err.contains("no window of wave monitoring opens any more"), "{}", said.err);
}

#[test]
fn a_plan_learns_from_the_runs_before_it() {
    need_bed!("a_plan_learns_from_the_runs_before_it");
    let bed = Bed::plain(&["web-1", "web-2", "web-3", "web-4", "web-5"]);
    let quick =
        "name = \"quick\"\n[[precheck]]\nname = \"ask\"\nrun = \"true\"\nestimate = \"6h\"\n";
    let desk = bed.desk("", quick);
    let what = ["plan", "-i", "fleet", "-p", "playbook.toml"];
    let before = desk.say(&[&what[..], &["--json"]].concat()).exits(0).json();
    assert_eq!(before["forecast"]["basis"], "playbook");
    assert!(before["forecast"]["p50_s"].as_u64().unwrap() > 6 * 3600);
    desk.run().exits(0);
    let after = desk.say(&[&what[..], &["--json"]].concat()).exits(0).json();
    assert_eq!(after["forecast"]["basis"], "past_runs");
    assert!(after["forecast"]["p90_s"].as_u64().unwrap() < 3600, "{}", after["forecast"]);
    assert!(desk.say(&what).exits(0).out.contains("by what runs before have measured"));
    // What is measured is no change of an operator's: a plan that was saved before, or with other lengths, still applies.
    let saved = |file: &str| desk.say(&[&what[..], &["-o", file]].concat()).exits(0);
    saved("measured.plan");
    desk.run().exits(0);
    desk.say(&["apply", "measured.plan", "--dry-run"]).exits(0);
    // Another playbook has learned nothing.
    desk.write("other.toml", quick.replace("quick", "other"));
    let other = desk.say(&["plan", "-i", "fleet", "-p", "other.toml", "--json"]).exits(0).json();
    assert_eq!(other["forecast"]["basis"], "playbook");
}
