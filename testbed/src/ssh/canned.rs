//! The server of all canned hosts of a fleet: every command is answered at once, without a process.
//!
//! Nothing here spawns a task for a channel, so that in a fleet of ten thousand the controller's own cost shows.

use super::{
    Penalties, admit, framed,
    login::{Commands, Login},
};
use crate::spec::{CannedAnswers, CannedReply, CannedRequest};
use russh::{
    Channel, ChannelId,
    keys::ssh_key::public::KeyData,
    server::{Config, Msg, Session},
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A script with this line asks for the fact document.
const FACTS: &[u8] = b"# fleetlift-facts";

/// The code of standard error in the SSH protocol.
const STDERR: u32 = 1;

/// Serves every connection until it is told to stop.
pub(crate) async fn serve_canned(
    listener: TcpListener,
    config: Arc<Config>,
    authorized: Arc<KeyData>,
    answers: Arc<CannedAnswers>,
    stop: CancellationToken,
) {
    let penalties = Arc::<Penalties>::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (mut stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, say: those in use must get the time to end.
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let Some(visit) = admit(&penalties, &mut stream, peer.ip()).await else { continue };
        let connection = Login::new(
            visit,
            Connection {
                authorized: authorized.clone(),
                answers: answers.clone(),
                asked: BTreeMap::new(),
            },
        );
        let stream = super::cut::Cuttable::new(stream, stop.child_token());
        let config = config.clone();
        tokio::spawn(async move {
            if let Ok(session) = russh::server::run_stream(config, stream, connection).await {
                let _ = session.await;
            }
        });
    }
}

struct Connection {
    authorized: Arc<KeyData>,
    answers: Arc<CannedAnswers>,
    /// Commands whose standard input has not ended.
    asked: BTreeMap<ChannelId, Asked>,
}

struct Asked {
    command: Vec<u8>,
    stdin: Vec<u8>,
}

impl CannedAnswers {
    fn reply(&self, request: CannedRequest<'_>) -> CannedReply {
        if let Some(reply) = self.answer.as_ref().and_then(|answer| answer(&request)) {
            return reply;
        }
        let plain =
            |stdout: &String| CannedReply { stdout: stdout.clone(), ..CannedReply::default() };
        if request.stdin.split(|byte| *byte == b'\n').any(|line| line == FACTS) {
            return plain(&self.facts);
        }
        let in_table = self.table.iter().find(|(text, _)| {
            contains(request.command, text.as_bytes()) || contains(request.stdin, text.as_bytes())
        });
        in_table.map_or_else(|| plain(&self.default_stdout), |(_, reply)| reply.clone())
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

impl Commands for Connection {
    fn key(&self) -> Option<&KeyData> {
        Some(&self.authorized)
    }

    fn opened(&mut self, _: Channel<Msg>) {}

    fn closed(&mut self, id: ChannelId) {
        self.asked.remove(&id);
    }

    fn asked(
        &mut self,
        _: &str,
        id: ChannelId,
        command: Option<&[u8]>,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(command) = command else { return session.channel_failure(id) };
        self.asked.insert(id, Asked { command: command.to_vec(), stdin: Vec::new() });
        session.channel_success(id)
    }

    fn heard(&mut self, id: ChannelId, data: &[u8]) {
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.stdin.extend_from_slice(data);
        }
    }

    fn heard_all(
        &mut self,
        user: &str,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(Asked { command, stdin }) = self.asked.remove(&id) else { return Ok(()) };
        let request = CannedRequest { user, command: &command, stdin: &stdin };
        let reply = framed::frame(&command, &stdin, self.answers.reply(request));
        if !reply.stdout.is_empty() {
            session.data(id, reply.stdout)?;
        }
        if !reply.stderr.is_empty() {
            session.extended_data(id, STDERR, reply.stderr)?;
        }
        session.exit_status_request(id, reply.exit)?;
        session.eof(id)?;
        session.close(id)
    }
}
