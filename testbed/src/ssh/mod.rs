//! The SSH server: one key may log in, commands may be run, and nothing else.
//!
//! [`staged`] runs commands in a host's root by [`exec`], [`canned`] answers them from a table ([`framed`] for
//! fleetlift's own launcher); [`login`] is what both have in common. Every connection is a [`cut::Cuttable`], so that a host
//! can lose all of its connections at once.

mod canned;
mod cut;
mod exec;
mod framed;
mod login;
mod staged;

pub(crate) use canned::serve_canned;
pub(crate) use staged::serve_staged;

use russh::{MethodKind, MethodSet, SshId, keys::PrivateKey, server::Config};
use std::{borrow::Cow, time::Duration};

/// The settings of a host with this key.
pub(crate) fn config(key: PrivateKey) -> Config {
    Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-fleetlift_testbed")),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        // No one is to be kept from guessing here, and tests must not wait.
        auth_rejection_time: Duration::from_millis(1),
        keys: vec![key],
        // A silent command may take as long as it likes; who is gone is found by the cut.
        inactivity_timeout: None,
        nodelay: true,
        ..Config::default()
    }
}
