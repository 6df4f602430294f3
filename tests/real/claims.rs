//! What must be true of a real host and of a run's records. The hosts are asked by other means than the playbook's.

use crate::bed::Bed;
use serde_json::Value;
use std::{collections::BTreeMap, fs};

/// What a role serves: its unit, its port, what is said there, and how the answer begins.
fn serves(host: &str) -> (&str, u16, &str, &str) {
    match host.split('-').next() {
        // Nothing is said before TLS: that it takes the connection is its answer.
        Some("mon") => ("nagios-nrpe-server", 5666, "", ""),
        Some("cache") => ("memcached", 11211, "version\\r\\nquit\\r\\n", "VERSION 1."),
        Some("web") => ("nginx", 80, "HEAD / HTTP/1.0\\r\\n\\r\\n", "HTTP/1.1 200"),
        Some("db") => ("redis-server", 6379, "GET colour\\r\\nQUIT\\r\\n", "$"),
        Some("vm") => ("cron", 22, "", "SSH-2.0"),
        _ => panic!("{host} has no role"),
    }
}

/// The host is on this Debian, wholly: no package is half done, none is of the other one, every service is there and answers,
/// and what is in `os-release` is what its core packages are.
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
    let (unit, port, said, answer) = serves(host);
    assert_eq!(bed.sh(host, &format!("systemctl is-active {unit}")), "active", "{host}");
    let ask = format!("exec 3<> /dev/tcp/127.0.0.1/{port} && printf '{said}' >&3");
    let heard = if answer.is_empty() { "" } else { " && head -n 1 <&3" };
    let heard = bed.console(host, &(ask + heard)).exits(0).out;
    assert!(heard.starts_with(answer), "{host}: {unit} says {heard:?}");
}

/// What a host must keep, whatever becomes of it.
pub struct Mark {
    machine: String,
    kept: String,
}

impl Mark {
    /// Leaves data on the host, and notes who it is.
    pub fn set(bed: &Bed, host: &str) -> Self {
        bed.sh(host, "echo kept by $(hostname) > /srv/kept");
        if host.starts_with("db") {
            bed.sh(host, "redis-cli set colour green && redis-cli save");
        }
        Self::read(bed, host)
    }

    fn read(bed: &Bed, host: &str) -> Self {
        let read = |path| fs::read_to_string(bed.disk(host, path)).unwrap();
        Self { machine: read("etc/machine-id"), kept: read("srv/kept") }
    }

    /// The host is who it was, by its disk and by its own word, and has its data.
    #[track_caller]
    pub fn holds(&self, bed: &Bed, host: &str) {
        let now = Self::read(bed, host);
        assert_eq!((&now.machine, &now.kept), (&self.machine, &self.kept), "{host}");
        assert_eq!(bed.sh(host, "cat /etc/machine-id"), self.machine.trim(), "{host}");
        assert_eq!(now.kept.trim(), format!("kept by {host}"));
        if host.starts_with("db") {
            assert_eq!(bed.sh(host, "redis-cli get colour"), "green", "{host}");
        }
    }
}

/// What a power cut in the middle of unpacking leaves: a host that boots, answers, and says 13, and whose packages are not sound.
#[track_caller]
pub fn says_13_and_is_broken(bed: &Bed, host: &str) {
    bed.until_it_answers(host);
    assert_eq!(bed.sh(host, ". /etc/os-release; echo $VERSION_ID"), "13", "{host}");
    assert_ne!(bed.sh(host, "dpkg --audit"), "", "{host}");
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
