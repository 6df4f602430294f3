//! A transport that can only ask: whatever would leave something on a host is refused here, whoever wants it.

use crate::host::{
    BoxFuture, ConnectError, Exit, OutputSink, Script, Session, SessionError, Target, Transport,
};
use std::sync::Arc;

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

/// A session in which scripts have no directory, and the host no lock of ours. What is not here is refused by the trait.
struct Asking(Box<dyn Session>);

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

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.0.close()
    }
}
