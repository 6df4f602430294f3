//! A transport that can only ask: whatever would leave something on a host is refused here, whoever wants it.

use crate::host::{
    BoxFuture, ConnectError, Exit, OutputSink, Script, Session, SessionError, Target, Transport,
};
use std::{path::Path, sync::Arc};

/// Opens sessions that only ask.
pub(super) struct ReadOnly(pub Arc<dyn Transport>);

impl Transport for ReadOnly {
    fn connect<'a>(
        &'a self,
        target: &'a Target,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, ConnectError>> {
        Box::pin(async {
            let session = self.0.connect(target).await?;
            Ok(Box::new(Asking(session)) as Box<dyn Session>)
        })
    }
}

/// A session in which scripts have no directory, and the host no lock of ours.
struct Asking(Box<dyn Session>);

fn refused<'a, T: 'a>() -> BoxFuture<'a, Result<T, SessionError>> {
    let reason = "a host that is only asked is sent no files".to_owned();
    Box::pin(async { Err(SessionError::Refused { reason }) })
}

impl Session for Asking {
    fn run<'a>(
        &'a mut self,
        script: &'a Script,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Exit, SessionError>> {
        Box::pin(async {
            match self.0.ask(script, output).await {
                // It only read: it may be put again as if it had not begun.
                Err(SessionError::Lost { reason }) => Err(SessionError::NotStarted { reason }),
                done => done,
            }
        })
    }

    fn upload<'a>(
        &'a mut self,
        _: &'a [u8],
        _: &'a str,
        _: u32,
        _: bool,
    ) -> BoxFuture<'a, Result<(), SessionError>> {
        refused()
    }

    fn download<'a>(
        &'a mut self,
        _: &'a str,
        _: &'a Path,
        _: bool,
    ) -> BoxFuture<'a, Result<u64, SessionError>> {
        refused()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.0.close()
    }
}
