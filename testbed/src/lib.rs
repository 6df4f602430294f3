//! Simulated hosts behind a real SSH server on loopback: the stage set on which fleetlift is shown and tested.
//!
//! A staged host has a root directory of its own with a real shell and real tools, entered by `chroot`; only the operating
//! system in it is pretended, by the files of its stage (`stage/<name>/`). A canned host answers without any process, for
//! scale. [`Fleet::start`] lays the roots and opens the ports, [`Fleet::stop`] takes all of it away again.

#![warn(clippy::unwrap_used)]

pub mod archive;
mod door;
mod draw;
mod enter;
mod fleet;
mod full;
mod holder;
mod host;
mod means;
mod power;
mod root;
mod spec;
mod ssh;

pub use fleet::{Fleet, StartError};
pub use means::{Means, Missing, means};
pub use spec::{
    CannedAnswers, CannedReply, CannedRequest, Fault, FleetSpec, HostInfo, HostSpec, Profile,
};
