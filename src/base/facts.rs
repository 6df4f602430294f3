//! Facts: what a host says of itself.

use super::text_set::TextSet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An operating system as `/etc/os-release` names it, or as a playbook asks for it.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct System {
    /// `ID`: `centos`, `rocky`, `debian`.
    pub id: String,
    /// `VERSION_ID`: `7`, `9.6`, `13`. Empty where the system has none (rolling releases).
    #[serde(default)]
    pub version: String,
}

impl System {
    /// Whether this host's system is the `wanted` one. A wanted `9` is met by `9` and by `9.6`, not by `90`.
    pub fn meets(&self, wanted: &Self) -> bool {
        self.id == wanted.id
            && (self.version == wanted.version
                || wanted.version.is_empty()
                || self
                    .version
                    .strip_prefix(&wanted.version)
                    .is_some_and(|rest| rest.starts_with('.')))
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if !self.version.is_empty() {
            write!(f, " {}", self.version)?;
        }
        Ok(())
    }
}

/// What one look at a host found. Empty text and `None` mean that the host did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Facts {
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// `/proc/sys/kernel/random/boot_id`; new on every boot.
    pub boot_id: String,
    pub hostname: String,
    pub system: Option<System>,
    /// `PRETTY_NAME`, for people.
    pub pretty_name: String,
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub arch: String,
    pub cpus: Option<u32>,
    pub memory_mib: Option<u64>,
    /// `openssl version`, its second word.
    pub openssl: String,
    /// The numeric user that a step without sudo runs as.
    pub uid: Option<u32>,
    /// Active services, as `systemctl` names them without `.service`.
    pub services: TextSet,
    /// Failed units.
    pub failed_units: TextSet,
    /// Listening ports: `tcp/22`.
    pub ports: TextSet,
    /// Mount points of real file systems.
    pub mounts: TextSet,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(id: &str, version: &str) -> System {
        System { id: id.into(), version: version.into() }
    }

    #[test]
    fn a_major_version_is_met_by_its_minors_only() {
        let wanted = system("rocky", "9");
        assert!(system("rocky", "9").meets(&wanted));
        assert!(system("rocky", "9.6").meets(&wanted));
        assert!(!system("rocky", "90").meets(&wanted));
        assert!(!system("rocky", "8.10").meets(&wanted));
        assert!(!system("almalinux", "9.6").meets(&wanted));
    }
}
