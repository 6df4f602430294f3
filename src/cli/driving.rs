//! Driving a run from the command line: signals in, progress out, an exit code at the end.

use super::{
    args::{Common, OutputMode},
    common,
    error::{self, CliError},
    requests,
};
use crate::{
    base::{name::RunId, template::Templates, time::SystemClock, time::Timestamp},
    engine::{Control, Engine, Observer, Outcome, Secrets, Shared, ThisMachine},
    host::{
        Transport,
        ssh::{Prompt, SshOptions, SshTransport},
    },
    journal::{End, Event, Failure, Inbox, Record, Store, Verdict, Writer},
    plan::Plan,
    report::live,
    run::{HostPhase, HostState, RunState},
};
use secrecy::SecretString;
use std::{io::IsTerminal, path::Path, process::ExitCode, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// A run that is ready to go on.
pub struct Ready {
    pub store: Store,
    pub run: RunId,
    pub plan: Arc<Plan>,
    pub digest: String,
    pub journal: Writer,
    pub state: RunState,
    /// What the run begins or goes on with.
    pub first: Vec<Event>,
    /// Hosts that have ended, and that an earlier controller did not leave any more.
    pub not_left: Vec<usize>,
    pub secrets: Arc<Secrets>,
    /// Absent for a whole migration.
    pub aim: Option<Aim>,
    /// Pauses rather than wait for a window or an approval.
    pub no_wait: bool,
}

/// Reads what the plan keeps secret, before the run is made or taken up again.
pub fn secrets(plan: &Plan) -> Result<Arc<Secrets>, CliError> {
    let secrets = Arc::new(Secrets::default());
    match secrets.read_all(plan) {
        Ok(()) => Ok(secrets),
        Err(errors) => {
            let said = CliError::usage(
                "not every secret of the plan can be read; no host was contacted",
            )
            .hint("set what is named above, for this command and for a later `fleetlift resume`");
            Err(errors.iter().fold(said, |said, error| said.cause(error)))
        }
    }
}

/// Several orders of an operator can wait; more than these are the same order again.
const CONTROLS_MAX: usize = 16;

/// Drives the run to its end, its pause, or until the operator leaves, and says what came of it.
pub async fn drive(common: &Common, ready: Ready) -> Result<ExitCode, CliError> {
    let Ready { store, run, plan, digest, journal, state, first, not_left, secrets, aim, no_wait } =
        ready;
    let transport = transport(&secrets)?;
    let (control, orders) = mpsc::channel(CONTROLS_MAX);
    let listener = tokio::spawn(listen(control.clone()));
    let inbox = store.inbox(&run);
    let resumes = first.iter().filter(|event| matches!(event, Event::RunResumed { .. })).count();
    let hearing = tokio::spawn(requests::hear(
        inbox.clone(),
        state.resumes + resumes as u32,
        state.requests.clone(),
        control,
    ));
    let shared = Shared {
        plan: Arc::clone(&plan),
        run: run.clone(),
        transport,
        clock: Arc::new(SystemClock),
        controller: Arc::new(ThisMachine),
        secrets,
        templates: Templates::default(),
        outputs: journal.outputs(),
        artifacts: store.run_dir(&run).join("artifacts"),
    };
    let mode = match common.mode() {
        OutputMode::Pretty => live::Mode::Pretty,
        OutputMode::Plain => live::Mode::Plain,
        OutputMode::Json => live::Mode::Json,
    };
    let display = live::Display::new(mode, common.colours_errors(), &plan, &state);
    let observer = Box::new(Show { display, inbox });
    let engine = Engine::new(shared, state, journal, orders, observer);
    let engine = engine.no_wait(no_wait).leaving(not_left);
    let driven = engine.drive(first).await;
    listener.abort();
    hearing.abort();
    let (outcome, state) = driven?;
    let code = exit_code(&outcome, &state, aim.as_ref());
    // The end screen is told from the journal; in a large fleet nothing else should be held beside it.
    drop(state);
    let program = common::program(&store);
    if outcome == Outcome::Left {
        common::complain(&format!(
            "Left: nothing more is started. What runs on hosts goes on there; `{program} resume {run}` takes over.\n"
        ));
    } else if mode != live::Mode::Json {
        let records = store.read(&run)?.records(0)?;
        let made = crate::report::Report::build(&plan, &digest, &run, &records);
        common::complain(&crate::report::summary(&made, &program, common.colours_errors()));
    }
    tracing::info!(digest, "the run was left");
    Ok(code)
}

/// What a verb wants of some hosts, where that is not the whole fleet's migration.
pub struct Aim {
    pub hosts: Vec<usize>,
    pub end: End,
}

/// The exit code of the contract.
fn exit_code(outcome: &Outcome, state: &RunState, aim: Option<&Aim>) -> ExitCode {
    if let (Some(aim), Outcome::Finished(_) | Outcome::Paused(_)) = (aim, outcome) {
        let wanted = HostPhase::Ended(aim.end);
        let done = aim.hosts.iter().all(|host| state.hosts[*host].phase == wanted);
        let locked = |host: &usize| is_locked(&state.hosts[*host]);
        return match done {
            true => ExitCode::SUCCESS,
            false if aim.hosts.iter().all(locked) => ExitCode::from(error::REFUSED),
            false => ExitCode::from(1),
        };
    }
    ExitCode::from(match outcome {
        Outcome::Finished(Verdict::Completed) => 0,
        Outcome::Finished(Verdict::Incomplete) if none_matches(state) => error::REFUSED,
        Outcome::Finished(Verdict::Incomplete) | Outcome::Paused(_) if all_locked(state) => {
            error::REFUSED
        }
        Outcome::Finished(Verdict::Incomplete) => 1,
        Outcome::Paused(_) => error::PAUSED,
        Outcome::Left => error::LEFT,
    })
}

/// Whether every host turned out to run something else than the playbook begins with.
fn none_matches(state: &RunState) -> bool {
    state.hosts.iter().all(|host| {
        let strange =
            matches!(&host.failure, Some(Failure::Unverified { check, .. }) if check == "system");
        host.phase == HostPhase::Ended(End::Blocked) && strange && !host.touched
    })
}

/// Whether every host that was asked turned out to be locked by another, before anything was changed.
fn all_locked(state: &RunState) -> bool {
    let mut asked = state.hosts.iter().filter(|host| host.phase != HostPhase::Pending).peekable();
    asked.peek().is_some() && asked.all(|host| is_locked(host) && !host.touched)
}

fn is_locked(host: &HostState) -> bool {
    matches!(host.phase, HostPhase::Ended(_))
        && host.failure.as_ref().is_some_and(Failure::is_locked)
}

/// SSH, with secrets read as they are needed and passphrases asked for on a terminal.
pub fn transport(secrets: &Arc<Secrets>) -> Result<Arc<dyn Transport>, CliError> {
    let resolver = Arc::clone(secrets);
    let mut options =
        SshOptions::new(Arc::new(move |source| resolver.get(source).map_err(|e| e.to_string())));
    options.prompt = prompt();
    let ssh = SshTransport::new(options)
        .map_err(|error| CliError::usage("SSH cannot be set up").cause(&error))?;
    Ok(Arc::new(ssh))
}

/// Asks for passphrases, where there is a terminal to ask on.
pub fn prompt() -> Option<Prompt> {
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    terminal.then(|| Arc::new(ask_passphrase) as Prompt)
}

fn ask_passphrase(key: &Path) -> Option<SecretString> {
    let prompt =
        format!("Passphrase for {}: ", crate::base::text::one_line(&key.to_string_lossy()));
    rpassword::prompt_password(prompt).ok().filter(|text| !text.is_empty()).map(SecretString::from)
}

/// The first signal stops at safe points, the second leaves at once.
async fn listen(control: mpsc::Sender<Control>) {
    use tokio::signal::unix::{SignalKind, signal};
    let streams = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = streams else { return };
    let mut stopping = false;
    loop {
        let name = tokio::select! { biased;
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
            _ = hangup.recv() => "SIGHUP",
        };
        let order = match (stopping, name) {
            (true, "Ctrl-C") => Control::Leave,
            (_, name) => Control::Stop { by: format!("{} ({name})", common::operator()) },
        };
        stopping = true;
        if control.send(order).await.is_err() {
            return;
        }
    }
}

/// The display as the engine's observer.
struct Show {
    display: live::Display,
    inbox: Inbox,
}

impl Observer for Show {
    fn record(&mut self, record: &Record, state: &RunState, plan: &Plan) {
        if let Some(request) = record.event.request() {
            // The journal has it now.
            self.inbox.forget(request);
        }
        self.display.on_record(record, state, plan);
    }

    fn tick(&mut self, now: Timestamp, state: &RunState, plan: &Plan) {
        self.display.tick(now, state, plan);
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.display.finish();
    }
}

/// The runtime of a verb that speaks to hosts. One worker does what all lanes do: a second would cost more in waking each
/// other than it does, and cryptography is the larger part of the work only while hosts come faster than they are let in. The
/// loop has the main thread to itself, so that a terminal that stands still keeps no connection waiting.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| CliError::usage("the runtime cannot start").cause(&error))
}

/// What is under way when a verb is done has so long to end.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Drives the work of a verb to its end. A thread that waits for somebody else, as for the answer of a server, is not waited
/// for; children of tasks that were dropped are ended meanwhile.
pub fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = runtime()?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LAST_MOMENT);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_verb_that_is_done_waits_for_no_answer() {
        let (answer, waiting) = channel::<()>();
        let waits = async {
            tokio::task::spawn_blocking(move || waiting.recv_timeout(Duration::from_secs(60)));
        };
        block_on(waits).unwrap();
        assert!(answer.send(()).is_ok(), "it was waited for until it gave up");
    }
}
