//! What the engine knows of a connection: open it, run scripts, move files. SSH and the tests implement it.

use crate::{
    base::name::HostName,
    inventory::Connection,
    journal::{Contact, NewKey},
};
use std::{future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Which host, and how it is reached.
#[derive(Clone, Debug)]
pub struct Target {
    pub host: HostName,
    /// Tried in order.
    pub addresses: Vec<String>,
    pub connection: Arc<Connection>,
    pub trust: KeyTrust,
}

/// Which host keys count beside those of known_hosts. A revoked key never does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyTrust {
    /// Taken earlier in this run, as OpenSSH writes it.
    pub taken: Option<Arc<str>>,
    /// A new key is announced: whatever the host shows now is taken.
    pub announced: bool,
}

/// Why there is no session. The host is untouched in every case.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No answer, refused, no route, closed before or in the key exchange: trying again may help.
    #[error("{reason}")]
    Unreachable { contact: Contact, reason: String },
    /// It shows a key that is not the host's, by all that is known. Nothing was shown to it.
    #[error("{reason}")]
    HostKey {
        reason: String,
        hint: Option<String>,
        /// The key's type and fingerprint.
        shown: String,
        /// The fingerprint that is known instead, where there is one of this type.
        expected: Option<String>,
        revoked: bool,
    },
    /// Answered, and one side said no: host key, authentication, configuration. Trying again will not help.
    #[error("{reason}")]
    Refused { reason: String, hint: Option<String> },
}

/// Which of a script's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    Out,
    Err,
}

/// Takes a script's output as it comes.
pub trait OutputSink: Send {
    fn take(&mut self, stream: Stream, bytes: &[u8]);

    /// Whether `take` may keep its caller waiting. Then others must be moved out of its way first, which costs two switches
    /// of threads for each piece of output.
    fn may_block(&self) -> bool {
        true
    }
}

/// A script for a host.
#[derive(Clone, Debug)]
pub struct Script {
    /// POSIX sh. It travels over standard input, never on a command line, and its own standard input is empty.
    pub text: Arc<str>,
    /// Exported before the script; may hold secrets, so it travels with the text.
    pub env: Vec<(String, String)>,
    /// Whether to become root by sudo, where the login user is not root already.
    pub sudo: bool,
    /// After this long the script's processes are ended, with proof.
    pub timeout: Duration,
    /// The name of the script's directory below the connection's `remote_dir`: made of `[A-Za-z0-9._/-]`.
    pub dir: String,
    /// `/etc/machine-id` that the host must have, else nothing runs: the host checks itself.
    pub machine_id: Option<String>,
}

/// How a script ended, where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(String),
    /// It ran past its limit. `stopped` says whether its processes are proven gone.
    TimedOut {
        stopped: bool,
    },
}

/// Why a script has no known end.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection was gone before the script was handed over: it has not run.
    #[error("not started: {reason}")]
    NotStarted { reason: String },
    /// The host refused to start it: another machine, sudo, a full or read-only disk. It has not run.
    #[error("refused: {reason}")]
    Refused { reason: String },
    /// It was handed over, now or by somebody before, and its end did not come: ask the host what became of it.
    #[error("lost: {reason}")]
    Lost { reason: String },
}

/// What became of a script whose connection was lost, by the word of its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// It has not begun, and cannot begin any more.
    Never,
    /// It has not begun, and the host cannot promise that it never will, since nothing can be written there: ask again.
    Open {
        reason: String,
    },
    Running,
    /// Its output is in the files `out` and `err` of its directory, whole.
    Finished(Exit),
    /// It began, left no result, and its process is gone or the host was started anew.
    Lost {
        reason: String,
    },
}

/// The time of a script that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// All that it may take, by the host's own count from its beginning: nobody who comes later begins that anew.
    pub limit: Duration,
    /// What is left of it by the controller's count, for a host that cannot count.
    pub left: Duration,
}

/// How long a host stays locked for a controller that is not heard of any more and of which no script is at work, by the
/// host's own clock. Whoever is in flight renews it with whatever it asks, and at least three times within it.
pub const LEASE: Duration = Duration::from_secs(300);

/// Who holds a host's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub run: String,
    /// How often the run was taken over: a later controller of a run takes its lock from an earlier one.
    pub epoch: u32,
    /// The controller, in one word.
    pub controller: String,
    /// Where all scripts of this host in this run have their directories, below the connection's `remote_dir`.
    pub folder: String,
}

/// How a host is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It goes on later: its folder stays as it is.
    Rests,
    /// It has ended, and what its scripts left behind is evidence.
    Keeps,
    /// It has ended, and nothing of its scripts is needed any more.
    Clean,
}

/// An open connection to one host. After `NotStarted` or `Lost` it is dead: open another.
pub trait Session: Send {
    /// Runs a script to its end.
    fn run<'a>(
        &'a mut self,
        script: &'a Script,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Exit, SessionError>>;

    /// Runs a script that only asks, and leaves nothing on the host: it has no directory, needs no lock, and what it has started
    /// ends with it, or when its time is over. Nobody can ask later what became of it; after `Lost` it may be put again.
    fn ask<'a>(
        &'a mut self,
        script: &'a Script,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Exit, SessionError>> {
        let _ = (script, output);
        let reason = "this transport cannot ask without leaving something behind".to_owned();
        Box::pin(async { Err(SessionError::Refused { reason }) })
    }

    /// Looks what became of a script that was handed over before, by its directory.
    fn look<'a>(
        &'a mut self,
        dir: &'a str,
        sudo: bool,
    ) -> BoxFuture<'a, Result<Whereabouts, SessionError>> {
        let _ = (dir, sudo);
        let reason = "this transport cannot look for earlier scripts".to_owned();
        Box::pin(async { Err(SessionError::Refused { reason }) })
    }

    /// Follows a script that was begun before, by its directory, to its end. Its output comes from these offsets on: bytes of
    /// standard output and of standard error that the caller has seen. When its time is over its processes are ended, with
    /// proof.
    fn follow<'a>(
        &'a mut self,
        dir: &'a str,
        sudo: bool,
        seen: [u64; 2],
        time: Time,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Whereabouts, SessionError>> {
        let _ = (dir, sudo, seen, time, output);
        let reason = "this transport cannot follow earlier scripts".to_owned();
        Box::pin(async { Err(SessionError::Refused { reason }) })
    }

    /// Writes a file: beside its place, checked by checksum, then renamed. `path` may be relative to the login directory.
    fn upload<'a>(
        &'a mut self,
        content: &'a [u8],
        path: &'a str,
        mode: u32,
        sudo: bool,
    ) -> BoxFuture<'a, Result<(), SessionError>> {
        let _ = (content, path, mode, sudo);
        let reason = "this transport moves no files".to_owned();
        Box::pin(async { Err(SessionError::Refused { reason }) })
    }

    /// Reads a file of the host into a local one; checked by checksum, then renamed. Returns its size in bytes.
    fn download<'a>(
        &'a mut self,
        path: &'a str,
        to: &'a Path,
        sudo: bool,
    ) -> BoxFuture<'a, Result<u64, SessionError>> {
        let _ = (path, to, sudo);
        let reason = "this transport moves no files".to_owned();
        Box::pin(async { Err(SessionError::Refused { reason }) })
    }

    /// From here on whatever changes the host needs its lock: it is taken with the first script, renewed with each, and where
    /// another holds it the script is refused.
    fn hold(&mut self, holder: &Arc<Holder>) {
        let _ = holder;
    }

    /// What a person should know of how the lock was taken, since the last question.
    fn notes(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Renews the lock of a host that is asked nothing for long.
    fn renew(&mut self, sudo: bool) -> BoxFuture<'_, Result<(), SessionError>> {
        let _ = sudo;
        Box::pin(async { Ok(()) })
    }

    /// Gives the lock back. At an end, nothing is begun any more in the holder's folder; where nothing of it is needed, its
    /// content is removed.
    fn leave(&mut self, how: Leave, sudo: bool) -> BoxFuture<'_, Result<(), SessionError>> {
        let _ = (how, sudo);
        Box::pin(async { Ok(()) })
    }

    /// The host's key, where it was taken only because a new one is announced.
    fn new_key(&self) -> Option<&NewKey> {
        None
    }

    /// Ends the connection politely.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Opens connections.
pub trait Transport: Send + Sync {
    fn connect<'a>(
        &'a self,
        target: &'a Target,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, ConnectError>>;
}
