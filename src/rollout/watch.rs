//! Reading health and interrupts.

use super::{Act, Interrupt, Question, Watch};
use crate::base::shape::{Collector, Node};
use std::time::Duration;

/// How often is asked, and how long an answer may take, where nothing is said.
const EVERY: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(10);

/// The health of a wave.
pub(super) fn health(table: &Node) -> Option<Watch> {
    let run = table.get("run")?.text()?.to_owned();
    let expect = table.get("expect").and_then(Node::text).map(str::to_owned);
    Some(watch(table, Question::IsWell { run, expect }))
}

/// Conditions over the whole run.
pub(super) fn interrupts(tables: &[Node], out: &mut Collector<'_>) -> Vec<Interrupt> {
    let mut interrupts: Vec<Interrupt> = Vec::new();
    for table in tables {
        let Some(interrupt) = interrupt(table, out) else { continue };
        if interrupts.iter().any(|other| other.name == interrupt.name) {
            let place = table.get("name").unwrap_or(table);
            let message = format!("there are two interrupts with the name `{}`", interrupt.name);
            out.add_with_hint(&place.range, message, "give it another name");
            continue;
        }
        interrupts.push(interrupt);
    }
    interrupts
}

fn interrupt(table: &Node, out: &mut Collector<'_>) -> Option<Interrupt> {
    let text = |key: &str| Some(table.get(key)?.text()?.to_owned());
    let question = match (text("run"), text("prometheus"), text("server")) {
        (Some(_), _, Some(_)) => {
            let hint = "with `run` no server is asked";
            out.add_with_hint(&table.range, "`server` is for `prometheus`", hint);
            return None;
        }
        (Some(run), _, None) => Question::Holds { run },
        (None, Some(query), Some(server)) => Question::Prometheus { server, query },
        (None, Some(_), None) => {
            let hint = "server = \"http://prometheus.example:9090\"";
            out.add_with_hint(&table.range, "`prometheus` needs a `server`", hint);
            return None;
        }
        (None, None, _) => return None,
    };
    Some(Interrupt { name: text("name")?, watch: watch(table, question) })
}

fn watch(table: &Node, ask: Question) -> Watch {
    let length = |key: &str| table.get(key).and_then(Node::length);
    Watch {
        ask,
        every: length("every").unwrap_or(EVERY),
        timeout: length("timeout").unwrap_or(TIMEOUT),
        failures: table.get("failures").and_then(Node::whole).unwrap_or(1),
        act: match table.get("do").and_then(Node::text) {
            Some("stop") => Act::Stop,
            Some("rollback-wave") => Act::RollbackWave,
            Some(_) | None => Act::Pause,
        },
        recovery: table.get("recovery").and_then(Node::text).map(str::to_owned),
    }
}
