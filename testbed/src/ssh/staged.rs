//! The server of a staged host: real commands in the host's root.

use super::{Penalties, admit, cut::Cuttable, exec::Exec, judge, penalties::Visit};
use crate::{host::Staged, spec::Fault};
use russh::{
    Channel, ChannelId,
    server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey},
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
    let (user, channels) = (String::new(), BTreeMap::new());
    let connection = Connection { host, peer, visit, user, refuses, cut: cut.clone(), channels };
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
    visit: Visit,
    user: String,
    /// Nobody is let in, whatever key is shown: the host goes down or comes up.
    refuses: bool,
    cut: CancellationToken,
    /// Open channels that have not been asked for a command yet.
    channels: BTreeMap<ChannelId, Channel<Msg>>,
}

impl Connection {
    fn start(
        &mut self,
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
            user: self.user.clone(),
            peer: self.peer,
            command: command.map(<[u8]>::to_vec),
            cut: self.cut.clone(),
            handle: session.handle(),
        };
        tokio::spawn(exec.run(channel));
        Ok(())
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        Ok(self.refuses.then(|| GOING_DOWN.to_owned()))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        user.clone_into(&mut self.user);
        let said = match self.refuses {
            true => Auth::reject(),
            false => judge(key.public_key, &self.host.authorized),
        };
        self.visit.tried(matches!(said, Auth::Accept));
        Ok(said)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.channels.remove(&id);
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.start(id, Some(command), session)
    }

    async fn shell_request(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.start(id, None, session)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(russh::Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }
}
