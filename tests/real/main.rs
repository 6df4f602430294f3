//! Real hosts, really upgraded from Debian 12 to 13: `testbed/real`. Each test takes minutes and needs root, so none of them
//! runs unless it is asked for: `just real`.

mod bed;
mod claims;
mod faults;
mod machine;
mod penalties;

use bed::Bed;
use claims::{Mark, is_whole, started_once};
use std::time::Instant;

const AT_ONCE: &str = "
[defaults]
parallel = 15
budget = { failures = 15 }

[[wave]]
name = \"all\"
hosts = \"@all\"
";

#[test]
#[ignore = "takes minutes: just real"]
fn four_hosts_one_fault_one_dead_controller() {
    need_real_hosts!();
    let bed = Bed::up("four", 4);
    bed.rollout(AT_ONCE);
    bed.ends_with_debian_12("db-01");
    let mark = Mark::set(&bed, "db-01");

    let run = bed.run();
    run.sees("attempt_started", "web-01", "minimal-upgrade");
    bed.until("web-01", "pgrep -x dpkg");
    run.kill();
    assert_eq!(bed.start(&["resume"]).ends(), 1, "one host is not migrated");

    let ends = bed.ends();
    for host in ["mon-01", "cache-01", "web-01"] {
        assert_eq!(ends[host], "migrated", "{}", bed.why(host));
        is_whole(&bed, host, "13");
    }
    assert_eq!(ends["db-01"], "rolled_back", "{}", bed.why("db-01"));
    is_whole(&bed, "db-01", "12");
    assert_eq!(bed.sh("db-01", "systemctl is-active house.service"), "active");
    mark.holds(&bed, "db-01");
    assert_eq!(bed.boots("web-01"), 1, "one reboot, and no more");
    started_once(&bed.journal());

    // The way back and the way without one, for hosts that are well.
    bed.fleetlift(&["rollback", "last", "--hosts", "web-01", "--yes"]).exits(0);
    is_whole(&bed, "web-01", "12");
    bed.fleetlift(&["commit", "last", "--hosts", "mon-01", "--yes"]).exits(0);
    assert_eq!(bed.sh("mon-01", "ls /.snapshots"), "");
    is_whole(&bed, "mon-01", "13");
}

#[test]
#[ignore = "takes minutes: just real fifteen"]
fn fifteen_hosts_wave_by_wave() {
    need_real_hosts!();
    let bed = Bed::up("fifteen", 15);
    let began = Instant::now();
    assert_eq!(bed.run().ends(), 0, "every host is migrated");
    println!("15 hosts were migrated after {:.0?}", began.elapsed());
    let ends = bed.ends();
    assert_eq!(ends.len(), 15);
    for (host, end) in &ends {
        assert_eq!(end, "migrated", "{}", bed.why(host));
        is_whole(&bed, host, "13");
    }
    started_once(&bed.journal());
    let report = bed.fleetlift(&["report", "last", "--format", "md"]).exits(0).out;
    println!("{report}");
}

/// From CentOS 7 to Rocky Linux 9 by a real rpm and dnf, with a stand-in for leapp; and all the way back.
#[test]
#[ignore = "takes minutes: just real el_host"]
fn el_host_goes_three_hops_and_back() {
    need_real_hosts!();
    let bed = Bed::bring("el", "el", 1);
    let before = bed.sh("el-01", "rpm -qa | sort");
    assert_eq!(bed.run_on("@all", "centos7-to-rocky9").ends(), 0, "{}", bed.why("el-01"));
    assert_eq!(bed.sh("el-01", ". /etc/os-release; echo $ID $VERSION_ID"), "rocky 9.6");
    assert_eq!(bed.sh("el-01", "rpm -qa | grep -E \"[.]el[78]\" || true"), "");
    assert_eq!(bed.sh("el-01", "rpm -qa --qf \"%{VENDOR}\\n\" | grep -c AlmaLinux || true"), "0");
    assert_eq!(bed.sh("el-01", "dnf -q check; rpm -Va --nofiles --nodigest"), "");
    assert!(bed.sh("el-01", "uname -r").contains(".el9"));
    assert_eq!(bed.boots("el-01"), 5, "two for each upgrade, one for the conversion");
    started_once(&bed.journal());

    bed.fleetlift(&["rollback", "last", "--yes"]).exits(0);
    assert_eq!(bed.ends()["el-01"], "rolled_back", "{}", bed.why("el-01"));
    assert_eq!(bed.sh("el-01", ". /etc/os-release; echo $ID $VERSION_ID"), "centos 7");
    // Updates within CentOS 7 come before the snapshot, and stay.
    let names = |list: &str| -> Vec<String> {
        list.lines()
            .filter(|line| !line.starts_with("tzdata") && !line.starts_with("ca-cert"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(names(&bed.sh("el-01", "rpm -qa | sort")), names(&before));
}
