//! Logging in: keys of the agent, key files, a password last.

use super::{
    client::{Client, last_words},
    connect::Encrypted,
    keys::{self, Candidate, Holder, Offer},
};
use crate::{host::ConnectError, journal::Contact};
use russh::{
    MethodKind, MethodSet,
    client::{AuthResult, Handle, KeyboardInteractiveAuthResponse},
    keys::{PrivateKeyWithHashAlg, ssh_key::HashAlg},
};
use secrecy::{ExposeSecret, SecretString};
use std::{sync::Arc, time::Duration};

/// Questions that a server may ask in a row before we give up.
const ROUNDS_MAX: usize = 8;

/// Who logs in, and with what.
pub(super) struct Login<'a> {
    pub(super) user: &'a str,
    pub(super) offer: &'a Offer,
    pub(super) password: Option<&'a SecretString>,
    pub(super) limit: Duration,
}

/// Logs in, within the limit.
pub(super) async fn log_in(
    at: std::net::SocketAddr,
    connection: &mut Encrypted,
    login: &Login<'_>,
) -> Result<(), ConnectError> {
    let mut attempt = Attempt {
        handle: &mut connection.handle,
        login,
        offered: Vec::new(),
        accepts: None,
        partial: false,
    };
    let outcome = tokio::time::timeout(login.limit, attempt.run()).await;
    let Attempt { offered, accepts, partial, .. } = attempt;
    match outcome {
        Ok(Ok(true)) => return Ok(()),
        Err(_) => {
            let reason = format!("{at}: logging in did not end within {:?}", login.limit);
            return Err(ConnectError::Unreachable { contact: Contact::LoginRefused, reason });
        }
        Ok(Ok(false) | Err(_)) => {}
    }
    let closed = matches!(outcome, Ok(Err(_))) || connection.handle.is_closed();
    if closed {
        // The library's task tells us what the server said when it ends.
        let _ = tokio::time::timeout(Duration::from_secs(1), &mut connection.handle).await;
    }
    let words = last_words(&connection.heard).unwrap_or_default();
    if is_going_down(&words) {
        let reason = format!("{at}: {words}");
        return Err(ConnectError::Unreachable { contact: Contact::GoingDown, reason });
    }
    let ended = if closed { Ended::ByServer(words) } else { Ended::Unconvinced };
    Err(refused(at, login, &offered, accepts.as_ref(), partial, ended))
}

/// The words of pam_nologin and of shutdown: soon it is another system, so trying again helps.
pub(super) fn is_going_down(words: &str) -> bool {
    [
        "System is going down",
        "System is booting up",
        "pam_nologin",
        "Unprivileged users are not permitted",
    ]
    .iter()
    .any(|sign| words.contains(sign))
}

enum Ended {
    Unconvinced,
    ByServer(String),
}

fn refused(
    at: std::net::SocketAddr,
    login: &Login<'_>,
    offered: &[String],
    accepts: Option<&MethodSet>,
    partial: bool,
    ended: Ended,
) -> ConnectError {
    let user = login.user;
    let mut reason = format!("{at}: {user} may not log in");
    if offered.is_empty() {
        reason.push_str("; nothing was offered: there is no usable key and no password");
    } else {
        reason.push_str(&format!("; offered: {}", offered.join(", ")));
    }
    if let Some(accepts) = accepts {
        let names: Vec<&str> = accepts.iter().map(<&str>::from).collect();
        reason.push_str(&format!("; it accepts: {}", names.join(", ")));
    }
    if partial {
        reason.push_str("; one proof was taken, and it wants another");
    }
    for trouble in &login.offer.troubles {
        reason.push_str(&format!("; {trouble}"));
    }
    let mut too_many = false;
    if let Ended::ByServer(words) = ended {
        too_many = words.contains("Too many authentication failures");
        let words = if words.is_empty() { "no reason given".to_owned() } else { words };
        // A host that goes down cuts logins off in their middle: without an answer to anything that was offered, nothing
        // is known of the key, and another try may tell.
        if accepts.is_none() && !too_many {
            let reason =
                format!("{at}: it closed the connection before it judged the login: {words}");
            return ConnectError::Unreachable { contact: Contact::TurnedAway, reason };
        }
        reason.push_str(&format!("; it closed the connection: {words}"));
    }
    let hint = if too_many {
        "name the right key with `identity`, so that fewer keys are offered".to_owned()
    } else if offered.is_empty() {
        "name a key with `identity`, load one into the agent, or set a password".to_owned()
    } else {
        format!(
            "add the public key to ~{user}/.ssh/authorized_keys on the host, or check the user's name"
        )
    };
    ConnectError::Refused { reason, hint: Some(hint) }
}

struct Attempt<'a> {
    handle: &'a mut Handle<Client>,
    login: &'a Login<'a>,
    offered: Vec<String>,
    accepts: Option<MethodSet>,
    partial: bool,
}

impl Attempt<'_> {
    /// True where the server is convinced. An error means that the connection is gone.
    async fn run(&mut self) -> Result<bool, russh::Error> {
        let candidates = &self.login.offer.candidates;
        let mut rsa_hash = None;
        if candidates.iter().any(|c| c.public.algorithm().is_rsa()) {
            // It may wait a second for the server to say; only RSA needs to know.
            rsa_hash = self.handle.best_supported_rsa_hash().await?;
        }
        let rsa_best = rsa_hash.unwrap_or(Some(HashAlg::Sha512));
        for candidate in candidates {
            let hash = if candidate.public.algorithm().is_rsa() { rsa_best } else { None };
            if self.offer_key(candidate, hash, true).await? {
                return Ok(true);
            }
            if self.done_with_keys() {
                break;
            }
        }
        // Some servers say that they take a hash that they do not take. Only after all keys had their turn: each offer counts.
        for candidate in candidates.iter().filter(|c| c.public.algorithm().is_rsa()) {
            for hash in keys::rsa_hashes().into_iter().filter(|hash| *hash != rsa_best) {
                if self.done_with_keys() {
                    break;
                }
                if self.offer_key(candidate, hash, false).await? {
                    return Ok(true);
                }
            }
        }
        match self.login.password {
            Some(password) => self.offer_password(password).await,
            None if self.offered.is_empty() => {
                // Only to learn what the server would take; a few let everyone in.
                let result = self.handle.authenticate_none(self.login.user).await?;
                Ok(self.note(&result))
            }
            None => Ok(false),
        }
    }

    fn done_with_keys(&self) -> bool {
        self.partial
            || self.accepts.as_ref().is_some_and(|set| !set.contains(&MethodKind::PublicKey))
    }

    fn accepts(&self, method: MethodKind) -> bool {
        self.accepts.as_ref().is_none_or(|set| set.contains(&method))
    }

    fn note(&mut self, result: &AuthResult) -> bool {
        match result {
            AuthResult::Success => true,
            AuthResult::Failure { remaining_methods, partial_success } => {
                if !remaining_methods.is_empty() {
                    self.accepts = Some(remaining_methods.clone());
                }
                self.partial |= partial_success;
                false
            }
        }
    }

    async fn offer_key(
        &mut self,
        candidate: &Candidate,
        hash: Option<HashAlg>,
        first: bool,
    ) -> Result<bool, russh::Error> {
        if first {
            self.offered.push(format!("{} {}", candidate.public.algorithm(), candidate.name));
        }
        let user = self.login.user;
        let result = match &candidate.holder {
            Holder::File(key) => {
                let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
                self.handle.authenticate_publickey(user, key).await?
            }
            Holder::Agent(agents) => {
                let Some((_place, Ok(mut agent))) = agents.call().await else { return Ok(false) };
                let public = candidate.public.clone();
                let signed =
                    self.handle.authenticate_publickey_with(user, public, hash, &mut agent).await;
                match signed {
                    Ok(result) => result,
                    // An agent that declines is no reason to give up.
                    Err(_) if !self.handle.is_closed() => return Ok(false),
                    Err(_) => return Err(russh::Error::Disconnect),
                }
            }
        };
        if self.handle.is_closed() && !result.success() {
            return Err(russh::Error::Disconnect);
        }
        Ok(self.note(&result))
    }

    /// Tried once in one way: a wrong password that is sent twice may lock the account.
    async fn offer_password(&mut self, password: &SecretString) -> Result<bool, russh::Error> {
        let user = self.login.user;
        if self.accepts(MethodKind::Password) {
            self.offered.push("password".to_owned());
            let result = self.handle.authenticate_password(user, password.expose_secret()).await?;
            // Where the methods were unknown until now, nothing was judged if it is not among them.
            if self.note(&result) || self.accepts(MethodKind::Password) {
                return Ok(result.success());
            }
        }
        if !self.accepts(MethodKind::KeyboardInteractive) {
            return Ok(false);
        }
        self.offered.push("keyboard-interactive".to_owned());
        let mut reply = self.handle.authenticate_keyboard_interactive_start(user, None).await?;
        let mut given = false;
        for _ in 0..ROUNDS_MAX {
            match reply {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success } => {
                    self.note(&AuthResult::Failure { remaining_methods, partial_success });
                    return Ok(false);
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                    let hidden = prompts.iter().filter(|p| !p.echo).count();
                    if hidden > 1 || (hidden == 1 && given) {
                        // A second factor, or the password again: nothing that we could answer.
                        return Ok(false);
                    }
                    given |= hidden == 1;
                    let answers = prompts
                        .iter()
                        .map(|p| if p.echo { "" } else { password.expose_secret() }.to_owned())
                        .collect();
                    reply = self.handle.authenticate_keyboard_interactive_respond(answers).await?;
                }
            }
        }
        Ok(false)
    }
}
