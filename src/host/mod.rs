//! Reaching a host.

pub mod ssh;
mod transport;

pub use transport::{
    ConnectError, Exit, OutputSink, Script, Session, SessionError, Stream, Target, Transport,
    Whereabouts,
};
