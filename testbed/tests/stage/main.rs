//! The stage set and the shipped playbooks, tried together without the product: every step, for a good host and for
//! each fault that the stage set can play.

mod drive;
mod host;
mod lint;
mod playbook;

use drive::{End, Trip};
use host::Host;
use std::time::Instant;

/// Takes a host of the stage along a shipped playbook until it ends.
fn travel(stage: &str, name: &str, role: &str, faults: &str) -> (Host, End, Trip) {
    let host = Host::build(stage, role, faults);
    let vars = playbook::stage_vars();
    let before = drive::facts(&host);
    let mut trip = Trip::default();
    for hop in playbook::hops(name) {
        let began = Instant::now();
        let end = drive::hop(&host, &hop, &vars, &before, &mut trip);
        println!("{role} {faults}: {} {end:?} after {:.1?}", hop.name, began.elapsed());
        if end != End::Migrated {
            println!("{}", trip.evidence);
            return (host, end, trip);
        }
    }
    (host, End::Migrated, trip)
}

/// Says why a test is skipped, where this machine cannot make hosts.
fn skipped() -> bool {
    if let Some(why) = host::missing() {
        eprintln!("SKIPPED: {why}");
    }
    host::missing().is_some()
}

#[test]
fn every_role_migrates_from_centos_7_to_rocky_9() {
    if skipped() {
        return;
    }
    for role in ["monitoring", "cache", "web", "db"] {
        let (host, end, trip) = travel("centos7", "centos7-to-rocky9", role, "");
        assert_eq!(end, End::Migrated, "{}", trip.evidence);
        assert!(host.read("etc/os-release").contains("Rocky Linux 9"));
        assert!(host.sh("uname -r").stdout.contains(".el9"));
        assert_eq!(host.boots(), 6, "one before, two for each upgrade, one for the conversion");
        let left = host.sh("rpm -qa | grep -E '\\.el[78]|AlmaLinux'").stdout;
        assert_eq!(left, "", "nothing of the systems on the way is left");
        assert!(trip.skipped.contains(&"migrate.boot-newest-kernel".to_owned()));
    }
}

#[test]
fn a_failed_upgrade_comes_back_without_a_restore() {
    if skipped() {
        return;
    }
    let (host, end, trip) = travel("centos7", "centos7-to-rocky9", "web", "upgrade-fails");
    assert_eq!(end, End::RolledBack("upgrade".into()));
    assert!(trip.evidence.contains(".leapp_upgrade_failed"), "{}", trip.evidence);
    assert!(trip.skipped.contains(&"rollback.restore-snapshot".to_owned()), "nothing had begun");
    assert!(!host.has("root/tmp_leapp_py3") && !host.has("boot/vmlinuz-upgrade.x86_64"));
    assert!(host.sh("rpm -qa | grep leapp").stdout.is_empty());
    assert!(host.read("etc/yum.repos.d/CentOS-Base.repo").contains("mirrorlist.centos.org"));
}

#[test]
fn a_full_boot_partition_blocks_the_host_unchanged() {
    if skipped() {
        return;
    }
    let (host, end, _) = travel("centos7", "centos7-to-rocky9", "web", "boot-full");
    assert_eq!(end, End::Blocked("boot-space".into()));
    assert_eq!(host.boots(), 1);
    assert!(!host.has("usr/bin/leapp") && !host.has("var/lib/vmsnap"));
}
