//! A virtual machine: it really boots the kernel of Debian 13, and goes back by the commands of `docs/snapshots.md`.

use crate::{
    bed::{self, Bed},
    claims::{is_whole, started_once},
};
use std::fs;
use toml::{Table, Value};

const HOST: &str = "vm-01";

/// A machine of this layout; none where this machine cannot have one, which is said.
fn machine(layout: &str) -> Option<Bed> {
    let missing = bed::missing_for(&["vm", layout]);
    if missing.is_empty() {
        Some(Bed::machine(layout))
    } else {
        eprintln!("SKIPPED: no virtual machine here: {missing}");
        None
    }
}

/// How often it was booted, by its own journal.
fn boots(bed: &Bed) -> usize {
    bed.sh(HOST, "journalctl --list-boots -q").lines().count()
}

/// What a machine runs, by its own word; and what was made of it.
#[derive(Debug, PartialEq, Eq)]
struct Runs {
    system: String,
    kernel: String,
    boot_id: String,
}

impl Runs {
    fn now(bed: &Bed) -> Self {
        Self {
            system: bed.sh(HOST, ". /etc/os-release; echo $VERSION_ID"),
            kernel: bed.sh(HOST, "uname -r"),
            boot_id: bed.sh(HOST, "cat /proc/sys/kernel/random/boot_id"),
        }
    }
}

/// The shipped playbook, with fewer steps and less to upgrade: what says 13, libc, the kernel and the boot loader. An emulated
/// machine does it in a fifth of the time, and the steps that are left are as shipped.
fn kernel_only() -> String {
    const STAY: [(&str, &[&str]); 5] = [
        ("backup", &["archive-etc", "package-state"]),
        (
            "migrate",
            &[
                "snapshot",
                "snapshot-from-outside",
                "sources",
                "lists",
                "minimal-upgrade",
                "full-upgrade",
                "reboot",
            ],
        ),
        ("verify", &["packages-sound", "kernel"]),
        ("rollback", &["restore-snapshot", "restore-snapshot-from-outside", "packages-sound"]),
        ("commit", &["drop-snapshot", "drop-snapshot-from-outside"]),
    ];
    let mut playbook: Table =
        include_str!("../../playbooks/debian12-to-debian13.toml").parse().unwrap();
    playbook.remove("precheck");
    for (phase, names) in STAY {
        let steps = playbook[phase].as_array_mut().unwrap();
        steps.retain(|step| names.contains(&step["name"].as_str().unwrap()));
        assert_eq!(steps.len(), names.len(), "{phase}");
        for step in steps {
            let Some(Value::String(run)) = step.get_mut("run") else { continue };
            *run = run
                .replace(" upgrade --without-new-pkgs", " install base-files")
                .replace("}} full-upgrade", "}} install linux-image-cloud-amd64 grub-pc");
        }
    }
    assert!(playbook.to_string().contains("install linux-image-cloud-amd64"));
    playbook.to_string()
}

/// There and back again.
fn goes_and_comes_back(bed: &Bed, playbook: &str) {
    let before = Runs::now(bed);
    let count = boots(bed);
    assert_eq!(before.system, "12");
    assert_eq!(bed.run_on("@all", playbook).ends(), 0, "{}", bed.why(HOST));
    let there = Runs::now(bed);
    println!("{before:?}\n{there:?}");
    assert_eq!(there.system, "13");
    assert!(there.kernel.starts_with("6.12."), "{there:?}");
    assert_ne!(there.boot_id, before.boot_id);
    assert_eq!(boots(bed), count + 1, "one reboot, and no more");
    // The boot loader chose the kernel, and not QEMU.
    let chosen = bed.sh(HOST, "grep -o \"BOOT_IMAGE=[^ ]*\" /proc/cmdline");
    assert!(chosen.ends_with(&format!("vmlinuz-{}", there.kernel)), "{chosen}");

    bed.fleetlift(&["rollback", "last", "--yes"]).exits(0);
    assert_eq!(bed.ends()[HOST], "rolled_back", "{}", bed.why(HOST));
    let back = Runs::now(bed);
    println!("{back:?}");
    assert_eq!((&back.system, &back.kernel), (&before.system, &before.kernel));
    assert!(![&before.boot_id, &there.boot_id].contains(&&back.boot_id));
    is_whole(bed, HOST, "12");
    started_once(&bed.journal());

    // And it boots again, which a boot loader half of one version and half of another one would not.
    bed.testbed(&["kill", HOST]).exits(0);
    bed.testbed(&["start", HOST]).exits(0);
    is_whole(bed, HOST, "12");
    assert_eq!(Runs::now(bed).kernel, before.kernel);
}

#[test]
#[ignore = "takes most of an hour: just machine lvm"]
fn lvm_whole_upgrade() {
    let Some(bed) = machine("lvm") else { return };
    goes_and_comes_back(&bed, "debian12-to-debian13");
    // The merge is brought to its end as the next run's `snapshot_create` does, and nothing is left in its way.
    let merged =
        "lvchange --poll y vg0/root && ! lvs -a --noheadings -o lv_name vg0 | grep -q fleetlift";
    bed.until(HOST, merged);
}

#[test]
#[ignore = "takes half an hour: just machine thin"]
fn thin_kernel_and_boot_loader() {
    kernel_and_boot_loader("thin");
}

#[test]
#[ignore = "takes a quarter of an hour: just machine btrfs"]
fn btrfs_kernel_and_boot_loader() {
    kernel_and_boot_loader("btrfs");
}

#[test]
#[ignore = "takes a quarter of an hour: just machine libvirt"]
fn libvirt_kernel_and_boot_loader() {
    kernel_and_boot_loader("libvirt");
}

fn kernel_and_boot_loader(layout: &str) {
    let Some(bed) = machine(layout) else { return };
    let playbook = bed.fleet.join("kernel-only.toml");
    fs::write(&playbook, kernel_only()).unwrap();
    let playbook = playbook.to_str().unwrap();
    goes_and_comes_back(&bed, playbook);
    if layout == "thin" {
        loses_power(&bed, playbook);
    }
}

/// The power goes while the new kernel is unpacked: what was not on the disk is gone. Whatever becomes of the machine, it ends
/// whole, and the run knows on which system.
fn loses_power(bed: &Bed, playbook: &str) {
    let run = bed.run_on("@all", playbook);
    run.sees("attempt_started", HOST, "full-upgrade");
    bed.until(HOST, "tail -n 1 /var/log/dpkg.log | grep -q 'half-installed linux-image-6.12'");
    bed.testbed(&["kill", HOST]).exits(0);
    bed.testbed(&["start", HOST]).exits(0);
    run.ends();
    let (end, why) = (&bed.ends()[HOST], bed.why(HOST));
    println!("{why}");
    assert!(why.contains("lost: "), "{why}");
    is_whole(bed, HOST, if end == "migrated" { "13" } else { "12" });
    assert!(["migrated", "rolled_back"].contains(&&**end), "{end}: {why}");
    started_once(&bed.journal());
}
