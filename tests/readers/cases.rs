//! Cases of `tests/cases`, each with what is expected beside it. With `FLEETLIFT_ACCEPT=1` the expectations are written
//! anew; read the difference before you keep it.

use crate::shown;
use fleetlift::{
    base::{fault::Source, name::HostName, phase::Phase, selection::Selection},
    inventory::{self, Inventory},
    playbook::{self, Playbook, Step},
    rollout::{self, Rollout},
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// The cases of a topic with their expectations. No two cases share one, and none is left without its case.
fn cases(topic: &str) -> BTreeMap<PathBuf, PathBuf> {
    let folder = Path::new("tests/cases").join(topic);
    let all: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    let (expectations, inputs): (Vec<PathBuf>, Vec<PathBuf>) =
        all.into_iter().partition(|path| path.extension().is_some_and(|e| e == "expected"));
    let mut cases = BTreeMap::new();
    for input in inputs {
        let expectation = input.with_extension("expected");
        if let Some(other) = cases.insert(expectation, input.clone()) {
            panic!("{} and {} share an expectation", input.display(), other.display());
        }
    }
    for expectation in expectations {
        assert!(cases.contains_key(&expectation), "{} has no case", expectation.display());
    }
    assert!(!cases.is_empty());
    cases
}

/// Compares every case of a topic with its expectation.
pub fn check(topic: &str, outcome: impl Fn(&Path) -> String) {
    let accept = std::env::var_os("FLEETLIFT_ACCEPT").is_some();
    let mut wrong = Vec::new();
    for (expected_path, case) in cases(topic) {
        let found = portable(&outcome(&case));
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if found == expected {
            continue;
        }
        if accept {
            fs::write(&expected_path, &found).unwrap();
        } else {
            wrong.push(format!("--- {}\n{expected}+++ found\n{found}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\nFLEETLIFT_ACCEPT=1 writes them anew", wrong.join("\n"));
}

/// Paths that differ from machine to machine, written as they are on every one.
fn portable(text: &str) -> String {
    let mut text = text.replace(env!("CARGO_MANIFEST_DIR"), "$REPO");
    if let Some(home) = std::env::home_dir() {
        text = text.replace(&format!("\"{}/", home.display()), "\"$HOME/");
    }
    text
}

pub fn show_inventory(inventory: &Inventory) -> String {
    let mut text = String::new();
    let mut connections = Vec::new();
    for host in inventory.hosts.values() {
        let connection = serde_json::to_string(&*host.connection).unwrap();
        let number = connections.iter().position(|c| *c == connection).unwrap_or_else(|| {
            connections.push(connection);
            connections.len() - 1
        });
        writeln!(text, "host {:?} at {:?}", host.name, host.addresses).unwrap();
        writeln!(text, "  groups {:?}", host.groups).unwrap();
        writeln!(text, "  vars {}", serde_json::to_string(&host.vars).unwrap()).unwrap();
        writeln!(text, "  labels {:?}", host.labels).unwrap();
        writeln!(text, "  connection {number}").unwrap();
    }
    for (number, connection) in connections.iter().enumerate() {
        writeln!(text, "connection {number} {connection}").unwrap();
    }
    for (name, group) in &inventory.groups {
        let vars = serde_json::to_string(&group.vars).unwrap();
        writeln!(text, "group {name:?} hosts {:?}", group.hosts).unwrap();
        writeln!(text, "  children {:?} vars {vars}", group.children).unwrap();
    }
    show_sources(&inventory.sources, &mut text);
    text
}

fn show_sources(sources: &[Source], text: &mut String) {
    for source in sources {
        writeln!(text, "source {}", source.path.display()).unwrap();
    }
}

fn show_playbook(playbook: &Playbook) -> String {
    let mut text =
        format!("playbook {:?} {:?} {:?}\n", playbook.name, playbook.title, playbook.support);
    for hop in &playbook.hops {
        writeln!(text, "hop {:?} {:?} {:?} -> {:?}", hop.name, hop.title, hop.from, hop.to)
            .unwrap();
        writeln!(text, "  vars {}", serde_json::to_string(&hop.vars).unwrap()).unwrap();
        for phase in Phase::ALL {
            for step in hop.steps.get(&phase).into_iter().flatten() {
                writeln!(text, "  {phase} {}", show_step(step)).unwrap();
            }
        }
    }
    show_sources(&playbook.sources, &mut text);
    for file in &playbook.files {
        writeln!(text, "file {}", file.path.display()).unwrap();
    }
    text
}

/// A step without what it says by default.
fn show_step(step: &Step) -> String {
    let defaults = [
        ", when: None",
        ", unless: None",
        ", verify: None",
        ", expect: None",
        ", timeout: 600s",
        ", retries: 0",
        ", retry_delay: 10s",
        ", ok_exit: [0]",
        ", sudo: None",
        ", env: {}",
        ", register: false",
        ", on_lost: None",
        ", probe: None",
        ", arms: false",
        ", already: false",
        ", disarm: None",
        ", severity: Blocker",
        ", remedy: None",
        ", reads: None",
        ", report: None",
        ", estimate: None",
    ];
    defaults.iter().fold(format!("{step:?}"), |text, default| text.replace(default, ""))
}

pub fn show_rollout(rollout: &Rollout) -> String {
    format!("{:?} {:?} {:?}\n", rollout.parallel, rollout.on_failure, rollout.budget)
        + &rollout.waves.iter().map(|wave| format!("{wave:?}\n")).collect::<String>()
        + &rollout.interrupts.iter().map(|one| format!("{one:?}\n")).collect::<String>()
}

#[test]
fn inventories_are_read_as_expected() {
    check("inventory", |case| match inventory::read(case) {
        Ok(inventory) => show_inventory(&inventory),
        Err(found) => shown(&found),
    });
}

#[test]
fn playbooks_are_read_as_expected() {
    check("playbook", |case| {
        let file = if case.is_dir() { case.join("playbook.toml") } else { case.to_owned() };
        match playbook::read(file.to_str().unwrap()) {
            Ok(playbook) => show_playbook(&playbook),
            Err(found) => shown(&found),
        }
    });
}

#[test]
fn rollouts_are_read_as_expected() {
    check("rollout", |case| match rollout::read(case) {
        Ok(rollout) => show_rollout(&rollout),
        Err(found) => shown(&found),
    });
}

/// A case is a list of selections over the inventory in its first lines, up to a line of dashes.
#[test]
fn selections_match_as_expected() {
    check("selection", |case| {
        let text = fs::read_to_string(case).unwrap();
        let (fleet, selections) = text.split_once("\n---\n").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fleet.toml");
        fs::write(&file, fleet).unwrap();
        let inventory = inventory::read(&file).unwrap_or_else(|f| panic!("{}", f.render(false)));
        selections.lines().map(|line| show_selection(line, &inventory)).collect()
    });
}

fn state_of(name: &HostName) -> Option<&str> {
    Some(if ["web-01", "db-02"].contains(&name.as_str()) { "failed" } else { "migrated" })
}

fn show_selection(line: &str, inventory: &Inventory) -> String {
    let (text, with_run) = match line.strip_prefix("run: ") {
        Some(text) => (text, true),
        None => (line, false),
    };
    let result = Selection::parse(text).and_then(|selection| {
        if with_run {
            selection.select_with(inventory, &state_of)
        } else {
            selection.select(inventory)
        }
    });
    let mut told = format!("{line}\n");
    match result {
        Ok(hosts) => {
            let hosts: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
            writeln!(told, "  = {}", hosts.join(" ")).unwrap();
        }
        Err(error) => {
            if let Some(range) = &error.range {
                let indent = text[..range.start].chars().count() + line.len() - text.len();
                let marks = "^".repeat(text[range.clone()].chars().count().max(1));
                writeln!(told, "{}{marks}", " ".repeat(indent)).unwrap();
            }
            writeln!(told, "  ! {error}").unwrap();
            if let Some(hint) = error.hint {
                writeln!(told, "    {hint}").unwrap();
            }
        }
    }
    told
}
