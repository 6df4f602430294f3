//! Readers against what their input's maker knows, and against damage. A failure prints its seed and its smallest case.

use crate::{shown, written};
use fleetlift::{
    base::{fault::Refusal, phase::Phase, range::expand, selection::Selection},
    inventory::{self, Inventory},
    playbook::{self, Playbook},
    rollout::{self, Rollout},
};
use proptest::prelude::*;
use std::{fmt::Write as _, fs};

/// One piece of a name: how it is written, and what it stands for, which the generator knows without reading it.
fn piece() -> impl Strategy<Value = (String, Vec<String>)> {
    let literal = "[a-z.-]{0,4}".prop_map(|text| (text.clone(), vec![text]));
    let bare = (0u32..40, 0u32..30, prop_oneof![Just(':'), Just('-')]).prop_map(|(a, n, mark)| {
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
const GROUPS: [(&str, u8); 3] = [("low", 0b0000_1111), ("odd", 0b1010_1010), ("one", 0b0001_0000)];

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
        let factors = factors.map(|(i, (negated, (text, bits)))| (negated && i > 0, text, bits));
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

    /// Whatever happens to a file, a reader says what is wrong with it, at places that exist, or reads all of it.
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
        let read = match which {
            0 => inventory::read(&file).map(|inventory| inventory_lost(&text, &inventory)),
            1 => playbook::read(file.to_str().unwrap()).map(|playbook| steps_lost(&text, &playbook)),
            _ => rollout::read(&file).map(|rollout| waves_lost(&text, &rollout)),
        };
        match read {
            Ok(lost) => prop_assert_eq!(lost, None, "{}", text),
            Err(found) => {
                shown(&found);
                found.json();
            }
        }
    }
}

/// What another reader of TOML finds in the text, and the inventory does not have.
fn inventory_lost(text: &str, inventory: &Inventory) -> Option<String> {
    let document: toml::Table = toml::from_str(text).unwrap();
    let keys = |key: &str| match document.get(key) {
        Some(toml::Value::Table(table)) => table.keys().cloned().collect(),
        _ => Vec::new(),
    };
    let host = keys("hosts").into_iter().find(|name| !inventory.hosts.contains_key(name.as_str()));
    let group =
        || keys("groups").into_iter().find(|name| !inventory.groups.contains_key(name.as_str()));
    let first = inventory.hosts.values().next()?;
    let variable = || keys("vars").into_iter().find(|name| !first.vars.contains_key(name));
    host.or_else(group).or_else(variable)
}

fn steps_lost(text: &str, playbook: &Playbook) -> Option<String> {
    let document: toml::Table = toml::from_str(text).unwrap();
    let lost = Phase::ALL.into_iter().find(|phase| {
        let written = match document.get(phase.as_str()) {
            Some(toml::Value::Array(steps)) => steps.len(),
            _ => 0,
        };
        playbook.hops[0].steps.get(phase).map_or(0, Vec::len) != written
    });
    lost.map(|phase| phase.to_string())
}

fn waves_lost(text: &str, rollout: &Rollout) -> Option<String> {
    let document: toml::Table = toml::from_str(text).unwrap();
    let written = match document.get("wave") {
        Some(toml::Value::Array(waves)) => waves.len(),
        // Without any, there is the default's one.
        _ => 1,
    };
    (rollout.waves.len() != written).then(|| format!("{} of {written}", rollout.waves.len()))
}
