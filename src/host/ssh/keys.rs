//! Private keys: read and opened once, shared by all hosts.

use super::{Prompt, Secrets};
use crate::{base::value::SecretSource, inventory::Connection};
use russh::keys::{self, PrivateKey, PublicKey, agent::client::AgentClient, ssh_key};
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::UnixStream,
    sync::{OnceCell, Semaphore, SemaphorePermit},
};

/// Offered where the operator names none, as OpenSSH does.
const DEFAULT_NAMES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// How a key signs.
#[derive(Clone)]
pub(super) enum Holder {
    File(Arc<PrivateKey>),
    Agent(Agents),
}

/// Callers of the agent at once. It is one process with a short queue, and each caller is an open file.
const AGENT_CALLERS_MAX: usize = 16;

/// The places at the agent, shared by all connections.
#[derive(Clone)]
pub(super) struct Agents(Arc<Semaphore>);

impl Agents {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(AGENT_CALLERS_MAX)))
    }

    /// Waits for a place and calls the agent, where there is one. The place is kept as long as the first of the pair.
    pub(super) async fn call(&self) -> Option<(SemaphorePermit<'_>, AgentResult)> {
        let socket = env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty())?;
        let place = self.0.acquire().await.ok()?;
        Some((place, AgentClient::connect_uds(socket).await))
    }

    async fn keys(&self, troubles: &mut Vec<String>) -> Vec<Candidate> {
        let Some((_place, agent)) = self.call().await else { return Vec::new() };
        let identities = match agent {
            Ok(mut agent) => agent.request_identities().await,
            Err(error) => Err(error),
        };
        let identities = match identities {
            Ok(identities) => identities,
            Err(error) => {
                troubles.push(format!("agent: {error}"));
                return Vec::new();
            }
        };
        identities
            .into_iter()
            // A certificate in the agent comes with its plain key beside it, which is what is offered.
            .filter(|identity| matches!(identity, keys::agent::AgentIdentity::PublicKey { .. }))
            .map(|identity| Candidate {
                name: format!("agent: {}", identity.comment()),
                public: identity.public_key().into_owned(),
                holder: Holder::Agent(self.clone()),
            })
            .collect()
    }
}

/// An agent that was reached, or why not.
pub(super) type AgentResult = Result<AgentClient<UnixStream>, keys::Error>;

/// A key to offer.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) public: PublicKey,
    pub(super) holder: Holder,
    /// For messages: a path, or `agent: comment`.
    pub(super) name: String,
}

/// The keys to offer to a host, in order, and what is wrong with the others.
#[derive(Clone, Default)]
pub(super) struct Offer {
    pub(super) candidates: Vec<Candidate>,
    pub(super) troubles: Vec<String>,
}

type Opened = Result<Arc<PrivateKey>, String>;

/// A key file, and what opens it.
type KeyName = (PathBuf, Option<SecretSource>);

/// All keys that were opened so far.
pub(super) struct Keys {
    secrets: Secrets,
    prompt: Option<Prompt>,
    agents: Agents,
    /// One question at a time.
    asking: Arc<tokio::sync::Mutex<()>>,
    opened: Mutex<BTreeMap<KeyName, Arc<OnceCell<Opened>>>>,
}

impl Keys {
    pub(super) fn new(secrets: Secrets, prompt: Option<Prompt>) -> Self {
        Self {
            secrets,
            prompt,
            agents: Agents::new(),
            asking: Arc::default(),
            opened: Mutex::default(),
        }
    }

    /// What to offer to a host with these settings. Encrypted keys that the agent holds are not opened.
    pub(super) async fn offer(&self, connection: &Connection) -> Offer {
        let mut offer = Offer::default();
        let held =
            if connection.agent { self.agents.keys(&mut offer.troubles).await } else { Vec::new() };
        let named = !connection.identities.is_empty();
        if !named {
            offer.candidates.extend(held.iter().cloned());
        }
        let paths = if named { connection.identities.clone() } else { default_paths() };
        for path in paths {
            self.add_file(&mut offer, &path, connection, &held, named).await;
        }
        offer
    }

    async fn add_file(
        &self,
        offer: &mut Offer,
        path: &Path,
        connection: &Connection,
        held: &[Candidate],
        named: bool,
    ) {
        if !named && !path.exists() {
            return;
        }
        // The agent first: it needs no passphrase. A server counts every offer, so only the named keys are taken from it.
        // Reading the file anew for each host is for those who have an agent's keys to compare with.
        if !held.is_empty()
            && let Some(public) = public_half(path)
            && let Some(key) = held.iter().find(|k| k.public.key_data() == public.key_data())
        {
            if named {
                let name = format!("{} (agent)", path.display());
                offer.candidates.push(Candidate { name, ..key.clone() });
            }
            return;
        }
        match self.open(path, connection.passphrase.as_ref()).await {
            Ok(private) => offer.candidates.push(Candidate {
                public: private.public_key().clone(),
                holder: Holder::File(private),
                name: path.display().to_string(),
            }),
            Err(trouble) => offer.troubles.push(format!("{}: {trouble}", path.display())),
        }
    }

    /// Opens a key file; concurrent callers share one opening and one question.
    async fn open(&self, path: &Path, passphrase: Option<&SecretSource>) -> Opened {
        let cell = {
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(opened.entry((path.to_owned(), passphrase.cloned())).or_default())
        };
        cell.get_or_init(|| self.open_once(path, passphrase)).await.clone()
    }

    async fn open_once(&self, path: &Path, passphrase: Option<&SecretSource>) -> Opened {
        let text = match fs::read_to_string(path) {
            Ok(text) => SecretString::from(text),
            Err(error) => return Err(format!("cannot read it: {error}")),
        };
        match decode(&text, None) {
            Ok(key) => return Ok(Arc::new(key)),
            Err(keys::Error::KeyIsEncrypted) => {}
            Err(error) => return Err(format!("not a private key that can be read: {error}")),
        }
        let passphrase = match passphrase {
            Some(source) => self.secrets.get(source).await?,
            None => self.ask(path).await?,
        };
        // Deriving the key from the passphrase costs a quarter of a second of one processor.
        let opening = tokio::task::spawn_blocking(move || decode(&text, Some(&passphrase)));
        match opening.await {
            Ok(Ok(key)) => Ok(Arc::new(key)),
            Ok(Err(_)) => Err("the passphrase does not open it".to_owned()),
            Err(error) => Err(format!("opening it failed: {error}")),
        }
    }

    async fn ask(&self, path: &Path) -> Result<SecretString, String> {
        let none = "it is encrypted, and no passphrase is configured";
        let Some(prompt) = self.prompt.clone() else { return Err(none.to_owned()) };
        let _one = self.asking.lock().await;
        let asked = path.to_owned();
        match tokio::task::spawn_blocking(move || prompt(&asked)).await {
            Ok(Some(passphrase)) => Ok(passphrase),
            Ok(None) => Err(none.to_owned()),
            Err(error) => Err(format!("asking for its passphrase failed: {error}")),
        }
    }
}

fn default_paths() -> Vec<PathBuf> {
    let Some(home) = env::home_dir() else { return Vec::new() };
    DEFAULT_NAMES.iter().map(|name| home.join(".ssh").join(name)).collect()
}

/// The public half without opening the private one: an OpenSSH key shows it, others have it beside them in `.pub`.
pub(super) fn public_half(path: &Path) -> Option<PublicKey> {
    let text = fs::read_to_string(path).ok()?;
    if let Ok(key) = PrivateKey::from_openssh(&text) {
        return Some(key.public_key().clone());
    }
    if let Ok(key) = PublicKey::from_openssh(text.trim()) {
        return Some(key);
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    keys::load_public_key(PathBuf::from(beside)).ok()
}

/// Opens the text of a key file.
pub(super) fn decode(
    text: &SecretString,
    passphrase: Option<&SecretString>,
) -> Result<PrivateKey, keys::Error> {
    keys::decode_secret_key(text.expose_secret(), passphrase.map(ExposeSecret::expose_secret))
}

/// Which hashes an RSA key signs with, best first.
pub(super) fn rsa_hashes() -> [Option<ssh_key::HashAlg>; 3] {
    [Some(ssh_key::HashAlg::Sha512), Some(ssh_key::HashAlg::Sha256), None]
}
