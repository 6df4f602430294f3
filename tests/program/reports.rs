//! Reports that migrators leave on hosts: read within the attempt, told by key, accepted by key.

use crate::{
    bed::{Bed, LENIENT},
    desk::{Desk, RUN, end_of},
    need_bed,
    support::wait_until,
};
use serde_json::Value;
use std::fs;

/// A migrator of one script: what each host's does is in a file of it.
const PLAYBOOK: &str = r#"
name = "Reports"

[[backup]]
name = "copy"
run = "echo copied >/copy"
verify = "test -e /copy"

[[precheck]]
name = "analysis"
run = "sh /does"
reads = "leapp"

[[migrate]]
name = "convert"
run = "echo converted >/converted; mkdir -p /etc; test ! -e /quick || cp /quick /etc/migration-results"

[[verify]]
name = "history"
run = "true"
reads = "migration-results"
report = "/etc/{{ name }}"
"#;

const VARS: &str = "[vars]\nname = \"migration-results\"\n";
const JSON: &str = "/var/log/leapp/leapp-report.json";
const NFS: &str = "9881b25faceeeaa7a6478bcdac29afd7f6baaaed";
const DRIVER: &str = "f08a07da902958defa4f5c2699fae9ec2eb67c5b";
const DONE: &str = r#"{"activities": [{"activity": "upgrade", "success": true, "env": {"LEAPP_CURRENT_PHASE": "FirstBoot"}}]}"#;

fn entry(key: &str, title: &str, group: &str) -> String {
    format!(
        r#"{{"key": "{key}", "title": "{title}", "severity": "high", "groups": ["{group}"], "summary": "About it.",
            "detail": {{"remediations": [{{"type": "hint", "context": "Do something."}}]}}}}"#
    )
}

/// A script that writes such a report and ends so.
fn writes(entries: &[String], exit: i32) -> String {
    format!(
        "mkdir -p /var/log/leapp\ncat >{JSON} <<'END'\n{{\"entries\": [{}]}}\nEND\nexit {exit}\n",
        entries.join(",\n")
    )
}

/// The same while the host's clock is set back: its report looks older than anything else there.
fn set_back(does: &str) -> String {
    does.replace("\nexit", &format!("\ntouch -d 2001-01-01 {JSON}\nexit"))
}

fn nfs() -> String {
    entry(NFS, "Use of NFS detected", "inhibitor")
}

/// Every host has written its history when it converts, but the last one, which has an old one.
fn bed() -> Bed {
    let clean = writes(&[entry("c4222ebd1873", "The clock is as it was", "time")], 0);
    let hosts = [
        ("clean", clean.clone()),
        ("inhibited", writes(&[nfs()], 1)),
        ("inhibited-too", set_back(&writes(&[nfs()], 1))),
        ("lies", writes(&[nfs()], 0)),
        ("crashes", writes(&[], 1)),
        ("silent", "exit 0".to_owned()),
        ("accepted", writes(&[entry(DRIVER, "A driver is gone", "inhibitor")], 1)),
        ("old-history", clean),
        (
            "long",
            format!("{}\n", writes(&[], 0).replace("[]", &format!("[{}]", " ".repeat(3 << 20)))),
        ),
    ];
    let names: Vec<&str> = hosts.iter().map(|(name, _)| *name).collect();
    let bed = Bed::plain(&names);
    for (name, does) in &hosts {
        fs::write(bed.file(name, "/does"), does).unwrap();
        if *name != "old-history" {
            fs::write(bed.file(name, "/quick"), DONE).unwrap();
        }
    }
    // What an earlier run has left behind says that all is well.
    fs::create_dir_all(bed.file("silent", "/var/log/leapp")).unwrap();
    fs::write(bed.file("silent", JSON), r#"{"entries": []}"#).unwrap();
    fs::create_dir_all(bed.file("old-history", "/etc")).unwrap();
    fs::write(bed.file("old-history", "/etc/migration-results"), DONE).unwrap();
    bed
}

const ACCEPT: &str = r#"
[[accept]]
finding = ["leapp:7ae2961200000000", "leapp:f08a07da9029"]
hosts = "accepted,inhibited"
by = "jane.doe"
until = "2099-12-31"
reason = "nothing hangs on that driver"
"#;

/// The findings of these by key: severity, whether it blocks, hosts.
fn by_key<'f>(findings: &'f Value, key: &str) -> Vec<&'f Value> {
    findings.as_array().unwrap().iter().filter(|found| found["key"] == key).collect()
}

#[test]
fn a_report_is_read_with_its_exit_code_and_told_by_key() {
    need_bed!("a_report_is_read_with_its_exit_code_and_told_by_key");
    let bed = bed();
    let desk = bed.desk(VARS, PLAYBOOK);
    desk.write("fleet/rollout.toml", format!("{LENIENT}{ACCEPT}"));
    let nfs = format!("leapp:{NFS}");
    let driver = format!("leapp:{DRIVER}");

    // Only asked, every host says what it will say in the run.
    let ask = ["plan", "-i", "fleet", "-p", "playbook.toml", "--connect"];
    let survey = desk.say(&[&ask[..], &["--json"]].concat()).exits(1).json()["survey"].clone();
    let text = desk.say(&ask).exits(1).out;
    let state = |host: &str| survey["hosts"][host]["state"].as_str().unwrap();
    for host in ["inhibited", "inhibited-too", "lies", "crashes", "silent", "long"] {
        assert_eq!(state(host), "blocked", "{host}\n{text}");
    }
    for host in ["clean", "accepted", "old-history"] {
        assert_eq!(state(host), "ready", "{host}\n{text}");
    }
    let found = by_key(&survey["findings"], &nfs);
    assert_eq!(found.len(), 1, "{text}");
    assert_eq!(found[0]["hosts"], serde_json::json!(["inhibited", "inhibited-too", "lies"]));
    assert_eq!(found[0]["remedy"], "Do something.");
    assert_eq!(by_key(&survey["findings"], "leapp:no-report").len(), 1, "{text}");
    assert!(text.contains(&nfs) && text.contains("Accepted findings"), "{text}");

    desk.run().exits(1);
    let status = desk.status();
    let ends = [
        ("clean", "migrated"),
        ("accepted", "migrated"),
        ("inhibited", "blocked"),
        ("inhibited-too", "blocked"),
        ("lies", "blocked"),
        ("crashes", "blocked"),
        ("silent", "blocked"),
        ("long", "blocked"),
        ("old-history", "needs_hands"),
    ];
    for (host, end) in ends {
        let why = desk.say(&["why", "last", host]).exits(0).out;
        assert_eq!(end_of(&status, host).0, end, "{host}\n{why}");
    }
    let why = |host: &str| desk.say(&["why", "last", host]).exits(0).out;
    let said = why("inhibited");
    assert!(said.contains(&format!("Use of NFS detected [{nfs}]")), "{said}");
    assert!(said.contains("Do something."), "{said}");
    assert!(why("lies").contains("though it ended with exit code 0"), "{}", why("lies"));
    assert!(why("silent").contains("not written by this attempt"), "{}", why("silent"));
    assert!(why("long").contains("too long"), "{}", why("long"));
    assert!(why("old-history").contains("not written in this hop"), "{}", why("old-history"));
    assert!(why("accepted").contains("accepted by jane.doe"), "{}", why("accepted"));

    // The journal has key and severity as fields of their own, and the report has them over the fleet.
    let journal = desk.journal();
    let record = journal.iter().find(|r| r["finding"]["reported"]["key"] == nfs.as_str()).unwrap();
    assert_eq!(record["finding"]["severity"], "blocker");
    assert_eq!(record["finding"]["reported"]["summary"], "About it.");
    let report = desk.say(&["report", "last", "--format", "json"]).exits(0).json();
    let schema = desk.say(&["schema", "report"]).exits(0).json();
    crate::texts::accepts(&schema, &schema, &report).unwrap();
    let found = by_key(&report["findings"], &nfs);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["hosts"], serde_json::json!(["inhibited", "inhibited-too", "lies"]));
    assert_eq!(by_key(&report["findings"], &driver)[0]["accepted"]["by"], "jane.doe");
    let md = desk.say(&["report", "last", "--format", "md"]).exits(0).out;
    assert!(md.contains(&nfs) && md.contains("Do something."), "{md}");
    // No finding is told twice of one host: neither by the step and its report, nor by two attempts.
    for host in ["inhibited", "crashes", "silent"] {
        let told = journal.iter().filter(|r| r["event"] == "host_finding" && r["host"] == host);
        let told: Vec<&Value> = told.collect();
        assert_eq!(told.len(), 1, "{host}: {told:#?}");
    }
}

#[test]
fn a_report_is_read_by_the_controller_that_comes_after() {
    need_bed!("a_report_is_read_by_the_controller_that_comes_after");
    let bed = Bed::plain(&["inhibited", "silent"]);
    // It ends only when the first controller is gone.
    let waits = "touch /begun\nn=0\nwhile [ ! -e /go ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n + 1)); done\n";
    let does = [("inhibited", set_back(&writes(&[nfs()], 1))), ("silent", "exit 0".to_owned())];
    for (name, does) in does {
        fs::write(bed.file(name, "/does"), format!("{waits}{does}")).unwrap();
        fs::create_dir_all(bed.file(name, "/var/log/leapp")).unwrap();
        fs::write(bed.file(name, JSON), r#"{"entries": []}"#).unwrap();
    }
    let desk = bed.desk(VARS, PLAYBOOK);
    let mut running = desk.start(&RUN);
    for _ in 0..2 {
        running.wait_for("an analysis that began", |record| {
            record["event"] == "attempt_started" && record["step"] == "analysis"
        });
    }
    for name in ["inhibited", "silent"] {
        wait_until("its analysis began", || bed.file(name, "/begun").exists());
    }
    running.signal(rustix::process::Signal::KILL);
    running.end();
    for name in ["inhibited", "silent"] {
        fs::write(bed.file(name, "/go"), "").unwrap();
    }
    desk.say(&["resume", "last"]).exits(1);
    for (host, key) in [("inhibited", format!("leapp:{NFS}")), ("silent", "leapp:no-report".into())]
    {
        let why = desk.say(&["why", "last", host]).exits(0).out;
        assert!(why.contains(&key) && why.contains("ended blocked"), "{why}");
        assert!(why.matches("analysis began, attempt").count() == 1, "{why}");
    }
}

#[test]
fn a_key_that_no_step_could_tell_is_a_fault() {
    let desk = Desk::new();
    desk.write(
        "fleet/hosts.toml",
        "[groups.web]\nhosts = [\"accepted\", \"inhibited\"]\n[vars]\nname = \"x\"\n",
    );
    desk.write("playbook.toml", PLAYBOOK);
    for (wrong, said) in [
        ("convert2rhel:EFI::SECURE_BOOT", "no step of playbook reads a report of `convert2rhel`"),
        ("leap:7ae2961200000000", "did you mean `leapp`"),
        ("leapp:7ae2", "too short to name one kind of finding"),
        ("leapp:title:Use", "too short to name one kind of finding"),
        // Each of these would name nothing: leapp's keys are checksums.
        ("leapp:Leapp detected loaded", "is no key of a report of leapp"),
        ("leapp:7AE2961200000000", "is no key of a report of leapp"),
        ("analisys", "did you mean `analysis`"),
    ] {
        let accept = ACCEPT.replace("leapp:7ae2961200000000", wrong);
        desk.write("fleet/rollout.toml", format!("{LENIENT}{accept}"));
        let err = desk.say(&["plan", "-i", "fleet", "-p", "playbook.toml"]).exits(2).err;
        assert!(err.contains(said), "{wrong}: {err}");
    }
    desk.write("fleet/rollout.toml", format!("{LENIENT}{ACCEPT}"));
    let text = desk.say(&["plan", "-i", "fleet", "-p", "playbook.toml"]).exits(0).out;
    assert!(text.contains("leapp:f08a07da9029") && text.contains("reads leapp"), "{text}");
}

/// What a migrator wrote before it hung, was killed, or its host went down under it is told as what it wrote before it ended.
#[test]
fn the_report_of_a_step_without_an_end_is_read_too() {
    need_bed!("the_report_of_a_step_without_an_end_is_read_too");
    let hosts = [
        ("hangs", "sleep 600", "timed_out"),
        ("dies", "kill -9 $$", "killed"),
        ("falls", "reboot; sleep 600", "lost"),
        ("silent", "rm -r /var/log/leapp; sleep 600", "timed_out"),
    ];
    let bed = Bed::plain(&hosts.map(|(name, _, _)| name));
    for (name, end, _) in hosts {
        let does = writes(&[nfs()], 0).replace("\nexit 0", &format!("\n{end}"));
        fs::write(bed.file(name, "/does"), does).unwrap();
    }
    let playbook = PLAYBOOK.replace("reads = \"leapp\"", "reads = \"leapp\"\ntimeout = \"5s\"");
    let desk = bed.desk(VARS, &playbook.replace("sh /does", "exec sh /does"));
    desk.run().exits(1);
    let (status, journal) = (desk.status(), desk.journal());
    for (name, _, how) in hosts {
        let why = desk.say(&["why", "last", name]).exits(0).out;
        assert_eq!(end_of(&status, name).0, "blocked", "{name}\n{why}");
        let failed = journal.iter().filter(|r| r["event"] == "attempt_failed" && r["host"] == name);
        assert!(failed.clone().all(|r| r["failure"]["kind"] == how), "{name}\n{why}");
        let told: Vec<&str> = journal
            .iter()
            .filter(|r| r["event"] == "host_finding" && r["host"] == name)
            .filter_map(|r| r["finding"]["reported"]["key"].as_str())
            .collect();
        let nfs = format!("leapp:{NFS}");
        let expected = if name == "silent" { vec![] } else { vec![nfs.as_str()] };
        assert_eq!(told, expected, "{name}\n{why}");
        assert!(name == "silent" || why.contains("Use of NFS detected"), "{name}\n{why}");
    }
}
