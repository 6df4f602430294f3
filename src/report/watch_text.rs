//! What is asked again and again, and limits that were changed, in words.

use super::words::Words;
use crate::{
    base::{text::one_line, time::format_length},
    plan::Plan,
    rollout::{Act, Allowance, Question, Watch},
    run::RunState,
};
use serde_json::json;
use std::fmt::Write as _;

/// What a plan will ask while it runs, a line each.
pub(super) fn of_plan(plan: &Plan) -> Vec<String> {
    let health = plan.waves.iter().filter_map(|wave| {
        wave.health.as_ref().map(|watch| (format!("health of wave {}", wave.name), watch))
    });
    let interrupts = plan.interrupts.iter().map(|one| (one.name.clone(), &one.watch));
    health.chain(interrupts).map(|(name, watch)| watch_line(&name, watch)).collect()
}

fn watch_line(name: &str, watch: &Watch) -> String {
    let asks = match &watch.ask {
        Question::IsWell { run, expect: None } => format!("`{run}` must exit with 0"),
        Question::IsWell { run, expect: Some(expect) } => format!("`{run}` must give {expect}"),
        Question::Holds { run } => format!("`{run}` must not exit with 0"),
        Question::Prometheus { server, query } => format!("no value of `{query}` at {server}"),
    };
    let act = match watch.act {
        Act::Pause => "pauses the run",
        Act::Stop => "stops the run at safe points",
        Act::RollbackWave => "rolls back what is migrated",
    };
    let failures = match watch.failures {
        1 => "an answer that is not good".to_owned(),
        n => format!("{n} in a row that are not good"),
    };
    let recovery = watch.recovery.as_ref().map(|text| format!("; then: {text}"));
    let every = format_length(watch.every);
    let recovery = recovery.unwrap_or_default();
    one_line(&format!("{name:<26} every {every}: {asks}; {failures} {act}{recovery}")).into_owned()
}

/// An operator's change of limits, as a line of the display or of `why`.
pub(super) fn tuned(
    words: &Words,
    key: &str,
    by: &str,
    (parallel, failures): (Option<u32>, Option<Allowance>),
) -> String {
    let mut limits = Vec::new();
    limits.extend(parallel.map(|n| words.say("tuned.parallel", &[("n", &n)])));
    limits.extend(failures.map(|part| match part {
        Allowance::Hosts(n) => words.say("tuned.hosts", &[("n", &n)]),
        Allowance::Percent(n) => words.say("tuned.percent", &[("n", &n)]),
    }));
    words.say(key, &[("by", &one_line(by)), ("limits", &limits.join(", "))])
}

/// The last answers, for `status`.
pub(super) fn watches(out: &mut String, words: &Words, state: &RunState) {
    for (watch, answer) in &state.watches.answers {
        let told = answer.told.to_string();
        let since = words.clock(answer.since);
        let line = words.say(
            "status.watch",
            &[("watch", watch), ("told", &one_line(&told)), ("since", &since)],
        );
        // Writing to a string does not fail.
        let _ = writeln!(out, "{}", one_line(&line));
    }
}

/// The last answers, by what is asked.
pub(super) fn watches_json(state: &RunState) -> serde_json::Value {
    let answers = state.watches.answers.iter().map(|(watch, answer)| {
        let (told, row) = (&answer.told, answer.in_a_row);
        (watch.to_string(), json!({ "told": told, "in_a_row": row, "since": answer.since }))
    });
    answers.collect::<serde_json::Map<_, _>>().into()
}
