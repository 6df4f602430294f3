//! Why a run pauses.

use super::watch::{Told, WatchId};
use crate::base::{
    approval::Lack,
    name::{HostName, WaveName},
    text,
    time::Timestamp,
    window::wall_in,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The hosts that share a value of a label.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Domain {
    pub label: String,
    pub value: String,
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.label, self.value)
    }
}

/// Whose budget it is: that of the fleet, where nothing is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scope {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wave: Option<WaveName>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub domain: Option<Domain>,
}

impl fmt::Display for Scope {
    /// ` in rack r1 of wave web`; nothing for the fleet.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(domain) = &self.domain {
            write!(f, " in {domain}")?;
        }
        match (&self.wave, &self.domain) {
            (Some(wave), Some(_)) => write!(f, " of wave {wave}"),
            (Some(wave), None) => write!(f, " in wave {wave}"),
            (None, _) => Ok(()),
        }
    }
}

/// Why a run pauses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PauseReason {
    /// An operator said stop.
    Stopped {
        by: String,
    },
    /// Too many hosts have ended badly.
    OverBudget {
        failures: usize,
        allowed: usize,
        #[serde(flatten)]
        of: Scope,
    },
    /// Too many in a row have ended badly.
    Consecutive {
        failures: usize,
        allowed: usize,
        #[serde(flatten)]
        of: Scope,
    },
    /// Too many have ended badly within an hour.
    Rate {
        failures: usize,
        allowed: usize,
        #[serde(flatten)]
        of: Scope,
    },
    Canary {
        wave: WaveName,
        host: HostName,
    },
    /// Nothing is left to do but for hosts that operators hold, and for what comes after these.
    Held {
        hosts: Vec<HostName>,
    },
    /// Nothing is left to do but for hosts of failure domains in which others ended badly, and may be down.
    Domain {
        wave: WaveName,
        domain: Domain,
        /// Who is away in it.
        hosts: Vec<HostName>,
    },
    /// A question that is put again and again has an answer that is not good.
    Watch {
        watch: WatchId,
        told: Told,
        in_a_row: u32,
        /// What a person should do.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        recovery: Option<String>,
    },
    /// A canary has shown that it cannot go back, or not migrate a second time.
    Rehearsal {
        wave: WaveName,
        host: HostName,
    },
    /// Nothing is left to do but for hosts that rest between two hops, as their wave says.
    Hop {
        hosts: Vec<HostName>,
    },
    /// Nothing is left to do now but to watch a wave that has ended, and nobody waits.
    Soak {
        wave: WaveName,
        until: Timestamp,
    },
    /// Nothing is left to do now but to wait for a window, and nobody waits; or none opens any more that is long enough.
    Window {
        wave: WaveName,
        /// When one opens, where one does.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        opens: Option<Timestamp>,
        /// In which zone the window's times are told.
        zone: String,
    },
    /// Nothing is left to do now but to wait for approvals, and nobody waits.
    Approval {
        gate: WaveName,
        #[serde(flatten)]
        lack: Lack,
    },
    /// The journal could not be written.
    Journal {
        error: String,
    },
}

/// Names of hosts in a reason, in characters.
const NAMES_WIDTH: usize = 120;

impl fmt::Display for PauseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped { by } => write!(f, "stopped by {by}"),
            Self::OverBudget { failures, allowed, of } => {
                write!(f, "over budget: {failures} ended badly{of}, {allowed} allowed")
            }
            Self::Consecutive { failures, allowed, of } => {
                write!(f, "{failures} in a row ended badly{of}, {allowed} allowed")
            }
            Self::Rate { failures, allowed, of } => {
                write!(f, "{failures} ended badly within an hour{of}, {allowed} allowed")
            }
            Self::Canary { wave, host } => {
                write!(f, "the canary {host} of wave {wave} was not migrated")
            }
            Self::Held { hosts } => {
                write!(f, "it waits for hosts that are held: {}", folded(hosts))
            }
            Self::Domain { wave, domain, hosts } => {
                let names = folded(hosts);
                write!(f, "hosts of wave {wave} wait for their {domain}, where {names} ended badly")
            }
            Self::Watch { watch, told, in_a_row, recovery } => {
                write!(f, "{watch}: {told}")?;
                if *in_a_row > 1 {
                    write!(f, ", {in_a_row} times in a row")?;
                }
                recovery.as_ref().map_or(Ok(()), |recovery| write!(f, "; {recovery}"))
            }
            Self::Rehearsal { wave, host } => {
                write!(f, "the rehearsal of canary {host} of wave {wave} failed")
            }
            Self::Hop { hosts } => {
                write!(f, "{} rest between two hops; a resume takes them on", folded(hosts))
            }
            Self::Soak { wave, until } => write!(f, "wave {wave} soaks until {until}"),
            Self::Window { wave, opens: Some(opens), zone } => {
                write!(f, "the window of wave {wave} opens {}", wall_in(zone, *opens))
            }
            Self::Window { wave, opens: None, zone: _ } => {
                write!(f, "no window of wave {wave} opens any more that is long enough")
            }
            Self::Approval { gate, lack } => write!(f, "the gate of wave {gate} is closed: {lack}"),
            Self::Journal { error } => write!(f, "the journal cannot be written: {error}"),
        }
    }
}

fn folded(hosts: &[HostName]) -> String {
    let names = text::fold_names(hosts.iter().map(HostName::as_str));
    text::shorten(&names, NAMES_WIDTH).into_owned()
}
