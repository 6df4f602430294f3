//! Reads a record from its line of JSON: quickly where it is one of those that a journal is full of.

use super::{End, Event, Failure, Moment, Outcome, Record, Skip, StepId};
use crate::base::{
    facts::Facts,
    name::{HostName, StepName, WaveName},
    phase::Phase,
    time::Timestamp,
};
use serde::Deserialize;
use std::{borrow::Cow, sync::Arc};

/// Reads a record. What the events of a journal have in common is read in one pass; what is not among them, or not as it
/// should be, is left to the general reader, which first puts every value of a line aside to look at its event.
pub(super) fn read(json: &str) -> serde_json::Result<Record> {
    let common = serde_json::from_str::<Line<'_>>(json).ok().and_then(Line::record);
    match common {
        Some(record) => Ok(record),
        None => serde_json::from_str(json),
    }
}

/// All that the frequent events say.
#[derive(Deserialize)]
struct Line<'j> {
    seq: u64,
    at: Timestamp,
    #[serde(borrow)]
    event: Cow<'j, str>,
    host: HostName,
    wave: Option<WaveName>,
    hop: Option<u16>,
    phase: Option<Phase>,
    step: Option<StepName>,
    attempt: Option<u32>,
    exit: Option<i32>,
    duration_ms: Option<u64>,
    outcome: Option<Outcome>,
    stdout: Option<String>,
    reason: Option<Skip>,
    moment: Option<Moment>,
    facts: Option<Arc<Facts>>,
    end: Option<End>,
    touched: Option<bool>,
    failure: Option<Failure>,
}

impl Line<'_> {
    /// The record, where this is one of the frequent ones and lacks nothing.
    fn record(self) -> Option<Record> {
        let Self { seq, at, host, hop, .. } = self;
        let step = || Some(StepId { hop: hop?, phase: self.phase?, step: self.step.clone()? });
        let event = match &*self.event {
            "host_started" => Event::HostStarted { host, wave: self.wave? },
            "host_facts" => Event::HostFacts { host, moment: self.moment?, facts: self.facts? },
            "hop_finished" => Event::HopFinished { host, hop: hop? },
            "attempt_started" => {
                Event::AttemptStarted { host, step: step()?, attempt: self.attempt? }
            }
            "attempt_passed" => Event::AttemptPassed {
                host,
                step: step()?,
                attempt: self.attempt?,
                exit: self.exit,
                duration_ms: self.duration_ms?,
                outcome: self.outcome?,
                stdout: self.stdout,
            },
            "step_skipped" => Event::StepSkipped { host, step: step()?, reason: self.reason? },
            "host_finished" => Event::HostFinished {
                host,
                end: self.end?,
                touched: self.touched?,
                failure: self.failure,
            },
            _ => return None,
        };
        Some(Record { seq, at, event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether both readers say the same; and what they say.
    fn both(json: &str) -> Option<Record> {
        let (quick, general) = (read(json).ok(), serde_json::from_str::<Record>(json).ok());
        assert_eq!(quick, general, "{json}");
        quick
    }

    fn is_quick(json: &str) -> bool {
        serde_json::from_str::<Line<'_>>(json).ok().and_then(Line::record).is_some()
    }

    const STEP: &str = r#""hop":0,"phase":"migrate","step":"s""#;

    fn line(event: &str, rest: &str) -> String {
        format!(
            r#"{{"seq":7,"at":"2026-11-21T09:15:02.120Z","event":"{event}","host":"a \"b\""{rest}}}"#
        )
    }

    /// Lines of the frequent events, each as short and as long as it gets.
    fn frequent() -> Vec<String> {
        let failure = r#","failure":{"kind":"exited","code":3}"#;
        vec![
            line("host_started", r#","wave":"all""#),
            line("host_facts", r#","moment":"before","facts":{"services":["b","a","b\n"]}"#),
            line("hop_finished", r#","hop":1"#),
            line("attempt_started", &format!(",{STEP},\"attempt\":1")),
            line(
                "attempt_passed",
                &format!(r#",{STEP},"attempt":1,"duration_ms":12,"outcome":"changed""#),
            ),
            line(
                "attempt_passed",
                &format!(
                    r#",{STEP},"attempt":2,"exit":0,"duration_ms":12,"outcome":"unchanged","stdout":"é\u0000""#
                ),
            ),
            line(
                "step_skipped",
                &format!(r#",{STEP},"reason":{{"kind":"guard","unless":"true"}}"#),
            ),
            line("host_finished", r#","end":"migrated","touched":true"#),
            line("host_finished", &format!(r#","end":"failed","touched":false{failure}"#)),
        ]
    }

    #[test]
    fn the_frequent_ones_are_read_quickly_and_right() {
        for json in frequent() {
            assert!(is_quick(&json), "{json}");
            let record = both(&json).unwrap();
            // What was written by us is read as it was.
            assert_eq!(both(&serde_json::to_string(&record).unwrap()), Some(record));
        }
    }

    /// Whatever is wrong with a line, both readers say the same of it.
    #[test]
    fn what_is_broken_is_judged_by_the_general_reader() {
        for json in frequent() {
            for at in 0..json.len() {
                if json.is_char_boundary(at) {
                    both(&json[..at]);
                }
            }
            let whole: serde_json::Value = serde_json::from_str(&json).unwrap();
            let keys: Vec<String> = whole.as_object().unwrap().keys().cloned().collect();
            for key in keys {
                let mut less = whole.clone();
                less.as_object_mut().unwrap().remove(&key);
                both(&less.to_string());
                for wrong in [serde_json::json!(null), serde_json::json!(-1), "x".into()] {
                    let mut other = whole.clone();
                    other[&key] = wrong;
                    both(&other.to_string());
                }
            }
            both(&json.replacen('{', r#"{"seq":7,"#, 1));
            both(&json.replacen('{', r#"{"more":[1,{"event":"x"}],"#, 1));
        }
        for json in [
            line("run_paused", r#","reason":{"kind":"stopped","by":"a"}"#),
            line("host_held", ""),
            line("host_dark", r#","boot_id":"x""#),
            line("nothing_known", ""),
        ] {
            both(&json);
            assert!(!is_quick(&json), "{json}");
        }
    }
}
