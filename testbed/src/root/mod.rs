//! The roots of staged hosts: a base made once for each fleet, and a root for each host.
//!
//! [`base`] copies the machine's own shell and tools with the libraries they load, [`needs`] says what those are ([`elf`]). [`host`] makes
//! a host's root of hard links to the base, of the files of its stage ([`stage`]) and of the host's own. Whatever a host
//! is expected to write to is a copy; only programs and libraries are shared, between the hosts of one fleet and never with the
//! machine. [`within`] finds a place in a root without ever following a link out of it.

mod base;
mod elf;
mod host;
mod needs;
mod stage;
mod within;

pub(crate) use base::Base;
pub(crate) use host::HostRoot;
pub(crate) use stage::Stage;
pub(crate) use within::{place, remove_tree};
