//! What is asked again and again while a run goes on, and what was answered.

use crate::base::name::WaveName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WatchId {
    /// The health of a wave.
    Health(WaveName),
    /// An interrupt, by its name.
    Interrupt(String),
}

impl fmt::Display for WatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Health(wave) => write!(f, "health of wave {wave}"),
            Self::Interrupt(name) => write!(f, "interrupt {name}"),
        }
    }
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Told {
    /// All is well; the condition does not hold.
    Well,
    /// It is not well; the condition holds.
    Bad { said: String },
    /// Nobody knows: it could not be asked, or what it said could not be understood.
    Unclear { reason: String },
}

impl Told {
    pub fn is_well(&self) -> bool {
        *self == Self::Well
    }

    /// Whether two answers mean the same, whatever their words are.
    pub fn means(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Well => f.write_str("well"),
            Self::Bad { said } => f.write_str(said),
            Self::Unclear { reason } => write!(f, "inconclusive: {reason}"),
        }
    }
}
