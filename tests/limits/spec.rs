//! A fleet and its rollout, as drawn: what the oracle knows, and what is written into files for the program to read.

use crate::chance::Chance;
use std::{collections::BTreeMap, fmt::Write as _};

/// How a host ends, if it is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Good,
    Blocked,
    /// Its backup fails: nothing was changed.
    Failed,
    RolledBack,
    NeedsHands,
    Unreachable,
}

impl Fate {
    pub fn is_bad(self) -> bool {
        !matches!(self, Self::Good | Self::Blocked)
    }

    /// Whether a person who resumes knows that it is up.
    pub fn stands(self) -> bool {
        !matches!(self, Self::NeedsHands | Self::Unreachable)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Hosts(u64),
    Percent(u64),
}

impl Part {
    pub fn of(&self, hosts: usize) -> usize {
        match self {
            Self::Hosts(n) => *n as usize,
            Self::Percent(p) => hosts * *p as usize / 100,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Hosts(n) => n.to_string(),
            Self::Percent(p) => format!("\"{p}%\""),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Budget {
    pub failures: Option<Part>,
    pub consecutive: Option<u64>,
    pub per_hour: Option<u64>,
    pub per: BTreeMap<&'static str, Part>,
}

#[derive(Clone, Debug)]
pub struct Wave {
    pub name: String,
    pub after: Vec<usize>,
    pub canary: u64,
    pub parallel: Option<u64>,
    pub barrier: Option<u64>,
    pub soak_s: Option<u64>,
    pub budget: Option<Budget>,
    pub at_most: BTreeMap<&'static str, u64>,
    /// From this hour to that one, each day, in UTC.
    pub window: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
pub struct Host {
    pub wave: usize,
    pub labels: BTreeMap<&'static str, String>,
    pub fate: Fate,
}

#[derive(Clone, Debug)]
pub struct Spec {
    pub parallel: u64,
    pub budget: Budget,
    pub at_most: BTreeMap<&'static str, u64>,
    pub waves: Vec<Wave>,
    pub hosts: Vec<Host>,
}

pub const LABELS: [&str; 2] = ["pair", "rack"];

pub fn name(host: usize) -> String {
    format!("h{host:04}")
}

impl Spec {
    pub fn draw(seed: u64, most: u64) -> Self {
        let mut chance = Chance::new(seed);
        let hosts = match chance.between(0, 3) {
            0 => chance.between(1, 8.min(most)),
            1 | 2 => chance.between(1, 60.min(most)),
            _ => chance.between(1, most),
        };
        let waves = chance.between(1, 4);
        let trouble = chance.pick(&[0, 2, 10, 40]);
        let racks = chance.between(1, hosts / 4 + 1);
        let host = |index: u64, chance: &mut Chance| {
            let mut labels = BTreeMap::new();
            if chance.percent(85) {
                labels.insert("pair", format!("p{}", index / 2));
            }
            if chance.percent(90) {
                labels.insert("rack", format!("r{}", chance.between(0, racks)));
            }
            let fates = [
                Fate::Blocked,
                Fate::Failed,
                Fate::RolledBack,
                Fate::NeedsHands,
                Fate::Unreachable,
            ];
            let fate = if chance.percent(trouble) { chance.pick(&fates) } else { Fate::Good };
            Host { wave: chance.between(0, waves - 1) as usize, labels, fate }
        };
        let hosts: Vec<Host> = (0..hosts).map(|index| host(index, &mut chance)).collect();
        let waves = (0..waves as usize).map(|n| wave(n, &hosts, &mut chance)).collect();
        let parallel = chance.between(1, 25).max(hosts.len() as u64 / 20);
        let budget = budget(&mut chance, hosts.iter());
        let at_most = at_most(&mut chance, hosts.iter());
        Self { parallel, budget, at_most, waves, hosts }
    }

    pub fn inventory(&self) -> String {
        let mut text = String::new();
        for (index, host) in self.hosts.iter().enumerate() {
            let labels: Vec<String> =
                host.labels.iter().map(|(label, value)| format!("{label} = \"{value}\"")).collect();
            writeln!(text, "[hosts.{}]\nlabels = {{ {} }}", name(index), labels.join(", "))
                .unwrap();
        }
        for number in 0..self.waves.len() {
            let own: Vec<String> = self
                .hosts
                .iter()
                .enumerate()
                .filter(|(_, host)| host.wave == number)
                .map(|(index, _)| format!("\"{}\"", name(index)))
                .collect();
            if !own.is_empty() {
                writeln!(text, "[groups.g{number}]\nhosts = [{}]", own.join(", ")).unwrap();
            }
        }
        text
    }

    pub fn rollout(&self) -> String {
        let mut text = format!("[defaults]\nparallel = {}\n", self.parallel);
        text += &limits(Some(&self.budget), &self.at_most);
        for (number, wave) in self.waves.iter().enumerate() {
            if !self.hosts.iter().any(|host| host.wave == number) {
                continue;
            }
            write!(text, "[[wave]]\nname = \"{}\"\nhosts = \"@g{number}\"\n", wave.name).unwrap();
            let after: Vec<String> = wave
                .after
                .iter()
                .filter(|other| self.hosts.iter().any(|host| host.wave == **other))
                .map(|other| format!("\"{}\"", self.waves[*other].name))
                .collect();
            writeln!(text, "after = [{}]\ncanary = {}", after.join(", "), wave.canary).unwrap();
            for (key, value) in [("parallel", wave.parallel), ("barrier", wave.barrier)] {
                if let Some(value) = value {
                    writeln!(text, "{key} = {value}").unwrap();
                }
            }
            if let Some(soak) = wave.soak_s {
                writeln!(text, "soak = \"{soak}s\"").unwrap();
            }
            if let Some((from, to)) = wave.window {
                writeln!(
                    text,
                    "window = {{ from = \"{from:02}:00\", to = \"{to:02}:00\", zone = \"UTC\" }}"
                )
                .unwrap();
            }
            text += &limits(wave.budget.as_ref(), &wave.at_most);
        }
        text
    }
}

fn limits(budget: Option<&Budget>, at_most: &BTreeMap<&'static str, u64>) -> String {
    let mut text = String::new();
    if let Some(budget) = budget {
        let mut keys = Vec::new();
        keys.extend(budget.failures.as_ref().map(|part| format!("failures = {}", part.text())));
        keys.extend(budget.consecutive.map(|n| format!("consecutive = {n}")));
        keys.extend(budget.per_hour.map(|n| format!("per_hour = {n}")));
        let per: Vec<String> =
            budget.per.iter().map(|(label, part)| format!("{label} = {}", part.text())).collect();
        if !per.is_empty() {
            keys.push(format!("per = {{ {} }}", per.join(", ")));
        }
        writeln!(text, "budget = {{ {} }}", keys.join(", ")).unwrap();
    }
    let of: Vec<String> = at_most
        .iter()
        .map(|(label, hosts)| format!("{{ hosts = {hosts}, per = \"{label}\" }}"))
        .collect();
    if !of.is_empty() {
        writeln!(text, "at_most = [{}]", of.join(", ")).unwrap();
    }
    text
}

fn wave(number: usize, hosts: &[Host], chance: &mut Chance) -> Wave {
    let own = || hosts.iter().filter(|host| host.wave == number);
    Wave {
        name: format!("w{number}"),
        after: (0..number).filter(|_| chance.percent(40)).collect(),
        canary: chance.pick(&[0, 0, 1, 2]),
        parallel: chance.percent(40).then(|| chance.between(1, 12)),
        barrier: chance.percent(25).then(|| chance.between(1, 9)),
        soak_s: chance.percent(30).then(|| chance.between(1, 7200)),
        budget: chance.percent(40).then(|| budget(chance, own())),
        at_most: match chance.percent(35) {
            true => at_most(chance, own()),
            false => BTreeMap::new(),
        },
        window: chance.percent(20).then(|| {
            let from = chance.between(0, 20);
            (from, from + chance.between(2, 3))
        }),
    }
}

fn budget<'h>(chance: &mut Chance, hosts: impl Iterator<Item = &'h Host> + Clone) -> Budget {
    let part = |chance: &mut Chance| match chance.percent(50) {
        true => Part::Hosts(chance.between(0, 12)),
        false => Part::Percent(chance.between(0, 60)),
    };
    let known = |label: &&str| hosts.clone().any(|host| host.labels.contains_key(label));
    let per = LABELS.into_iter().filter(known).filter(|_| chance.percent(25)).collect::<Vec<_>>();
    Budget {
        failures: Some(part(chance)),
        consecutive: chance.percent(25).then(|| chance.between(1, 4)),
        per_hour: chance.percent(25).then(|| chance.between(0, 6)),
        per: per.into_iter().map(|label| (label, part(chance))).collect(),
    }
}

fn at_most<'h>(
    chance: &mut Chance,
    hosts: impl Iterator<Item = &'h Host> + Clone,
) -> BTreeMap<&'static str, u64> {
    let known = |label: &&str| hosts.clone().any(|host| host.labels.contains_key(label));
    let labels: Vec<&'static str> = LABELS.into_iter().filter(known).collect();
    let mut limits = BTreeMap::new();
    for label in labels {
        if chance.percent(60) {
            limits.insert(label, chance.between(1, 3));
        }
    }
    limits
}
