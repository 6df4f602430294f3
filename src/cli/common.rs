//! What several verbs need: the store, runs by name, printing.

use super::{args::Common, error::CliError};
use crate::{
    base::{
        approval::Approval,
        name::RunId,
        text::{fold_names, one_line, shorten},
    },
    journal::{Event, Reader, Record, Store},
    plan::{PLAN_FORMAT, Plan},
    run::{HostPhase, RunPhase, RunState},
};
use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
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

/// A run as it was read: its plan, and the state that its records add up to.
pub struct Seen {
    pub run: RunId,
    pub plan: Plan,
    pub digest: String,
    pub state: RunState,
    /// What people have said about gates, by the record's number.
    pub approvals: Vec<(u64, Arc<Approval>)>,
    pub reader: Reader,
}

/// Reads a run.
pub fn read(store: &Store, run: RunId) -> Result<Seen, CliError> {
    // A large run has a hundred thousand records: whoever asks how it stands needs none of them afterwards.
    read_each(store, run, drop)
}

/// Reads a run, and keeps its records.
pub fn read_whole(store: &Store, run: RunId) -> Result<(Seen, Vec<Record>), CliError> {
    let mut records = Vec::new();
    let seen = read_each(store, run, |record| records.push(record))?;
    Ok((seen, records))
}

fn read_each(store: &Store, run: RunId, mut each: impl FnMut(Record)) -> Result<Seen, CliError> {
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
    let (mut state, mut approvals, mut applied) = (RunState::new(&plan), Vec::new(), Ok(()));
    reader.each_record(0, |record| {
        if applied.is_ok() {
            applied = state.apply(&plan, &record);
        }
        if let Event::GateDecided { approval, .. } = &record.event {
            approvals.push((record.seq, Arc::clone(approval)));
        }
        each(record);
    })?;
    applied.map_err(|e| bad("its records", &e))?;
    Ok(Seen { run, plan, digest: reader.digest()?, state, approvals, reader })
}

/// So many runs are named in a question.
const NAMED_MAX: usize = 5;
/// Names of hosts in a message, in characters.
const NAMES_WIDTH: usize = 120;

/// Which runs a verb can be about, when none is named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Candidates {
    /// For looking: the run that is driven now, else the newest.
    Latest,
    /// For changing hosts: without a name there must be only one.
    Only,
    /// Neither finished nor driven by another controller.
    Resumable,
    /// Driven now.
    Driven,
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
            if among == Candidates::Latest {
                let driven: Vec<&RunId> = runs.iter().filter(|run| store.is_driven(run)).collect();
                return match driven.as_slice() {
                    [] => runs.last().cloned().ok_or_else(none),
                    [only] => Ok((*only).clone()),
                    several => Err(which(several)),
                };
            }
            let wanted = |run: &&RunId| match among {
                Candidates::Latest | Candidates::Only => true,
                Candidates::Resumable => is_resumable(store, run),
                Candidates::Driven => store.is_driven(run),
            };
            let candidates: Vec<&RunId> = runs.iter().filter(wanted).collect();
            match candidates.as_slice() {
                [only] => Ok((*only).clone()),
                [] if runs.is_empty() => Err(none()),
                [] => Err(CliError::usage(match among {
                    Candidates::Driven => "no run is driven now",
                    Candidates::Latest | Candidates::Only | Candidates::Resumable => {
                        "there is no run to go on with"
                    }
                })
                .hint("`fleetlift runs` lists them")),
                several => Err(which(several)),
            }
        }
    }
}

/// Asks for a name, and shows the newest ones.
fn which(runs: &[&RunId]) -> CliError {
    let newest = runs.iter().rev().take(NAMED_MAX).map(|run| run.as_str());
    let mut names = newest.collect::<Vec<_>>().join(", ");
    if runs.len() > NAMED_MAX {
        names.push_str(&format!(" and {} older ones", runs.len() - NAMED_MAX));
    }
    CliError::usage(format!("which run? {names}")).hint("name it, or say `last` for the newest")
}

/// Refuses hosts that another run of this store is working on, before any host is asked: each host's own lock would refuse them later.
pub fn keep_apart(store: &Store, own: Option<&RunId>, plan: &Plan) -> Result<(), CliError> {
    type Door<'p> = (&'p str, u16);
    fn doors(plan: &Plan, host: usize) -> impl Iterator<Item = Door<'_>> {
        let host = &plan.hosts[host];
        let port = plan.connections[host.connection].port;
        host.addresses.iter().map(move |address| (address.as_str(), port))
    }
    let ours: BTreeSet<Door<'_>> = (0..plan.hosts.len()).flat_map(|i| doors(plan, i)).collect();
    for run in store.runs()?.into_iter().filter(|run| Some(run) != own && store.is_driven(run)) {
        // One that cannot be read cannot be compared; whoever drives it will hear of that.
        let Ok(other) = read(store, run) else { continue };
        let open = |i: &usize| !matches!(other.state.hosts[*i].phase, HostPhase::Ended(_));
        let shared: Vec<&str> = (0..other.plan.hosts.len())
            .filter(open)
            .filter(|i| doors(&other.plan, *i).any(|door| ours.contains(&door)))
            .map(|i| other.plan.hosts[i].name.as_str())
            .collect();
        if !shared.is_empty() {
            let names = shorten(&fold_names(shared), NAMES_WIDTH).into_owned();
            return Err(CliError::refused(format!("run {} works on {names}", other.run)).hint(
                "wait until it has ended, stop it with `fleetlift stop`, or leave these hosts out with --limit",
            ));
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::exec_run, inventory, plan, playbook, rollout::Rollout};

    fn planned(dir: &Path, hosts: &str) -> exec_run::Planned {
        let file = dir.join("fleet.toml");
        std::fs::write(&file, format!("[groups.web]\nhosts = [{hosts}]\n")).unwrap();
        let inventory = inventory::read(&file).unwrap();
        let playbook = playbook::read("debian12-to-debian13").unwrap();
        let all = inventory.hosts.keys().cloned().collect();
        let plan = plan::build(&inventory, &playbook, &Rollout::default(), "@all", &all).unwrap();
        exec_run::seal(plan).unwrap()
    }

    #[test]
    fn two_runs_do_not_work_on_one_host() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let ready = exec_run::begin(store.clone(), planned(dir.path(), "\"a\", \"b\"")).unwrap();
        let other = planned(dir.path(), "\"b\", \"c\"").plan;
        // Its first record is not written here, so that all of its hosts are still to come.
        let error = keep_apart(&store, None, &other).unwrap_err();
        assert_eq!(error.code, crate::cli::error::REFUSED);
        assert!(error.render(false).contains("works on b\n"), "{}", error.render(false));
        assert!(keep_apart(&store, Some(&ready.run), &other).is_ok(), "not apart from itself");
        assert!(keep_apart(&store, None, &planned(dir.path(), "\"c\"").plan).is_ok());
        let_go(&store, ready);
        assert!(keep_apart(&store, None, &other).is_ok(), "nobody drives it any more");
    }

    /// Lets a run go. A child that another test is just starting has the lock's file too, until it is another program.
    fn let_go(store: &Store, ready: crate::cli::driving::Ready) {
        let run = ready.run.clone();
        drop(ready);
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while store.is_driven(&run) && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
    }

    #[test]
    fn who_only_looks_means_the_latest_run() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let first = exec_run::begin(store.clone(), planned(dir.path(), "\"a\"")).unwrap();
        let second = exec_run::begin(store.clone(), planned(dir.path(), "\"b\"")).unwrap();
        assert!(find(&store, None, Candidates::Latest).is_err(), "both are driven");
        let newest = store.runs().unwrap().last().cloned().unwrap();
        let (kept, other) = match first.run == newest {
            true => (second, first),
            false => (first, second),
        };
        let_go(&store, other);
        let found = find(&store, None, Candidates::Latest);
        assert_eq!(found.ok(), Some(kept.run.clone()), "the one that is driven");
        let_go(&store, kept);
        assert_eq!(find(&store, None, Candidates::Latest).ok(), Some(newest));
        assert!(find(&store, None, Candidates::Only).is_err());
    }
}
