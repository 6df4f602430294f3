//! The readers of operators' files: inventories, playbooks, rollouts, and selections of hosts.

mod cases;
mod migrators;
mod properties;
mod schemas;

use cases::{show_inventory, show_rollout};
use fleetlift::{
    base::{
        fault::{Faults, Refusal},
        name::HostName,
        phase::Phase,
        selection::{STATES, Selection},
    },
    inventory, playbook,
    rollout::{self, Rollout},
};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The faults as an operator sees them. All of them have a place that exists.
fn shown(faults: &Faults) -> String {
    assert!(!faults.0.is_empty());
    for fault in &faults.0 {
        if let Some((source, range)) = &fault.place {
            assert!(source.text.get(range.clone()).is_some(), "{range:?} of {fault}");
        }
    }
    faults.render(false)
}

/// Writes an inventory to a file that is gone at the end of the scope.
fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fleet.toml");
    fs::write(&file, text).unwrap();
    (folder, file)
}

#[test]
fn ten_thousand_hosts_share_their_connection() {
    let in_ranges =
        "[connection]\nuser = \"admin\"\n[groups.web]\nhosts = [\"web-[00001:10000]\"]\n";
    let mut one_by_one = in_ranges.to_owned();
    for i in 1..=10_000 {
        writeln!(
            one_by_one,
            "[hosts.web-{i:05}]\naddress = \"10.0.{}.{}\"\nlabels = {{ rack = \"r{}\", pair = \"p{}\" }}\nvars.id = {i}",
            i / 256,
            i % 256,
            i % 40,
            i / 2
        )
        .unwrap();
    }
    for text in [in_ranges, &one_by_one] {
        let (_folder, file) = written(text);
        let inventory = inventory::read(&file).unwrap_or_else(|f| panic!("{}", f.render(false)));
        assert_eq!(inventory.hosts.len(), 10_000);
        let first = &inventory.hosts["web-00001"].connection;
        assert!(inventory.hosts.values().all(|host| Arc::ptr_eq(&host.connection, first)));
        let all = Selection::parse("@all,!web-00007").and_then(|s| s.select(&inventory)).unwrap();
        assert_eq!(all.len(), 9_999);
    }
}

#[test]
fn every_fault_of_a_large_file_is_counted() {
    let mut text = String::from("[groups.web]\nhosts = [\"web-[00001:10000]\"]\n");
    for i in 1..=10_000 {
        writeln!(text, "[hosts.web-{i:05}]\nadress = \"10.0.0.1\"").unwrap();
    }
    let (_folder, file) = written(&text);
    let found = inventory::read(&file).unwrap_err();
    assert_eq!(found.0.len(), 10_000);
    let shown = shown(&found);
    assert!(shown.contains("… and 9950 more") && shown.len() < 20_000, "{}", shown.len());
    let json = found.json();
    let last = &json.as_array().unwrap()[9_999];
    assert_eq!((&last["line"], &last["column"]), (&20_002.into(), &1.into()));
}

#[test]
fn faults_are_told_to_programs() {
    let (_folder, file) = written("[groups.web]\nhosts = [\"web-01\"]\nchldren = []\n");
    let found = inventory::read(&file).unwrap_err();
    let expected = serde_json::json!([{
        "path": file.to_str(),
        "line": 3,
        "column": 1,
        "message": "a group has no key `chldren`",
        "hint": "did you mean `children`?",
    }]);
    assert_eq!(found.json(), expected);
    assert_eq!(found.to_string(), format!("{}:3:1: a group has no key `chldren`", file.display()));
}

#[test]
fn what_is_not_there_is_said() {
    let missing = Path::new("tests/cases/no such file.toml");
    for found in [
        inventory::read(missing).unwrap_err(),
        rollout::read(missing).unwrap_err(),
        playbook::read(missing.to_str().unwrap()).unwrap_err(),
    ] {
        assert_eq!(found.to_string(), "tests/cases/no such file.toml: there is no such file");
    }
    let folder = rollout::read(Path::new("tests/cases")).unwrap_err();
    assert_eq!(folder.to_string(), "tests/cases: this is a folder, not a file");
    let found = playbook::read("no-such-playbook-anywhere").unwrap_err();
    assert_eq!(found.to_string(), "there is no shipped playbook `no-such-playbook-anywhere`");
}

#[test]
fn a_file_named_hosts_stands_for_its_folder() {
    let folder = Path::new("tests/cases/inventory/fleet");
    let by_folder = inventory::read(folder).unwrap();
    let by_file = inventory::read(&folder.join("hosts.toml")).unwrap();
    assert_eq!(show_inventory(&by_folder), show_inventory(&by_file));
    assert_eq!(inventory::fleet_folder(&folder.join("hosts.toml")).as_deref(), Some(folder));
    assert_eq!(inventory::fleet_folder(Path::new("tests/cases/inventory/good.toml")), None);
}

#[test]
fn a_rollout_of_a_folder_without_one_is_the_default() {
    let rollout = rollout::of_fleet(Path::new("tests/cases/inventory/fleet")).unwrap();
    assert_eq!(show_rollout(&rollout), show_rollout(&Rollout::default()));
    let rollout = rollout::of_fleet(Path::new("inventories/example")).unwrap();
    assert_eq!(rollout.waves.len(), 4);
}

#[test]
fn faults_that_show_later_have_their_place() {
    let playbook = playbook::read("tests/cases/playbook/good.toml").unwrap();
    let refusal = Refusal::new("`backup_dir` is not defined").at(12..22);
    let fault = playbook::fault_in_step(&playbook, 0, Phase::Backup, "archive-etc", "run", refusal);
    let at = "tests/cases/playbook/good.toml:17:20: `backup_dir` is not defined";
    assert_eq!(fault.to_string(), at);
    let rollout = rollout::read(Path::new("tests/cases/rollout/good.toml")).unwrap();
    let refusal = Refusal::new("there is no host `web-03`").at(6..13);
    let fault = rollout::fault_in_wave(&rollout, &"web".parse().unwrap(), refusal);
    let at = "tests/cases/rollout/good.toml:12:16: there is no host `web-03`";
    assert_eq!(fault.to_string(), at);
}

#[test]
fn the_words_for_states_are_those_of_the_program() {
    let mut words = STATES;
    words.sort_unstable();
    let expected = "already armed blocked committed dark failed held migrated needs_hands \
                    not_started pending rolled_back running unreachable";
    assert_eq!(words.join(" "), expected);
}

#[test]
fn examples_can_be_read_and_select_every_host() {
    let inventory = inventory::read(Path::new("inventories/example"))
        .unwrap_or_else(|f| panic!("{}", f.render(false)));
    let rollout = rollout::read(Path::new("inventories/example/rollout.toml"))
        .unwrap_or_else(|f| panic!("{}", f.render(false)));
    let mut hosts: Vec<HostName> = rollout
        .waves
        .iter()
        .flat_map(|wave| Selection::parse(&wave.hosts).unwrap().select(&inventory).unwrap())
        .collect();
    hosts.sort();
    assert_eq!(hosts, inventory.hosts.keys().cloned().collect::<Vec<_>>());
    assert_eq!(hosts.len(), 15);
}

#[test]
fn embedded_playbooks_are_those_on_disk_and_can_be_read() {
    let mut on_disk: Vec<(String, String)> = fs::read_dir("playbooks")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    on_disk.sort();
    let embedded: Vec<(String, String)> =
        playbook::shipped().iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
    assert!(
        embedded == on_disk,
        "the binary is older than `playbooks`: touch src/playbook/shipped.rs"
    );
    for (name, _) in &embedded {
        let playbook = playbook::read(name).unwrap_or_else(|f| panic!("{}", f.render(false)));
        for source in &playbook.sources {
            assert_eq!(playbook::input_bytes(&source.path).unwrap(), source.text.as_bytes());
        }
        for file in &playbook.files {
            assert_eq!(playbook::input_bytes(&file.path).unwrap(), *file.content);
        }
    }
}

#[test]
fn depth_without_end_is_a_fault() {
    let lists = format!("[vars]\nx = {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let dots = format!("[vars]\n{}x = 1\n", "a.".repeat(100_000));
    let heading = format!("[vars{}]\n", ".a".repeat(100_000));
    let tables = format!("[vars]\nx = {}1{}\n", "{ a = ".repeat(100_000), " }".repeat(100_000));
    for text in [lists, dots, heading, tables] {
        let (_folder, file) = written(&text);
        let found = inventory::read(&file).unwrap_err();
        assert!(found.render(false).len() < 100_000);
    }
}
