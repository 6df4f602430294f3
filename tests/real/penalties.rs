//! The sshd of Debian 13 as it is installed: it locks out who connects too often without logging in, and never locks us out.

use crate::{bed::Bed, need_real_hosts};
use std::{fs, path::Path};

/// Opens the port again and again, and prints what is said there.
const KNOCKS: &str = "for i in $(seq 30); do exec 3<>/dev/tcp/$0/22; read -t 9 -r said <&3; echo \"$said\"; exec 3>&-; done";

/// The host refuses its user for forty seconds, as one does that comes up slowly.
const PLAYBOOK: &str = r#"
name = "Slow to let in"

[[migrate]]
name = "shut"
run = "echo 'System is booting up.' >/run/nologin; systemd-run --quiet --on-active=40 rm /run/nologin"

[[migrate]]
name = "up"
wait = { port = 22 }
timeout = "10m"

[[migrate]]
name = "after"
run = "test ! -e /run/nologin"
"#;

#[test]
#[ignore = "takes a minute: just real penalties"]
fn penalties_of_a_real_sshd_are_never_earned() {
    need_real_hosts!();
    let bed = Bed::bring("knocks", "trixie", 1);
    let log = || bed.sh("mon-01", "journalctl -u ssh --no-pager");
    let turned_away = || log().matches("penalty: ").count();
    let refused = || log().matches("Access denied for user").count();
    println!("{}", bed.sh("mon-01", "sshd -V 2>&1; sshd -T | grep -i persourcepenalties"));

    // It does what it is known for.
    let inventory = fs::read_to_string(bed.fleet.join("hosts.toml")).unwrap();
    let address = inventory.lines().find_map(|line| line.strip_prefix("address = ")).unwrap();
    let knocks = bed.testbed(&["exec", "bash", "-c", KNOCKS, address.trim_matches('"')]).exits(0);
    assert!(knocks.out.contains("Not allowed at this time"), "{}", knocks.out);
    bed.until_it_answers("mon-01");
    let before = turned_away();
    assert!(before > 0);

    let playbook = bed.fleet.join("slow.toml");
    fs::write(&playbook, PLAYBOOK).unwrap();
    assert_eq!(bed.run_on("@all", path(&playbook)).ends(), 0, "{}", bed.why("mon-01"));
    assert_eq!(turned_away(), before, "{}", log());
    println!("in 40 s {} logins were refused, and none was turned away", refused());
    assert!((4..20).contains(&refused()), "{}", log());
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
