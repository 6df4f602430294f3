//! Places of steps in their files, for faults that show only with an inventory at hand.

use super::{Playbook, shape::PLAYBOOK};
use crate::base::{
    fault::{Fault, Refusal, Source},
    phase::Phase,
    shape::{Collector, Node},
};

/// A fault of a step's text, at its place in the playbook's file. `key` is where the text stands in the step: `run`, `when`,
/// `upload.to`, `env.PATH`; a range is within that text.
pub fn fault_in_step(
    playbook: &Playbook,
    hop: usize,
    phase: Phase,
    step: &str,
    key: &str,
    refusal: Refusal,
) -> Fault {
    let hop = playbook.hops.get(hop).map(|hop| hop.name.as_str()).unwrap_or_default();
    let sources = playbook.sources.iter().filter(|source| is_named(source, hop));
    for source in sources {
        let mut out = Collector::new(source);
        let Some(root) = out.read(&PLAYBOOK) else { continue };
        let steps = root.get(phase.as_str()).map_or(&[][..], Node::items);
        let named =
            |table: &&Node| table.get("name").and_then(Node::text).is_some_and(|name| name == step);
        let Some(table) = steps.iter().find(named) else { continue };
        out.faults.clear();
        match key.split('.').try_fold(table, |node, part| node.get(part)) {
            Some(node) => out.refuse(node, refusal.clone()),
            // A key that the step does not have: its text comes from a file, or from nowhere.
            None => out.refuse(table, Refusal { range: None, ..refusal.clone() }),
        }
        if let Some(fault) = out.faults.pop() {
            return fault;
        }
    }
    let message = format!("{phase} step `{step}`: {}", refusal.message);
    Fault { message, place: None, hint: refusal.hint }
}

/// Whether a source is the playbook of this name, on disk or embedded.
fn is_named(source: &Source, name: &str) -> bool {
    let file = source.path.file_name().map(|file| file.to_string_lossy()).unwrap_or_default();
    let file = file.rsplit(':').next().unwrap_or_default();
    file.strip_suffix(".toml").unwrap_or(file) == name
}
