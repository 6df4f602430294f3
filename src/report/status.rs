//! `status`: where every host stands now, and what the run waits on.

use super::{
    build::in_order,
    calendar_text::forecast_text,
    dark::Dark,
    gates_text::{gates, gates_json},
    naming::step_name,
    paint::Paint,
    state::State,
    watch_text::{watches, watches_json},
    words::Words,
};
use crate::{
    base::{
        name::RunId,
        text::{fold_names, one_line, shorten},
        time::Timestamp,
        window::wall_in,
    },
    journal::PauseReason,
    plan::Plan,
    run::{
        Expected, Forecast, HostPhase, HostState, HostWaits, OwnWait, RunPhase, RunState,
        WaitingOn, Waits, forecast,
    },
};
use serde_json::{Value, json};
use std::fmt::{Display, Write as _};
use unicode_width::UnicodeWidthStr;

/// A fleet of at most this many hosts has a row for each; a larger one is folded by state.
const ROWS_MAX: usize = 40;

/// Columns of a folded line of hosts.
const FOLDED_COLUMNS_MAX: usize = 100;

/// What `status` looks at.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    pub plan: &'a Plan,
    /// The plan's digest: `sha256:…`.
    pub digest: &'a str,
    pub run: &'a RunId,
    pub state: &'a RunState,
    pub waiting_on: &'a [WaitingOn],
    /// The run says that it goes on, and no controller drives it.
    pub abandoned: bool,
    pub now: Timestamp,
}

impl Standing<'_> {
    fn expected(&self) -> Expected<'_> {
        Expected { plan: self.plan, state: self.state, now: self.now }
    }
}

/// `status --json`.
pub fn status_json(standing: &Standing<'_>) -> Value {
    let Standing { plan, digest, run, state, waiting_on, abandoned, .. } = *standing;
    let finished = matches!(state.phase, RunPhase::Finished(_));
    let word = match &state.phase {
        _ if abandoned => "abandoned",
        RunPhase::New | RunPhase::Running => "running",
        RunPhase::Paused(_) => "paused",
        RunPhase::Finished(_) => "finished",
    };
    let expected = standing.expected();
    let waits = Waits::new(&expected, waiting_on);
    let hosts: serde_json::Map<String, Value> = plan
        .hosts
        .iter()
        .zip(&state.hosts)
        .enumerate()
        .map(|(index, (host, now))| {
            let (step, attempt) = at(now);
            let step = step.and_then(|step| plan.steps.get(step));
            let row = json!({
                "state": State::of(now, finished).word(),
                "group": host.groups,
                "wave": plan.waves.get(host.wave).map(|wave| &wave.name),
                "phase": step.map(|step| step.id.phase),
                "step": step.map(|step| &step.id.step),
                "attempt": attempt,
                "touched": now.is_touched(plan),
                "since": now.started.map(|_| now.since),
                "failure": now.failure,
                "armed": now.armed,
                "dark": Dark::of(plan, state, now, standing.now),
                "held_by": now.held_by,
                "resting": matches!(now.phase, HostPhase::Resting { .. }),
                "waits_for": waits.of(index).filter(|_| !abandoned),
            });
            (host.name.to_string(), row)
        })
        .collect();
    json!({
        "run": run,
        "state": word,
        "plan": digest,
        "playbook": plan.playbook,
        "started": state.started,
        "counts": state.counts,
        "hosts": hosts,
        "gates": gates_json(plan, state, standing.now),
        "watches": watches_json(state),
        "limits": {
            "parallel": state.tuned.parallel(plan),
            "failures": state.tuned.failures(plan).of(plan.hosts.len()),
        },
        "waiting_on": waiting_on,
        "forecast": left(standing),
    })
}

/// What is left of a run that goes on. What rests has no forecast: nobody knows when it is taken up.
fn left(standing: &Standing<'_>) -> Option<Forecast> {
    let Standing { plan, state, now, .. } = *standing;
    let goes_on = state.phase == RunPhase::Running && !standing.abandoned;
    goes_on.then(|| forecast(plan, state, now))
}

/// The step that a host is in, and which attempt runs or comes next.
fn at(host: &HostState) -> (Option<usize>, Option<u32>) {
    match host.phase {
        HostPhase::Running { step, attempt } => (Some(step), Some(attempt)),
        HostPhase::Waiting { step, next, .. } => (Some(step), Some(next)),
        HostPhase::Resting { retry: Some(retry) } => (Some(retry.step), Some(retry.next)),
        HostPhase::Pending
        | HostPhase::Idle
        | HostPhase::Resting { retry: None }
        | HostPhase::Ended(_) => (None, None),
    }
}

/// `status` for a terminal.
pub fn status(standing: &Standing<'_>, color: bool) -> String {
    let words = Words::english();
    let paint = Paint { color };
    let mut out = String::new();
    let title = one_line(&standing.plan.title);
    let head = words.say(
        "status.head",
        &[("run", standing.run), ("playbook", &title), ("state", &run_state(words, standing))],
    );
    let _ = writeln!(out, "{}", paint.bold(&head));
    let counts: Vec<String> = in_order(&standing.state.counts)
        .into_iter()
        .map(|(state, n)| {
            let label = words.get(&format!("state.{}", state.word())).to_lowercase();
            format!("{} {} {label}", paint.sign(state), words.number(n))
        })
        .collect();
    let _ = write!(out, "{}\n\n", counts.join("   "));
    if standing.state.hosts.len() <= ROWS_MAX {
        let everyone: Vec<usize> = (0..standing.state.hosts.len()).collect();
        table(&mut out, words, paint, standing, &everyone);
    } else {
        folded(&mut out, words, paint, standing);
    }
    if let Some(left) = left(standing) {
        let _ =
            writeln!(out, "{}\n", words.say("status.left", &[("forecast", &forecast_text(&left))]));
    }
    gates(&mut out, words, standing);
    watches(&mut out, words, standing.state);
    waits(&mut out, words, standing.waiting_on);
    out
}

fn run_state(words: &Words, standing: &Standing<'_>) -> String {
    if standing.abandoned {
        return words.say("status.abandoned", &[("run", standing.run)]);
    }
    match &standing.state.phase {
        RunPhase::New => words.get("status.not_begun").to_owned(),
        RunPhase::Running => words.get("status.running").to_owned(),
        RunPhase::Paused(reason) => {
            if let PauseReason::Approval { gate, .. } = reason {
                let (reason, gate) = (reason.to_string(), gate.to_string());
                let (reason, gate) = (one_line(&reason), one_line(&gate));
                let values: [(&str, &dyn Display); 3] =
                    [("reason", &reason), ("run", standing.run), ("gate", &gate)];
                let key = match super::gates_text::is_closed(standing, &gate) {
                    true => "status.paused_gate",
                    false => "status.paused_gate_open",
                };
                return words.say(key, &values);
            }
            let held = matches!(reason, PauseReason::Held { .. });
            let key = if held { "status.paused_held" } else { "status.paused" };
            let reason = reason.to_string();
            words.say(key, &[("reason", &one_line(&reason)), ("run", standing.run)])
        }
        RunPhase::Finished(_) => words.get("status.finished").to_owned(),
    }
}

fn table(out: &mut String, words: &Words, paint: Paint, standing: &Standing<'_>, hosts: &[usize]) {
    let finished = matches!(standing.state.phase, RunPhase::Finished(_));
    let heads = ["host", "wave", "state", "touched", "since", "at"];
    let mut rows: Vec<[String; 6]> =
        vec![heads.map(|head| words.get(&format!("status.{head}")).to_owned())];
    let mut states = vec![None];
    let expected = standing.expected();
    let waits = Waits::new(&expected, standing.waiting_on);
    for index in hosts {
        let (Some(host), Some(now)) =
            (standing.plan.hosts.get(*index), standing.state.hosts.get(*index))
        else {
            continue;
        };
        let state = State::of(now, finished);
        let wave = standing.plan.waves.get(host.wave).map_or("", |wave| wave.name.as_str());
        let since = match now.started {
            Some(_) => words.length(super::build::millis(now.since, standing.now)),
            None => "–".to_owned(),
        };
        rows.push([
            one_line(host.name.as_str()).into_owned(),
            one_line(wave).into_owned(),
            words.get(&format!("state.{}", state.word())).to_lowercase(),
            words
                .get(if now.is_touched(standing.plan) { "value.yes" } else { "value.no" })
                .to_owned(),
            since,
            where_now(words, standing, now, &|| waits.of(*index)),
        ]);
        states.push(Some(state));
    }
    let widths: Vec<usize> =
        (0..6).map(|i| rows.iter().map(|row| row[i].width()).max().unwrap_or(0)).collect();
    for (row, state) in rows.iter().zip(states) {
        let sign = state.map_or_else(|| " ".to_owned(), |state| paint.sign(state));
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width())))
            .collect();
        let line = cells.join("  ");
        let line = match state {
            Some(state) => paint.tone(state.tone(), line.trim_end()),
            None => paint.dim(line.trim_end()),
        };
        let _ = writeln!(out, "{sign} {line}");
    }
    out.push('\n');
}

/// The step that a host is in, or why it ended.
fn where_now(
    words: &Words,
    standing: &Standing<'_>,
    host: &HostState,
    waits: &dyn Fn() -> Option<HostWaits>,
) -> String {
    let plan = standing.plan;
    let name = |step: usize| {
        plan.steps.get(step).map(|step| step_name(plan, &step.id)).unwrap_or_default()
    };
    let dark = Dark::of(plan, standing.state, host, standing.now);
    let dark = dark.map(|dark| format!("  {}", dark.say(words))).unwrap_or_default();
    let text = match &host.phase {
        HostPhase::Running { step, attempt: 1 } => name(*step) + &dark,
        HostPhase::Running { step, attempt } => {
            words.say("status.attempt", &[("step", &name(*step)), ("attempt", attempt)]) + &dark
        }
        HostPhase::Waiting { step, next, not_before } => words.say(
            "status.retry",
            &[("step", &name(*step)), ("attempt", next), ("at", &words.clock(*not_before))],
        ),
        HostPhase::Ended(_) => host.failure.as_ref().map(ToString::to_string).unwrap_or_default(),
        HostPhase::Resting { .. } => rests(words, waits()),
        HostPhase::Pending | HostPhase::Idle => String::new(),
    };
    let text = match &host.held_by {
        Some(by) if host.is_in_flight() => {
            words.say("status.holding", &[("at", &text), ("by", by)])
        }
        Some(by) => words.say("status.held", &[("by", by)]),
        None => text,
    };
    one_line(&text).into_owned()
}

/// A large fleet: hosts folded by state, and a row for each of the first in flight.
fn folded(out: &mut String, words: &Words, paint: Paint, standing: &Standing<'_>) {
    let finished = matches!(standing.state.phase, RunPhase::Finished(_));
    let states: Vec<State> =
        standing.state.hosts.iter().map(|host| State::of(host, finished)).collect();
    for (state, n) in in_order(&standing.state.counts) {
        let of = standing.plan.hosts.iter().zip(&states).filter(|(_, is)| **is == state);
        let names = fold_names(of.map(|(host, _)| host.name.as_str()));
        let label = words.get(&format!("state.{}", state.word())).to_lowercase();
        let _ = writeln!(
            out,
            "{} {label:<12} {:>6}  {}",
            paint.sign(state),
            words.number(n),
            paint.dim(&shorten(&one_line(&names), FOLDED_COLUMNS_MAX)),
        );
    }
    out.push('\n');
    let flying: Vec<usize> =
        (0..states.len()).filter(|index| states[*index].is_in_flight()).collect();
    if flying.is_empty() {
        return;
    }
    table(out, words, paint, standing, &flying[..flying.len().min(ROWS_MAX)]);
    if flying.len() > ROWS_MAX {
        let n = words.number(flying.len() - ROWS_MAX);
        let _ = writeln!(out, "{}\n", words.say("status.more", &[("n", &n)]));
    }
}

fn waits(out: &mut String, words: &Words, waiting_on: &[WaitingOn]) {
    if waiting_on.is_empty() {
        return;
    }
    let _ = writeln!(out, "{}", words.get("status.waiting"));
    for reason in waiting_on {
        let _ = writeln!(out, "  {}", one_line(&waits_on(words, reason)));
    }
}

/// That a host is at rest on its way, and until when.
pub(super) fn rests(words: &Words, waits: Option<HostWaits>) -> String {
    match waits {
        None => words.get("rests.plainly").to_owned(),
        Some(HostWaits::Own(OwnWait::Resume)) => words.get("rests.resume").to_owned(),
        Some(HostWaits::Own(OwnWait::Slot)) => words.get("rests.slot").to_owned(),
        Some(HostWaits::For(WaitingOn::Window { opens: Some(opens), zone, .. })) => {
            words.say("rests.until", &[("at", &wall_in(&zone, opens))])
        }
        Some(HostWaits::For(on)) => words.say("rests.for", &[("what", &waits_on(words, &on))]),
    }
}

/// What is waited on, as a part of a sentence.
pub(super) fn waits_on(words: &Words, reason: &WaitingOn) -> String {
    match reason {
        WaitingOn::Attempts { running } => {
            words.say("waits.attempts", &[("n", &words.number(*running))])
        }
        WaitingOn::Retry { host, until } => {
            words.say("waits.retry", &[("host", host), ("at", &words.clock(*until))])
        }
        WaitingOn::Wave { wave, after } => {
            let after: Vec<&str> = after.iter().map(|wave| wave.as_str()).collect();
            words.say("waits.wave", &[("wave", wave), ("after", &after.join(", "))])
        }
        WaitingOn::Canary { wave } => words.say("waits.canary", &[("wave", wave)]),
        WaitingOn::Window { wave, opens: Some(opens), zone } => {
            let at = wall_in(zone, *opens);
            words.say("waits.window", &[("wave", wave), ("at", &at)])
        }
        WaitingOn::Window { wave, opens: None, zone: _ } => {
            words.say("waits.window_never", &[("wave", wave)])
        }
        WaitingOn::Approval { gate, lack } => {
            words.say("waits.approval", &[("gate", gate), ("lack", lack)])
        }
        WaitingOn::Domain { wave, domain, hosts } => {
            let names = fold_names(hosts.iter().map(|host| host.as_str()));
            let names = shorten(&names, FOLDED_COLUMNS_MAX);
            words.say("waits.domain", &[("wave", wave), ("domain", domain), ("hosts", &names)])
        }
        WaitingOn::Watch { watch } => words.say("waits.watch", &[("watch", watch)]),
        WaitingOn::Barrier { wave } => words.say("waits.barrier", &[("wave", wave)]),
        WaitingOn::Soak { wave, until } => {
            words.say("waits.soak", &[("wave", wave), ("at", &words.clock(*until))])
        }
        WaitingOn::Held { hosts } => {
            let names = fold_names(hosts.iter().map(|host| host.as_str()));
            words.say("waits.held", &[("hosts", &shorten(&names, FOLDED_COLUMNS_MAX))])
        }
        WaitingOn::Hop { hosts } => {
            let names = fold_names(hosts.iter().map(|host| host.as_str()));
            words.say("waits.hop", &[("hosts", &shorten(&names, FOLDED_COLUMNS_MAX))])
        }
        WaitingOn::Draining { reason } => words.say("waits.draining", &[("reason", reason)]),
    }
}
