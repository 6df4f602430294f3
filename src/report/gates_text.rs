//! Gates, and who has said what about them.

use super::{status::Standing, words::Words};
use crate::{
    base::{
        approval::{Approval, Decision},
        text::one_line,
        time::Timestamp,
    },
    plan::{Plan, PlanWave},
    run::{RunState, WaveState, Word, good_until},
};
use serde_json::{Value, json};
use std::fmt::{Display, Write as _};

/// Waves with a gate.
fn gated<'a>(
    plan: &'a Plan,
    state: &'a RunState,
) -> impl Iterator<Item = (&'a PlanWave, &'a WaveState)> {
    plan.waves.iter().zip(&state.waves).filter(|(wave, _)| wave.approval.is_some())
}

/// For `status --json`.
pub(super) fn gates_json(plan: &Plan, state: &RunState, now: Timestamp) -> Value {
    let gates = gated(plan, state).filter_map(|(wave, at)| {
        let rule = wave.approval.as_ref()?;
        let lack = at.gate.lack(rule, now);
        let words = at.gate.words.iter().map(|(principal, word)| {
            json!({
                "principal": principal,
                "decision": word.decision,
                "reason": word.reason,
                "issued": word.issued,
                "until": word.until,
                "key": word.key,
                "counts": word.decision == Decision::Reject || word.counts(now),
            })
        });
        Some(json!({
            "gate": wave.name,
            "open": lack.is_none(),
            "of": rule.of,
            "quorum": rule.quorum,
            "signed": rule.signers.is_some(),
            "lack": lack,
            "words": words.collect::<Vec<Value>>(),
        }))
    });
    gates.collect()
}

/// Whether the gate of this wave is closed now.
pub(super) fn is_closed(standing: &Standing<'_>, wave: &str) -> bool {
    gated(standing.plan, standing.state).any(|(planned, at)| {
        let lacks = |rule| at.gate.lack(rule, standing.now).is_some();
        planned.name.as_str() == wave && planned.approval.as_ref().is_some_and(lacks)
    })
}

/// For `status`: the gates of waves that have not ended.
pub(super) fn gates(out: &mut String, words: &Words, standing: &Standing<'_>) {
    let mut head = Some(words.get("gate.head"));
    for (wave, at) in gated(standing.plan, standing.state).filter(|(_, at)| !at.finished) {
        let Some(rule) = &wave.approval else { continue };
        if let Some(head) = head.take() {
            let _ = writeln!(out, "{head}");
        }
        let gate = &wave.name;
        let line = match at.gate.lack(rule, standing.now) {
            None => words.say("gate.open", &[("gate", gate)]),
            Some(lack) => words.say("gate.closed", &[("gate", gate), ("lack", &lack)]),
        };
        let _ = writeln!(out, "  {}", one_line(&line));
        for (principal, word) in &at.gate.words {
            let line = said(words, principal, word, standing.now);
            let _ = writeln!(out, "    {}", one_line(&line));
        }
    }
    if head.is_none() {
        out.push('\n');
    }
}

fn said(words: &Words, who: &dyn Display, word: &Word, now: Timestamp) -> String {
    let name = match word.decision {
        Decision::Reject => "gate.reject",
        Decision::Approve if word.counts(now) => "gate.approve",
        Decision::Approve => "gate.expired",
    };
    let until = word.until.map(|at| words.say("gate.until", &[("at", &words.time(at))]));
    let key = word.key.as_ref().map(|key| words.say("gate.signed", &[("key", key)]));
    let (until, key) = (until.unwrap_or_default(), key.unwrap_or_default());
    words.say(name, &[("who", who), ("until", &until), ("key", &key), ("reason", &word.reason)])
}

/// A word as it was recorded, as a line of the display or of `why`.
pub(super) fn word_of(
    words: &Words,
    [approve, reject]: [&str; 2],
    plan: &Plan,
    approval: &Approval,
) -> String {
    let told = &approval.statement;
    let until = good_until(plan, approval)
        .map(|at| words.say("gate.good_until", &[("at", &words.time(at))]));
    let key = approval.key().map(|key| words.say("gate.signed_in_brackets", &[("key", &key)]));
    let (until, key) = (until.unwrap_or_default(), key.unwrap_or_default());
    let values: [(&str, &dyn Display); 5] = [
        ("who", &told.principal),
        ("wave", &told.wave),
        ("until", &until),
        ("reason", &told.reason),
        ("key", &key),
    ];
    let key = match told.decision {
        Decision::Approve => approve,
        Decision::Reject => reject,
    };
    let line = words.say(key, &values);
    one_line(&line).into_owned()
}
