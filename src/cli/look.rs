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
    collections::BTreeMap,
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
    let (seen, records) = common::read_whole(&store, run)?;
    let host = host_of(&seen, &args.host)?;
    let text = report::why(&seen.plan, &records, &host);
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
    let mut printer = Printer::new();
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
        printer.flush();
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
    /// The stream that was printed last, and the one whose heading stands above it.
    last: String,
    head: String,
    /// Where the last chunk of each stream ended.
    ends: BTreeMap<String, u64>,
    /// On a terminal: the beginning of a line whose end has not come yet.
    open: Vec<u8>,
    terminal: bool,
}

impl Printer {
    fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        let (last, head) = (String::new(), String::new());
        Self { last, head, ends: BTreeMap::new(), open: Vec::new(), terminal }
    }

    fn print(&mut self, chunk: &OutputChunk, heads: bool) {
        let part = match chunk.part {
            Part::Step => String::new(),
            Part::Guard | Part::Verify | Part::Probe | Part::Look | Part::Boot | Part::Report => {
                format!(" ({})", chunk.part.as_str())
            }
        };
        let head = format!("{} {}.{}{part}", chunk.host, chunk.step, chunk.attempt);
        let stream = format!("{head} {}", chunk.stream);
        if self.last != stream {
            self.flush();
            self.last.clone_from(&stream);
        }
        let ends = self.ends.entry(stream).or_default();
        // Questions beside a step are asked again and again; a step's own output is one, however often it was fetched.
        if chunk.part != Part::Step {
            *ends = chunk.start;
        }
        let known = ends.saturating_sub(chunk.start).min(chunk.bytes.len() as u64);
        let bytes = &chunk.bytes[known as usize..];
        let left_out = chunk.start.saturating_sub(*ends);
        *ends = (*ends).max(chunk.start + chunk.bytes.len() as u64);
        if bytes.is_empty() {
            return;
        }
        // Where one step was asked for, only what is not its own needs a name, and what follows that.
        let named = heads || chunk.part != Part::Step || !self.head.is_empty();
        if self.head != head && named {
            common::complain(&format!("== {}\n", one_line(&head)));
            self.head = head;
        }
        if left_out > 0 {
            common::complain(&format!("== {left_out} bytes were left out here\n"));
        }
        if self.terminal {
            self.open.extend_from_slice(bytes);
            let whole =
                self.open.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
            let lines: Vec<u8> = self.open.drain(..whole).collect();
            print_safe(&lines);
            return;
        }
        let written = match chunk.stream {
            1 => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
            _ => io::stderr().write_all(bytes),
        };
        if written.is_err() {
            std::process::exit(0);
        }
    }

    /// Shows a line that may never end.
    fn flush(&mut self) {
        print_safe(&std::mem::take(&mut self.open));
    }
}

/// Lines for a terminal.
fn print_safe(bytes: &[u8]) {
    if !bytes.is_empty() {
        common::print(&format!("{}\n", safe_lines(bytes).join("\n")));
    }
}
