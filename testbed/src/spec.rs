//! What a fleet is asked to be.

use std::{fmt, net::IpAddr, path::PathBuf, sync::Arc};

/// A fleet to start.
#[derive(Clone, Debug)]
pub struct FleetSpec {
    pub hosts: Vec<HostSpec>,
    /// The one key that may log in, as an OpenSSH public key line. Any user name is taken with it.
    pub authorized_key: String,
    /// Where the roots are laid. Made where it is missing, and then removed when the fleet stops; a directory that was there
    /// before stays, without what the fleet put into it.
    pub dir: PathBuf,
    /// Keys, ids and delays are drawn from it.
    pub seed: u64,
    /// What canned hosts say.
    pub canned: CannedAnswers,
}

/// One host.
#[derive(Clone, Debug)]
pub struct HostSpec {
    pub name: String,
    /// Written to `/etc/testbed/role`, for the stage's own commands.
    pub role: String,
    pub profile: Profile,
    pub faults: Vec<Fault>,
}

/// What stands behind a host's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A root of its own with a real shell, dressed by `stage/common/` and then `stage/<stage>/`.
    Staged { stage: String },
    /// No root and no process: every script is answered from [`CannedAnswers`]. All canned hosts of a fleet share one
    /// address, port and host key, because ten thousand listeners would need ten thousand file descriptors.
    Canned,
}

/// What goes wrong with a host. Canned hosts have no faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its port is closed from the start.
    Refuses,
    /// Takes connections, and then says nothing.
    HangsBeforeBanner,
    /// The first time a command or its standard input contains this text, the connection is cut as soon as the script has
    /// arrived; what it started goes on.
    DropsDuringScript { containing: String },
    /// Stays dark from its first reboot on.
    NeverReturns,
    /// Its boot hook is skipped: what comes back is the old system, with a new boot id.
    ReturnsUnchanged,
    /// Has another host key after its first reboot.
    ChangesKey,
    /// While it goes down, and for a moment after it has come up, SSH answers and lets nobody in, as with pam_nologin.
    RefusesLoginsAtBoot,
    /// Nothing can be written below `/var`. Needs a mount namespace.
    FillsDisk,
    /// The login user is not root, and `sudo` asks for this password.
    SudoAsks { password: String },
    /// `/usr/lib/testbed/noise`, which the stage's commands call at work, prints this much.
    PrintsMuch { bytes: u64 },
    /// A word for `/etc/testbed/faults`, where the stage's own commands look for it.
    Stage(String),
}

/// How a started host is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInfo {
    pub name: String,
    pub address: IpAddr,
    pub port: u16,
    /// OpenSSH public key line.
    pub host_key: String,
}

/// What canned hosts say. The first that applies: `answer`, a script with the line `# fleetlift-facts`, `table`, and else
/// `default_stdout` with exit code 0. Fleetlift's own launcher gets the answer in the frame that it sets around a script's
/// output; others get it as it is.
#[derive(Clone, Default)]
pub struct CannedAnswers {
    /// Printed for a script that has the line `# fleetlift-facts`.
    pub facts: String,
    pub default_stdout: String,
    /// Tried in order: a text that the command or the script contains, and what is then answered.
    pub table: Vec<(String, CannedReply)>,
    /// For what a table cannot say.
    pub answer: Option<Arc<AnswerFn>>,
}

/// Answers a request, or leaves it to the rest of [`CannedAnswers`].
pub type AnswerFn = dyn Fn(&CannedRequest<'_>) -> Option<CannedReply> + Send + Sync;

impl fmt::Debug for CannedAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CannedAnswers")
            .field("facts", &self.facts)
            .field("default_stdout", &self.default_stdout)
            .field("table", &self.table)
            .field("answer", &self.answer.is_some())
            .finish()
    }
}

/// What a canned host is asked: a command and all of its standard input.
#[derive(Clone, Copy, Debug)]
pub struct CannedRequest<'a> {
    pub user: &'a str,
    pub command: &'a [u8],
    pub stdin: &'a [u8],
}

/// What it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CannedReply {
    pub stdout: String,
    pub stderr: String,
    pub exit: u32,
}
