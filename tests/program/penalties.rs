//! sshd locks out who connects too often without logging in, and the simulated hosts do so too. Nothing of ours may come near.

use crate::{
    bed::Bed,
    desk::{Desk, end_of},
    need_bed,
};
use fleetlift_testbed::Fault;
use std::fs;

const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// A bed of one host that lets nobody in for a while after each boot, and a desk with a playbook that reboots it in the way
/// of `boots`.
fn slow_to_let_in(boots: &str) -> (Bed, Desk) {
    let bed = Bed::new("plain", &[("web-01", vec![Fault::RefusesLoginsAtBoot])]);
    for (file, millis) in [("dark_ms", 300), ("no_logins_ms", 8000)] {
        fs::write(bed.file("web-01", &format!("/etc/testbed/{file}")), format!("{millis}\n"))
            .unwrap();
    }
    let port = bed.fleet().hosts()[0].port;
    let playbook = format!(
        "name = \"p\"\n{}\n[[migrate]]\nname = \"after\"\nrun = \"echo back\"\n",
        boots
            .replace("PORT", &port.to_string())
            .replace("BOOT", &bed.file("web-01", BOOT).to_string_lossy())
    );
    let desk = bed.desk("", &playbook);
    (bed, desk)
}

#[track_caller]
fn nobody_is_turned_away(bed: &Bed, desk: &Desk) {
    let said = desk.run();
    let why = desk.say(&["why", "last", "web-01"]).out;
    said.exits(0);
    assert_eq!(end_of(&desk.status(), "web-01"), ("migrated", true, ""));
    assert_eq!(bed.fleet().turned_away("web-01"), 0, "{why}");
}

#[test]
fn a_host_that_boots_and_refuses_logins_is_not_pestered() {
    need_bed!("a_host_that_boots_and_refuses_logins_is_not_pestered");
    let (bed, desk) =
        slow_to_let_in("[[migrate]]\nname = \"boot\"\nreboot = { timeout = \"90s\" }\n");
    nobody_is_turned_away(&bed, &desk);
}

/// Whoever waits for the SSH port waits for a login: the next step can be handed over at once.
#[test]
fn a_wait_for_the_port_of_ssh_is_a_wait_for_a_login() {
    need_bed!("a_wait_for_the_port_of_ssh_is_a_wait_for_a_login");
    let (bed, desk) = slow_to_let_in(
        "[[migrate]]\nname = \"boot\"\nrun = \"(sleep 1; reboot) >/dev/null 2>&1 &\"\n\
         [[migrate]]\nname = \"gone\"\nlocal = \"while cmp -s BOOT before; do sleep 0.1; done\"\n\
         [[migrate]]\nname = \"up\"\nwait = { port = PORT }\ntimeout = \"90s\"\n",
    );
    desk.write("before", bed.read("web-01", BOOT));
    nobody_is_turned_away(&bed, &desk);
}
