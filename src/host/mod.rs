//! Reaching a host.

pub mod facts;
pub mod ssh;
mod transport;

pub use transport::{
    BoxFuture, ConnectError, Exit, Holder, KeyTrust, LEASE, Leave, OutputSink, Script, Session,
    SessionError, Stream, Target, Time, Transport, Whereabouts,
};
