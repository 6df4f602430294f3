//! The plan itself. What many hosts share is kept once: rendered steps and connections are pools with indices.

use crate::{
    base::{
        approval::Rule,
        facts::System,
        name::{GroupName, HostName, WaveName},
        phase::Phase,
        quantile::quantile,
        time::Timestamp,
        value::{SecretSource, Value},
        window::Windows,
    },
    inventory::Connection,
    journal::{Acceptance, Moment, StepId},
    playbook::{Action, OnLost, Reads, Severity},
    rollout::{AtMost, Budget, Interrupt, OnFailure, Watch},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// The version of the plan's form. A plan of another version is refused.
pub const PLAN_FORMAT: u32 = 1;
/// How long a step may take that does not say so itself: a look at the host.
const LOOK_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub format: u32,
    pub playbook: String,
    pub title: String,
    pub support: Option<String>,
    /// The selection that chose the hosts, as typed.
    pub selection: String,
    pub hops: Vec<PlanHop>,
    /// The way of every host, in order: hop after hop, and in it identity, backup, precheck, migrate, verify, system;
    /// after these the hop's rollback and commit, which no host enters by itself.
    pub steps: Vec<PlanStep>,
    pub waves: Vec<PlanWave>,
    pub hosts: Vec<PlanHost>,
    /// Steps as rendered; hosts point here.
    pub rendered: Vec<Rendered>,
    pub connections: Vec<Arc<Connection>>,
    pub limits: Limits,
    /// Conditions over the whole run.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub interrupts: Vec<Interrupt>,
    /// What hosts are told by the inventory: each set of variables once; hosts point here.
    #[serde(default)]
    pub variables: Vec<BTreeMap<String, Told>>,
    /// Findings that somebody has taken upon himself.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub accepts: Vec<PlanAccept>,
    /// The files that the plan was made from.
    pub inputs: Vec<Input>,
    /// What to say to make the plan anew.
    #[serde(default)]
    pub origin: Option<Origin>,
}

/// A finding that does not block these hosts until then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanAccept {
    /// The name of the precheck that finds it, or its key in a migrator's report: `leapp:9881b25f…`.
    pub finding: String,
    pub hosts: BTreeSet<HostName>,
    pub by: String,
    pub until: String,
    pub ends: Timestamp,
    pub reason: String,
}

/// The value of a variable, as far as a plan keeps it: for telling what changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    Plain(serde_json::Value),
    /// Where a secret is read from.
    Secret(SecretSource),
    /// `sha256:…` of a value whose name says that it had better not be shown.
    Hidden(String),
}

/// What was named for the plan, beside its selection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The fleet's folder, or the inventory's file.
    pub inventory: PathBuf,
    /// A shipped playbook's name, or a path.
    pub playbook: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanHop {
    pub name: String,
    pub title: String,
    pub from: Option<System>,
    pub to: Option<System>,
    /// Where the hop's steps stand in the plan's: those that a host passes by itself.
    pub forward: Range<usize>,
    pub rollback: Range<usize>,
    pub commit: Range<usize>,
    /// Defaults of the hop's variables, for templates that are rendered late.
    pub vars: BTreeMap<String, Value>,
}

/// A step of the way, as far as all hosts share it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanStep {
    #[serde(flatten)]
    pub id: StepId,
    #[serde(with = "crate::base::time::millis")]
    pub timeout: Duration,
    pub retries: u32,
    #[serde(with = "crate::base::time::millis")]
    pub retry_delay: Duration,
    pub ok_exit: Vec<i32>,
    pub sudo: Option<bool>,
    pub register: bool,
    pub on_lost: OnLost,
    pub arms: bool,
    /// Asked also of a host that is found on the target.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub already: bool,
    /// Built in, at the head of a rollback: undoes `arms`, and is left out where the host is not armed.
    pub disarms: bool,
    /// After this step the host is on another boot, so that it is no longer armed.
    pub reboots: bool,
    pub severity: Severity,
    pub remedy: Option<String>,
    /// Whose report is read after the command.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reads: Option<Reads>,
    /// The playbook's word for how long it takes.
    #[serde(with = "crate::base::time::millis")]
    pub estimate: Duration,
    /// What it took in runs before, where there were enough of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub measured: Option<Measured>,
}

/// So many attempts say more about a step than its author does.
pub const MEASURED_MIN: usize = 5;

/// How long attempts of a step took that passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    pub attempts: usize,
    #[serde(with = "crate::base::time::millis")]
    pub p50: Duration,
    #[serde(with = "crate::base::time::millis")]
    pub p90: Duration,
}

impl Measured {
    /// Of lengths in milliseconds; `None` for too few of them.
    pub fn of(mut lengths: Vec<u64>) -> Option<Self> {
        lengths.sort_unstable();
        let at = |percent| quantile(&lengths, percent).map(Duration::from_millis);
        let (p50, p90) = (at(50)?, at(90)?);
        (lengths.len() >= MEASURED_MIN).then_some(Self { attempts: lengths.len(), p50, p90 })
    }
}

/// What a step does on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Built in: gathers facts, and checks them against the system that is wanted here, where one is.
    Look {
        moment: Moment,
        want: Option<System>,
    },
    Act(Action),
}

/// A step as rendered for one or many hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendered {
    /// Its place in the plan's steps.
    pub step: usize,
    /// Whether texts here are still templates, since they ask for facts, outputs of steps or secrets.
    pub late: bool,
    /// The condition that is known to be false for these hosts: the step is skipped.
    pub skip: Option<Arc<str>>,
    pub task: Task,
    /// A condition that can only be evaluated once facts are known.
    pub when: Option<Arc<str>>,
    pub unless: Option<Arc<str>>,
    pub verify: Option<Arc<str>>,
    pub expect: Option<Arc<str>>,
    pub probe: Option<Arc<str>>,
    pub disarm: Option<Arc<str>>,
    /// Where the report of a migrator lies, where it is not where it usually is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub report: Option<Arc<str>>,
    pub env: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanHost {
    pub name: HostName,
    pub groups: Vec<GroupName>,
    pub labels: BTreeMap<String, String>,
    pub wave: usize,
    pub addresses: Vec<String>,
    /// Index into the plan's connections.
    pub connection: usize,
    /// For each of the plan's steps, an index into `rendered`.
    pub steps: Vec<u32>,
    /// Variables that templates will need that are rendered late. Secrets are named, not held.
    pub vars: BTreeMap<String, Value>,
    /// Index into the plan's variables: all that the inventory says of the host.
    #[serde(default)]
    pub variables: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanWave {
    pub name: WaveName,
    /// Indices of hosts, in the order in which they start; the first `canary` of them go alone.
    pub hosts: Vec<usize>,
    /// Indices of waves that must have ended before.
    pub after: Vec<usize>,
    pub canary: usize,
    /// Hosts of this wave in flight at once.
    pub parallel: usize,
    /// When its hosts may be worked on; at any time without them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub windows: Option<Windows>,
    /// Who must approve before its hosts start; nobody without it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approval: Option<Rule>,
    /// How many of its own hosts may end badly.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub budget: Option<Budget>,
    /// How many hosts of a failure domain may be away when one of its hosts starts, beside what holds for all.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub at_most: Vec<AtMost>,
    /// So many hosts begin, and the next ones when all of these have ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub barrier: Option<usize>,
    /// How long it is watched after its last host has ended.
    #[serde(
        with = "crate::base::time::maybe_millis",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub soak: Option<Duration>,
    /// Asked while it runs and soaks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub health: Option<Watch>,
    /// Its canaries are migrated, rolled back, and migrated again.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub rehearse_rollback: bool,
    /// Its hosts rest between two hops until somebody resumes the run.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub rest_between_hops: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub parallel: usize,
    pub on_failure: OnFailure,
    pub budget: Budget,
    /// How many hosts of a failure domain may be away at once.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub at_most: Vec<AtMost>,
}

/// A file that went into the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    pub path: PathBuf,
    /// `sha256:…` of its content.
    pub digest: String,
    /// `sha256:…` of what it says, apart from comments and white space. Absent where every byte counts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub meaning: Option<String>,
}

impl PlanStep {
    /// A step that asks for nothing.
    pub fn new(id: StepId) -> Self {
        Self {
            id,
            timeout: LOOK_TIMEOUT,
            retries: 0,
            retry_delay: Duration::from_secs(2),
            ok_exit: vec![0],
            sudo: None,
            register: false,
            on_lost: OnLost::Hold,
            arms: false,
            already: false,
            disarms: false,
            reboots: false,
            severity: Severity::Blocker,
            remedy: None,
            reads: None,
            estimate: Duration::from_secs(1),
            measured: None,
        }
    }
}

impl Rendered {
    /// The step at this place of the plan, with nothing around its task.
    pub fn new(step: usize, task: Task) -> Self {
        Self {
            step,
            late: false,
            skip: None,
            task,
            when: None,
            unless: None,
            verify: None,
            expect: None,
            probe: None,
            disarm: None,
            report: None,
            env: BTreeMap::new(),
        }
    }
}

impl Plan {
    /// Takes in how long attempts of steps took in runs before, in milliseconds.
    pub fn measure(&mut self, mut lengths: BTreeMap<StepId, Vec<u64>>) {
        for step in &mut self.steps {
            step.measured = lengths.remove(&step.id).and_then(Measured::of);
        }
    }

    /// The plan as its files alone make it.
    #[must_use]
    pub fn unmeasured(&self) -> Self {
        let mut plan = self.clone();
        plan.measure(BTreeMap::new());
        plan
    }

    /// The system that hosts are meant to end with.
    pub fn to(&self) -> Option<&System> {
        self.hops.last().and_then(|hop| hop.to.as_ref())
    }

    /// The hop that a host on this system enters: the first that begins with it. `None` where none does.
    pub fn entry_hop(&self, system: Option<&System>) -> Option<usize> {
        self.hops.iter().position(|hop| match &hop.from {
            None => true,
            Some(from) => system.is_some_and(|system| system.meets(from)),
        })
    }

    /// Whether a host on this system has nothing to do: it is on the target, and the way does not begin there.
    pub fn is_already(&self, system: Option<&System>) -> bool {
        let (Some(to), Some(system)) = (self.to(), system) else { return false };
        system.meets(to) && self.entry_hop(Some(system)).is_none()
    }

    /// The first step from here on that is asked also of a host that is found on the target; the end of the last hop's where
    /// there is none.
    pub fn next_proof(&self, from: usize) -> usize {
        let Some(hop) = self.hops.last() else { return from };
        let proofs = hop.forward.clone().filter(|step| self.steps[*step].already);
        proofs.into_iter().find(|step| *step >= from).unwrap_or(hop.forward.end)
    }

    /// The step of the way with this identity.
    pub fn step_index(&self, id: &StepId) -> Option<usize> {
        let hop = self.hops.get(usize::from(id.hop))?;
        let range = match id.phase {
            Phase::Rollback => hop.rollback.clone(),
            Phase::Commit => hop.commit.clone(),
            Phase::Backup | Phase::Precheck | Phase::Migrate | Phase::Verify => hop.forward.clone(),
        };
        range.into_iter().find(|i| self.steps.get(*i).is_some_and(|step| step.id == *id))
    }

    /// By whose word what this step finds on this host is accepted, or was: the word that holds the longest. A finding of
    /// a migrator's report has a key and a title beside.
    pub fn acceptance(
        &self,
        host: usize,
        step: usize,
        reported: Option<(&str, &str)>,
        now: Timestamp,
    ) -> Option<Acceptance> {
        let (host, id) = (&self.hosts[host].name, &self.steps[step].id);
        let fits = |accept: &&PlanAccept| {
            let by_step = id.phase == Phase::Precheck && accept.finding == id.step.as_str();
            let by_key = || {
                reported
                    .is_some_and(|(key, title)| super::accept::names(&accept.finding, key, title))
            };
            accept.hosts.contains(host) && (by_step || by_key())
        };
        let accept = self.accepts.iter().filter(fits).max_by_key(|accept| accept.ends)?;
        Some(Acceptance {
            by: accept.by.clone(),
            until: accept.until.clone(),
            reason: accept.reason.clone(),
            expired: now >= accept.ends,
        })
    }

    /// What this step is for this host.
    pub fn rendered(&self, host: usize, step: usize) -> &Rendered {
        &self.rendered[self.hosts[host].steps[step] as usize]
    }
}
