//! Reaching a host by SSH: addresses, host keys, logging in, and scripts over one connection.
//!
//! Everything here keeps one promise: whoever asks learns whether the host was touched. `known_hosts` is judged here and
//! not by the SSH library, and so are all deadlines; the end of a stream without a result is never taken for one.

mod ask;
mod auth;
mod client;
mod connect;
mod debts;
mod exchange;
mod files;
mod in_time;
mod keys;
mod known_hosts;
mod limits;
mod make_key;
mod marks;
mod secrets;
mod session;
mod shell;
mod sign;
mod tap;

use crate::{
    base::value::SecretSource,
    host::{ConnectError, LEASE, Session, Target, Transport, transport::BoxFuture},
    inventory::Connection,
    journal::{Contact, NewKey},
};
use client::{Client, HostKeys, SharedHeard};
use connect::Encrypted;
use debts::Debts;
use exchange::Link;
pub use limits::OpenLimit;
pub use make_key::{MakeKeyError, make_key};
use russh::client::Handle;
use secrecy::SecretString;
use secrets::Secrets;
use session::SshSession;
pub use sign::{SignError, public_key, sign};
use std::{
    env, fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Semaphore;

/// Reads a secret from where it is kept. It may block.
pub type Resolver = Arc<dyn Fn(&SecretSource) -> Result<SecretString, String> + Send + Sync>;

/// Asks the operator for a key file's passphrase. It may block; it is asked at most once for each key.
pub type Prompt = Arc<dyn Fn(&Path) -> Option<SecretString> + Send + Sync>;

/// What all connections share.
#[derive(Clone)]
pub struct SshOptions {
    pub secrets: Resolver,
    /// None where there is no terminal.
    pub prompt: Option<Prompt>,
    /// For connections that name no files of their own. New keys go into the first.
    pub known_hosts: Vec<PathBuf>,
    /// Connections at once; None takes what the limit on open files allows.
    pub open_max: Option<usize>,
    /// How long a host's lock outlives the last word of who holds it.
    pub lease: Duration,
}

impl fmt::Debug for SshOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshOptions")
            .field("known_hosts", &self.known_hosts)
            .field("open_max", &self.open_max)
            .finish_non_exhaustive()
    }
}

impl SshOptions {
    /// The operator's own `known_hosts`, then the system's.
    pub fn new(secrets: Resolver) -> Self {
        let own = env::home_dir().map(|home| home.join(".ssh").join("known_hosts"));
        let known_hosts = own.into_iter().chain([PathBuf::from("/etc/ssh/ssh_known_hosts")]);
        let known_hosts = known_hosts.collect();
        Self { secrets, prompt: None, known_hosts, open_max: None, lease: LEASE }
    }
}

/// Why no connection can be opened at all.
#[derive(Debug, thiserror::Error)]
pub enum SshSetupError {
    #[error("no known_hosts file is named, and there is no home directory to find one in")]
    NoKnownHosts,
}

/// Opens SSH connections.
pub struct SshTransport {
    secrets: Secrets,
    keys: keys::Keys,
    known_hosts: Arc<known_hosts::Files>,
    default_known_hosts: Vec<PathBuf>,
    limit: OpenLimit,
    places: Arc<Semaphore>,
    lease: Duration,
    /// What hosts hold against us, for connections that came to no login.
    debts: Arc<Debts>,
}

impl fmt::Debug for SshTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshTransport").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl SshTransport {
    /// Raises the limit on open files and takes the options; opens nothing yet.
    pub fn new(options: SshOptions) -> Result<Self, SshSetupError> {
        if options.known_hosts.is_empty() {
            return Err(SshSetupError::NoKnownHosts);
        }
        let limit = limits::derive(options.open_max);
        tracing::debug!("SSH: {limit}");
        let secrets = Secrets::new(options.secrets);
        Ok(Self {
            keys: keys::Keys::new(secrets.clone(), options.prompt),
            secrets,
            known_hosts: Arc::default(),
            default_known_hosts: options.known_hosts,
            limit,
            places: Arc::new(Semaphore::new(limit.connections)),
            lease: options.lease,
            debts: Arc::default(),
        })
    }

    /// How many connections may be open at once, and why.
    pub fn open_limit(&self) -> OpenLimit {
        self.limit
    }

    async fn open(&self, target: &Target) -> Result<Box<dyn Session>, ConnectError> {
        let connection = &target.connection;
        let user = login_name(connection)?;
        // Keys and secrets first: a question to the operator must not run into the server's patience.
        let offer = self.keys.offer(connection).await;
        let password = self.secret(connection.password.as_ref(), "password").await?;
        let sudo_password = self.secret(connection.sudo_password.as_ref(), "sudo_password").await?;
        let login = auth::Login {
            user: &user,
            offer: &offer,
            password: password.as_ref(),
            limit: connection.auth_timeout,
        };
        let mut tried = Tried::default();
        for address in &target.addresses {
            let found = connect::resolve(address, connection.port, connection.connect_timeout);
            let found = match found.await {
                Ok(found) => found,
                Err(error) => {
                    tried.note(error)?;
                    continue;
                }
            };
            for at in found {
                match self.open_at(target, address, at, &login).await {
                    Ok(LoggedIn { handle, heard, new_key }) => {
                        return Ok(Box::new(SshSession {
                            new_key,
                            link: Link { handle, heard, sudo_password },
                            connection: Arc::clone(connection),
                            dead: None,
                            held: None,
                            lease: self.lease.as_secs().max(1).to_string(),
                            notes: Vec::new(),
                            launchers: Default::default(),
                        }));
                    }
                    Err(error) => tried.note(error)?,
                }
            }
        }
        Err(tried.outcome())
    }

    async fn open_at(
        &self,
        target: &Target,
        address: &str,
        at: SocketAddr,
        login: &auth::Login<'_>,
    ) -> Result<LoggedIn, ConnectError> {
        let connection = &target.connection;
        let mut knock = self.debts.knock(&target.host, at).await;
        // The semaphore is never closed, so this only waits.
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            let reason = "the controller is ending".to_owned();
            return Err(ConnectError::Unreachable { contact: Contact::NoAnswer, reason });
        };
        let stream = connect::dial(at, connection.connect_timeout).await?;
        knock.meets();
        let mut names = vec![known_hosts::name_of(address, connection.port)];
        let own_name = known_hosts::name_of(target.host.as_str(), connection.port);
        if !names.contains(&own_name) {
            names.push(own_name);
        }
        let paths = if connection.known_hosts.is_empty() {
            self.default_known_hosts.clone()
        } else {
            connection.known_hosts.clone()
        };
        let files = Arc::clone(&self.known_hosts);
        let host_keys = HostKeys::new(files, paths, connection.host_key, names, &target.trust);
        let host_keys = Arc::new(host_keys?);
        let judged = Arc::clone(&host_keys);
        let mut encrypted = connect::encrypt(stream, at, place, connection, judged).await?;
        knock.tries();
        auth::log_in(at, &mut encrypted, login).await?;
        let Encrypted { handle, heard, stays } = encrypted;
        stays.keep();
        knock.let_in();
        Ok(LoggedIn { handle, heard, new_key: host_keys.new_key() })
    }

    async fn secret(
        &self,
        source: Option<&SecretSource>,
        what: &str,
    ) -> Result<Option<SecretString>, ConnectError> {
        let Some(source) = source else { return Ok(None) };
        match self.secrets.get(source).await {
            Ok(secret) => Ok(Some(secret)),
            Err(error) => Err(ConnectError::Refused {
                reason: format!("cannot read the {what} from {source}: {error}"),
                hint: None,
            }),
        }
    }
}

/// A connection on which the login has passed.
struct LoggedIn {
    handle: Handle<Client>,
    heard: SharedHeard,
    new_key: Option<NewKey>,
}

/// What became of the addresses that were tried without success.
#[derive(Default)]
struct Tried {
    reasons: Vec<String>,
    nearest: Option<Contact>,
    /// A key that is not the host's is told only where no other address leads to it: the address may be another's by now.
    key: Option<ConnectError>,
}

impl Tried {
    /// Notes a failure after which the next address may be tried. Any other is returned: it may be another host at this address,
    /// and there is no reason to show our keys to the next.
    fn note(&mut self, error: ConnectError) -> Result<(), ConnectError> {
        match error {
            ConnectError::Unreachable { contact, reason } => {
                self.nearest = self.nearest.max(Some(contact));
                self.reasons.push(reason);
            }
            error @ ConnectError::HostKey { .. } => {
                self.key.get_or_insert(error);
            }
            error @ ConnectError::Refused { .. } => return Err(error),
        }
        Ok(())
    }

    fn outcome(self) -> ConnectError {
        if let Some(key) = self.key {
            return key;
        }
        let contact = self.nearest.unwrap_or(Contact::NoAnswer);
        let reason = match self.reasons.is_empty() {
            true => "it has no address".to_owned(),
            false => self.reasons.join("; "),
        };
        ConnectError::Unreachable { contact, reason }
    }
}

impl Transport for SshTransport {
    fn connect<'a>(
        &'a self,
        target: &'a Target,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, ConnectError>> {
        Box::pin(self.open(target))
    }
}

/// Who logs in: as written, else the controller's own user.
fn login_name(connection: &Connection) -> Result<String, ConnectError> {
    if let Some(user) = &connection.user {
        return Ok(user.clone());
    }
    let own = ["USER", "LOGNAME"].iter().find_map(|name| env::var(name).ok());
    match own.filter(|name| !name.is_empty()) {
        Some(name) => Ok(name),
        None if rustix::process::getuid().is_root() => Ok("root".to_owned()),
        None => Err(ConnectError::Refused {
            reason: "no user to log in as: neither the inventory nor USER says one".to_owned(),
            hint: Some("set `user` in the inventory".to_owned()),
        }),
    }
}
