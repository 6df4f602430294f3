//! The SSH server: one key may log in, commands may be run, and nothing else.
//!
//! [`staged`] runs commands in a host's root by [`exec`], [`canned`] answers them from a table ([`framed`] for
//! fleetlift's own launcher); [`login`] is what both have in common. Every connection is a [`cut::Cuttable`], so that a host
//! can lose all of its connections at once. Who connects too often without logging in is turned away, as by sshd
//! ([`penalties`]).

mod canned;
mod cut;
mod exec;
mod framed;
mod login;
mod penalties;
mod staged;

pub(crate) use canned::serve_canned;
pub(crate) use penalties::Penalties;
pub(crate) use staged::serve_staged;

use penalties::Visit;
use russh::{MethodKind, MethodSet, SshId, keys::PrivateKey, server::Config};
use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Duration};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

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

/// Whether this address may connect now; if not it is told so.
async fn admit(penalties: &Arc<Penalties>, stream: &mut TcpStream, peer: IpAddr) -> Option<Visit> {
    let visit = penalties.admit(peer);
    if visit.is_none() {
        // Whoever is gone already needs no words.
        let _ = stream.write_all(penalties::TURNED_AWAY).await;
    }
    visit
}
