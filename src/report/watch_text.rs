//! What is asked again and again, and limits that were changed, in words.

use super::words::Words;
use crate::{base::text::one_line, rollout::Allowance, run::RunState};
use serde_json::json;
use std::fmt::Write as _;

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
