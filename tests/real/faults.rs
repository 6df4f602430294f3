//! Everything that goes wrong at once, on fifteen hosts of one run in four waves, whose controller dies twice.

use crate::{
    bed::Bed,
    claims::{Mark, is_whole, says_13_and_is_broken, started_once},
    need_real_hosts,
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, time::Instant};

/// In the middle of the first stage of the upgrade: os-release says 13 already, and most packages are those of 12.
const UNPACKING: &str = "pgrep -x dpkg && grep -q 'status unpacked libc-bin' /var/log/dpkg.log && grep -q trixie /etc/os-release";

/// Where a host of ours says that it goes down, and waits for the power to be cut.
const GOES_DOWN: &str = "var/lib/goes-down";

/// What is planted, and what must come of it.
struct Case {
    host: &'static str,
    end: &'static str,
    /// The step that fails or blocks; none where all is well in the end.
    step: &'static str,
    version: &'static str,
    /// How often it goes down: reboots, snapshots that are booted, power cuts.
    boots: usize,
}

#[rustfmt::skip]
const CASES: [Case; 15] = [
    Case { host: "mon-01", end: "migrated", step: "", version: "13", boots: 1 },
    // The archive gives it, and nobody else, a broken package.
    Case { host: "cache-01", end: "rolled_back", step: "download", version: "12", boots: 0 },
    // Its cable is out from the middle of unpacking until the step has ended by itself.
    Case { host: "cache-02", end: "migrated", step: "", version: "13", boots: 1 },
    // A package on hold. It would have been the canary.
    Case { host: "web-01", end: "blocked", step: "package-holds", version: "12", boots: 0 },
    Case { host: "web-02", end: "migrated", step: "", version: "13", boots: 1 },
    // Its disk is full in the middle of unpacking.
    Case { host: "web-03", end: "rolled_back", step: "minimal-upgrade", version: "12", boots: 1 },
    // Its power is cut in the middle of unpacking, while the controller is dead.
    Case { host: "web-04", end: "migrated", step: "", version: "13", boots: 2 },
    // A line of 8 Mbit/s.
    Case { host: "web-05", end: "migrated", step: "", version: "13", boots: 1 },
    // A service of the house that Debian 13 breaks.
    Case { host: "web-06", end: "rolled_back", step: "no-new-failed-units", version: "12", boots: 2 },
    // Its power is cut while it is armed: told to reboot, and not gone yet.
    Case { host: "web-07", end: "migrated", step: "", version: "13", boots: 1 },
    Case { host: "web-08", end: "migrated", step: "", version: "13", boots: 1 },
    // Its power is cut in the middle of unpacking, and takes dpkg's list along.
    Case { host: "db-01", end: "rolled_back", step: "minimal-upgrade", version: "12", boots: 2 },
    Case { host: "db-02", end: "migrated", step: "", version: "13", boots: 1 },
    // As web-06; on its way back controller and power die together.
    Case { host: "db-03", end: "rolled_back", step: "no-new-failed-units", version: "12", boots: 2 },
    Case { host: "db-04", end: "migrated", step: "", version: "13", boots: 1 },
];

#[test]
#[ignore = "takes half an hour: just real faults"]
fn faults_end_as_they_should() {
    need_real_hosts!();
    let bed = Bed::up("faults", CASES.len());
    // Five are to end badly, and the run goes on. In which order they do is chance, so none is said about a row of them.
    bed.budget("{ failures = 5 }");
    let marks: Vec<Mark> = CASES.iter().map(|case| Mark::set(&bed, case.host)).collect();
    plant(&bed);

    let began = Instant::now();
    disturbed_run(&bed);
    println!("15 hosts with faults were at their ends after {:.0?}", began.elapsed());
    let ends = bed.ends();
    for (case, mark) in CASES.iter().zip(&marks) {
        let host = case.host;
        println!("{host}: {}", ends[host]);
        assert_eq!(ends[host], case.end, "{}", bed.why(host));
        is_whole(&bed, host, case.version);
        mark.holds(&bed, host);
        assert_eq!(bed.boots(host), case.boots, "{host} went down so often");
    }
    started_once(&bed.journal());
    the_report_tells_the_same(&bed.report());

    again_without_faults(&bed);
    for (case, mark) in CASES.iter().zip(&marks) {
        mark.holds(&bed, case.host);
    }
    println!("{}", bed.testbed(&["show"]).exits(0).out);
}

fn plant(bed: &Bed) {
    bed.testbed(&["archive", "fault", "corrupt", "pool/main/m/memcached", "cache-01"]).exits(0);
    bed.sh("web-01", "apt-mark hold nginx");
    // Nothing larger than 256 KiB fits where every package has its documentation.
    bed.sh("web-03", "mount -t tmpfs -o size=256k none /usr/share/doc");
    bed.link("web-05", "8mbit");
    for host in ["web-06", "db-03"] {
        bed.ends_with_debian_12(host);
    }
    // The second one goes down as if nothing were, unless it is on its way back.
    for (host, when) in [("web-07", "true"), ("db-03", "test -e /.snapshots/boot-into")] {
        let stop = format!("if {when}; then touch /{GOES_DOWN}; sleep infinity; fi");
        bed.service(host, "late", &format!("ExecStart=/bin/sleep infinity\nExecStop=/bin/sh -c '{stop}'\nTimeoutStopSec=infinity"));
    }
}

/// The power goes, and comes back.
fn cut_power(bed: &Bed, host: &str, meanwhile: impl FnOnce()) {
    bed.testbed(&["kill", host]).exits(0);
    meanwhile();
    bed.testbed(&["start", host]).exits(0);
}

fn disturbed_run(bed: &Bed) {
    let run = bed.run();
    run.sees("attempt_started", "cache-02", "minimal-upgrade");
    bed.until("cache-02", UNPACKING);
    bed.link("cache-02", "down");
    bed.until("cache-02", "test -e /var/lib/fleetlift/*/cache-02/0.migrate.minimal-upgrade.1/exit");
    bed.link("cache-02", "up");

    run.sees("attempt_started", "web-04", "minimal-upgrade");
    bed.until("web-04", UNPACKING);
    run.kill();
    cut_power(bed, "web-04", || {});
    says_13_and_is_broken(bed, "web-04");
    let fleet = bed.fleet.to_str().unwrap();
    let said = bed.stranger(&[
        "run",
        "-i",
        fleet,
        "-p",
        "debian12-to-debian13",
        "--limit",
        "web-04",
        "--yes",
    ]);
    let said = said.exits(4);
    assert!((said.out + &said.err).contains("locked by run"), "another run may not have it");

    let run = bed.start(&["resume"]);
    bed.until_there("web-07", GOES_DOWN);
    cut_power(bed, "web-07", || {});
    run.sees("attempt_started", "db-01", "minimal-upgrade");
    bed.until("db-01", UNPACKING);
    // What a file system leaves of a file that was not synced when the power went: nothing.
    cut_power(bed, "db-01", || {
        fs::write(bed.disk("db-01", "var/lib/dpkg/status"), "").unwrap();
    });
    bed.until_there("db-03", GOES_DOWN);
    run.kill();
    cut_power(bed, "db-03", || {});
    assert_eq!(bed.start(&["resume"]).ends(), 1, "six hosts are not migrated");
}

/// Whoever reads the report learns what the hosts say.
fn the_report_tells_the_same(report: &Value) {
    let hosts = report["hosts"].as_array().unwrap();
    assert_eq!(hosts.len(), CASES.len());
    for (case, host) in CASES.iter().zip(hosts) {
        let name = case.host;
        assert_eq!(host["name"], name);
        assert_eq!(host["state"], case.end, "{name}");
        assert_eq!(host["touched"], case.end != "blocked", "{name}");
        assert_eq!(host["armed"], false, "{name}");
        let told = ["failures", "findings"].map(|list| told_of(&report[list], name));
        let [failures, findings] = &told;
        match case.end {
            "migrated" => assert_eq!(failures, "", "{name}"),
            "blocked" => assert!(findings.contains(case.step), "{name}: {told:?}"),
            _ => assert!(failures.contains(case.step), "{name}: {told:?}"),
        }
        let system = &host[if case.end == "blocked" { "before" } else { "after" }]["system"];
        assert_eq!(system["version"], case.version, "{name}: {system}");
    }
    // A host that was told to reboot, and had its power cut before it went, has done what it was told.
    let is_unexpected = |boot: &Value| boot["unexpected"] == true;
    let anew =
        hosts.iter().filter(|host| host["boots"].as_array().unwrap().iter().any(is_unexpected));
    assert_eq!(anew.map(|host| &host["name"]).collect::<Vec<_>>(), ["web-04", "db-01"]);
    let mut counts = BTreeMap::new();
    for case in &CASES {
        *counts.entry(case.end).or_insert(0) += 1;
    }
    assert_eq!(report["summary"]["counts"], serde_json::json!(counts));
    assert_eq!(report["run"]["takeovers"].as_array().unwrap().len(), 2);
    assert_eq!(report["run"]["pauses"], serde_json::json!([]), "the budget allows five");
}

/// The steps at which a list of failures or findings has this host.
fn told_of(list: &Value, host: &str) -> String {
    let groups = list.as_array().unwrap().iter();
    let of_host = groups.filter(|group| {
        let cases = group["cases"].as_array().into_iter().flatten().map(|case| &case["host"]);
        cases.chain(group["hosts"].as_array().into_iter().flatten()).any(|name| name == host)
    });
    let step = |group: &Value| {
        group["step"].as_str().or(group["step"]["step"].as_str()).unwrap_or_default().to_owned()
    };
    of_host.map(step).collect::<Vec<_>>().join(" ")
}

/// The causes are removed, and whoever is not migrated is run again. A host that says 13 with a package half installed is not
/// taken for one that is there.
fn again_without_faults(bed: &Bed) {
    bed.testbed(&["archive", "fault", "none"]).exits(0);
    bed.sh("web-01", "apt-mark unhold nginx");
    for host in ["web-06", "db-03"] {
        bed.sh(host, "systemctl -q disable --now house && rm /etc/systemd/system/house.service");
    }
    bed.sh("web-08", "cd /tmp && apt-get -q download hello && dpkg --unpack hello_*.deb");
    assert_eq!(bed.run().ends(), 1);
    let ends = bed.ends();
    for case in &CASES {
        let end = match case.end {
            _ if case.host == "web-08" => "failed",
            "migrated" => "already",
            _ => "migrated",
        };
        assert_eq!(ends[case.host], end, "{}", bed.why(case.host));
        if end == "migrated" {
            is_whole(bed, case.host, "13");
        }
    }
}
