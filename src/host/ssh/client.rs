//! What the SSH library calls back: judging the host's key, and hearing what the server says.

use super::known_hosts::{self, Files, Place, Verdict};
use crate::{
    host::{ConnectError, KeyTrust},
    inventory::HostKeyPolicy,
    journal::NewKey,
};
use russh::{
    client::{DisconnectReason, Handler, Session},
    keys::{Algorithm, PublicKey, PublicKeyOrCertificate},
};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// What ends a connection from our side of the callbacks.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error(transparent)]
    Library(#[from] russh::Error),
    #[error("{0}")]
    HostKey(HostKeyError),
}

/// Why a host's key is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostKeyError {
    pub(super) reason: String,
    pub(super) hint: Option<String>,
    /// What the host shows, where it has shown a key: else nothing could be judged.
    pub(super) shown: Option<Shown>,
}

/// A key that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    shown: String,
    expected: Option<String>,
    revoked: bool,
}

impl From<HostKeyError> for ConnectError {
    fn from(error: HostKeyError) -> Self {
        let HostKeyError { reason, hint, shown } = error;
        match shown {
            None => Self::Refused { reason, hint },
            Some(Shown { shown, expected, revoked }) => {
                Self::HostKey { reason, hint, shown, expected, revoked }
            }
        }
    }
}

impl std::fmt::Display for HostKeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

/// What the server said beside the protocol.
#[derive(Debug, Default)]
pub(super) struct Heard {
    banner: String,
    farewell: Option<String>,
}

/// Shared between the callbacks and who waits for their outcome.
pub(super) type SharedHeard = Arc<Mutex<Heard>>;

/// The server's banner and its last words, as one line.
pub(super) fn last_words(heard: &SharedHeard) -> Option<String> {
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let mut words: Vec<String> = crate::base::text::safe_lines(heard.banner.as_bytes());
    words.extend(heard.farewell.clone());
    let words: Vec<&str> = words.iter().map(|w| w.trim()).filter(|w| !w.is_empty()).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// A key that is accepted, as far as reading tells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepted {
    Known,
    /// The policy takes new keys; this one must be written down.
    New,
    /// A step has announced a new key.
    Announced,
}

/// Judges keys by files and policy.
pub(super) struct HostKeys {
    pub(super) files: Arc<Files>,
    pub(super) paths: Vec<PathBuf>,
    pub(super) policy: HostKeyPolicy,
    /// As `known_hosts` names it: the address, then the inventory's name.
    pub(super) names: Vec<String>,
    /// Taken earlier in this run.
    taken: Option<PublicKey>,
    announced: bool,
    new_key: OnceLock<NewKey>,
}

impl HostKeys {
    /// A key that was taken earlier and cannot be read is a fault of the journal's: without it nothing can be judged.
    pub(super) fn new(
        files: Arc<Files>,
        paths: Vec<PathBuf>,
        policy: HostKeyPolicy,
        names: Vec<String>,
        trust: &KeyTrust,
    ) -> Result<Self, ConnectError> {
        let taken = trust.taken.as_deref().map(PublicKey::from_openssh).transpose();
        let taken = taken.map_err(|error| ConnectError::Refused {
            reason: format!("the host key that this run has taken cannot be read: {error}"),
            hint: None,
        })?;
        let (announced, new_key) = (trust.announced, OnceLock::new());
        Ok(Self { files, paths, policy, names, taken, announced, new_key })
    }

    /// The key that was accepted only because a new one is announced.
    pub(super) fn new_key(&self) -> Option<NewKey> {
        self.new_key.get().cloned()
    }

    fn load(&self) -> Result<Vec<Arc<known_hosts::KnownHosts>>, HostKeyError> {
        let read = |path: &PathBuf| {
            self.files.load(path).map_err(|error| HostKeyError {
                reason: format!("cannot read {}: {error}", path.display()),
                hint: Some("without it nobody can say whether the host is the right one".into()),
                shown: None,
            })
        };
        self.paths.iter().map(read).collect()
    }

    /// The key types that are known of the host: a key of such a type is asked for first.
    pub(super) fn known_types(&self) -> Result<Vec<Algorithm>, HostKeyError> {
        let files = self.load()?;
        let types = self.names.iter().map(|name| known_hosts::known_types(&files, name));
        let known = types.into_iter().find(|types| !types.is_empty()).unwrap_or_default();
        Ok(self.taken.iter().map(PublicKey::algorithm).chain(known).collect())
    }

    /// Reads only, and where the files are as they were, only asks for their times: fit to be done beside other hosts.
    fn check(&self, key: &PublicKey) -> Result<Accepted, HostKeyError> {
        let files = self.load()?;
        let judge = |name: &String| (name.clone(), known_hosts::judge(&files, name, key));
        let verdicts: Vec<(String, Verdict)> = self.names.iter().map(judge).collect();
        // Revoked under one of its names is revoked. Otherwise the first name that is written down decides.
        let revoked = verdicts.iter().find(|(_, v)| matches!(v, Verdict::Revoked { .. }));
        if revoked.is_none() && self.taken.as_ref().is_some_and(|t| t.key_data() == key.key_data())
        {
            return Ok(Accepted::Known);
        }
        let mut others = Vec::new();
        for (name, verdict) in revoked.into_iter().chain(&verdicts) {
            match verdict {
                Verdict::Known => return Ok(Accepted::Known),
                Verdict::Unknown { others: more } => others.extend(more.iter().cloned()),
                Verdict::Changed { fingerprint, place } if self.announced => {
                    return Ok(self.announce(name, key, Some((fingerprint, place))));
                }
                Verdict::Changed { .. } | Verdict::Revoked { .. } => {
                    return Err(refusal(name, key, verdict));
                }
            }
        }
        let name = self.names.first().map_or("", String::as_str);
        if self.announced {
            return Ok(self.announce(name, key, None));
        }
        match (self.policy, self.paths.first()) {
            (HostKeyPolicy::AcceptNew, Some(_)) if others.is_empty() => Ok(Accepted::New),
            (HostKeyPolicy::AcceptNew | HostKeyPolicy::Strict, _) => {
                Err(refusal(name, key, &Verdict::Unknown { others }))
            }
        }
    }

    /// Remembers a key that counts because a step has announced it.
    fn announce(&self, name: &str, key: &PublicKey, known: Option<(&String, &Place)>) -> Accepted {
        let mut bare = key.clone();
        bare.set_comment("");
        // A key that was just read can be written.
        let line = bare.to_openssh().unwrap_or_default();
        let advice = match known {
            Some((_, place)) => format!("replace line {} of {}", place.line, place.file.display()),
            None => match self.paths.first() {
                Some(path) => format!("add to {}", path.display()),
                None => "add to known_hosts".to_owned(),
            },
        };
        let new_key = NewKey {
            shown: shown(key),
            expected: known.map(|(fingerprint, _)| fingerprint.clone()),
            advice: format!("{advice}: {name} {line}"),
            key: line,
        };
        // One connection shows one key, whenever it is exchanged anew.
        let _ = self.new_key.set(new_key);
        Accepted::Announced
    }

    /// Writes a new key down. It waits for other controllers that do the same.
    fn write_down(&self, key: &PublicKey) -> Result<(), HostKeyError> {
        let (Some(name), Some(path)) = (self.names.first(), self.paths.first()) else {
            return Err(refusal("", key, &Verdict::Unknown { others: Vec::new() }));
        };
        match known_hosts::append(path, name, key) {
            Ok(Verdict::Known) => Ok(()),
            Ok(verdict) => Err(refusal(name, key, &verdict)),
            Err(error) => Err(HostKeyError {
                reason: format!("cannot write {}: {error}", path.display()),
                hint: None,
                shown: None,
            }),
        }
    }
}

fn shown(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), known_hosts::fingerprint(key))
}

fn refusal(name: &str, key: &PublicKey, verdict: &Verdict) -> HostKeyError {
    let shown = shown(key);
    let judged = |expected: Option<&String>, revoked| {
        Some(Shown { shown: shown.clone(), expected: expected.cloned(), revoked })
    };
    match verdict {
        Verdict::Changed { fingerprint, place } => HostKeyError {
            shown: judged(Some(fingerprint), false),
            reason: format!(
                "the host key of {name} has changed: it shows {shown}, but {place} expects {fingerprint}"
            ),
            hint: Some(format!(
                "someone may be in between; if the host was reinstalled, compare the fingerprint on its console, \
                 then remove line {} of {}",
                place.line,
                place.file.display()
            )),
        },
        Verdict::Revoked { place } => HostKeyError {
            shown: judged(None, true),
            reason: format!("the host key of {name} is revoked: {shown}, by {place}"),
            hint: Some("whoever revoked it had a reason: the host needs a new key".to_owned()),
        },
        Verdict::Known | Verdict::Unknown { .. } => {
            let others = match verdict {
                Verdict::Unknown { others } if !others.is_empty() => known_list(others),
                Verdict::Unknown { .. }
                | Verdict::Known
                | Verdict::Changed { .. }
                | Verdict::Revoked { .. } => String::new(),
            };
            HostKeyError {
                shown: judged(None, false),
                reason: format!("the host key of {name} is not known: it shows {shown}{others}"),
                hint: Some(format!(
                    "compare it with the host's own (`ssh-keygen -lf /etc/ssh/ssh_host_…_key.pub`) and add it to \
                     known_hosts (`ssh-keyscan {}`), or set `host_key = \"accept-new\"`",
                    scan_arguments(name)
                )),
            }
        }
    }
}

fn known_list(others: &[(Algorithm, Place)]) -> String {
    let list: Vec<String> =
        others.iter().map(|(kind, place)| format!("{kind} ({place})")).collect();
    format!("; known of it are keys of other types: {}", list.join(", "))
}

fn scan_arguments(name: &str) -> String {
    match name.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some((host, port)) => format!("-p {port} {host}"),
        None => name.to_owned(),
    }
}

/// The callbacks of one connection.
pub(super) struct Client {
    pub(super) host_keys: Arc<HostKeys>,
    pub(super) heard: SharedHeard,
}

/// More of a banner than this is decoration.
const BANNER_BYTES_MAX: usize = 4096;

impl Handler for Client {
    type Error = ClientError;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, ClientError> {
        let key = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.clone(),
            // Never asked for, so a server that shows one is broken.
            PublicKeyOrCertificate::Certificate(_) => return Ok(false),
        };
        match self.host_keys.check(&key).map_err(ClientError::HostKey)? {
            Accepted::Known | Accepted::Announced => return Ok(true),
            Accepted::New => {}
        }
        let host_keys = Arc::clone(&self.host_keys);
        match tokio::task::spawn_blocking(move || host_keys.write_down(&key)).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(error)) => Err(ClientError::HostKey(error)),
            Err(error) => Err(ClientError::HostKey(HostKeyError {
                reason: format!("judging the host key failed: {error}"),
                hint: None,
                shown: None,
            })),
        }
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut Session) -> Result<(), ClientError> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.banner.len() + banner.len() <= BANNER_BYTES_MAX {
            heard.banner.push_str(banner);
        }
        Ok(())
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<ClientError>,
    ) -> Result<(), ClientError> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                heard.farewell = Some(crate::base::text::one_line(&info.message).into_owned());
                Ok(())
            }
            DisconnectReason::Error(error) => {
                heard.farewell.get_or_insert_with(|| error.to_string());
                Err(error)
            }
        }
    }
}
