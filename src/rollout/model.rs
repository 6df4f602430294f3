//! The rollout as resolved.

use crate::base::{
    approval::Rule, fault::Source, name::WaveName, time::Timestamp, window::Windows,
};
use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Of all hosts of the plan. One more than this pauses the run.
    pub failures: Allowance,
    /// This many bad ends in a row pause the run.
    pub consecutive: Option<u32>,
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
}

/// A finding that does not block for a while, by somebody's word.
#[derive(Clone, Debug)]
pub struct Accept {
    /// The name of the precheck that finds it, or its keys in a migrator's report: `leapp:9881b25f…`. Keys change over
    /// versions, so there may be several for one finding.
    pub findings: Vec<String>,
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
        let wave = Wave {
            name: "all".parse().expect("a constant name"),
            hosts: "@all".to_owned(),
            after: Vec::new(),
            canary: 1,
            parallel: None,
            windows: None,
            approval: None,
        };
        Self {
            parallel: 10,
            on_failure: OnFailure::Rollback,
            budget: Budget { failures: Allowance::Percent(10), consecutive: None },
            waves: vec![wave],
            accepts: Vec::new(),
            sources: Vec::new(),
        }
    }
}
