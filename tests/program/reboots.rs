//! Reboots that do not end as they should, over real SSH: each by its name, in every text that tells of it.

use crate::{
    bed::Bed,
    desk::{Desk, RUN, end_of},
    need_bed,
    plain::{IS_NEXT, NEXT_RELEASE, back, to_next},
};
use fleetlift_testbed::Fault;
use rustix::process::Signal;
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt};

/// Two hosts are known not to come back in any time.
const BOOTS: &str = r#"
[[migrate]]
name = "boot-in-vain"
when = "host.name in ['stays', 'never']"
reboot = { timeout = "6s", down = "3s" }

[[migrate]]
name = "boot"
reboot = { timeout = "90s", into = "to" }
verify = "grep -q ID=next /etc/os-release || { echo the old one; exit 1; }"
"#;

fn program(bed: &Bed, host: &str, path: &str, text: &str) {
    let file = bed.file(host, path);
    // It may be a link to a file that other hosts have too.
    let _ = fs::remove_file(&file);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

fn quick(bed: &Bed) {
    for host in bed.fleet().hosts() {
        fs::write(bed.file(&host.name, "/etc/testbed/dark_ms"), "300\n").unwrap();
    }
}

fn verdict(status: &Value, host: &str) -> String {
    let failure = &status["hosts"][host]["failure"];
    assert_eq!(failure["kind"], "reboot", "{host}: {failure}");
    failure["verdict"].as_str().unwrap().to_owned()
}

#[test]
fn every_reboot_that_goes_wrong_has_a_verdict_and_a_hint() {
    need_bed!("every_reboot_that_goes_wrong_has_a_verdict_and_a_hint");
    let bed = Bed::new(
        "plain",
        &[
            ("fine", vec![Fault::RefusesLoginsAtBoot]),
            ("never", vec![Fault::NeverReturns]),
            ("old", vec![Fault::ReturnsUnchanged]),
            ("rekeyed", vec![Fault::ChangesKey]),
            ("stays", vec![]),
            ("twice", vec![]),
        ],
    );
    quick(&bed);
    program(&bed, "stays", "/usr/sbin/reboot", "#!/bin/sh\nexit 0\n");
    // Boots a second time before anybody can log in; the host's journal has both boots.
    let hook = bed.read("twice", "/usr/lib/testbed/boot");
    let twice = "#!/bin/sh\n\
        if [ \"${STAGE_BOOTING:-no}\" = no ]; then\n\
        tr -d - </proc/sys/kernel/random/boot_id >>/boots\n\
        if [ ! -e /once ]; then : >/once; exit 3; fi\n\
        fi\n";
    program(&bed, "twice", "/usr/lib/testbed/boot", &format!("{twice}{hook}"));
    program(
        &bed,
        "twice",
        "/usr/bin/journalctl",
        "#!/bin/sh\nwhile read -r boot; do echo \" 0 $boot then now\"; done </boots\n",
    );
    let before = bed.read("twice", "/proc/sys/kernel/random/boot_id").replace('-', "");
    fs::write(bed.file("twice", "/boots"), before).unwrap();
    let desk = bed.desk("", &to_next("Plain to next", &[NEXT_RELEASE, BOOTS]));
    desk.run().exits(1);
    let status = desk.status();

    assert_eq!(end_of(&status, "fine"), ("migrated", true, ""));
    assert_eq!(end_of(&status, "twice"), ("migrated", true, ""));
    let ends = [
        ("never", "unreachable", "never_back", "Look at its console"),
        ("old", "needs_hands", "old_system", "led back to the old system"),
        ("rekeyed", "needs_hands", "key_changed", "new_host_key = true"),
        ("stays", "needs_hands", "stayed_up", "what kept it"),
    ];
    let report = desk.say(&["report", "last", "--format", "md"]).exits(0).out;
    for (host, state, word, hint) in ends {
        assert_eq!(end_of(&status, host), (state, true, "reboot"), "{host}");
        assert_eq!(verdict(&status, host), word, "{host}");
        let why = desk.say(&["why", "last", host]).exits(0).out;
        assert!(why.contains(hint), "{host}: {why}");
        assert!(report.contains(hint), "{host}: {report}");
    }
    // Each with its own evidence.
    let never = &status["hosts"]["never"]["failure"];
    assert_eq!(never["last"], "port_closed");
    let why = desk.say(&["why", "last", "never"]).exits(0).out;
    assert!(why.contains("port closed for ") && why.contains("connection refused"), "{why}");
    assert!(desk.say(&["why", "last", "old"]).exits(0).out.contains("the old one"));
    let key = &status["hosts"]["rekeyed"]["failure"];
    assert!(key["shown"].as_str().unwrap().contains("SHA256:"), "{key}");
    assert!(key["expected"].as_str().unwrap().contains("SHA256:"), "{key}");

    // A boot too many is a finding, and no failure.
    let extra: Vec<Value> =
        desk.journal().into_iter().filter(|r| r["finding"]["notice"] == "extra_boots").collect();
    let [extra] = extra.as_slice() else { panic!("{extra:?}") };
    assert_eq!((&extra["host"], &extra["finding"]["seen"]), (&"twice".into(), &2.into()));
    assert!(desk.say(&["why", "last", "twice"]).exits(0).out.contains("at least 2 boots"));
    desk.say(&["journal", "last", "--verify"]).exits(0);
}

const REINSTALLS: &str = r#"
[[migrate]]
name = "reinstall"
reboot = { timeout = "90s", into = "to", new_host_key = true, command = "printf 'ID=next\\nVERSION_ID=2\\n' >/etc/testbed/next-os-release; reboot" }
"#;

#[test]
fn an_announced_host_key_is_taken_once_and_lives_in_the_journal() {
    need_bed!("an_announced_host_key_is_taken_once_and_lives_in_the_journal");
    let bed = Bed::new("plain", &[("web-01", vec![Fault::ChangesKey])]);
    quick(&bed);
    let name = "Plain to next, installed anew";
    let desk = bed.desk("", &to_next(name, &[REINSTALLS, IS_NEXT, &back("")]));
    desk.run().exits(0);
    assert_eq!(end_of(&desk.status(), "web-01"), ("migrated", true, ""));
    let journal = desk.journal();
    let taken: Vec<&Value> = journal.iter().filter(|r| r["event"] == "host_key_taken").collect();
    let [taken] = taken[..] else { panic!("{taken:?}") };
    let (old, new) = (taken["old"].as_str().unwrap(), taken["new"].as_str().unwrap());
    assert!(old.starts_with("SHA256:") && new.contains("SHA256:") && !new.contains(old));
    // Whoever asks is told where the key belongs.
    let line = taken["key"].as_str().unwrap().to_owned();
    let why = desk.say(&["why", "last", "web-01"]).exits(0).out;
    assert!(why.contains("replace line 1 of ") && why.contains(&line), "{why}");
    let report = desk.say(&["report", "last", "--format", "md"]).exits(0).out;
    assert!(report.contains("replace line 1 of "), "{report}");

    // Another controller goes on with it: known_hosts still has the old key.
    desk.say(&["rollback", "last", "--yes"]).exits(0);
    assert_eq!(end_of(&desk.status(), "web-01"), ("rolled_back", true, ""));
    let taken = desk.journal().iter().filter(|r| r["event"] == "host_key_taken").count();
    assert_eq!(taken, 1);
    desk.say(&["journal", "last", "--verify"]).exits(0);

    // Another run knows nothing of it, and refuses the host as ever.
    let said = desk.run().exits(1);
    assert_eq!(end_of(&desk.status(), "web-01"), ("failed", false, "refused"), "{}", said.err);
}

const ARMS: &str = r#"
[[migrate]]
name = "arm"
run = "printf 'ID=next\\nVERSION_ID=2\\n' >/etc/testbed/next-os-release"
arms = true
disarm = "rm -f /etc/testbed/next-os-release; echo disarmed >>/said"

[[migrate]]
name = "work"
run = "echo begun >/began; while ! test -e /go; do sleep 0.05; done"

[[migrate]]
name = "boot"
reboot = { timeout = "90s" }
"#;

/// It may be on the old system still: then there is nothing to bring back.
const WHERE_NEEDED: &str = "unless = \"grep -q ID=plain /etc/os-release\"\n";

fn begin_armed_work(bed: &Bed, desk: &Desk) {
    let mut running = desk.start(&RUN);
    running
        .wait_for("the step's intent", |r| r["event"] == "attempt_started" && r["step"] == "work");
    for host in ["cut", "still"] {
        bed.wait_for(host, "/began", "begun");
    }
    running.signal(Signal::KILL);
    running.end();
}

#[test]
fn a_power_cut_while_armed_is_told_and_a_rollback_disarms() {
    need_bed!("a_power_cut_while_armed_is_told_and_a_rollback_disarms");
    let bed = Bed::plain(&["cut", "still"]);
    quick(&bed);
    let name = "Plain to next, by any boot";
    let desk = bed.desk("", &to_next(name, &[ARMS, &back(WHERE_NEEDED)]));
    begin_armed_work(&bed, &desk);
    let status = desk.status();
    assert_eq!(status["counts"]["armed"], 2, "{status:#}");
    assert!(desk.say(&["why", "last", "still"]).exits(0).out.contains("any reboot migrates it"));

    // One loses its power, and boots into what it was armed for; at the other the step ends with a failure.
    bed.runtime.block_on(bed.fleet().power_cut("cut"));
    fs::write(bed.file("still", "/go"), "").unwrap();
    desk.say(&["resume", "last"]).exits(1);
    let status = desk.status();
    assert_eq!(end_of(&status, "still"), ("migrated", true, ""));
    assert_eq!(end_of(&status, "cut"), ("needs_hands", true, "lost"));
    let why = desk.say(&["why", "last", "cut"]).exits(0).out;
    assert!(why.contains("started anew while it was armed, and runs next 2 now"), "{why}");
    let journal = desk.journal();
    let told: Vec<&Value> =
        journal.iter().filter(|r| r["finding"]["notice"] == "unasked_boot").collect();
    let [told] = told[..] else { panic!("{told:?}") };
    assert_eq!((&told["host"], &told["finding"]["armed"]), (&"cut".into(), &true.into()));
    let dark = journal.iter().filter(|r| r["event"] == "host_dark" && r["host"] == "cut").count();
    assert_eq!(dark, 0, "nobody rebooted it");

    // It may be armed still, so its way back begins with the disarming; the other was not asked to go back.
    desk.say(&["rollback", "last", "--hosts", "cut", "--yes"]).exits(0);
    assert_eq!(end_of(&desk.status(), "cut"), ("rolled_back", true, ""));
    assert_eq!(bed.read("cut", "/said"), "disarmed\n");
    assert!(bed.read("cut", "/etc/os-release").contains("ID=plain"));
    assert_eq!(bed.read("still", "/said"), "");
}
