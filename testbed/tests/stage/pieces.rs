//! What the stage set does not play whole: single steps of the shipped playbooks, tried on hosts whose programs say what a test
//! wants them to say.

use super::{
    drive::{self, End, Machine as _, Trip},
    host::Host,
    playbook::{self, Hop},
    skipped,
};
use toml::Table;

fn hop(name: &str) -> Hop {
    playbook::hops(name).remove(0)
}

/// Whether a step passes, with the playbook's own variables.
fn passes(host: &Host, hop: &Hop, phase: &str, name: &str) -> Result<(), String> {
    drive::single(host, hop, &Table::new(), phase, name).map(drop)
}

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

/// Without sudo, with a package on hold and one that was never asked for: all of it was so before, and none of it is a fault.
#[test]
fn a_debian_with_its_own_choice_of_packages_comes_to_its_end() {
    if skipped() {
        return;
    }
    let host = Host::build("debian12", "web", "");
    let shelf = "/usr/lib/testbed/trixie/packages";
    let out = host.sh(&format!(
        "sed -i '/^sudo\t/d; s/^\\(cron\t.*\\)ii$/\\1ri/; s/^\\(chrony\t.*\\)ii$/\\1hi/' /var/lib/dpkg/packages &&
         sed -i '/\tsudo\t/d; /\tc[hr]*ony*\t/s/\t[a-z]*$/\tkeep/' {shelf}"
    ));
    assert_eq!(out.code, 0, "{}", out.stderr);
    let (vars, before, mut trip) =
        (playbook::stage_vars("web"), drive::facts(&host), Trip::default());
    let hop = hop("debian12-to-debian13");
    let end = drive::hop(&host, &hop, &vars, &before, &mut trip);
    assert_eq!(end, End::Migrated, "{}", trip.evidence);
    let list = host.read("var/lib/dpkg/packages");
    assert!(list.contains("\tri\n") && list.contains("\thi\n"), "{list}");

    // What was there has to stay, also where it was on hold.
    for (package, state) in [("openssh-server", "rc"), ("openssh-server", "iU"), ("apt", "")] {
        let kept = host.read("var/lib/dpkg/packages");
        let lines = kept.lines().filter_map(|line| match line.split_once('\t') {
            Some((name, rest)) if name == package => {
                let line = format!("{name}\t{}", rest.replace("ii", state));
                (!state.is_empty()).then_some(line)
            }
            _ => Some(line.to_owned()),
        });
        host.write("var/lib/dpkg/packages", &(lines.collect::<Vec<_>>().join("\n") + "\n"));
        let said = passes(&host, &hop, "migrate", "sound-before-the-reboot").unwrap_err();
        assert!(said.contains(&format!("{package} is not there")), "{state}: {said}");
        host.write("var/lib/dpkg/packages", &kept);
    }
}

/// What dpkg keeps of a removed package is no package.
#[test]
fn ubuntu_counts_what_is_installed_and_not_what_was() {
    if skipped() {
        return;
    }
    let hop = hop("ubuntu2204-to-ubuntu2404");
    let host = Host::build("debian12", "web", "");
    let installed = host.read("var/lib/dpkg/packages");
    let left = (0..installed.lines().count()).map(|n| format!("old-{n}\t1.0\trc\n"));
    host.write("var/lib/dpkg/packages", &(installed.clone() + &left.collect::<String>()));
    passes(&host, &hop, "backup", "archive-etc").unwrap();
    passes(&host, &hop, "backup", "package-state").unwrap();
    passes(&host, &hop, "migrate", "sound-before-the-reboot").unwrap();
    // A list that lost its end.
    let few: Vec<&str> = installed.lines().take(installed.lines().count() / 2).collect();
    host.write("var/lib/dpkg/packages", &(few.join("\n") + "\n"));
    let said = passes(&host, &hop, "migrate", "sound-before-the-reboot").unwrap_err();
    assert!(said.contains("packages only"), "{said}");
}

/// A run that failed after its upgrade leaves a host that looks migrated by its packages.
#[test]
fn an_upgrade_that_did_not_come_to_its_end_is_not_taken_for_done() {
    if skipped() {
        return;
    }
    let host = Host::build("debian12", "web", "");
    for name in [
        "alma8-to-alma9",
        "alma9-to-rocky9",
        "centos7-to-alma8",
        "debian11-to-debian12",
        "debian12-to-debian13",
        "rocky8-to-rocky9",
        "ubuntu2204-to-ubuntu2404",
    ] {
        let hop = hop(name);
        let asked =
            hop.steps["verify"].iter().find(|s| s["name"].as_str() == Some("came-to-its-end"));
        assert_eq!(asked.unwrap()["already"].as_bool(), Some(true), "{name}");
        let dir = format!("/var/backups/fleetlift/{name}");
        passes(&host, &hop, "verify", "came-to-its-end").unwrap();
        host.sh(&format!("mkdir -p {dir} && touch {dir}/begun"));
        let said = passes(&host, &hop, "verify", "came-to-its-end").unwrap_err();
        assert!(said.contains(&format!("touch {dir}/ended")), "{said}");
        // Where only the mark says how far it came, no new attempt takes its place.
        if hop.to.0 == "debian" || hop.to.0 == "ubuntu" {
            let said = passes(&host, &hop, "backup", "archive-etc").unwrap_err();
            assert!(said.contains("roll its run back"), "{said}");
            assert!(host.has(&format!("{}/begun", &dir[1..])), "{name}");
            passes(&host, &hop, "rollback", "forget-the-marks").unwrap();
            passes(&host, &hop, "backup", "archive-etc").unwrap();
            host.sh(&format!("touch {dir}/begun"));
        }
        passes(&host, &hop, "migrate", "note-the-end").unwrap();
        passes(&host, &hop, "verify", "came-to-its-end").unwrap();
        // The next attempt begins without the marks of this one.
        passes(&host, &hop, "backup", "archive-etc").unwrap();
        assert!(!host.has(&format!("{}/ended", &dir[1..])), "{name}");
    }
}

const PPA: &str = "Enabled: no
Types: deb
URIs: https://ppa.launchpadcontent.net/somebody/tools/ubuntu/
Suites: OLD
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 OLD
 -----END PGP PUBLIC KEY BLOCK-----
";

/// What is switched off is no source, in either form; what is on is one, wherever its suites stand.
#[test]
fn sources_of_the_old_system_are_those_that_are_switched_on() {
    if skipped() {
        return;
    }
    let host = Host::build("debian12", "web", "");
    host.sh("rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*");
    for (name, old) in [
        ("debian11-to-debian12", "bullseye"),
        ("debian12-to-debian13", "bookworm"),
        ("ubuntu2204-to-ubuntu2404", "jammy"),
    ] {
        let hop = hop(name);
        let key = format!(
            "# {old}\ndeb [signed-by=/usr/share/keyrings/{old}.gpg] http://m/ubuntu new main\n"
        );
        let off = PPA.replace("OLD", old);
        let on = off.replace("Enabled: no\n", "");
        let own = format!("Types: deb\nURIs: http://m/ubuntu\nSuites: new\n {old}-updates\n");
        for (list, sources, said) in [
            (key.clone(), format!("X-Note: {old}\n{off}"), ""),
            (format!("deb http://m/ubuntu {old} main\n"), off.clone(), "vendor.list"),
            (key.clone(), on, "vendor.sources"),
            (key.clone(), format!("{off}\n{own}"), "vendor.sources"),
            (key, own.clone() + "\n" + &off, "vendor.sources"),
        ] {
            host.write("etc/apt/sources.list.d/vendor.list", &list);
            host.write("etc/apt/sources.list.d/vendor.sources", &sources);
            let came = passes(&host, &hop, "verify", "sources").err().unwrap_or_default();
            assert!(came.contains(said), "{name}: {came}");
            assert_eq!(came.is_empty(), said.is_empty(), "{name}: {sources}\n{came}");
        }
    }
    let hop = hop("ubuntu2204-to-ubuntu2404");
    let own = "Types: deb\nURIs: http://archive.ubuntu.com/ubuntu/\nSuites: jammy\n\n";
    for (sources, told) in [
        (own.to_owned() + PPA, false),
        (own.to_owned() + &PPA.replace("no\n", "yes\n"), true),
        (own.replace("URIs:", "URIs: https://download.docker.com/linux/ubuntu"), true),
        (own.replace("URIs:", "URIs:\n https://packages.vendor.example/apt\n"), true),
    ] {
        host.write("etc/apt/sources.list.d/vendor.list", "");
        host.write("etc/apt/sources.list.d/vendor.sources", &sources);
        let came = passes(&host, &hop, "precheck", "third-party-sources");
        assert_eq!(came.is_err(), told, "{sources}\n{came:?}");
    }
}

/// rpm, dnf and leapp with two packages: the release package of a site, and leapp-upgrade in a version of its own.
fn pretend_leapp(host: &Host, version: &str) {
    host.write("leapp-version", version);
    host.program(
        "rpm",
        r#"case "$*" in
    '-q --whatprovides leapp-upgrade') test -s /leapp-version ;;
    *whatprovides*) cat /leapp-version ;;
    '-qp '*) echo our-leapp ;;
    '-q our-leapp') test -e /our-leapp ;;
    '-e --nodeps our-leapp') rm /our-leapp ;;
    '-e --nodeps leapp'*) : > /leapp-version ;;
    -qa*) if test -s /leapp-version; then echo leapp-upgrade-el8toel9; fi ;;
    *) echo "what is $*" >&2; exit 9 ;;
esac"#,
    );
    host.program(
        "dnf",
        r#"case "$*" in
    '-y install '*our.rpm) : > /our-leapp ;;
    '-y install leapp-upgrade') echo 0.25.1 > /leapp-version ;;
    *) exit 9 ;;
esac"#,
    );
    host.program("leapp", "");
}

#[test]
fn rocky_takes_no_leapp_that_does_not_know_it_and_leaves_none_behind() {
    if skipped() {
        return;
    }
    let hop = hop("rocky8-to-rocky9");
    let mut vars = Table::new();
    vars.insert("leapp_release".into(), "https://here.example/our.rpm".into());
    let host = Host::build("centos7", "web", "");
    host.sh("mkdir -p /etc/leapp/repos.d /var/backups/fleetlift/rocky8-to-rocky9");
    for (version, brought_before, runs) in [
        ("", false, true),
        ("0.20.0\n", false, true),
        ("0.20.0\n", true, true),
        ("0.25.0\n0.20.0\n", false, false),
        ("0.9.0\n", true, true),
        ("1.0\n", true, false),
    ] {
        for phase in ["migrate", "rollback"] {
            pretend_leapp(&host, version);
            if brought_before {
                host.write("our-leapp", "");
            }
            let ran = drive::single(&host, &hop, &vars, "migrate", "install-leapp");
            assert_eq!(ran, Ok(runs), "{version}");
            let ran = drive::single(&host, &hop, &vars, phase, "remove-leapp");
            assert_eq!(ran, Ok(true), "{version}");
            assert_eq!(host.has("our-leapp"), brought_before, "{version}");
            assert_eq!(host.read("leapp-version"), "", "{version}");
            // Whoever comes again finds nothing more to do.
            let again = drive::single(&host, &hop, &vars, phase, "remove-leapp");
            assert_eq!(again, Ok(false), "{version}");
            host.sh("rm -f /our-leapp");
        }
    }
}

/// Disks that the new system could not open are no matter for the next boot to find.
#[test]
fn encrypted_disks_keep_what_opens_them() {
    if skipped() {
        return;
    }
    let hop = hop("debian12-to-debian13");
    let host = Host::build("debian12", "web", "");
    passes(&host, &hop, "backup", "package-state").unwrap();
    host.write("etc/crypttab", "# name device\n");
    passes(&host, &hop, "migrate", "sound-before-the-reboot").unwrap();
    host.write("etc/crypttab", "# name device\ndata /dev/vdb /root/key luks\n");
    let said = passes(&host, &hop, "migrate", "sound-before-the-reboot").unwrap_err();
    assert!(said.contains("no systemd-cryptsetup"), "{said}");
    host.sh("printf 'systemd-cryptsetup\\t257\\tii\\n' >> /var/lib/dpkg/packages");
    passes(&host, &hop, "migrate", "sound-before-the-reboot").unwrap();
}

/// An upgrade of the host's own that is at work is waited for, before and after the first reboot.
#[test]
fn nobody_ends_an_upgrade_of_the_host_s_own() {
    if skipped() {
        return;
    }
    let host = Host::build("debian12", "web", "");
    host.program(
        "systemctl",
        r#"case "$*" in
    'is-active apt-daily-upgrade.service') if test "$(cat /slept)" = xx; then echo inactive; else echo activating; fi ;;
    is-active*) echo inactive ;;
esac"#,
    );
    host.program("sleep", "printf x >> /slept");
    for name in ["debian11-to-debian12", "debian12-to-debian13", "ubuntu2204-to-ubuntu2404"] {
        let hop = hop(name);
        for step in ["stop-timers", "stop-timers-again"] {
            host.write("slept", "");
            passes(&host, &hop, "migrate", step).unwrap();
            assert_eq!(host.read("slept"), "xx", "{name}: {step}");
        }
    }
}

/// Updates that wait are no fault of a host that is there; a system of which half was never upgraded is.
#[test]
fn a_host_that_is_there_may_wait_for_updates() {
    if skipped() {
        return;
    }
    let host = Host::build("debian12", "web", "");
    for name in ["debian11-to-debian12", "debian12-to-debian13", "ubuntu2204-to-ubuntu2404"] {
        let hop = hop(name);
        host.program("apt-get", "echo 'Inst openssl [1] (2)'");
        passes(&host, &hop, "verify", "not-half-upgraded").unwrap();
        host.program("apt-get", "seq 20 | sed 's/.*/Inst & [1] (2)/'");
        assert!(passes(&host, &hop, "verify", "not-half-upgraded").is_err(), "{name}");
        for step in hop.steps["verify"].iter().filter(|s| s.contains_key("already")) {
            assert_ne!(step["name"].as_str(), Some("nothing-left-to-upgrade"), "{name}");
        }
    }
}
