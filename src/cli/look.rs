//! `status`, `runs`, `log`, `why`: looking at runs, also while another process drives them.

use super::{
    args::{Common, LogArgs, RunsArgs, StatusArgs, WhyArgs},
    common::{self, Candidates, Seen},
    error::CliError,
};
use crate::{
    base::{
        name::HostName,
        text::{one_line, safe_json, safe_lines},
        time::{Clock, SystemClock},
    },
    journal::{OutputChunk, Part, Store},
    report,
    run::{RunPhase, decide},
};
use serde_json::json;
use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    process::ExitCode,
    thread,
    time::Duration,
};

/// How often a watcher asks the journal for news.
const WATCH: Duration = Duration::from_millis(500);

/// The word of `status` for a run. A running one without a controller is abandoned.
fn run_word(store: &Store, seen: &Seen) -> &'static str {
    match seen.state.phase {
        RunPhase::Finished(_) => "finished",
        RunPhase::Paused(_) => "paused",
        RunPhase::New | RunPhase::Running if store.is_driven(&seen.run) => "running",
        RunPhase::New | RunPhase::Running => "abandoned",
    }
}

pub fn status(common: &Common, args: &StatusArgs) -> Result<ExitCode, CliError> {
    let store = common::store(common)?;
    let run = common::find(&store, args.run.as_deref(), Candidates::Latest)?;
    let mut shown = None;
    loop {
        let seen = common::read(&store, run.clone())?;
        let word = run_word(&store, &seen);
        if shown != Some((seen.state.next_seq, word)) {
            shown = Some((seen.state.next_seq, word));
            show_status(common, args, &seen, word);
        }
        if !args.watch || word != "running" {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(WATCH);
    }
}

fn show_status(common: &Common, args: &StatusArgs, seen: &Seen, word: &str) {
    let now = SystemClock.now();
    let waiting_on = match word {
        "running" => decide(&seen.plan, &seen.state, now).waiting_on,
        _ => Vec::new(),
    };
    let standing = report::Standing {
        plan: &seen.plan,
        digest: &seen.digest,
        run: &seen.run,
        state: &seen.state,
        waiting_on: &waiting_on,
        abandoned: word == "abandoned",
        now,
    };
    if args.json {
        common::print(&format!("{}\n", safe_json(&report::status_json(&standing).to_string())));
        return;
    }
    if args.watch && io::stdout().is_terminal() {
        common::print("\u{1b}[H\u{1b}[2J");
    }
    common::print(&report::status(&standing, common.colours_output()));
}

pub fn runs(common: &Common, args: &RunsArgs) -> Result<ExitCode, CliError> {
    let store = common::store(common)?;
    let mut list = Vec::new();
    let mut text = String::new();
    for run in store.runs()? {
        let seen = match common::read(&store, run.clone()) {
            Ok(seen) => seen,
            Err(error) => {
                common::complain(&error.render(common.colours_errors()));
                continue;
            }
        };
        let word = run_word(&store, &seen);
        let counts: Vec<String> =
            seen.state.counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
        let started = seen.state.started.map(|at| at.to_string());
        let line =
            format!("{:<22} {:<10} {:<24} {}", run, word, seen.plan.playbook, counts.join(", "));
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", one_line(&line));
        list.push(json!({
            "run": run, "state": word, "plan": seen.digest, "playbook": seen.plan.playbook,
            "started": started, "counts": seen.state.counts,
        }));
    }
    if args.json {
        common::print(&format!("{}\n", safe_json(&serde_json::Value::from(list).to_string())));
    } else if list.is_empty() {
        common::complain("There is no run yet.\n");
    } else {
        common::print(&text);
    }
    Ok(ExitCode::SUCCESS)
}

pub fn why(common: &Common, args: &WhyArgs) -> Result<ExitCode, CliError> {
    let store = common::store(common)?;
    let run = common::find(&store, Some(&args.run), Candidates::Latest)?;
    let seen = common::read(&store, run)?;
    let host = host_of(&seen, &args.host)?;
    let text = report::why(&seen.plan, &seen.records, &host);
    common::print(&text);
    Ok(ExitCode::SUCCESS)
}

fn host_of(seen: &Seen, name: &str) -> Result<HostName, CliError> {
    let known = seen.plan.hosts.iter().find(|host| host.name.as_str() == name);
    known.map(|host| host.name.clone()).ok_or_else(|| {
        CliError::usage(format!("run {} has no host {}", seen.run, one_line(name)))
            .hint(format!("`fleetlift status {}` lists them", seen.run))
    })
}

pub fn log(common: &Common, args: &LogArgs) -> Result<ExitCode, CliError> {
    let store = common::store(common)?;
    let run = common::find(&store, Some(&args.run), Candidates::Latest)?;
    let seen = common::read(&store, run.clone())?;
    let hosts = match &args.host {
        Some(name) => vec![host_of(&seen, name)?],
        None => seen.plan.hosts.iter().map(|host| host.name.clone()).collect(),
    };
    if let Some(step) = &args.step
        && !seen.plan.steps.iter().any(|planned| is_step(&planned.id, step))
    {
        return Err(CliError::usage(format!("the plan has no step {}", one_line(step)))
            .hint("steps are named as `why` names them: `upgrade`, or `migrate.upgrade`"));
    }
    let mut printer = Printer { last: None, ends: 0, terminal: io::stdout().is_terminal() };
    let mut after = vec![0; hosts.len()];
    loop {
        // Asked before reading, so that what comes in between is read in the next round.
        let driven = store.is_driven(&run);
        for (host, after) in hosts.iter().zip(&mut after) {
            for (id, chunk) in seen.reader.outputs(host, *after)? {
                *after = id;
                if args.step.as_ref().is_none_or(|step| is_step(&chunk.step, step)) {
                    printer.print(&chunk, args.step.is_none());
                }
            }
        }
        if !args.follow || !driven {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(WATCH);
    }
}

fn is_step(id: &crate::journal::StepId, text: &str) -> bool {
    id.step.as_str() == text
        || format!("{}.{}", id.phase, id.step) == text
        || id.to_string() == text
}

/// Prints outputs: as they were to a file or a pipe, made safe on a terminal.
struct Printer {
    last: Option<String>,
    /// Where the last chunk of the stream ended.
    ends: u64,
    terminal: bool,
}

impl Printer {
    fn print(&mut self, chunk: &OutputChunk, heads: bool) {
        let part = match chunk.part {
            Part::Step => String::new(),
            Part::Guard | Part::Verify | Part::Probe | Part::Look => {
                format!(" ({})", chunk.part.as_str())
            }
        };
        let head = format!("{} {}.{}{part}", chunk.host, chunk.step, chunk.attempt);
        let stream = format!("{head} {}", chunk.stream);
        if self.last.as_ref() != Some(&stream) {
            // One step was asked for: only what is not its own needs a name, and what follows that.
            let own = [format!("{head} 1"), format!("{head} 2")];
            let switched = self.last.as_ref().is_some_and(|last| !own.contains(last));
            if heads || switched || chunk.part != Part::Step {
                common::complain(&format!("== {}\n", one_line(&head)));
            }
            self.last = Some(stream);
            self.ends = 0;
        }
        if chunk.start > self.ends {
            common::complain(&format!("== {} bytes were left out here\n", chunk.start - self.ends));
        }
        self.ends = chunk.start + chunk.bytes.len() as u64;
        if self.terminal {
            let lines = safe_lines(&chunk.bytes);
            common::print(&format!("{}\n", lines.join("\n")));
            return;
        }
        let written = match chunk.stream {
            1 => io::stdout().write_all(&chunk.bytes).and_then(|()| io::stdout().flush()),
            _ => io::stderr().write_all(&chunk.bytes),
        };
        if written.is_err() {
            std::process::exit(0);
        }
    }
}
