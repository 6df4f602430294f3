//! Reaching a host.

pub mod facts;
pub mod ssh;
mod transport;

pub use transport::{
    BoxFuture, ConnectError, Exit, KeyTrust, OutputSink, Script, Session, SessionError, Stream,
    Target, Transport, Whereabouts,
};
