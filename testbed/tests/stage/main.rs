//! The stage set and the shipped playbooks, tried together without the product: every step, for a good host and for
//! each fault that the stage set can play.

mod drive;
mod host;
mod lint;
mod pieces;
mod playbook;
mod remote;
#[path = "../common/skip.rs"]
mod skip;

use drive::{End, Machine as _, Trip};
use fleetlift_testbed::{CannedAnswers, Fleet, FleetSpec, HostSpec, Profile};
use host::Host;
use skip::skip;
use std::{fs, process::Command, sync::Mutex, time::Instant};

/// Takes a host of the stage along a shipped playbook until it ends.
fn travel(stage: &str, name: &str, role: &str, faults: &str) -> (Host, End, Trip) {
    let host = Host::build(stage, role, faults);
    let vars = playbook::stage_vars(role);
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
        skip(why);
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
        assert_eq!(trip.ran.contains(&"migrate.quiesce".to_owned()), role == "db");
    }
}

#[test]
fn a_failed_upgrade_comes_back_without_a_restore() {
    if skipped() {
        return;
    }
    let (host, end, trip) = travel("centos7", "centos7-to-rocky9", "db", "upgrade-fails");
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

/// A fault's words, and how the journey from CentOS 7 to Rocky Linux 9 ends with it.
fn faults() -> Vec<(&'static str, &'static str, End)> {
    let blocked = |step: &str| End::Blocked(step.into());
    let back = |step: &str| End::RolledBack(step.into());
    vec![
        ("web", "root-full", blocked("root-space")),
        ("web", "nfs-mount", blocked("network-file-systems")),
        ("web", "lingering-hold", blocked("package-holds")),
        ("web", "container", blocked("no-container")),
        ("db", "luks", blocked("file-systems")),
        ("web", "removed-driver", blocked("removed-drivers")),
        ("web", "third-party-kmod", blocked("third-party-modules")),
        ("web", "duplicate-packages", blocked("duplicate-packages")),
        ("web", "package-database", blocked("package-database")),
        ("web", "no-repositories", blocked("repositories")),
        ("cache", "backup-corrupt", End::Failed("archive-etc".into())),
        ("web", "snapshot-fails", back("snapshot")),
        ("web", "leapp-inhibitor", back("preupgrade")),
        ("web", "leapp-error", back("preupgrade")),
        ("db", "upgrade-half", back("upgrade")),
        ("web", "service-dead", back("no-new-failed-units")),
        ("web", "convert-fails", back("convert")),
    ]
}

#[test]
fn every_fault_ends_as_it_should() {
    if skipped() {
        return;
    }
    for (role, words, expected) in faults() {
        let (host, end, trip) = travel("centos7", "centos7-to-rocky9", role, words);
        assert_eq!(end, expected, "{words}: {}", trip.evidence);
        if let End::Blocked(_) = end {
            assert_eq!(host.boots(), 1, "{words}");
            assert!(!host.has("var/lib/vmsnap") && !host.has("usr/bin/leapp"), "{words}: touched");
        }
    }
}

#[test]
fn a_transaction_that_broke_off_goes_back_to_the_snapshot() {
    if skipped() {
        return;
    }
    let (host, end, trip) = travel("centos7", "centos7-to-alma8", "db", "upgrade-half");
    assert_eq!(end, End::RolledBack("upgrade".into()));
    assert!(trip.ran.contains(&"rollback.restore-snapshot".to_owned()), "{:?}", trip.ran);
    assert!(host.sh("rpm -qa | grep -c el8").stdout.starts_with('0'));
    assert_eq!(host.sh("systemctl is-active mariadb").stdout, "active\n");
}

#[test]
fn without_a_snapshot_the_way_back_is_the_undo_or_a_person() {
    if skipped() {
        return;
    }
    let hops = playbook::hops("centos7-to-alma8");
    let vars = toml::Table::new();
    for (words, expected) in [
        ("upgrade-fails", End::RolledBack("upgrade".into())),
        ("upgrade-half", End::NeedsHands("upgrade".into(), "way-back".into())),
    ] {
        let host = Host::build("centos7", "web", words);
        let mut trip = Trip::default();
        let end = drive::hop(&host, &hops[0], &vars, &drive::facts(&host), &mut trip);
        assert_eq!(end, expected, "{words}: {}", trip.evidence);
        assert!(trip.warnings.contains(&"snapshot-commands".to_owned()), "{words}: said before");
    }
}

#[test]
fn a_host_that_went_back_can_go_again() {
    if skipped() {
        return;
    }
    let (host, end, _) = travel("centos7", "centos7-to-alma8", "web", "upgrade-fails");
    assert_eq!(end, End::RolledBack("upgrade".into()));
    host.write("etc/testbed/faults", "");
    let hops = playbook::hops("centos7-to-alma8");
    let mut trip = Trip::default();
    let (vars, before) = (playbook::stage_vars("web"), drive::facts(&host));
    let end = drive::hop(&host, &hops[0], &vars, &before, &mut trip);
    assert_eq!(end, End::Migrated, "{}", trip.evidence);
    drive::commit(&host, &hops[0], &vars, &before);
    assert!(!host.has("var/lib/vmsnap/fleetlift-centos7-to-alma8"));
}

#[test]
fn what_waits_or_gets_in_the_way_is_dealt_with() {
    if skipped() {
        return;
    }
    let (host, end, trip) = travel("centos7", "centos7-to-alma8", "web", "kernel-pending agent");
    assert_eq!(end, End::Migrated, "{}", trip.evidence);
    assert!(trip.ran.contains(&"migrate.boot-newest-kernel".to_owned()));
    assert!(trip.warnings.contains(&"running-kernel".to_owned()));
    assert_eq!(host.sh("systemctl is-active puppet").stdout, "active\n");
    assert!(!host.has("var/backups/fleetlift/centos7-to-alma8/agents"));
}

#[test]
fn every_role_migrates_from_debian_12_to_13() {
    if skipped() {
        return;
    }
    for role in ["monitoring", "cache", "web", "db"] {
        let (host, end, trip) = travel("debian12", "debian12-to-debian13", role, "");
        assert_eq!(end, End::Migrated, "{}", trip.evidence);
        assert_eq!(host.boots(), 2);
        assert!(host.sh("uname -r").stdout.starts_with("6.12."));
        let version = host.sh("dpkg-query -W -f='${Version}' openssh-server").stdout;
        assert_eq!(version, "1:10.0p1-7");
        assert_eq!(host.sh("openssl version | cut -d ' ' -f 2").stdout, "3.5.4\n");
        assert!(trip.skipped.contains(&"migrate.boot-newest-kernel".to_owned()));
    }
}

#[test]
fn debian_s_faults_end_as_they_should() {
    if skipped() {
        return;
    }
    let blocked = |step: &str| End::Blocked(step.into());
    let back = |step: &str| End::RolledBack(step.into());
    for (words, expected, restored) in [
        ("upgrade-stumbles", End::Migrated, false),
        ("boot-full", blocked("boot-space"), false),
        ("root-full", blocked("root-space"), false),
        ("lingering-hold", blocked("package-holds"), false),
        ("half-configured", blocked("package-audit"), false),
        ("third-party-source", blocked("third-party-sources"), false),
        ("suite-alias", blocked("sources-by-codename"), false),
        ("old-openssh", End::Migrated, false),
        ("grub-nowhere", blocked("grub-devices"), false),
        ("backup-corrupt", End::Failed("archive-etc".into()), false),
        ("snapshot-fails", back("snapshot"), false),
        ("removes-sshd", back("try-out"), false),
        ("upgrade-fails", back("full-upgrade"), true),
        ("service-dead", back("no-new-failed-units"), true),
    ] {
        let (host, end, trip) = travel("debian12", "debian12-to-debian13", "web", words);
        assert_eq!(end, expected, "{words}: {}", trip.evidence);
        let ran = trip.ran.contains(&"rollback.restore-snapshot".to_owned());
        assert_eq!(ran, restored, "{words}: {:?}", trip.ran);
        if end != End::Migrated {
            assert!(!host.read("etc/apt/sources.list").contains("trixie"), "{words}");
        }
    }
}

/// The same way as the demo goes, by the real testbed and the machine's own client; only the engine is missing.
#[test]
fn a_host_of_the_testbed_migrates_over_real_ssh() {
    let usable = fleetlift_testbed::means().map_err(|e| e.to_string()).and_then(|_| {
        let client = Command::new("ssh-keygen").arg("-?").output().map(drop);
        client.map_err(|_| "openssh-client is not on this machine".to_owned())
    });
    if let Err(why) = usable {
        skip(&why);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("id_ed25519");
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    let spec = FleetSpec {
        hosts: vec![HostSpec {
            name: "web-01".into(),
            role: "web".into(),
            profile: Profile::Staged { stage: "centos7".into() },
            faults: vec![],
        }],
        authorized_key: fs::read_to_string(key.with_extension("pub")).unwrap(),
        dir: dir.path().join("roots"),
        seed: 1,
        canned: CannedAnswers::default(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fleet = runtime.block_on(Fleet::start(spec)).unwrap();
    fs::write(dir.path().join("known_hosts"), fleet.known_hosts()).unwrap();
    let info = fleet.hosts()[0].clone();
    let host = remote::Remote {
        port: info.port,
        address: info.address.to_string(),
        dir: dir.path().into(),
        seen: Mutex::default(),
    };
    let (vars, before, mut trip) =
        (playbook::stage_vars("web"), drive::facts(&host), Trip::default());
    assert_eq!(host.boots(), 1);
    for hop in playbook::hops("centos7-to-rocky9") {
        let began = Instant::now();
        let end = drive::hop(&host, &hop, &vars, &before, &mut trip);
        println!("{} {end:?} after {:.1?}", hop.name, began.elapsed());
        assert_eq!(end, End::Migrated, "{}", trip.evidence);
    }
    assert_eq!(host.boots(), 4, "two upgrades and the conversion, as seen from outside");
    drop(host);
    runtime.block_on(fleet.stop());
}
