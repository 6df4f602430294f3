//! The simulator: the real engine, deciding, judging and folding, with hosts, network, clock and journal that follow from
//! one seed. An oracle that shares no code with them watches every record and every start.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;

mod chance;
mod drive;
mod found;
mod host;
mod limits;
mod network;
mod oracle;
mod runs;
mod scenario;
mod sim;
mod undo;
