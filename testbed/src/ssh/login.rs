//! What the servers have in common: who may log in, and what nobody is given. What becomes of commands is their own.

use super::penalties::Visit;
use russh::{
    Channel, ChannelId,
    keys::ssh_key::public::KeyData,
    server::{Auth, ChannelOpenHandle, Handler, Msg, Session, VerifiedPublicKey},
};

/// What a connection does with the commands of whoever has logged in.
pub(super) trait Commands: Send + 'static {
    /// The one key that may log in; none while nobody may.
    fn key(&self) -> Option<&KeyData>;

    /// What is said before the login.
    fn banner(&self) -> Option<&'static str> {
        None
    }

    /// A channel is there, without a command yet.
    fn opened(&mut self, channel: Channel<Msg>);

    fn closed(&mut self, id: ChannelId);

    /// A command, or a shell where there is none.
    fn asked(
        &mut self,
        user: &str,
        id: ChannelId,
        command: Option<&[u8]>,
        session: &mut Session,
    ) -> Result<(), russh::Error>;

    /// Standard input of a command.
    fn heard(&mut self, id: ChannelId, data: &[u8]) {
        let _ = (id, data);
    }

    /// The end of it.
    fn heard_all(
        &mut self,
        user: &str,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let _ = (user, id, session);
        Ok(())
    }
}

/// One connection. Any user name is taken, with the one key.
pub(super) struct Login<C> {
    user: String,
    visit: Visit,
    commands: C,
}

impl<C> Login<C> {
    pub(super) fn new(visit: Visit, commands: C) -> Self {
        Self { user: String::new(), visit, commands }
    }
}

impl<C: Commands> Handler for Login<C> {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        Ok(self.commands.banner().map(str::to_owned))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        user.clone_into(&mut self.user);
        let may = self.commands.key() == Some(key.public_key.key_data());
        self.visit.tried(may);
        Ok(if may { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.commands.opened(channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.commands.closed(id);
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.commands.asked(&self.user, id, Some(command), session)
    }

    async fn shell_request(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.commands.asked(&self.user, id, None, session)
    }

    async fn data(
        &mut self,
        id: ChannelId,
        data: &[u8],
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.commands.heard(id, data);
        Ok(())
    }

    async fn channel_eof(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.commands.heard_all(&self.user, id, session)
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
