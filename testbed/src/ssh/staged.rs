//! The server of a staged host: real commands in the host's root.

use super::{
    Penalties, admit,
    cut::Cuttable,
    exec::Exec,
    login::{Commands, Login},
};
use crate::{host::Staged, spec::Fault};
use russh::{
    Channel, ChannelId,
    keys::ssh_key::public::KeyData,
    server::{Config, Msg, Session},
};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Serves one connection until it ends or is cut.
pub(crate) async fn serve_staged(
    host: Arc<Staged>,
    config: Arc<Config>,
    penalties: Arc<Penalties>,
    mut stream: TcpStream,
    peer: SocketAddr,
    refuses: bool,
    cut: CancellationToken,
) {
    if host.faults.contains(&Fault::HangsBeforeBanner) {
        cut.cancelled().await;
        return;
    }
    let Some(visit) = admit(&penalties, &mut stream, peer.ip()).await else { return };
    let _ = stream.set_nodelay(true);
    let channels = BTreeMap::new();
    let connection = Connection { host, peer, refuses, cut: cut.clone(), channels };
    let connection = Login::new(visit, connection);
    let session =
        match russh::server::run_stream(config, Cuttable::new(stream, cut), connection).await {
            Ok(session) => session.await,
            Err(error) => Err(error),
        };
    if let Err(error) = session {
        tracing::debug!(%error, "a connection ended");
    }
}

/// As pam_nologin says it.
const GOING_DOWN: &str =
    "System is going down. Unprivileged users are not permitted to log in anymore.\n";

struct Connection {
    host: Arc<Staged>,
    peer: SocketAddr,
    /// Nobody is let in, whatever key is shown: the host goes down or comes up.
    refuses: bool,
    cut: CancellationToken,
    /// Open channels that have not been asked for a command yet.
    channels: BTreeMap<ChannelId, Channel<Msg>>,
}

impl Commands for Connection {
    fn key(&self) -> Option<&KeyData> {
        (!self.refuses).then_some(&self.host.authorized)
    }

    fn banner(&self) -> Option<&'static str> {
        self.refuses.then_some(GOING_DOWN)
    }

    fn opened(&mut self, channel: Channel<Msg>) {
        self.channels.insert(channel.id(), channel);
    }

    fn closed(&mut self, id: ChannelId) {
        self.channels.remove(&id);
    }

    fn asked(
        &mut self,
        user: &str,
        id: ChannelId,
        command: Option<&[u8]>,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(channel) = self.channels.remove(&id) else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        let exec = Exec {
            host: self.host.clone(),
            user: user.to_owned(),
            peer: self.peer,
            command: command.map(<[u8]>::to_vec),
            cut: self.cut.clone(),
            handle: session.handle(),
        };
        tokio::spawn(exec.run(channel));
        Ok(())
    }
}
