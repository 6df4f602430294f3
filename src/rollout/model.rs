//! The rollout as resolved.

use crate::base::{
    approval::Rule, fault::Source, name::WaveName, time::Timestamp, window::Windows,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// How many of a number of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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

/// A question that is put from the controller while a run goes on, again and again, and what follows from a bad answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    pub ask: Question,
    /// From the beginning of one question to that of the next.
    #[serde(with = "crate::base::time::millis")]
    pub every: Duration,
    /// Without an answer in this time nothing is known.
    #[serde(with = "crate::base::time::millis")]
    pub timeout: Duration,
    /// So many answers in a row that are not good are acted upon.
    pub failures: u32,
    pub act: Act,
    /// What a person should do then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recovery: Option<String>,
}

/// How it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// A script on the controller, which exits with 0 where all is well; with an expression that its output has to meet.
    IsWell { run: String, expect: Option<String> },
    /// A script on the controller, which exits with 0 where the condition holds, and with 1 where it does not.
    Holds { run: String },
    /// An expression of a Prometheus server. The condition holds where it has a value.
    Prometheus { server: String, query: String },
}

/// What a run does where an answer is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// No host starts; those in flight go on to their end.
    Pause,
    /// No host starts; those in flight go on to a safe point.
    Stop,
    /// As `Pause`, and hosts of the wave that are migrated are rolled back; of all waves that are not over, for an interrupt.
    RollbackWave,
}

/// A condition over the whole run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupt {
    pub name: String,
    pub watch: Watch,
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
    pub interrupts: Vec<Interrupt>,
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
    /// Asked while it runs and soaks.
    pub health: Option<Watch>,
    /// Its canaries are migrated, rolled back, and migrated again.
    pub rehearse_rollback: bool,
    /// Its hosts rest between two hops until somebody resumes the run.
    pub rest_between_hops: bool,
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
            health: None,
            rehearse_rollback: false,
            rest_between_hops: false,
        }
    }
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
        let name = "all".parse().expect("a constant name");
        let wave = Wave { canary: 1, ..Wave::new(name, "@all".to_owned()) };
        Self {
            parallel: 10,
            on_failure: OnFailure::Rollback,
            budget: Budget::of(Allowance::Percent(10)),
            at_most: Vec::new(),
            waves: vec![wave],
            interrupts: Vec::new(),
            accepts: Vec::new(),
            sources: Vec::new(),
        }
    }
}
