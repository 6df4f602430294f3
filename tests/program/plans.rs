//! `plan`: readable for fifteen hosts, and for ten thousand.

use crate::desk::{Desk, cases, expect_case};
use std::{fmt::Write as _, fs};

#[test]
fn the_plan_of_the_example_reads_as_it_should() {
    let desk = Desk::new();
    desk.say(&["init", "fleet2"]).exits(0);
    fs::copy(cases("plan-text/playbook.toml"), desk.path("playbook.toml")).unwrap();
    let what = ["plan", "-i", "fleet2", "-p", "playbook.toml"];
    let text = desk.say(&what).exits(0).out;
    let json = desk.say(&[&what[..], &["--json"]].concat()).exits(0).json();
    let digest = json["digest"].as_str().unwrap();
    assert!(text.contains(digest), "{text}");
    expect_case("plan-text/plan.expected", &text.replace(digest, "sha256:(digest)"));
    assert_eq!(json["plan"]["hosts"].as_array().unwrap().len(), 15);
    // The same files make the same plan; a changed word makes another.
    assert_eq!(desk.say(&what).exits(0).out, text);
    assert_eq!(
        desk.say(&["run", "--dry-run", "-i", "fleet2", "-p", "playbook.toml"]).exits(0).out,
        text
    );
    let playbook = fs::read_to_string(desk.path("playbook.toml")).unwrap();
    desk.write("playbook.toml", playbook.replace("30m", "31m"));
    let other = desk.say(&[&what[..], &["--json"]].concat()).exits(0).json();
    assert_ne!(other["digest"], json["digest"]);
}

#[test]
fn the_plan_of_ten_thousand_hosts_fits_on_a_few_screens() {
    let desk = Desk::new();
    let mut hosts = "[vars]\nbackup_dir = \"/var/backups\"\n".to_owned();
    for n in 0..20 {
        let _ = writeln!(
            hosts,
            "[groups.rack-{n:02}]\nhosts = [\"r{n:02}-web-[001:400]\", \"r{n:02}-db-[001:100]\"]\nvars.rack = {n}"
        );
    }
    desk.write("fleet/hosts.toml", hosts);
    fs::copy(cases("plan-text/playbook.toml"), desk.path("playbook.toml")).unwrap();
    let text = desk.say(&["plan", "-i", "fleet", "-p", "playbook.toml"]).exits(0).out;
    assert!(text.lines().count() < 200, "{} lines", text.lines().count());
    assert!(text.lines().all(|line| line.chars().count() < 200), "{text}");
    assert!(text.contains("10,000 hosts") || text.contains("10000 hosts"), "{text}");
    let hosts = desk.say(&["hosts", "-i", "fleet"]).exits(0).out;
    assert_eq!(hosts.lines().count(), 10_000);
    let list = desk.say(&["hosts", "-i", "fleet", "--json"]).exits(0).json();
    assert_eq!(list["_meta"]["hostvars"].as_object().unwrap().len(), 10_000);
}
