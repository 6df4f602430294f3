//! Reaching a host.

mod transport;

pub use transport::{
    ConnectError, Exit, OutputSink, Script, Session, SessionError, Stream, Target, Transport,
};
