//! From an address to an encrypted connection with a host whose key is the right one.

use super::{
    client::{Client, ClientError, HostKeys, SharedHeard, last_words},
    tap::{FirstBytes, Stays, Tap},
};
use crate::{base::text, host::ConnectError, inventory::Connection, journal::Contact};
use russh::{
    Preferred, cipher,
    client::{self, Handle},
    keys::Algorithm,
};
use std::{
    borrow::Cow,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit, time::timeout};

/// Keep-alives without answer until a connection counts as dead.
const KEEPALIVES_MAX: usize = 3;

/// Where keep-alives are switched off: a long silent step must not look like a dead connection.
const KEEPALIVE_DEFAULT: Duration = Duration::from_secs(15);

/// A connection, encrypted, not yet logged in.
pub(super) struct Encrypted {
    pub(super) handle: Handle<Client>,
    pub(super) heard: SharedHeard,
    pub(super) stays: Stays,
}

/// Resolves an address. Literal addresses cost nothing.
pub(super) async fn resolve(
    address: &str,
    port: u16,
    limit: Duration,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let unreachable =
        |reason: String| ConnectError::Unreachable { contact: Contact::NoAnswer, reason };
    match timeout(limit, tokio::net::lookup_host((bare, port))).await {
        Err(_) => Err(unreachable(format!("{address}: no answer from DNS within {limit:?}"))),
        Ok(Err(error)) => {
            Err(unreachable(format!("{address}: the name does not resolve: {error}")))
        }
        Ok(Ok(found)) => {
            let found: Vec<SocketAddr> = found.collect();
            if found.is_empty() {
                return Err(unreachable(format!("{address}: the name has no address")));
            }
            Ok(found)
        }
    }
}

/// Opens a TCP connection.
pub(super) async fn dial(at: SocketAddr, limit: Duration) -> Result<TcpStream, ConnectError> {
    let mut contact = Contact::NoAnswer;
    let reason = match timeout(limit, TcpStream::connect(at)).await {
        Ok(Ok(stream)) => {
            // Without it, small packets wait for each other's acknowledgement. A failure costs speed only.
            let _ = stream.set_nodelay(true);
            return Ok(stream);
        }
        Err(_) => format!("{at}: no answer within {limit:?}"),
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                contact = Contact::PortClosed;
                format!("{at}: connection refused")
            }
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                format!("{at}: no route to it ({error})")
            }
            io::ErrorKind::TimedOut => format!("{at}: no answer"),
            _ => format!("{at}: {error}"),
        },
    };
    Err(ConnectError::Unreachable { contact, reason })
}

/// Banner, key exchange, host key.
pub(super) async fn encrypt(
    stream: TcpStream,
    at: SocketAddr,
    place: OwnedSemaphorePermit,
    connection: &Connection,
    host_keys: Arc<HostKeys>,
) -> Result<Encrypted, ConnectError> {
    let types = host_keys.known_types().map_err(ConnectError::from)?;
    let config = Arc::new(config(connection, &types));
    let heard = SharedHeard::default();
    let (tap, first, stays) = Tap::new(stream, place);
    let client = Client { host_keys, heard: Arc::clone(&heard) };
    let limit = connection.connect_timeout;
    match timeout(limit, client::connect_stream(config, tap, client)).await {
        Ok(Ok(handle)) => Ok(Encrypted { handle, heard, stays }),
        Ok(Err(ClientError::HostKey(error))) => Err(error.into()),
        Ok(Err(ClientError::Library(error))) => Err(explain(at, &error, &first, &heard)),
        Err(_) => Err(explain_silence(at, limit, &first)),
    }
}

fn config(connection: &Connection, known: &[Algorithm]) -> client::Config {
    let keepalive =
        if connection.keepalive.is_zero() { KEEPALIVE_DEFAULT } else { connection.keepalive };
    // For a server that takes nothing any more while we send. An answered keep-alive counts as activity, so it must lie
    // beyond all of them.
    let waits = u32::try_from(KEEPALIVES_MAX).unwrap_or(3) + 1;
    let inactivity = keepalive * waits + connection.connect_timeout + connection.auth_timeout;
    client::Config {
        nodelay: true,
        keepalive_interval: Some(keepalive),
        keepalive_max: KEEPALIVES_MAX,
        inactivity_timeout: Some(inactivity),
        preferred: Preferred {
            key: Cow::Owned(host_key_order(known)),
            cipher: Cow::Borrowed(CIPHERS),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    }
}

/// AES in hardware first: twice as fast as ChaCha20 for bulk output.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

/// Known types first, as OpenSSH does: a host has keys of several types, and shows the one that is asked for first.
fn host_key_order(known: &[Algorithm]) -> Vec<Algorithm> {
    let is_rsa = |a: &Algorithm| matches!(a, Algorithm::Rsa { .. });
    let same_type = |a: &Algorithm, b: &Algorithm| a == b || (is_rsa(a) && is_rsa(b));
    let is_known = |a: &Algorithm| known.iter().any(|k| same_type(a, k));
    let all = Preferred::DEFAULT.key;
    let first = all.iter().filter(|a| is_known(a));
    first.chain(all.iter().filter(|a| !is_known(a))).cloned().collect()
}

/// What a server said before its banner, when it sent none.
enum Opening {
    Nothing,
    Banner,
    /// OpenSSH's words to those whom it sends away.
    Busy(String),
    Strange(String),
}

fn opening(first: &FirstBytes) -> Opening {
    let bytes = first.get();
    if bytes.is_empty() {
        return Opening::Nothing;
    }
    let lines = text::safe_lines(&bytes);
    if lines.iter().any(|line| line.starts_with("SSH-")) {
        return Opening::Banner;
    }
    let said = lines.iter().map(|line| line.trim()).find(|line| !line.is_empty());
    let said = text::shorten(said.unwrap_or_default(), 100).into_owned();
    if said.contains("MaxStartups") || said.contains("Not allowed at this time") {
        return Opening::Busy(said);
    }
    Opening::Strange(said)
}

fn explain(
    at: SocketAddr,
    error: &russh::Error,
    first: &FirstBytes,
    heard: &SharedHeard,
) -> ConnectError {
    let opening = opening(first);
    if let russh::Error::NoCommonAlgo { kind, ours, theirs } = error {
        return ConnectError::Refused {
            reason: format!(
                "{at}: no common {kind:?} algorithm; we offer {}, it offers {}",
                ours.join(","),
                theirs.join(",")
            ),
            hint: Some("the host's SSH server is too old or too strict".to_owned()),
        };
    }
    match opening {
        Opening::Busy(said) if said.contains("MaxStartups") => ConnectError::Unreachable {
            contact: Contact::TurnedAway,
            reason: format!("{at}: too many logins are under way there (MaxStartups): `{said}`"),
        },
        Opening::Busy(said) => ConnectError::Unreachable {
            contact: Contact::TurnedAway,
            reason: format!("{at}: it turns us away for a while (PerSourcePenalties): `{said}`"),
        },
        Opening::Nothing => ConnectError::Unreachable {
            contact: Contact::NoSsh,
            reason: format!("{at}: it closed the connection before its SSH banner"),
        },
        Opening::Strange(said) => not_ssh(at, &said),
        Opening::Banner => {
            let said =
                last_words(heard).map_or_else(|| error.to_string(), |w| format!("{error}; {w}"));
            ConnectError::Unreachable {
                contact: Contact::NoSsh,
                reason: format!("{at}: the connection ended in the key exchange: {said}"),
            }
        }
    }
}

fn explain_silence(at: SocketAddr, limit: Duration, first: &FirstBytes) -> ConnectError {
    let mut contact = Contact::NoSsh;
    let reason = match opening(first) {
        Opening::Nothing => {
            format!("{at}: it took the connection, but sent no SSH banner within {limit:?}")
        }
        Opening::Banner => format!("{at}: the key exchange did not end within {limit:?}"),
        Opening::Busy(said) => {
            contact = Contact::TurnedAway;
            format!("{at}: it turns us away: `{said}`")
        }
        Opening::Strange(said) => return not_ssh(at, &said),
    };
    ConnectError::Unreachable { contact, reason }
}

fn not_ssh(at: SocketAddr, said: &str) -> ConnectError {
    ConnectError::Refused {
        reason: format!("{at}: what answers there is not an SSH server: it said `{said}`"),
        hint: Some("check the port".to_owned()),
    }
}
