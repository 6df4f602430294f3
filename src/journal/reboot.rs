//! What a reboot came to: how it failed, what was seen while the host was dark, and what was noticed beside it.

use crate::base::{facts::System, time::format_length};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// What a host does when a login is tried. The order is that of nearness: a later one shows more of the host.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Contact {
    /// Nothing answers: no route, no reply, no address.
    NoAnswer,
    /// The machine answers, and its port is closed.
    PortClosed,
    /// The port is open, and no SSH comes of it: no banner, or an end in the key exchange.
    NoSsh,
    /// SSH sends us away for a while: too many logins at once.
    TurnedAway,
    /// SSH answers, and says that the system is going down or coming up.
    GoingDown,
    /// SSH answers, and nobody is let in.
    LoginRefused,
    /// A login succeeded, and no answer came of it.
    BrokeOff,
    /// It answers from the boot that it was to leave.
    OldBoot,
    /// It answers from a new boot, and its reboot is not over.
    NewBoot,
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAnswer => "no answer",
            Self::PortClosed => "port closed",
            Self::NoSsh => "no SSH on the open port",
            Self::TurnedAway => "SSH turned us away",
            Self::GoingDown => "the system said that it is going down or coming up",
            Self::LoginRefused => "SSH answered and refused the login",
            Self::BrokeOff => "logins without an answer",
            Self::OldBoot => "the old boot answered",
            Self::NewBoot => "a new boot answered, not ready yet",
        })
    }
}

/// What was seen of a host for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sighting {
    pub contact: Contact,
    /// From the first time that it was seen so until something else was seen.
    pub lasted_ms: u64,
}

/// Sightings in one line: `port closed for 4m, then no answer for 3h 56m`.
pub fn tell_sightings(seen: &[Sighting]) -> String {
    let one = |sighting: &Sighting| {
        let lasted = format_length(Duration::from_millis(sighting.lasted_ms));
        format!("{} for {lasted}", sighting.contact)
    };
    seen.iter().map(one).collect::<Vec<_>>().join(", then ")
}

/// How a reboot failed. Each of these asks for something else of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum RebootVerdict {
    /// It never went down: the boot id is the old one still.
    StayedUp { waited_ms: u64 },
    /// A new boot, and the system is the one that the hop begins with: the upgrade failed, or was never entered.
    OldSystem { system: System },
    /// A new boot of a system that is not the one this reboot leads into.
    WrongSystem { system: Option<System>, wanted: System },
    /// It shows a host key that is not the known one, and nobody announced that.
    KeyChanged {
        shown: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        expected: Option<String>,
        /// The key is known, as one that must not be used.
        revoked: bool,
    },
    /// Something answers at its address, and it is another machine.
    OtherMachine { was: String, is: String },
    /// It did not come back in time.
    NeverBack { limit_ms: u64, last: Contact, seen: Vec<Sighting> },
    /// It is back from a new boot, and what the reboot waits for has not come true in time.
    NotOver { limit_ms: u64, seen: Vec<Sighting> },
}

impl RebootVerdict {
    /// Whether the host answers, so that its way back can be tried.
    pub fn answers(&self) -> bool {
        match self {
            Self::StayedUp { .. }
            | Self::OldSystem { .. }
            | Self::WrongSystem { .. }
            | Self::NotOver { .. } => true,
            Self::KeyChanged { .. } | Self::OtherMachine { .. } | Self::NeverBack { .. } => false,
        }
    }
}

impl fmt::Display for RebootVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |ms: &u64| format_length(Duration::from_millis(*ms));
        match self {
            Self::StayedUp { waited_ms } => {
                write!(f, "never went down: after {} its boot id is the old one", length(waited_ms))
            }
            Self::OldSystem { system } => {
                write!(f, "came back as the old system: a new boot, and it runs {system}")
            }
            Self::WrongSystem { system, wanted } => {
                let runs = system.as_ref().map_or("an unknown system".into(), ToString::to_string);
                write!(f, "came back as the wrong system: it runs {runs}, should run {wanted}")
            }
            Self::KeyChanged { shown, expected, revoked } => {
                let how = if *revoked { "shows a revoked host key" } else { "host key changed" };
                write!(f, "{how}: it shows {shown}")?;
                expected.as_ref().map_or(Ok(()), |known| write!(f, ", known is {known}"))
            }
            Self::OtherMachine { was, is } => {
                write!(f, "another machine answers at its address: was {was}, is {is}")
            }
            Self::NeverBack { limit_ms, last, .. } => {
                write!(f, "never back within {}: {last}", length(limit_ms))
            }
            Self::NotOver { limit_ms, .. } => {
                write!(f, "back, and not ready within {}", length(limit_ms))
            }
        }
    }
}

/// A host key that was announced, and that known_hosts does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// As OpenSSH writes it.
    pub key: String,
    /// Its type and fingerprint.
    pub shown: String,
    /// The fingerprint that is known instead, where there is one of this type.
    pub expected: Option<String>,
    /// What to do about known_hosts.
    pub advice: String,
}

/// What a finding is about, where it is not a step's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// More boots than the step expects. `seen` is a lower bound: what nobody saw and the host has no record of is missing.
    ExtraBoots {
        seen: u32,
        expected: u32,
        /// By the host's own list; else by the boots that answered.
        told_by_host: bool,
    },
    /// Rebooting for longer than all hosts before it in this step.
    Late { so_far_ms: u64, hosts: usize, p50_ms: u64, p95_ms: u64, max_ms: u64 },
    /// On another boot than before, which no step asked for.
    UnaskedBoot {
        was: String,
        is: String,
        /// At that time any reboot would migrate the host.
        armed: bool,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        system: Option<System>,
    },
    /// A new host key, as the step announced; taken for the rest of the run.
    NewHostKey {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        old: Option<String>,
        new: String,
    },
    /// The host's lock was another's, and its lease had run out.
    LockTaken { how: String },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |ms: &u64| format_length(Duration::from_millis(*ms));
        match self {
            Self::ExtraBoots { seen, expected, told_by_host } => {
                let by = if *told_by_host { "by its own list of boots" } else { "seen" };
                write!(f, "at least {seen} boots {by}, {expected} expected")
            }
            Self::Late { so_far_ms, hosts, p50_ms, max_ms, .. } => write!(
                f,
                "later than all before: rebooting for {}; {hosts} hosts took {}, at most {}",
                length(so_far_ms),
                length(p50_ms),
                length(max_ms)
            ),
            Self::UnaskedBoot { was, is, armed, system } => {
                let armed = if *armed { " while it was armed" } else { "" };
                write!(f, "was started anew{armed}, by no step: boot {was} became {is}")?;
                system.as_ref().map_or(Ok(()), |system| write!(f, "; it runs {system} now"))
            }
            Self::NewHostKey { old, new } => {
                let old = old.as_deref().unwrap_or("not known");
                write!(f, "has a new host key, as announced: {new}; it was {old}")
            }
            Self::LockTaken { how } => f.write_str(how),
        }
    }
}
