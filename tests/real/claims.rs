//! What must be true of a real host and of a run's records. The hosts are asked by other means than the playbook's.

use crate::bed::Bed;
use serde_json::Value;
use std::collections::BTreeMap;

/// The host is on this Debian, wholly: no package is half done, none is of the other one, every service is there, and what is
/// in `os-release` is what its core packages are.
#[track_caller]
pub fn is_whole(bed: &Bed, host: &str, version: &str) {
    bed.until(host, "systemctl is-system-running --wait");
    assert_eq!(bed.sh(host, ". /etc/os-release; echo $VERSION_ID"), version, "{host}");
    assert_eq!(
        bed.sh(host, "dpkg --audit; apt-get check > /dev/null; systemctl --failed --no-legend"),
        "",
        "{host}"
    );
    let libc = bed.sh(host, "dpkg-query -W libc6 | cut -f2");
    let expected = if version == "13" { "2.41" } else { "2.36" };
    assert!(libc.starts_with(expected), "{host}: libc6 is {libc}");
    let suites = bed.sh(host, "cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources 2> /dev/null | grep -oE \"bookworm|trixie\" | sort -u");
    assert_eq!(suites, if version == "13" { "trixie" } else { "bookworm" }, "{host}");
    let (unit, port) = match host.split('-').next() {
        Some("mon") => ("nagios-nrpe-server", 5666),
        Some("cache") => ("memcached", 11211),
        Some("web") => ("nginx", 80),
        Some("db") => ("redis-server", 6379),
        Some("vm") => ("cron", 22),
        _ => panic!("{host} has no role"),
    };
    assert_eq!(bed.sh(host, &format!("systemctl is-active {unit}")), "active", "{host}");
    let listens = bed.sh(host, &format!("ss -Hltn \"sport = :{port}\" | wc -l"));
    assert_ne!(listens, "0", "{host} does not listen on port {port}");
}

/// How often the host was started, by its own journal.
pub fn boots(bed: &Bed, host: &str) -> usize {
    bed.sh(host, "journalctl --list-boots -q").lines().count()
}

/// No attempt was started twice, whatever became of controllers.
#[track_caller]
pub fn started_once(journal: &[Value]) {
    let mut seen = BTreeMap::new();
    for record in journal.iter().filter(|record| record["event"] == "attempt_started") {
        let key = ["host", "hop", "phase", "step", "attempt"].map(|key| record[key].to_string());
        if let Some(first) = seen.insert(key.clone(), &record["seq"]) {
            panic!("{key:?} began at #{first} and at #{}", record["seq"]);
        }
    }
    assert!(!seen.is_empty(), "the journal has attempts");
}
