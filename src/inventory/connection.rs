//! Connections: what each place says of one, and what comes of it.

use super::{Connection, HostKeyPolicy};
use crate::base::{
    anchor::Anchor,
    shape::{Node, Tree},
    value::SecretSource,
};
use std::{path::PathBuf, time::Duration};

macro_rules! settings {
    ($($field:ident: $kind:ty,)*) => {
        /// What one place says of a connection. Nothing where it is silent.
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) struct Settings {
            $($field: Option<$kind>,)*
        }

        impl Settings {
            /// What this says takes the place of what was said before.
            pub(super) fn put_over(&self, before: &mut Self) {
                $(if self.$field.is_some() {
                    before.$field.clone_from(&self.$field);
                })*
            }
        }
    };
}

settings! {
    port: u16,
    user: String,
    identities: Vec<PathBuf>,
    agent: bool,
    passphrase: SecretSource,
    password: SecretSource,
    known_hosts: Vec<PathBuf>,
    host_key: HostKeyPolicy,
    sudo: bool,
    sudo_password: SecretSource,
    connect_timeout: Duration,
    auth_timeout: Duration,
    keepalive: Duration,
    remote_dir: String,
    allow_shared_machine: bool,
}

impl Settings {
    /// Reads the table `connection` of `parent`, if it has one.
    pub(super) fn read(parent: &Node, anchor: &Anchor) -> Self {
        let Some(table) = parent.get("connection") else { return Self::default() };
        let paths = |key: &str| {
            let paths = table.get(key)?.one_or_many().iter();
            Some(paths.filter_map(Node::text).map(|text| anchor.path(text)).collect())
        };
        let secret = |key: &str| table.get(key)?.parse(|text| anchor.secret(text));
        let flag = |key: &str| table.get(key)?.flag();
        let length = |key: &str| table.get(key)?.length();
        let text = |key: &str| table.get(key)?.text().map(str::to_owned);
        Self {
            port: table.get("port").and_then(Node::whole),
            user: text("user"),
            identities: paths("identity"),
            agent: flag("agent"),
            passphrase: secret("passphrase"),
            password: secret("password"),
            known_hosts: paths("known_hosts"),
            host_key: table.get("host_key").and_then(policy),
            sudo: flag("sudo"),
            sudo_password: secret("sudo_password"),
            connect_timeout: length("connect_timeout"),
            auth_timeout: length("auth_timeout"),
            keepalive: length("keepalive"),
            remote_dir: text("remote_dir"),
            allow_shared_machine: flag("allow_shared_machine"),
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        *self == Self::default()
    }

    /// The connection with defaults where nobody said anything.
    pub(super) fn resolve(&self) -> Connection {
        let said = self.clone();
        let default = Connection::default();
        Connection {
            port: said.port.unwrap_or(default.port),
            user: said.user,
            identities: said.identities.unwrap_or(default.identities),
            agent: said.agent.unwrap_or(default.agent),
            passphrase: said.passphrase,
            password: said.password,
            known_hosts: said.known_hosts.unwrap_or(default.known_hosts),
            host_key: said.host_key.unwrap_or(default.host_key),
            sudo: said.sudo.unwrap_or(default.sudo),
            sudo_password: said.sudo_password,
            connect_timeout: said.connect_timeout.unwrap_or(default.connect_timeout),
            auth_timeout: said.auth_timeout.unwrap_or(default.auth_timeout),
            keepalive: said.keepalive.unwrap_or(default.keepalive),
            remote_dir: said.remote_dir,
            allow_shared_machine: said.allow_shared_machine.unwrap_or(default.allow_shared_machine),
        }
    }
}

fn policy(node: &Node) -> Option<HostKeyPolicy> {
    match &node.tree {
        Tree::Text(text) if text == "strict" => Some(HostKeyPolicy::Strict),
        Tree::Text(text) if text == "accept-new" => Some(HostKeyPolicy::AcceptNew),
        _ => None,
    }
}
