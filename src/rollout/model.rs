//! The rollout as resolved.

use crate::base::{
    approval::Rule, fault::Source, name::WaveName, time::Timestamp, window::Windows,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// How many of a number of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allowance {
    Hosts(u32),
    Percent(u32),
}

impl Allowance {
    /// The allowance as a number of hosts; a percentage is rounded down.
    pub fn of(self, hosts: usize) -> usize {
        match self {
            Self::Hosts(n) => n as usize,
            Self::Percent(p) => hosts * p as usize / 100,
        }
    }
}

/// How many hosts may end badly before the run pauses. Failed, rolled back, unreachable and needs-hands count;
/// blocked and held do not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Of all hosts of the plan, or of the wave whose budget it is. One more than this pauses the run.
    pub failures: Allowance,
    /// This many bad ends in a row pause the run.
    pub consecutive: Option<u32>,
    /// More bad ends than this within an hour pause the run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub per_hour: Option<u32>,
    /// By label: of the hosts that share a value of it. One more than this pauses the run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub per: BTreeMap<String, Allowance>,
}

impl Budget {
    /// One that allows so many bad ends, and asks for nothing else.
    pub fn of(failures: Allowance) -> Self {
        Self { failures, consecutive: None, per_hour: None, per: BTreeMap::new() }
    }
}

/// A failure domain's limit: so many of the hosts that share a value of a label may be away at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtMost {
    pub hosts: u32,
    /// The label.
    pub per: String,
}

/// What happens to a host whose migration failed after it was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    Rollback,
    /// Left as it is, for a person.
    Hold,
}

/// A rollout, resolved. Hosts are named by selections, which the plan resolves.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// Hosts in flight at once, over all waves.
    pub parallel: u32,
    pub on_failure: OnFailure,
    pub budget: Budget,
    /// For hosts of all waves.
    pub at_most: Vec<AtMost>,
    pub waves: Vec<Wave>,
    /// Findings of prechecks that somebody has taken upon himself.
    pub accepts: Vec<Accept>,
    pub sources: Vec<Source>,
}

#[derive(Clone, Debug)]
pub struct Wave {
    pub name: WaveName,
    /// A selection as written: `@web,!web-03`.
    pub hosts: String,
    /// Waves that must have ended before this one starts.
    pub after: Vec<WaveName>,
    /// So many hosts go first, and all must be migrated before the others start.
    pub canary: u32,
    /// Hosts of this wave in flight at once, within the rollout's `parallel`.
    pub parallel: Option<u32>,
    /// When hosts of this wave may be worked on; at any time without them.
    pub windows: Option<Windows>,
    /// Who must approve before its hosts start; nobody without it.
    pub approval: Option<Rule>,
    /// How many of its own hosts may end badly, beside the budget of the fleet.
    pub budget: Option<Budget>,
    /// For its hosts, beside what holds for all.
    pub at_most: Vec<AtMost>,
    /// So many hosts begin, and the next ones when all of these have ended.
    pub barrier: Option<u32>,
    /// How long it is watched after its last host has ended, before it counts as ended itself.
    pub soak: Option<Duration>,
}

impl Wave {
    /// A wave of these hosts that asks for nothing.
    pub fn new(name: WaveName, hosts: String) -> Self {
        Self {
            name,
            hosts,
            after: Vec::new(),
            canary: 0,
            parallel: None,
            windows: None,
            approval: None,
            budget: None,
            at_most: Vec::new(),
            barrier: None,
            soak: None,
        }
    }
}

/// A finding that does not block for a while, by somebody's word.
#[derive(Clone, Debug)]
pub struct Accept {
    /// The name of the precheck that finds it.
    pub finding: String,
    /// A selection as written.
    pub hosts: String,
    /// Who answers for it.
    pub by: String,
    /// The last day on which it holds, as written, and its end in UTC.
    pub until: String,
    pub ends: Timestamp,
    pub reason: String,
}

impl Default for Rollout {
    /// One canary, then the rest, ten in flight, a budget of 10 %.
    fn default() -> Self {
        let name = "all".parse().expect("a constant name");
        let wave = Wave { canary: 1, ..Wave::new(name, "@all".to_owned()) };
        Self {
            parallel: 10,
            on_failure: OnFailure::Rollback,
            budget: Budget::of(Allowance::Percent(10)),
            at_most: Vec::new(),
            waves: vec![wave],
            accepts: Vec::new(),
            sources: Vec::new(),
        }
    }
}
