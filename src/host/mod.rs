//! Reaching a host.

pub mod facts;
mod transport;

pub use transport::{
    BoxFuture, ConnectError, Exit, OutputSink, Script, Session, SessionError, Stream, Target,
    Transport,
};
