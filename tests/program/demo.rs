//! The demo: fifteen hosts over real SSH with the shipped chain. All that is checked of it is checked of one run.

use crate::{
    desk::{Desk, end_of},
    need_bed,
};
use fleetlift::{
    base::name::{HostName, RunId},
    journal::Store,
    plan::Plan,
    run::{HostPhase, RunState},
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// How each of the fifteen ends: its state, whether it was touched.
fn wanted() -> BTreeMap<String, (&'static str, bool)> {
    let roles = [("mon", 1), ("cache", 2), ("web", 8), ("db", 4)];
    let names =
        roles.iter().flat_map(|(short, n)| (1..=*n).map(move |i| format!("{short}-{i:02}")));
    let mut hosts: BTreeMap<String, (&str, bool)> =
        names.map(|name| (name, ("migrated", true))).collect();
    hosts.insert("web-05".to_owned(), ("rolled_back", true));
    hosts.insert("web-07".to_owned(), ("rolled_back", true));
    hosts.insert("db-03".to_owned(), ("blocked", false));
    hosts
}

#[test]
fn the_demo_keeps_every_promise_of_one_run() {
    need_bed!("the_demo_keeps_every_promise_of_one_run");
    let mut desk = Desk::new();
    // The run stands beside the report, unless another place is asked for.
    desk.set("FLEETLIFT_STATE_DIR", &desk.path("out/state").display().to_string());
    let said = desk.say(&["demo", "--out", "out"]).exits(1);
    assert!(said.out.is_empty(), "progress goes to standard error: {}", said.out);
    assert!(!said.err.contains('\u{1b}'), "{}", said.err);
    assert!(said.err.contains("out/report.html"), "{}", said.err);

    let status = desk.status();
    ends(&desk, &status);
    reports(&desk, &said.err);
    explanations(&desk);
    replay(&desk, &status);
    journal(&desk);
    looks(&desk);
    too_late(&desk, &status);
    // Last, since it spoils the journal.
    one_byte(&desk);
}

fn ends(desk: &Desk, status: &Value) {
    assert_eq!(status["state"], "finished");
    for (host, (state, touched)) in wanted() {
        let (found, was_touched, _) = end_of(status, &host);
        let why = || desk.say(&["why", "last", &host]).out;
        assert_eq!((found, was_touched), (state, touched), "{}", why());
    }
    assert_eq!(status["hosts"].as_object().unwrap().len(), 15);
    let counts = BTreeMap::from([("migrated", 12), ("rolled_back", 2), ("blocked", 1)]);
    assert_eq!(status["counts"], serde_json::to_value(counts).unwrap());
}

/// What leapp says of a driver that is gone, by its own key.
const DRIVER: &str = "leapp:f08a07da902958defa4f5c2699fae9ec2eb67c5b";

fn reports(desk: &Desk, err: &str) {
    let read =
        |ending: &str| fs::read_to_string(desk.path(&format!("out/report.{ending}"))).unwrap();
    let (html, md, json) = (read("html"), read("md"), read("json"));
    let json: Value = serde_json::from_str(&json).unwrap();
    let counts = json["summary"]["counts"].as_object().unwrap();
    assert_eq!(counts.values().map(|n| n.as_u64().unwrap()).sum::<u64>(), 15, "{counts:?}");
    assert_eq!(counts["migrated"], 12);
    assert_eq!(json["hosts"].as_array().unwrap().len(), 15);
    for host in wanted().keys() {
        assert!(html.contains(host.as_str()) && md.contains(host.as_str()), "{host}");
    }
    for far in ["http://", "https://", "src=", "@import"] {
        let links = html.match_indices(far).map(|(at, _)| &html[at..html.len().min(at + 60)]);
        // Remedies may name pages; nothing is loaded from anywhere.
        let loads: Vec<&str> = links.filter(|_| far != "http://" && far != "https://").collect();
        assert!(loads.is_empty(), "{loads:?}");
    }
    // What leapp has found stands there under its own key, with its remedy.
    let found = json["findings"].as_array().unwrap().iter().find(|found| found["key"] == DRIVER);
    let found = found.unwrap_or_else(|| panic!("{}", json["findings"]));
    assert_eq!(
        (&found["hosts"], &found["severity"]),
        (&serde_json::json!(["web-07"]), &"blocker".into())
    );
    assert!(html.contains(DRIVER) && md.contains(DRIVER) && md.contains("PVSCSI"));
    // The same again from the journal alone.
    let again = desk.say(&["report", "last", "--format", "md"]).exits(0).out;
    assert_eq!(again, md);
    // The end screen tells what went wrong, and what to type next.
    for part in ["web-05", "db-03", "12", DRIVER, "fleetlift"] {
        assert!(err.contains(part), "{part} is missing:\n{err}");
    }
}

/// Every host's state is explained: its end, and what shows it.
fn explanations(desk: &Desk) {
    for (host, (state, _)) in wanted() {
        let why = desk.say(&["why", "last", &host]).exits(0).out;
        let head = why.lines().next().unwrap_or_default();
        assert!(head.contains(&host) && head.contains(&state.replace('_', " ")), "{why}");
        assert!(why.contains("machine id"), "{host}: which machine it was\n{why}");
        match state {
            "migrated" => {
                assert!(why.contains("rocky 9"), "{host}: the system that it proved\n{why}");
                assert!(why.matches("boot ").count() >= 5, "{host}: its boots\n{why}");
            }
            "rolled_back" => assert!(why.contains("Because of") && why.contains('│'), "{why}"),
            _ => assert!(why.contains("boot") && why.contains("blocker"), "{why}"),
        }
    }
}

/// The journal and nothing else makes the state that `status` shows.
fn replay(desk: &Desk, status: &Value) {
    let store = Store::new(desk.path("out/state"));
    let runs = store.runs().unwrap();
    let [run] = runs.as_slice() else { panic!("{runs:?}") };
    let reader = store.read(run).unwrap();
    let plan: Plan = serde_json::from_str(&reader.plan().unwrap()).unwrap();
    let records = reader.records(0).unwrap();
    assert!(records.iter().enumerate().all(|(n, record)| record.seq == n as u64));
    let state = RunState::replay(&plan, &records).unwrap();
    for (host, shown) in status["hosts"].as_object().unwrap() {
        let name: HostName = host.parse().unwrap();
        let replayed = &state.hosts[state.host(&name).unwrap()];
        let HostPhase::Ended(end) = replayed.phase else { panic!("{host} has not ended") };
        assert_eq!(shown["state"], end.word(), "{host}");
        assert_eq!(shown["touched"], replayed.touched, "{host}");
        assert_eq!(shown["failure"], serde_json::to_value(&replayed.failure).unwrap(), "{host}");
    }
    // No step began twice with the same number: intent is written before the act, once.
    let mut started = std::collections::BTreeSet::new();
    for record in desk.journal().iter().filter(|r| r["event"] == "attempt_started") {
        let keys = ["host", "hop", "phase", "step", "attempt"].map(|key| record[key].to_string());
        assert!(started.insert(keys), "{record}");
    }
}

/// Whole, and every record is as its schema says.
fn journal(desk: &Desk) {
    let said = desk.say(&["journal", "last", "--verify"]).exits(0);
    assert!(said.out.contains("whole"), "{}", said.out);
    let schema = desk.say(&["schema", "events"]).exits(0).json();
    for record in desk.journal() {
        if let Err(fault) = crate::texts::accepts(&schema, &schema, &record) {
            panic!("{fault}\n{record:#}");
        }
    }
    let schema = desk.say(&["schema", "report"]).exits(0).json();
    let report = desk.say(&["report", "last", "--format", "json"]).exits(0).json();
    crate::texts::accepts(&schema, &schema, &report).unwrap();
}

fn looks(desk: &Desk) {
    let runs = desk.say(&["runs"]).exits(0).out;
    assert_eq!(runs.lines().count(), 1, "{runs}");
    assert!(runs.contains("finished") && runs.contains("12 migrated"), "{runs}");
    // The step that failed, and what it printed.
    let failed = desk.journal().into_iter().find(|r| {
        r["event"] == "attempt_failed" && r["host"] == "web-05" && r["then"]["do"] == "roll_back"
    });
    let step = failed.unwrap()["step"].as_str().unwrap().to_owned();
    let printed = desk.bytes(&["log", "last", "web-05", &step]);
    assert!(printed.status.success());
    assert!(printed.stdout.len() + printed.stderr.len() > 20, "{printed:?}");
}

/// The simulated hosts are gone. That is said of the host, and the run can still be read.
fn too_late(desk: &Desk, before: &Value) {
    let said = desk.say(&["rollback", "last", "--hosts", "db-03", "--yes"]).exits(4);
    assert!(said.err.contains("db-03"), "{}", said.err);
    let said = desk.say(&["rollback", "last", "--hosts", "web-01", "--yes"]);
    assert!(matches!(said.code, 1 | 4), "{said:?}");
    let after = desk.status();
    match said.code {
        1 => {
            let (state, touched, failure) = end_of(&after, "web-01");
            assert!(touched && matches!(failure, "unreachable" | "refused"), "{failure}");
            assert_eq!(state, "needs_hands", "{}", said.err);
        }
        _ => assert_eq!(end_of(&after, "web-01").0, "migrated"),
    }
    for host in before["hosts"].as_object().unwrap().keys().filter(|host| *host != "web-01") {
        assert_eq!(before["hosts"][host], after["hosts"][host], "{host}");
    }
    desk.say(&["report", "last", "--format", "html"]).exits(0);
    desk.say(&["journal", "last", "--verify"]).exits(0);
}

/// One bit of one record: found, whatever record it is.
fn one_byte(desk: &Desk) {
    let store = Store::new(desk.path("out/state"));
    let run: RunId = store.runs().unwrap().remove(0);
    let path = store.run_dir(&run).join("journal.db");
    let records = desk.journal();
    flip(&path, records.len() as u64 / 2);
    let said = desk.say(&["journal", "last", "--verify"]);
    assert_ne!(said.code, 0, "{said:?}");
    let place = (records.len() / 2).to_string();
    assert!(said.err.contains(&place), "which record it is: {}", said.err);
}

/// Changes one digit of one record, as a failing disk or a careful forger would.
fn flip(database: &Path, seq: u64) {
    let database = rusqlite::Connection::open(database).unwrap();
    let json: String = database
        .query_row("select json from records where seq = ?1", [seq], |row| row.get(0))
        .unwrap();
    let at = json.find("\"at\":\"2").unwrap() + 8;
    let mut bytes = json.into_bytes();
    bytes[at] ^= 1;
    let json = String::from_utf8(bytes).unwrap();
    let changed = database
        .execute("update records set json = ?1 where seq = ?2", rusqlite::params![json, seq])
        .unwrap();
    assert_eq!(changed, 1);
}
