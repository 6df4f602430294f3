//! The inventory as resolved: every host with its groups, variables, labels and connection.

use crate::base::{
    name::{GroupName, HostName},
    value::{SecretSource, Value},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

/// A fleet, resolved.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    pub hosts: BTreeMap<HostName, Host>,
    pub groups: BTreeMap<GroupName, Group>,
    /// The variables of `[vars]`, that hold for every host (already merged into each host's own).
    pub vars: BTreeMap<String, Value>,
    /// Every file that was read, with its content: a plan remembers their digests.
    pub sources: Vec<crate::base::fault::Source>,
}

/// A group as written: its own hosts, its child groups and its variables.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub hosts: Vec<HostName>,
    pub children: Vec<GroupName>,
    pub vars: BTreeMap<String, Value>,
}

/// One host, with everything merged that holds for it.
#[derive(Clone, Debug)]
pub struct Host {
    pub name: HostName,
    /// Every group that the host is in, also through child groups; sorted.
    pub groups: Vec<GroupName>,
    pub vars: BTreeMap<String, Value>,
    pub labels: BTreeMap<String, String>,
    pub connection: Arc<Connection>,
    /// Addresses to try in order; the host's name where none is written.
    pub addresses: Vec<String>,
}

/// What to do about a host key that `known_hosts` does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyPolicy {
    /// Refuse it.
    #[default]
    Strict,
    /// Take an unknown key and write it down; a changed or revoked key is refused all the same.
    AcceptNew,
}

/// How to reach a host. Shared by all hosts with the same settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    pub port: u16,
    /// The controller's own user name where none is written.
    pub user: Option<String>,
    /// Private keys to offer, in order. Where empty: the agent, then the default keys in `~/.ssh`.
    pub identities: Vec<PathBuf>,
    /// Whether to ask the agent at `SSH_AUTH_SOCK`. Keys of the agent are offered before files.
    pub agent: bool,
    /// Opens encrypted keys. Where absent, the operator is asked once for each key, if there is a terminal.
    pub passphrase: Option<SecretSource>,
    /// For password authentication, which is tried last, and only where this is set.
    pub password: Option<SecretSource>,
    pub known_hosts: Vec<PathBuf>,
    pub host_key: HostKeyPolicy,
    /// Whether steps run as root through sudo (never where the login user is root).
    pub sudo: bool,
    pub sudo_password: Option<SecretSource>,
    /// TCP connect, and likewise the whole key exchange.
    #[serde(with = "crate::base::time::millis")]
    pub connect_timeout: Duration,
    /// All of authentication.
    #[serde(with = "crate::base::time::millis")]
    pub auth_timeout: Duration,
    /// A keep-alive after this much silence; after three without answer the connection is dead.
    #[serde(with = "crate::base::time::millis")]
    pub keepalive: Duration,
    /// Where steps keep their files on the host. `/var/lib/fleetlift`, or `~/.fleetlift` without root.
    pub remote_dir: Option<String>,
    /// Two hosts with one machine id are a mistake, and refused, unless a test says otherwise.
    pub allow_shared_machine: bool,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            port: 22,
            user: None,
            identities: Vec::new(),
            agent: true,
            passphrase: None,
            password: None,
            known_hosts: Vec::new(),
            host_key: HostKeyPolicy::Strict,
            sudo: true,
            sudo_password: None,
            connect_timeout: Duration::from_secs(10),
            auth_timeout: Duration::from_secs(20),
            keepalive: Duration::from_secs(15),
            remote_dir: None,
            allow_shared_machine: false,
        }
    }
}
