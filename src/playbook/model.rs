//! The playbook as resolved: a chain of hops, each with its phases and steps.

use crate::base::{facts::System, fault::Source, name::StepName, phase::Phase, value::Value};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

/// A migration: one hop, or a chain of them.
#[derive(Clone, Debug)]
pub struct Playbook {
    /// The name that `-p` finds it by, or the file's stem: `centos7-to-rocky9`.
    pub name: String,
    /// `name` in the file: `CentOS 7 to Rocky Linux 9`.
    pub title: String,
    /// Who supports this way, in one sentence; the report prints it.
    pub support: Option<String>,
    pub hops: Vec<Hop>,
    /// Every playbook that was read; a plan remembers their digests.
    pub sources: Vec<Source>,
    /// Every file that a step asks for, as it was read: scripts, templates, uploads. A plan remembers their digests too.
    pub files: Vec<StepFile>,
}

/// A file that a step asks for.
#[derive(Clone, Debug)]
pub struct StepFile {
    pub path: PathBuf,
    pub content: Arc<[u8]>,
}

impl Playbook {
    /// The system that the first hop begins with.
    pub fn from(&self) -> Option<&System> {
        self.hops.first().and_then(|hop| hop.from.as_ref())
    }

    /// The system that the last hop ends with.
    pub fn to(&self) -> Option<&System> {
        self.hops.last().and_then(|hop| hop.to.as_ref())
    }
}

/// From one system to the next, with a backup and a way back of its own.
#[derive(Clone, Debug)]
pub struct Hop {
    pub name: String,
    pub title: String,
    /// Checked on the host itself before anything is changed. Without it no system is checked.
    pub from: Option<System>,
    /// Checked on the host after the last step. Without it no system is checked.
    pub to: Option<System>,
    /// Defaults of the hop's variables; the inventory's take precedence.
    pub vars: BTreeMap<String, Value>,
    pub steps: BTreeMap<Phase, Vec<Step>>,
}

/// What a step does. Texts are templates until the plan renders them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// POSIX sh, run on the host. `script` in the file puts a local file's text here, unrendered.
    Run(Arc<str>),
    /// A file of the controller, copied as it is.
    Upload {
        from: String,
        to: String,
        mode: u32,
        #[serde(with = "crate::base::bytes")]
        content: Arc<[u8]>,
    },
    /// Text, rendered, then written on the host. The file has `template = { from, to, mode }`.
    Template {
        text: Arc<str>,
        to: String,
        mode: u32,
    },
    /// A file of the host, copied into the run's artifacts.
    Download {
        from: String,
    },
    Reboot(Reboot),
    Wait(WaitFor),
    /// POSIX sh, run on the controller.
    Local(Arc<str>),
    /// Facts of now compared with the facts before the first change.
    Compare {
        what: Compare,
        ignore: Vec<String>,
    },
}

/// A reboot, proven by the boot id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reboot {
    /// How long the whole reboot may take, all boots together.
    #[serde(with = "crate::base::time::millis")]
    pub timeout: Duration,
    /// How long the old system may take to go down.
    #[serde(with = "crate::base::time::millis")]
    pub down: Duration,
    /// How long the host may be dark at a stretch. No longer than `timeout`.
    #[serde(with = "crate::base::time::millis")]
    pub each: Duration,
    /// How many boots are expected: more of them is a finding.
    pub boots: u32,
    /// The system that the host must be on when it is over. By default `to` where the host is armed, else any.
    pub into: Option<HopSystem>,
    /// The host has another host key afterwards: it is taken, once.
    pub new_host_key: bool,
    /// The command that reboots; by default `systemctl reboot`, else `reboot`.
    pub command: Option<Arc<str>>,
    /// Run on the host after each new boot; the reboot is over when it passes.
    pub until: Option<Arc<str>>,
}

/// Which of a hop's systems a reboot leads into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HopSystem {
    From,
    To,
}

/// What a `wait` step waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// A TCP port of the host answers the controller.
    Port(u16),
    /// A path exists on the host.
    Path(String),
    /// A command passes on the host.
    Command(Arc<str>),
}

/// Which facts a `compare` step compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compare {
    /// Services active before are active now.
    Services,
    /// Ports that listened before listen now.
    Ports,
    /// Mount points of before are there.
    Mounts,
    /// No unit has failed that had not failed before.
    FailedUnits,
}

/// What to do when a step's result cannot be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// Ask the step's `probe`: passed means done. The default where there is a probe.
    Probe,
    /// Run it again. Only where the playbook says so.
    Rerun,
    /// Leave the host to a person. The default where there is no probe.
    Hold,
}

/// How much a finding means.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Only told by a migrator's report: no precheck of a playbook has it.
    Info,
    Warning,
    Blocker,
}

/// Whose report a step reads after its command.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Reads {
    Leapp,
    Convert2rhel,
    /// The history that leapp and convert2rhel write when they have migrated.
    MigrationResults,
    /// What apt and dpkg print.
    Apt,
    DoReleaseUpgrade,
}

impl Reads {
    pub const ALL: [Self; 5] = [
        Self::Leapp,
        Self::Convert2rhel,
        Self::MigrationResults,
        Self::Apt,
        Self::DoReleaseUpgrade,
    ];

    /// Whether there is a file to read, and not only what was printed.
    pub fn has_file(self) -> bool {
        match self {
            Self::Leapp | Self::Convert2rhel | Self::MigrationResults | Self::DoReleaseUpgrade => {
                true
            }
            Self::Apt => false,
        }
    }

    /// Its word in playbooks, and before the keys of its findings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leapp => "leapp",
            Self::Convert2rhel => "convert2rhel",
            Self::MigrationResults => "migration-results",
            Self::Apt => "apt",
            Self::DoReleaseUpgrade => "do-release-upgrade",
        }
    }
}

impl std::fmt::Display for Reads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One step as resolved from its playbook; templates are not rendered yet.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: StepName,
    pub action: Action,
    /// An expression over facts and variables; false skips the step.
    pub when: Option<Arc<str>>,
    /// A guard, run on the host: it passes where the step's work is done already.
    pub unless: Option<Arc<str>>,
    /// Run on the host after the step; it must pass.
    pub verify: Option<Arc<str>>,
    /// An expression over `stdout`, `stderr` and `exit`; it must hold.
    pub expect: Option<Arc<str>>,
    /// Whose report is read after the command.
    pub reads: Option<Reads>,
    /// Where that lies on the host, where it is not where it usually is.
    pub report: Option<Arc<str>>,
    pub timeout: Duration,
    /// How often a failed attempt is followed by another.
    pub retries: u32,
    pub retry_delay: Duration,
    /// Exit codes that pass.
    pub ok_exit: Vec<i32>,
    /// Overrides the connection's `sudo`.
    pub sudo: Option<bool>,
    /// Environment of the step; values are templates.
    pub env: BTreeMap<String, String>,
    /// Keeps the step's output for later templates: `steps.NAME.stdout`.
    pub register: bool,
    pub on_lost: Option<OnLost>,
    pub probe: Option<Arc<str>>,
    /// After this step any reboot migrates the host.
    pub arms: bool,
    /// Asked also of a host that is found on the target.
    pub already: bool,
    /// Undoes `arms`.
    pub disarm: Option<Arc<str>>,
    /// Of a precheck.
    pub severity: Severity,
    /// What a person can do about a failed precheck.
    pub remedy: Option<String>,
    /// How long it usually takes, as the playbook's author says.
    pub estimate: Option<Duration>,
}
