//! The phases of a hop, in the order in which a host passes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A phase of a hop. The order of the variants is the order of execution.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Copies that a rollback needs; verified before anything else happens.
    Backup,
    /// Read-only questions; a blocker ends the host here, unchanged.
    Precheck,
    /// Changes the host.
    Migrate,
    /// Proves that the host is what it should be now.
    Verify,
    /// Brings the host back to the system that the hop began with.
    Rollback,
    /// Removes what a rollback would need: after it there is no way back.
    Commit,
}

impl Phase {
    pub const ALL: [Self; 6] =
        [Self::Backup, Self::Precheck, Self::Migrate, Self::Verify, Self::Rollback, Self::Commit];

    /// The key of the phase in a playbook, and its word everywhere else.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Precheck => "precheck",
            Self::Migrate => "migrate",
            Self::Verify => "verify",
            Self::Rollback => "rollback",
            Self::Commit => "commit",
        }
    }

    /// Whether a host passes this phase by itself on its way to the new system.
    pub fn is_forward(self) -> bool {
        match self {
            Self::Backup | Self::Precheck | Self::Migrate | Self::Verify => true,
            Self::Rollback | Self::Commit => false,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
