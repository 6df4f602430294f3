//! Plans for tests: from parts that are made here, or from the texts of files.

use fleetlift::{
    base::{facts::System, fault::Faults, phase::Phase},
    inventory::{self, Connection, Host, Inventory},
    plan::{self, Plan},
    playbook::{self, Action, Hop, Playbook, Reboot, Severity, Step},
    rollout::{self, Rollout},
};
use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

/// A step that runs a script, has a minute for it, and one try.
pub fn step(name: &str, run: &str) -> Step {
    Step {
        name: name.parse().unwrap(),
        action: Action::Run(run.into()),
        when: None,
        unless: None,
        verify: None,
        expect: None,
        timeout: Duration::from_secs(60),
        retries: 0,
        retry_delay: Duration::from_millis(1),
        ok_exit: vec![0],
        sudo: None,
        env: BTreeMap::new(),
        register: false,
        on_lost: None,
        probe: None,
        arms: false,
        already: false,
        disarm: None,
        severity: Severity::Blocker,
        remedy: None,
        reads: None,
        report: None,
        estimate: None,
    }
}

/// A reboot into nothing in particular, which may take this long in every respect.
pub fn reboot(timeout: Duration) -> Reboot {
    Reboot {
        timeout,
        down: timeout,
        each: timeout,
        boots: 1,
        into: None,
        new_host_key: false,
        command: None,
        until: None,
    }
}

pub fn system(id: &str, version: &str) -> System {
    System { id: id.into(), version: version.into() }
}

pub fn hop<const N: usize>(
    name: &str,
    from: Option<System>,
    to: Option<System>,
    steps: [(Phase, Vec<Step>); N],
) -> Hop {
    let steps = BTreeMap::from(steps);
    Hop { name: name.into(), title: name.into(), from, to, vars: BTreeMap::new(), steps }
}

pub fn playbook(hops: Vec<Hop>) -> Playbook {
    let name = hops[0].name.clone();
    let title = name.clone();
    Playbook { name, title, support: None, hops, sources: Vec::new(), files: Vec::new() }
}

/// Hosts of these names, which are their addresses too.
pub fn inventory<N: AsRef<str>>(names: &[N]) -> Inventory {
    let host = |name: &str| Host {
        name: name.parse().unwrap(),
        groups: Vec::new(),
        vars: BTreeMap::new(),
        labels: BTreeMap::new(),
        connection: Arc::new(Connection::default()),
        addresses: vec![name.to_owned()],
    };
    let names = names.iter().map(AsRef::as_ref);
    let hosts = names.map(|name| (name.parse().unwrap(), host(name))).collect();
    Inventory { hosts, ..Inventory::default() }
}

/// The plan for all hosts of an inventory.
pub fn build(
    inventory: &Inventory,
    playbook: &Playbook,
    rollout: &Rollout,
) -> Result<Plan, Faults> {
    let all = inventory.hosts.keys().cloned().collect();
    plan::build(inventory, playbook, rollout, "@all", &all)
}

/// The plan for hosts of these names.
pub fn plan<N: AsRef<str>>(names: &[N], playbook: &Playbook, rollout: &Rollout) -> Plan {
    build(&inventory(names), playbook, rollout).unwrap()
}

/// A plan from the texts of its files.
pub fn read_plan(hosts: &str, playbook: &str, rollout: &str) -> Plan {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    fn read<T>(read: Result<T, Faults>) -> T {
        read.unwrap_or_else(|faults| panic!("{}", faults.render(false)))
    }
    let inventory = read(inventory::read(&file("hosts.toml", hosts)));
    let playbook = read(playbook::read(file("playbook.toml", playbook).to_str().unwrap()));
    let rollout = read(rollout::read(&file("rollout.toml", rollout)));
    read(build(&inventory, &playbook, &rollout))
}
