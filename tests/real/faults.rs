//! Everything that goes wrong at once, on seven hosts of one run whose controller dies twice.

use crate::{
    AT_ONCE,
    bed::Bed,
    claims::{is_whole, started_once},
    need_real_hosts,
};

/// In the middle of the first stage of the upgrade: os-release says 13 already, and most packages are those of 12.
const UNPACKING: &str = "pgrep -x dpkg && grep -q \"status unpacked libc-bin\" /var/log/dpkg.log && grep -q trixie /etc/os-release";

/// The power goes while dpkg unpacks, and comes back.
fn cut_power(bed: &Bed, host: &str, meanwhile: impl FnOnce()) {
    bed.until(host, UNPACKING);
    bed.testbed(&["kill", host]).exits(0);
    meanwhile();
    bed.testbed(&["start", host]).exits(0);
}

#[test]
#[ignore = "takes minutes: just real faults"]
fn faults_end_as_they_should() {
    need_real_hosts!();
    let bed = Bed::up("faults", 7);
    bed.rollout(AT_ONCE);
    bed.sh("web-01", "apt-mark hold nginx");
    bed.testbed(&["archive", "fault", "corrupt", "pool/main/m/memcached"]).exits(0);
    // Nothing larger than 256 KiB fits where every package has its documentation.
    bed.sh("web-02", "mount -t tmpfs -o size=256k none /usr/share/doc");

    let mut run = bed.run();
    run.sees("attempt_started", "db-01", "minimal-upgrade");
    cut_power(&bed, "db-01", || {});
    run.kill();
    let mut run = bed.start(&["resume"]);
    // What a file system leaves of a file that was not synced when the power went: nothing.
    cut_power(&bed, "db-02", || bed.empty("db-02", "var/lib/dpkg/status"));
    run.sees("attempt_started", "mon-01", "reboot");
    run.kill();
    assert_eq!(bed.start(&["resume"]).ends(), 1);

    let ends = bed.ends();
    for (host, end, step, version) in [
        ("mon-01", "migrated", "", "13"),
        ("web-01", "blocked", "package-holds", "12"),
        ("cache-01", "rolled_back", "download", "12"),
        ("web-02", "rolled_back", "minimal-upgrade", "12"),
        ("web-03", "migrated", "", "13"),
        ("db-01", "migrated", "", "13"),
        ("db-02", "rolled_back", "minimal-upgrade", "12"),
    ] {
        let why = bed.why(host);
        println!("{host}: {}", ends[host]);
        assert_eq!(ends[host], end, "{host}: {why}");
        assert!(step.is_empty() || why.contains(&format!("/ {step} failed")), "{host}: {why}");
        is_whole(&bed, host, version);
    }
    started_once(&bed.journal());

    // A host that says 13 with a package half installed is not taken for one that is there.
    bed.sh("web-03", "cd /tmp && apt-get -q download hello && dpkg --unpack hello_*.deb");
    assert_eq!(bed.run_on("mon-01,web-03", "debian12-to-debian13").ends(), 1);
    let ends = bed.ends();
    assert_eq!(
        (&*ends["mon-01"], &*ends["web-03"]),
        ("already", "failed"),
        "{}",
        bed.why("web-03")
    );
}
