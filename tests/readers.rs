//! The readers of operators' files: cases of `tests/cases`, each with what is expected beside it. With
//! `FLEETLIFT_ACCEPT=1` the expectations are written anew; read the difference before you keep it.

use fleetlift::{
    base::{
        fault::{Faults, Refusal, Source},
        name::HostName,
        phase::Phase,
        range::expand,
        selection::{STATES, Selection},
    },
    inventory::{self, Inventory},
    playbook::{self, Playbook, Step},
    rollout::{self, Rollout},
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
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
fn check(topic: &str, outcome: impl Fn(&Path) -> String) {
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

fn faults(faults: &Faults) -> String {
    assert!(!faults.0.is_empty());
    for fault in &faults.0 {
        if let Some((source, range)) = &fault.place {
            assert!(source.text.get(range.clone()).is_some(), "{range:?} of {fault}");
        }
    }
    faults.render(false)
}

fn show_inventory(inventory: &Inventory) -> String {
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
        ", disarm: None",
        ", severity: Blocker",
        ", remedy: None",
        ", estimate: None",
    ];
    defaults.iter().fold(format!("{step:?}"), |text, default| text.replace(default, ""))
}

fn show_rollout(rollout: &Rollout) -> String {
    format!("{:?} {:?} {:?}\n", rollout.parallel, rollout.on_failure, rollout.budget)
        + &rollout.waves.iter().map(|wave| format!("{wave:?}\n")).collect::<String>()
}

#[test]
fn inventories_are_read_as_expected() {
    check("inventory", |case| match inventory::read(case) {
        Ok(inventory) => show_inventory(&inventory),
        Err(found) => faults(&found),
    });
}

#[test]
fn playbooks_are_read_as_expected() {
    check("playbook", |case| {
        let file = if case.is_dir() { case.join("playbook.toml") } else { case.to_owned() };
        match playbook::read(file.to_str().unwrap()) {
            Ok(playbook) => show_playbook(&playbook),
            Err(found) => faults(&found),
        }
    });
}

#[test]
fn rollouts_are_read_as_expected() {
    check("rollout", |case| match rollout::read(case) {
        Ok(rollout) => show_rollout(&rollout),
        Err(found) => faults(&found),
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
    let mut shown = format!("{line}\n");
    match result {
        Ok(hosts) => {
            let hosts: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
            writeln!(shown, "  = {}", hosts.join(" ")).unwrap();
        }
        Err(error) => {
            if let Some(range) = &error.range {
                let indent = text[..range.start].chars().count() + line.len() - text.len();
                let marks = "^".repeat(text[range.clone()].chars().count().max(1));
                writeln!(shown, "{}{marks}", " ".repeat(indent)).unwrap();
            }
            writeln!(shown, "  ! {error}").unwrap();
            if let Some(hint) = error.hint {
                writeln!(shown, "    {hint}").unwrap();
            }
        }
    }
    shown
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
    let shown = found.render(false);
    assert!(shown.contains("… and 9950 more") && shown.len() < 20_000, "{}", shown.len());
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
    let rollout = rollout::of_fleet(Path::new("src/cli/example")).unwrap();
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
    let inventory = inventory::read(Path::new("src/cli/example"))
        .unwrap_or_else(|f| panic!("{}", f.render(false)));
    let rollout = rollout::read(Path::new("src/cli/example/rollout.toml"))
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
    }
}

/// Walks a document along a schema and names every key that the schema does not know, or misses.
fn against_schema(value: &serde_json::Value, schema: &serde_json::Value, at: &str) -> Vec<String> {
    use serde_json::Value as Json;
    if let Some(any_of) = schema["anyOf"].as_array() {
        let wrong: Vec<Vec<String>> =
            any_of.iter().map(|schema| against_schema(value, schema, at)).collect();
        return wrong.into_iter().min_by_key(Vec::len).unwrap_or_default();
    }
    let kind = match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(number) if number.is_i64() => "integer",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    if schema["type"].as_str().is_some_and(|wanted| wanted != kind) {
        return vec![format!("{at}: {kind} is not {}", schema["type"])];
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return vec![format!("{at}: {value} is not one of {}", schema["enum"])];
    }
    let mut wrong = Vec::new();
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        wrong.extend(against_schema(item, &schema["items"], &format!("{at}[{i}]")));
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{key}");
        let known = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
        match known {
            Json::Bool(false) => wrong.push(format!("{at}: unknown")),
            known => wrong.extend(against_schema(inner, known, &at)),
        }
    }
    for key in schema["required"].as_array().into_iter().flatten() {
        if value.get(key.as_str().unwrap()).is_none() {
            wrong.push(format!("{at}: {key} is missing"));
        }
    }
    if let Some(one_of) = schema["oneOf"].as_array() {
        let met = one_of.iter().filter(|one| against_schema(value, one, at).is_empty()).count();
        if met != 1 {
            wrong.push(format!("{at}: {met} of the alternatives"));
        }
    }
    wrong
}

#[test]
fn schemas_know_what_readers_know() {
    let wrong = |file: &Path, schema: &serde_json::Value| {
        let text = fs::read_to_string(file).unwrap();
        let value: serde_json::Value = toml::from_str(&text).unwrap();
        against_schema(&value, schema, "")
    };
    let folder = Path::new("tests/cases");
    let none: Vec<String> = Vec::new();
    let mut good: Vec<(PathBuf, serde_json::Value)> = vec![
        ("src/cli/example/hosts.toml".into(), inventory::schema()),
        (folder.join("inventory/good.toml"), inventory::schema()),
        (folder.join("inventory/strange-values.toml"), inventory::schema()),
        ("src/cli/example/rollout.toml".into(), rollout::schema()),
        (folder.join("rollout/good.toml"), rollout::schema()),
        (folder.join("playbook/good.toml"), playbook::schema()),
        (folder.join("playbook/files/playbook.toml"), playbook::schema()),
        (folder.join("playbook/chain/playbook.toml"), playbook::schema()),
    ];
    for (name, _) in playbook::shipped() {
        good.push((Path::new("playbooks").join(format!("{name}.toml")), playbook::schema()));
    }
    for (file, schema) in good {
        assert_eq!(wrong(&file, &schema), none, "{}", file.display());
    }
    let bad = [
        ("inventory/unknown-key.toml", inventory::schema(), 5),
        ("inventory/later.toml", inventory::schema(), 2),
        ("rollout/later.toml", rollout::schema(), 7),
        ("playbook/kinds.toml", playbook::schema(), 8),
    ];
    for (file, schema, count) in bad {
        let wrong = wrong(&folder.join(file), &schema);
        assert_eq!(wrong.len(), count, "{file}: {wrong:#?}");
    }
    let schema = inventory::schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["properties"]["connection"]["description"].is_string());
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    /// One piece of a name: how it is written, and what it stands for, which the generator knows without reading it.
    fn piece() -> impl Strategy<Value = (String, Vec<String>)> {
        let literal = "[a-z.-]{0,4}".prop_map(|text| (text.clone(), vec![text]));
        let bare =
            (0u32..40, 0u32..30, prop_oneof![Just(':'), Just('-')]).prop_map(|(a, n, mark)| {
                (format!("[{a}{mark}{}]", a + n), (a..=a + n).map(|i| i.to_string()).collect())
            });
        let padded = (0u32..70, 0u32..30).prop_map(|(a, n)| {
            let names = (a..=a + n).map(|i| format!("{}{}", if i < 10 { "0" } else { "" }, i));
            let text = format!("[{:0>2}:{:0>2}]", a.to_string(), (a + n).to_string());
            (text, names.collect::<Vec<_>>())
        });
        let letters = (0usize..20, 0usize..6).prop_map(|(a, n)| {
            let letters: Vec<String> =
                "abcdefghijklmnopqrstuvwxyz"[a..=a + n].chars().map(String::from).collect();
            (format!("[{}-{}]", letters[0], letters[n]), letters)
        });
        let list = prop::collection::vec(0u32..99, 1..4).prop_map(|numbers| {
            let names: Vec<String> = numbers.iter().map(u32::to_string).collect();
            (format!("[{}]", names.join(",")), names)
        });
        prop_oneof![literal, bare, padded, letters, list]
    }

    proptest! {
        #[test]
        fn ranges_stand_for_what_their_maker_meant(pieces in prop::collection::vec(piece(), 1..4)) {
            let text: String = pieces.iter().map(|(text, _)| text.as_str()).collect();
            let mut names = vec![String::new()];
            for (_, ends) in &pieces {
                let mut longer = Vec::new();
                for name in &names {
                    for end in ends {
                        longer.push(name.clone() + end);
                    }
                }
                names = longer;
            }
            match expand(&text) {
                Ok(found) => prop_assert_eq!(found, names),
                Err(refusal) => prop_assert!(false, "{}: {}", text, refusal),
            }
        }

        #[test]
        fn no_text_brings_a_reader_down(text in "[\\[\\]a-c0-9,:/!&@*?= 数-]{0,12}") {
            for result in [expand(&text).map(drop), Selection::parse(&text).map(drop)] {
                if let Err(Refusal { range: Some(range), .. }) = result {
                    prop_assert!(text.get(range.clone()).is_some(), "{:?} of {:?}", range, text);
                }
            }
        }
    }

    /// Eight hosts and three groups, as bits.
    const GROUPS: [(&str, u8); 3] =
        [("low", 0b0000_1111), ("odd", 0b1010_1010), ("one", 0b0001_0000)];

    fn fleet() -> Inventory {
        let mut text = String::new();
        for (name, members) in GROUPS {
            let hosts: Vec<String> =
                (0..8).filter(|i| members & (1 << i) != 0).map(|i| format!("\"h{i}\"")).collect();
            writeln!(text, "[groups.{name}]\nhosts = [{}]", hosts.join(", ")).unwrap();
        }
        text.push_str("[hosts.h6]\n");
        let (_folder, file) = written(&text);
        inventory::read(&file).unwrap()
    }

    /// A name for some hosts, and their bits.
    fn factor() -> impl Strategy<Value = (String, u8)> {
        prop_oneof![
            (0usize..3).prop_map(|i| (format!("@{}", GROUPS[i].0), GROUPS[i].1)),
            (0u8..8).prop_map(|i| (format!("h{i}"), 1 << i)),
            (0u8..8, 0u8..8).prop_map(|(a, b)| {
                let (a, b) = (a.min(b), a.max(b));
                (format!("h[{a}-{b}]"), (a..=b).fold(0, |bits, i| bits | (1 << i)))
            }),
            Just(("@all".to_owned(), 0xff)),
            Just(("h?".to_owned(), 0xff)),
            Just(("*3".to_owned(), 0b1000)),
            Just(("@o*".to_owned(), GROUPS[1].1 | GROUPS[2].1)),
            Just(("@ungrouped".to_owned(), 0b0100_0000)),
        ]
    }

    fn term() -> impl Strategy<Value = (bool, Vec<(bool, String, u8)>)> {
        let factors = prop::collection::vec((any::<bool>(), factor()), 1..4);
        (prop::bool::weighted(0.3), factors).prop_map(|(removes, factors)| {
            let factors = factors.into_iter().enumerate();
            let factors =
                factors.map(|(i, (negated, (text, bits)))| (negated && i > 0, text, bits));
            (removes, factors.collect())
        })
    }

    proptest! {
        #[test]
        fn selections_are_what_bits_say(terms in prop::collection::vec(term(), 1..5)) {
            let mut texts = Vec::new();
            let (mut chosen, mut removed, mut any) = (0u8, 0u8, false);
            for (removes, factors) in &terms {
                let parts: Vec<String> = factors
                    .iter()
                    .map(|(negated, text, _)| format!("{}{text}", if *negated { "!" } else { "" }))
                    .collect();
                let bits = factors
                    .iter()
                    .fold(0xff, |all, (negated, _, bits)| all & if *negated { !bits } else { *bits });
                texts.push(format!("{}{}", if *removes { "!" } else { "" }, parts.join("&")));
                if *removes {
                    removed |= bits;
                } else {
                    chosen |= bits;
                    any = true;
                }
            }
            let text = texts.join(",");
            let expected = if any { chosen & !removed } else { 0 };
            let inventory = fleet();
            match Selection::parse(&text).and_then(|s| s.select(&inventory)) {
                Ok(hosts) => {
                    let bits = hosts.iter().map(|name| 1u8 << name.as_str()[1..].parse::<u8>().unwrap());
                    let found = bits.clone().fold(0, |all, bit| all | bit);
                    prop_assert_eq!(found, expected, "{}", &text);
                    prop_assert_eq!(bits.count(), expected.count_ones() as usize, "{}: twice", &text);
                    prop_assert!(expected != 0, "{}: nothing was selected", &text);
                }
                Err(_) => prop_assert_eq!(expected, 0, "{}", &text),
            }
        }

        /// Whatever happens to a file, a reader says what is wrong with it, at places that exist.
        #[test]
        fn damaged_files_are_faults_and_never_a_fall(
            which in 0usize..3,
            at in any::<prop::sample::Index>(),
            length in 0usize..20,
            put in "[\\[\\]{}=\"'\\\\.,#\n a0%-]{0,3}",
        ) {
            let file = [
                "tests/cases/inventory/good.toml",
                "tests/cases/playbook/good.toml",
                "tests/cases/rollout/good.toml",
            ][which];
            let mut text = fs::read_to_string(file).unwrap();
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            text.replace_range(start..end, &put);
            let (_folder, file) = written(&text);
            let found = match which {
                0 => inventory::read(&file).err(),
                1 => playbook::read(file.to_str().unwrap()).err(),
                _ => rollout::read(&file).err(),
            };
            if let Some(found) = found {
                faults(&found);
                found.json();
            }
        }
    }
}
