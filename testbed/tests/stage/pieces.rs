//! What the stage set does not play whole: single steps of the shipped playbooks, tried on hosts whose programs say what a test
//! wants them to say.

use super::{
    drive::{self, End, Trip},
    host::Host,
    playbook, skipped,
};

#[test]
fn an_installation_that_does_not_begin_leaves_no_host_to_be_installed_by_its_next_reboot() {
    if skipped() {
        return;
    }
    let given = |boot: &str, forget: &str| {
        let mut vars = playbook::stage_vars("web");
        for (name, value) in [
            ("data_backup_check", "true"),
            ("arrange", "true"),
            ("restore", "true"),
            ("drain", "touch /drained"),
            ("undrain", "rm -f /drained"),
            ("boot", boot),
            ("forget", forget),
        ] {
            vars.insert(name.into(), value.into());
        }
        vars
    };
    let old = "echo no installer is there >&2; exit 3";
    let new = "printf 'ID=rocky\\nVERSION_ID=\"9.6\"\\n' > /etc/os-release; systemctl reboot";
    let wrong = "systemctl reboot";
    let back = || End::RolledBack("install".into());
    let hands = |at: &str| End::NeedsHands("install".into(), at.into());
    for (boot, forget, expected) in [
        (old, "touch /forgotten", back()),
        (old, "", hands("disarm-arrange")),
        (wrong, "touch /forgotten", back()),
        // Installed, and what comes after it fails: nothing leads back, and nobody pretends so.
        (new, "touch /forgotten", End::NeedsHands("restore".into(), "way-back".into())),
    ] {
        let host = Host::build("centos7", "web", "");
        host.program("getent", "seq 20");
        let mut vars = given(boot, forget);
        if boot == new {
            vars.insert("restore".into(), "false".into());
        }
        let (hops, before, mut trip) =
            (playbook::hops("reimage"), drive::facts(&host), Trip::default());
        let end = drive::hop(&host, &hops[0], &vars, &before, &mut trip);
        assert_eq!(end, expected, "{boot}: {}", trip.evidence);
        let armed = boot != new && forget.is_empty();
        assert_eq!(host.has("forgotten"), boot != new && !armed, "{boot}");
        assert_eq!(host.has("drained"), end != back(), "{boot}");
    }
}
