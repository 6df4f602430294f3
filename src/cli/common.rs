//! What several verbs need: the store, runs by name, printing.

use super::{args::Common, error::CliError};
use crate::{
    base::{name::RunId, text::one_line},
    journal::{Reader, Record, Store},
    plan::{PLAN_FORMAT, Plan},
    run::{RunPhase, RunState},
};
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Prints data. A reader that has gone away ends the program quietly.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints what is not data.
pub fn complain(text: &str) {
    // Without standard error there is nobody to tell.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Debugging output, on standard error, only when asked for.
pub fn start_log(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let default = match verbose {
        0 => "off",
        1 => "fleetlift=info,russh=warn",
        _ => "fleetlift=debug,russh=info",
    };
    let filter =
        EnvFilter::try_from_env("FLEETLIFT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // A second subscriber in one process is a test's doing, and harmless.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).try_init();
}

/// Where runs are kept.
pub fn store(common: &Common) -> Result<Store, CliError> {
    Ok(Store::new(state_dir(common.state_dir.as_deref())?))
}

/// The directory that is named, else the usual one.
fn state_dir(named: Option<&Path>) -> Result<PathBuf, CliError> {
    if let Some(dir) = named {
        return Ok(dir.to_owned());
    }
    if let Some(dir) = std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir).join("fleetlift"));
    }
    match std::env::var_os("HOME").filter(|dir| !dir.is_empty()) {
        Some(home) => Ok(PathBuf::from(home).join(".local/state/fleetlift")),
        None => Err(CliError::usage("there is no place to keep runs: HOME is not set")
            .hint("name one with --state-dir")),
    }
}

/// A run as it was read: its plan, its records, and the state that they add up to.
pub struct Seen {
    pub run: RunId,
    pub plan: Plan,
    pub digest: String,
    pub records: Vec<Record>,
    pub state: RunState,
    pub reader: Reader,
}

/// Reads a run.
pub fn read(store: &Store, run: RunId) -> Result<Seen, CliError> {
    let reader = store.read(&run)?;
    let bad = |what: &str, error: &dyn std::error::Error| {
        CliError::usage(format!("run {run} cannot be read: {what}")).cause(error)
    };
    let plan: Plan = serde_json::from_str(&reader.plan()?).map_err(|e| bad("its plan", &e))?;
    if plan.format != PLAN_FORMAT {
        let (has, reads) = (plan.format, PLAN_FORMAT);
        let message = format!("the plan of run {run} has form {has}, this version reads {reads}");
        return Err(CliError::usage(message));
    }
    let records = reader.records(0)?;
    let state = RunState::replay(&plan, &records).map_err(|e| bad("its records", &e))?;
    Ok(Seen { run, plan, digest: reader.digest()?, records, state, reader })
}

/// Which runs a verb can be about, when none is named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Candidates {
    Any,
    /// Neither finished nor driven by another controller.
    Resumable,
}

/// The run that is meant: by name, by `last`, or the one candidate.
pub fn find(store: &Store, named: Option<&str>, among: Candidates) -> Result<RunId, CliError> {
    let runs = store.runs()?;
    let none = || {
        CliError::usage("there is no run yet")
            .hint("`fleetlift run -i FLEET -p PLAYBOOK` begins one")
    };
    match named {
        Some("last") => runs.last().cloned().ok_or_else(none),
        Some(name) => {
            let matching: Vec<&RunId> =
                runs.iter().filter(|run| run.as_str().contains(name)).collect();
            match (runs.iter().find(|run| run.as_str() == name), matching.as_slice()) {
                (Some(run), _) => Ok(run.clone()),
                (None, [only]) => Ok((*only).clone()),
                (None, []) => Err(CliError::usage(format!("there is no run {name}"))
                    .hint("`fleetlift runs` lists them")),
                (None, several) => {
                    Err(CliError::usage(format!("{} runs are called {name}", several.len()))
                        .hint("`fleetlift runs` lists them; name one in full, or say `last`"))
                }
            }
        }
        None => {
            let wanted = |run: &&RunId| match among {
                Candidates::Any => true,
                Candidates::Resumable => is_resumable(store, run),
            };
            let candidates: Vec<&RunId> = runs.iter().filter(wanted).collect();
            match candidates.as_slice() {
                [only] => Ok((*only).clone()),
                [] if runs.is_empty() => Err(none()),
                [] => Err(CliError::usage("there is no run to go on with")
                    .hint("`fleetlift runs` lists them")),
                several => {
                    let names: Vec<&str> = several.iter().map(|run| run.as_str()).collect();
                    Err(CliError::usage(format!("which run? {}", names.join(", ")))
                        .hint("name it, or say `last` for the newest"))
                }
            }
        }
    }
}

fn is_resumable(store: &Store, run: &RunId) -> bool {
    if store.is_driven(run) {
        return false;
    }
    match read(store, run.clone()) {
        Ok(seen) => match seen.state.phase {
            RunPhase::New | RunPhase::Running | RunPhase::Paused(_) => true,
            RunPhase::Finished(_) => false,
        },
        Err(_) => false,
    }
}

/// How the operator calls this program for this store: what a hint tells them to type, they can type.
pub fn program(store: &Store) -> String {
    let called = std::env::args().next().filter(|name| name.contains('/'));
    let called = called.unwrap_or_else(|| "fleetlift".to_owned());
    let word =
        |text: &str| shlex::try_quote(text).map_or_else(|_| text.to_owned(), |w| w.into_owned());
    let usual = state_dir(None).is_ok_and(|dir| dir == store.dir());
    if usual {
        return one_line(&word(&called)).into_owned();
    }
    let dir = store.dir().to_string_lossy();
    one_line(&format!("{} --state-dir {}", word(&called), word(&dir))).into_owned()
}

/// Who works here, for the journal: `alice@laptop`.
pub fn operator() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let user = named.filter(|user| !user.is_empty()).or_else(account);
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    format!("{}@{host}", user.unwrap_or_else(|| "unknown".to_owned()))
}

/// The name of this process's user, by the system's own list.
fn account() -> Option<String> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}

/// What drives a run, for the journal.
pub fn controller() -> String {
    let host = rustix::system::uname();
    format!("process {} on {}", std::process::id(), host.nodename().to_string_lossy())
}
