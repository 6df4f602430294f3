//! Reading a rollout.

use super::{
    Accept, Allowance, Budget, OnFailure, Rollout, Wave,
    approval::{Approvals, Asked},
    limits::{at_most, budget},
    shape::ROLLOUT,
    watch::{health, interrupts},
    window::windows,
};
use crate::base::{
    approval::Rule,
    fault::{Fault, Faults, Refusal, Source},
    name::WaveName,
    shape::{Collector, Node},
    suggest::did_you_mean,
    window::{Windows, end_of_day},
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// The file of a fleet's rollout.
const ROLLOUT_FILE: &str = "rollout.toml";

/// The rollout of a fleet's folder: its `rollout.toml`, or the default where it has none.
pub fn of_fleet(folder: &Path) -> Result<Rollout, Faults> {
    let file: PathBuf = folder.join(ROLLOUT_FILE);
    // A link that leads nowhere is there, and a fault.
    if fs::symlink_metadata(&file).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    {
        return Ok(Rollout::default());
    }
    read(&file)
}

/// Reads a rollout's file.
pub fn read(path: &Path) -> Result<Rollout, Faults> {
    let source = Source::from_read(path, fs::read(path))?;
    let mut out = Collector::new(&source);
    let mut approvals = Approvals::new(path);
    let rollout = out.read(&ROLLOUT).map(|root| rollout(&root, &mut approvals, &mut out));
    out.faults.append(&mut approvals.faults);
    let mut sources = vec![source.clone()];
    sources.append(&mut approvals.sources);
    Faults(out.faults).unless_any(rollout.map(|rollout| Rollout { sources, ..rollout }))
}

/// A fault of a wave's selection that shows only with the inventory at hand. A range is within the selection.
pub fn fault_in_wave(rollout: &Rollout, wave: &WaveName, refusal: Refusal) -> Fault {
    let whose = format!("wave `{wave}`: ");
    fault_at(rollout, refusal, &whose, |root| wave_in(root, wave)?.get("hosts"))
}

/// A fault of a wave's windows that shows only with the plan at hand; they may be those of all waves.
pub fn fault_in_window(rollout: &Rollout, wave: &WaveName, refusal: Refusal) -> Fault {
    let whose = format!("wave `{wave}`: ");
    fault_at(rollout, refusal, &whose, |root| {
        let own = wave_in(root, wave)?.get("window");
        own.or_else(|| root.get("defaults")?.get("window"))
    })
}

/// A fault of a key of a wave, or of the defaults, that shows only with the plan at hand.
pub fn fault_in_key(
    rollout: &Rollout,
    wave: Option<&WaveName>,
    key: &'static str,
    refusal: Refusal,
) -> Fault {
    fault_at(rollout, refusal, "", |root| match wave {
        None => root.get("defaults")?.get(key),
        Some(wave) => wave_in(root, wave)?.get(key),
    })
}

/// A fault of an accepted finding that shows only with the playbook or the inventory at hand: of one of its keys.
pub fn fault_in_accept(rollout: &Rollout, number: usize, key: &str, refusal: Refusal) -> Fault {
    let whose = format!("accepted finding {}: ", number + 1);
    fault_at(rollout, refusal, &whose, |root| {
        let table = root.get("accept")?.items().get(number)?;
        Some(table.get(key).unwrap_or(table))
    })
}

/// The table of a wave.
fn wave_in<'n>(root: &'n Node, wave: &WaveName) -> Option<&'n Node> {
    let named = |table: &&Node| table.get("name").and_then(Node::text) == Some(wave.as_str());
    root.get("wave")?.items().iter().find(named)
}

/// A fault at a place of the file; without that place it says whose it is.
fn fault_at(
    rollout: &Rollout,
    refusal: Refusal,
    whose: &str,
    place: impl for<'n> Fn(&'n Node) -> Option<&'n Node>,
) -> Fault {
    for source in &rollout.sources {
        let mut out = Collector::new(source);
        let Some(root) = out.read(&ROLLOUT) else { continue };
        if let Some(node) = place(&root) {
            out.faults.clear();
            out.refuse(node, refusal.clone());
            if let Some(fault) = out.faults.pop() {
                return fault;
            }
        }
    }
    Fault { message: format!("{whose}{}", refusal.message), place: None, hint: refusal.hint }
}

fn rollout(root: &Node, approvals: &mut Approvals, out: &mut Collector<'_>) -> Rollout {
    let default = Rollout::default();
    let defaults = root.get("defaults");
    let of_defaults = |key: &str| defaults.and_then(|table| table.get(key));
    let asked = of_defaults("approval").and_then(|node| approvals.read(node, out));
    let mut usual = Usual {
        windows: of_defaults("window").and_then(|node| windows(node, out)),
        approval: asked.and_then(Asked::rule),
        soak: of_defaults("soak").and_then(Node::length),
        approvals,
    };
    let waves = match root.get("wave") {
        Some(tables) => waves(tables.items(), &mut usual, out),
        None => default.waves.into_iter().map(|wave| usual.wave(wave)).collect(),
    };
    Rollout {
        parallel: of_defaults("parallel").and_then(Node::whole).unwrap_or(default.parallel),
        on_failure: match of_defaults("on_failure").and_then(Node::text) {
            Some("hold") => OnFailure::Hold,
            Some(_) | None => default.on_failure,
        },
        budget: budget(of_defaults("budget"), &default.budget),
        at_most: at_most(of_defaults("at_most"), out),
        waves,
        interrupts: interrupts(root.get("interrupt").map_or(&[][..], Node::items), out),
        accepts: root
            .get("accept")
            .map_or(&[][..], Node::items)
            .iter()
            .filter_map(accept)
            .collect(),
        sources: Vec::new(),
    }
}

fn accept(table: &Node) -> Option<Accept> {
    let text = |key: &str| Some(table.get(key)?.text()?.to_owned());
    Some(Accept {
        findings: table
            .get("finding")?
            .one_or_many()
            .iter()
            .filter_map(Node::text)
            .map(str::to_owned)
            .collect(),
        hosts: text("hosts").unwrap_or_else(|| "@all".to_owned()),
        by: text("by")?,
        until: text("until")?,
        ends: table.get("until")?.parse(end_of_day)?,
        reason: text("reason")?,
    })
}

/// What holds for waves that say nothing of their own.
struct Usual<'a> {
    windows: Option<Windows>,
    approval: Option<Rule>,
    soak: Option<Duration>,
    approvals: &'a mut Approvals,
}

impl Usual<'_> {
    fn wave(&self, wave: Wave) -> Wave {
        let (windows, approval) = (self.windows.clone(), self.approval.clone());
        Wave { windows, approval, soak: self.soak, ..wave }
    }
}

fn waves(tables: &[Node], usual: &mut Usual<'_>, out: &mut Collector<'_>) -> Vec<Wave> {
    // Every wave with a name, and where it stands: also those that have other faults are known to `after`.
    let mut known: BTreeMap<WaveName, usize> = BTreeMap::new();
    for (i, table) in tables.iter().enumerate() {
        let Some(node) = table.get("name") else { continue };
        let Some(name) = node.parse(str::parse::<WaveName>) else { continue };
        match known.entry(name) {
            Entry::Vacant(free) => {
                free.insert(i);
            }
            Entry::Occupied(taken) => {
                let message = format!("there are two waves with the name `{}`", taken.key());
                out.add_with_hint(&node.range, message, "give it another name");
            }
        }
    }
    for table in tables {
        for item in table.get("after").map_or(&[][..], Node::items) {
            let Some(name) = item.parse(str::parse::<WaveName>) else { continue };
            if !known.contains_key(&name) {
                let names = || known.keys().map(WaveName::as_str);
                let hint = did_you_mean(name.as_str(), names()).unwrap_or_else(|| {
                    format!("the waves are {}", names().collect::<Vec<_>>().join(", "))
                });
                out.add_with_hint(&item.range, format!("there is no wave `{name}`"), hint);
            }
        }
    }
    find_cycles(tables, &known, out);
    tables.iter().filter_map(|table| wave(table, usual, out)).collect()
}

fn wave(table: &Node, usual: &mut Usual<'_>, out: &mut Collector<'_>) -> Option<Wave> {
    let windows = match table.get("window") {
        Some(node) => windows(node, out),
        None => usual.windows.clone(),
    };
    let approval = match table.get("approval") {
        Some(node) => usual.approvals.read(node, out).and_then(Asked::rule),
        None => usual.approval.clone(),
    };
    let after = table.get("after").map_or(&[][..], Node::items);
    // A wave's budget limits what it names, and nothing else.
    let free = Budget::of(Allowance::Percent(100));
    Some(Wave {
        name: table.get("name")?.parse(str::parse)?,
        hosts: table.get("hosts")?.text()?.to_owned(),
        after: after.iter().filter_map(|item| item.parse(str::parse)).collect(),
        canary: table.get("canary").and_then(Node::whole).unwrap_or(0),
        parallel: table.get("parallel").and_then(Node::whole),
        windows,
        approval,
        budget: table.get("budget").map(|node| budget(Some(node), &free)),
        at_most: at_most(table.get("at_most"), out),
        barrier: table.get("barrier").and_then(Node::whole),
        soak: match table.get("soak") {
            Some(node) => node.length().filter(|soak| !soak.is_zero()),
            None => usual.soak,
        },
        health: table.get("health").and_then(health),
        rehearse_rollback: rehearses(table, out),
        rest_between_hops: table.get("rest").is_some(),
    })
}

fn rehearses(table: &Node, out: &mut Collector<'_>) -> bool {
    let Some(entry) = table.entry("rehearse_rollback") else { return false };
    let asked = entry.node.flag().unwrap_or(false);
    let canary = table.get("canary").and_then(Node::whole).unwrap_or(0u32);
    if asked && canary == 0 {
        let hint = "canary = 1";
        out.add_with_hint(&entry.key, "it is canaries that rehearse, and this wave has none", hint);
    }
    asked
}

/// Takes away waves that wait for nothing that is left, until none can be taken. What is left waits for itself.
fn find_cycles(tables: &[Node], known: &BTreeMap<WaveName, usize>, out: &mut Collector<'_>) {
    let after: Vec<Vec<(usize, &Node)>> = tables
        .iter()
        .map(|table| {
            let items = table.get("after").map_or(&[][..], Node::items).iter();
            items.filter_map(|item| Some((*known.get(item.text()?)?, item))).collect()
        })
        .collect();
    let mut left: Vec<bool> = vec![true; tables.len()];
    loop {
        let free = (0..tables.len())
            .find(|i| left[*i] && !after[*i].iter().any(|(other, _)| left[*other]));
        match free {
            Some(i) => left[i] = false,
            None => break,
        }
    }
    // Each cycle is told once, at the wave where following it first comes round.
    let mut told = vec![false; tables.len()];
    for start in (0..tables.len()).filter(|i| left[*i]) {
        let mut way: Vec<usize> = Vec::new();
        let mut at = start;
        while !told[at] {
            if let Some(first) = way.iter().position(|i| *i == at) {
                tell_cycle(tables, &way[first..], &after, out);
                break;
            }
            way.push(at);
            // What is left always waits for something that is left.
            let Some((next, _)) = after[at].iter().find(|(other, _)| left[*other]) else { break };
            at = *next;
        }
        way.into_iter().for_each(|i| told[i] = true);
    }
}

fn tell_cycle(
    tables: &[Node],
    cycle: &[usize],
    after: &[Vec<(usize, &Node)>],
    out: &mut Collector<'_>,
) {
    let name = |i: usize| tables[i].get("name").and_then(Node::text).unwrap_or_default();
    let (Some(first), Some(last)) = (cycle.first(), cycle.last()) else { return };
    let Some((_, place)) = after[*last].iter().find(|(other, _)| other == first) else { return };
    let mut names: Vec<&str> = cycle.iter().map(|i| name(*i)).collect();
    names.push(name(*first));
    out.add_with_hint(
        &place.range,
        format!("waves wait for each other: {}", names.join(" after ")),
        "take one of them out of `after`",
    );
}
