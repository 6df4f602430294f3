//! A small archive for the real hosts of `testbed/real`: fetches each file of a Debian archive once, keeps it, and hands it
//! to all hosts. What it has seen stays as it is, so all hosts of one run see the same archive; frozen, it answers from what
//! it has and asks nobody. It can break on purpose, by a file of faults.
//!
//! It speaks just enough HTTP for apt: GET and HEAD, one answer after another on a kept connection.

mod fault;
mod serve;
mod store;

pub use fault::{Fault, UnknownFault};
pub use serve::Server;
pub use store::{AptHelper, Archive, FetchError, Upstream};

#[cfg(test)]
mod tests;
