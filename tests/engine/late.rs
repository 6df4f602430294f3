//! Reboots that take longer than those of all hosts before: told once, before their deadline.

use crate::{
    reboots::{playbook, reboot, reboots, rollout},
    support::{
        plans::{plan, system},
        tape::{Tape, facts, passed, result},
    },
};
use fleetlift::{
    base::{name::HostName, time::Timestamp},
    journal::{Event, Moment, Notice},
    plan::{Plan, Task},
    run::{Result as AttemptResult, Todo, decide},
};
use std::{collections::BTreeMap, time::Duration};

/// Leads every host through the plan without an engine, second by second: each reboot takes `took` seconds, and that of the
/// last host for ever. Returns what was told of late ones until the end, and when.
fn late_findings(plan: Plan, took: u64, end: u64) -> Vec<(u64, HostName, Notice)> {
    let mut told = Vec::new();
    let mut dark: BTreeMap<usize, u64> = BTreeMap::new();
    let start = Timestamp::from_millis(0);
    let last = plan.hosts.len() - 1;
    let mut tape = Tape::begin(plan, start);
    for second in 0..end {
        tape.now = start + Duration::from_secs(second);
        loop {
            let todo = decide(&tape.plan, &tape.state, tape.now).todo;
            if todo.is_empty() {
                break;
            }
            for todo in todo {
                match todo {
                    Todo::Record(event) => {
                        if let Event::HostFinding { host, finding } = &event {
                            told.push((second, host.clone(), finding.notice.clone().unwrap()));
                        }
                        tape.record(event);
                    }
                    Todo::Attempt { host, step, attempt } => {
                        tape.attempt(host, step, attempt);
                        if tape.plan.steps[step].reboots {
                            let host_name = tape.plan.hosts[host].name.clone();
                            let boot_id = format!("old boot of {host_name}");
                            tape.record(Event::HostDark { host: host_name, boot_id });
                            dark.insert(host, second);
                        } else {
                            tape.judged(host, &well(&tape.plan, host, step));
                        }
                    }
                }
            }
        }
        let back = |(host, since): (&usize, &u64)| {
            (*host < last && second - *since >= took).then_some(*host)
        };
        let back: Vec<usize> = dark.iter().filter_map(back).collect();
        for host in back {
            dark.remove(&host);
            let step = tape.state.hosts[host].step().unwrap();
            tape.judged(host, &well(&tape.plan, host, step));
        }
    }
    told
}

/// The step of this host ends well.
fn well(plan: &Plan, host: usize, step: usize) -> AttemptResult {
    let facts = match &plan.rendered(host, step).task {
        Task::Look { moment: Moment::Before, .. } => facts(system("old", "1")),
        Task::Look { moment: Moment::After | Moment::RolledBack, .. } => facts(system("new", "2")),
        Task::Act(_) => None,
    };
    AttemptResult { facts, ..result(passed()) }
}

#[test]
fn a_host_that_is_later_than_all_before_it_is_told_once() {
    let plan = plan(&["a", "b", "c", "d"], &playbook(vec![reboots(reboot())]), &rollout());
    let late = late_findings(plan, 240, 1_000);
    assert_eq!(late.len(), 1, "{late:?}");
    let (at, host, Notice::Late { hosts: 3, p50_ms: 240_000, max_ms: 240_000, .. }) = &late[0]
    else {
        panic!("{late:?}")
    };
    // Past one and a half times what 95 of 100 took.
    assert_eq!((*at, host), (360, &"d".parse::<HostName>().unwrap()));
}
