//! `stop`, `hold`, `release`, `tune`: hands on a run that another process drives.

use super::{
    args::{Common, HoldArgs, StopArgs, TuneArgs},
    common::{self, Candidates, Seen},
    error::CliError,
    exec_run,
    requests::{self, Answer},
};
use crate::{
    base::{
        name::{HostName, RunId},
        text::{fold_names, one_line, shorten},
    },
    journal::{Ask, Store},
    run::{HostPhase, HostState, RunPhase},
};
use std::{process::ExitCode, thread, time::Duration};

/// Columns of names of hosts in a message.
const NAMES_WIDTH: usize = 120;
/// How long `stop --now` waits for the controller to be gone after it has said that it goes, and how often it looks.
const GOES: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// `stop`: as a Ctrl-C at the controller; with `--now` as the second one.
pub fn stop(common: &Common, args: &StopArgs) -> Result<ExitCode, CliError> {
    let store = common::store(common)?;
    let run = common::find(&store, args.run.as_deref(), Candidates::Driven)?;
    let ask = if args.now { Ask::Leave } else { Ask::Stop };
    match requests::ask(&store, &run, &ask)? {
        Answer::Taken => {}
        Answer::Noted | Answer::Nobody => return Err(nobody(&store, run)?),
    }
    let program = common::program(&store);
    if args.now {
        wait_until_left(&store, &run);
    }
    let seen = common::read(&store, run)?;
    let run = &seen.run;
    let text = match args.now {
        true => format!(
            "Run {run} is left: nothing more is started. {}`{program} resume {run}` takes over.\n",
            told(&seen, HostState::is_in_flight, "What runs goes on there", "")
        ),
        false => format!(
            "Run {run} stops: no new host starts.\n{}{}`{program} status {run} --watch` shows how; `{program} resume {run}` goes on.\n",
            told(
                &seen,
                |host| host.is_in_flight() && host.is_safe(),
                "To their next safe point",
                "\n"
            ),
            told(
                &seen,
                |host| host.is_in_flight() && !host.is_safe(),
                "On to their end, since they are being changed",
                "\n"
            ),
        ),
    };
    common::print(&text);
    Ok(ExitCode::SUCCESS)
}

/// A line about hosts that fit; nothing where none does.
fn told(seen: &Seen, fits: impl Fn(&HostState) -> bool, what: &str, end: &str) -> String {
    let hosts = seen.plan.hosts.iter().zip(&seen.state.hosts);
    let fitting: Vec<&HostName> =
        hosts.filter(|(_, host)| fits(host)).map(|(host, _)| &host.name).collect();
    match fitting.is_empty() {
        true => String::new(),
        false => format!("{what}: {}.{}", names(fitting), if end.is_empty() { " " } else { end }),
    }
}

fn names<'n>(hosts: impl IntoIterator<Item = &'n HostName>) -> String {
    let folded = fold_names(hosts.into_iter().map(HostName::as_str));
    one_line(&shorten(&folded, NAMES_WIDTH)).into_owned()
}

fn wait_until_left(store: &Store, run: &RunId) {
    let mut left = GOES;
    while store.is_driven(run) && !left.is_zero() {
        thread::sleep(LOOK);
        left = left.saturating_sub(LOOK);
    }
}

/// There is nothing to stop.
fn nobody(store: &Store, run: RunId) -> Result<CliError, CliError> {
    let seen = common::read(store, run)?;
    let run = &seen.run;
    Ok(match &seen.state.phase {
        RunPhase::Finished(_) => CliError::refused(format!("run {run} is finished")),
        RunPhase::Paused(reason) => {
            let reason = reason.to_string();
            CliError::refused(format!("run {run} is paused already: {}", one_line(&reason)))
                .hint(format!("`fleetlift resume {run}` goes on"))
        }
        RunPhase::New | RunPhase::Running => CliError::refused(format!(
            "nobody drives run {run}: its controller is gone"
        ))
        .hint(format!("what ran on hosts goes on there; `fleetlift resume {run}` takes over")),
    })
}

/// `hold`: takes hosts out of a run.
pub fn hold(common: &Common, args: &HoldArgs) -> Result<ExitCode, CliError> {
    let store = common::store(common)?;
    let seen = of(&store, &args.run)?;
    let chosen = exec_run::chosen(&seen, Some(&args.hosts.join(",")))?;
    let open: Vec<usize> =
        chosen.iter().copied().filter(|host| !is_ended(&seen.state.hosts[*host])).collect();
    if open.is_empty() {
        let ended = names(chosen.iter().map(|host| &seen.plan.hosts[*host].name));
        return Err(CliError::refused(format!("nothing is left to hold of {ended}"))
            .hint(format!("`fleetlift status {}` shows how they ended", seen.run)));
    }
    let (run, named) = (seen.run.clone(), named(&seen, &open));
    let answer = requests::ask(&store, &run, &Ask::Hold { hosts: named })?;
    let seen = common::read(&store, run)?;
    let within = |fits: fn(&HostState) -> bool, what: &str| {
        let of: Vec<&HostName> = open
            .iter()
            .filter(|host| fits(&seen.state.hosts[**host]))
            .map(|host| &seen.plan.hosts[*host].name)
            .collect();
        if of.is_empty() { String::new() } else { format!("{what}: {}.\n", names(of)) }
    };
    let mut text = within(|host| host.word() == "held", "Held");
    text += &within(|host| host.is_in_flight() && host.is_safe(), "Held at their next safe point");
    text += &within(
        |host| host.is_in_flight() && !host.is_safe(),
        "Held after what changes them now, at the end of a hop, if they have not ended by then",
    );
    text += &within(is_ended, "Ended meanwhile");
    text += &afterwards(&store, &seen, &answer, "They stay held until they are released.");
    common::print(&text);
    Ok(ExitCode::SUCCESS)
}

/// `release`: takes hosts that are held back in.
pub fn release(common: &Common, args: &HoldArgs) -> Result<ExitCode, CliError> {
    let store = common::store(common)?;
    let seen = of(&store, &args.run)?;
    let chosen = exec_run::chosen(&seen, Some(&args.hosts.join(",")))?;
    let held: Vec<usize> =
        chosen.iter().copied().filter(|host| seen.state.hosts[*host].held_by.is_some()).collect();
    if held.is_empty() {
        let free = names(chosen.iter().map(|host| &seen.plan.hosts[*host].name));
        return Err(CliError::refused(format!("nobody holds {free}"))
            .hint(format!("`fleetlift status {}` shows who is held", seen.run)));
    }
    let (run, named) = (seen.run.clone(), named(&seen, &held));
    let mut text = format!("Released: {}.\n", names(&named));
    let answer = requests::ask(&store, &run, &Ask::Release { hosts: named })?;
    let seen = common::read(&store, run)?;
    text += &afterwards(
        &store,
        &seen,
        &answer,
        "Each goes on where it was as soon as there is a slot for it.",
    );
    common::print(&text);
    Ok(ExitCode::SUCCESS)
}

/// `tune`: changes limits of a run.
pub fn tune(common: &Common, args: &TuneArgs) -> Result<ExitCode, CliError> {
    let store = common::store(common)?;
    let seen = of(&store, &args.run)?;
    let (before, hosts) = (seen.state.tuned, seen.plan.hosts.len());
    let ask = Ask::Tune { parallel: args.parallel, failures: args.budget };
    let answer = requests::ask(&store, &seen.run, &ask)?;
    let seen = common::read(&store, seen.run)?;
    let (plan, now) = (&seen.plan, seen.state.tuned);
    let mut text = String::new();
    if args.parallel.is_some() {
        let (was, is) = (before.parallel(plan), now.parallel(plan));
        text += &format!("Hosts in flight at once: {is}; it was {was}.\n");
    }
    if args.budget.is_some() {
        let (was, is) = (before.failures(plan).of(hosts), now.failures(plan).of(hosts));
        text += &format!("Bad ends allowed: {is} of {hosts} hosts; it was {was}.\n");
    }
    text += &afterwards(&store, &seen, &answer, "It holds from now on, also after a resume.");
    common::print(&text);
    Ok(ExitCode::SUCCESS)
}

/// The run, where there is something left to steer.
fn of(store: &Store, run: &str) -> Result<Seen, CliError> {
    let run = common::find(store, Some(run), Candidates::Only)?;
    let seen = common::read(store, run)?;
    match seen.state.phase {
        RunPhase::New | RunPhase::Running | RunPhase::Paused(_) => Ok(seen),
        RunPhase::Finished(_) => Err(CliError::refused(format!("run {} is finished", seen.run))
            .hint(format!("`fleetlift report {}` shows how it went", seen.run))),
    }
}

fn named(seen: &Seen, hosts: &[usize]) -> Vec<HostName> {
    hosts.iter().map(|host| seen.plan.hosts[*host].name.clone()).collect()
}

fn is_ended(host: &HostState) -> bool {
    matches!(host.phase, HostPhase::Ended(_))
}

/// What follows: now, or when the run is taken up again.
fn afterwards(store: &Store, seen: &Seen, answer: &Answer, now: &str) -> String {
    let program = common::program(store);
    match answer {
        Answer::Taken => format!("{now}\n"),
        Answer::Noted | Answer::Nobody => {
            format!(
                "Nobody drives the run now; `{program} resume {}` goes on with this.\n",
                seen.run
            )
        }
    }
}
