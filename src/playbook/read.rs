//! Reading a playbook: one hop, or a chain of them.

use super::{
    Hop, Playbook, StepFile,
    chain::{Chain, check_order},
    files::{Origin, hint_for},
    shape::PLAYBOOK,
    step::{Registered, check_disarms, read_steps},
};
use crate::base::{
    facts::System,
    fault::{Fault, Faults, Source},
    phase::Phase,
    shape::{Collector, Node},
    variables::read_variables,
};
use std::{collections::BTreeMap, ops::Range};

/// Chains longer than this are a mistake: no supported way has more than three hops.
pub(super) const HOPS_MAX: usize = 16;

/// Reads a playbook: a shipped one by its name, or a file by its path (with a `/`, or ending with `.toml`).
pub fn read(name_or_path: &str) -> Result<Playbook, Faults> {
    let origin = Origin::named(name_or_path, None);
    let mut reader = Reader { sources: Vec::new(), files: Vec::new(), faults: Vec::new() };
    let playbook = reader.playbook(&origin, &mut Vec::new()).map(|(title, support, hops)| {
        let sources = std::mem::take(&mut reader.sources);
        let files = std::mem::take(&mut reader.files);
        Playbook { name: origin.name(), title, support, hops, sources, files }
    });
    Faults(reader.faults).unless_any(playbook)
}

pub(super) struct Reader {
    pub(super) sources: Vec<Source>,
    pub(super) files: Vec<StepFile>,
    pub(super) faults: Vec<Fault>,
}

/// A playbook's title, who supports it, and its hops.
pub(super) type Read = (String, Option<String>, Vec<Hop>);

impl Reader {
    pub(super) fn playbook(&mut self, origin: &Origin, way: &mut Vec<Origin>) -> Option<Read> {
        let source = match origin.source() {
            Ok(source) => source,
            Err(fault) => {
                let hint = "`-p` names a playbook's file, or a shipped playbook";
                self.faults.push(explain(fault, origin, hint));
                return None;
            }
        };
        self.sources.push(source.clone());
        let mut out = Collector::new(&source);
        let read = self.file(origin, &mut out, way);
        // A chain's own faults stand before those of its hops where they are shown; the order is made at the end.
        self.faults.append(&mut out.faults);
        read
    }

    fn file(
        &mut self,
        origin: &Origin,
        out: &mut Collector<'_>,
        way: &mut Vec<Origin>,
    ) -> Option<Read> {
        let root = out.read(&PLAYBOOK)?;
        let text = |key: &str| root.get(key).and_then(Node::text).map(str::to_owned);
        // A name that is missing has been reported; its place is taken so that the rest is looked at too.
        let title = text("name").unwrap_or_default();
        let vars = root.get("vars").map(|vars| read_variables(vars, &origin.anchor(), out));
        let (from, to) = (system(&root, "from"), system(&root, "to"));
        let phases = || Phase::ALL.into_iter().filter_map(|phase| root.entry(phase.as_str()));
        let hops = match root.entry("hops") {
            Some(entry) => {
                for phase in phases() {
                    out.add_with_hint(
                        &phase.key,
                        "a chain of hops has no steps of its own",
                        "take out `hops`, or move these steps to one of the hops",
                    );
                }
                let chain = Chain { origin, hops: &entry.node, from, to };
                let mut hops = self.chain(&chain, out, way)?;
                for hop in &mut hops {
                    hop.vars.extend(vars.clone().unwrap_or_default());
                }
                hops
            }
            None => {
                let steps = self.steps(&root, origin, out);
                if phases().all(|phase| phase.node.items().is_empty()) {
                    let hint = "such as [[migrate]] with `name` and `run`";
                    out.add_with_hint(&NOWHERE, "the playbook has no steps", hint);
                }
                let name = origin.name();
                let vars = vars.unwrap_or_default();
                vec![Hop { name, title: title.clone(), from, to, vars, steps }]
            }
        };
        Some((title, text("support"), hops))
    }

    fn steps(
        &mut self,
        root: &Node,
        origin: &Origin,
        out: &mut Collector<'_>,
    ) -> BTreeMap<Phase, Vec<super::Step>> {
        let mut steps = BTreeMap::new();
        let mut registered = Registered::new();
        for phase in Phase::ALL {
            let Some(tables) = root.get(phase.as_str()) else { continue };
            steps.insert(phase, read_steps(phase, tables, origin, &mut registered, out, self));
        }
        check_disarms(root, out);
        steps
    }

    /// Reads the hops of a chain, which may be chains themselves.
    fn chain(
        &mut self,
        chain: &Chain<'_>,
        out: &mut Collector<'_>,
        way: &mut Vec<Origin>,
    ) -> Option<Vec<Hop>> {
        way.push(chain.origin.clone());
        let mut hops: Vec<Hop> = Vec::new();
        let mut sound = true;
        for item in chain.hops.items() {
            let Some(text) = item.text() else { continue };
            let origin = Origin::named(text, Some(chain.origin));
            if way.contains(&origin) || way.len() > HOPS_MAX {
                out.add(&item.range, format!("the chain `{text}` leads back to itself"));
                sound = false;
                continue;
            }
            if let Err(fault) = origin.source() {
                // Said at the place that names the hop, which is where it can be mended.
                let fault = explain(fault, &origin, "paths begin at the playbook's own folder");
                let hint = fault.hint.unwrap_or_default();
                out.add_with_hint(
                    &item.range,
                    format!("the hop `{text}`: {}", fault.message),
                    hint,
                );
                sound = false;
                continue;
            }
            let before = self.faults.len();
            match self.playbook(&origin, way) {
                Some((_, _, read)) => {
                    check_order(&hops, &read, &item.range, out);
                    hops.extend(read);
                }
                None => sound = false,
            }
            sound &= self.faults.len() == before;
        }
        way.pop();
        if hops.len() > HOPS_MAX {
            out.add(&chain.hops.range, format!("a chain has at most {HOPS_MAX} hops"));
        }
        chain.check_ends(&hops, out);
        sound.then_some(hops)
    }
}

const NOWHERE: Range<usize> = 0..0;

/// Why a playbook cannot be read, for somebody who named it.
fn explain(fault: Fault, origin: &Origin, hint: &str) -> Fault {
    match origin {
        Origin::Shipped(name) => Fault {
            message: format!("there is no shipped playbook `{name}`"),
            place: None,
            hint: Some(hint_for(name)),
        },
        Origin::File(_) if fault.hint.is_none() => fault.hint(hint),
        Origin::File(_) => fault,
    }
}

fn system(root: &Node, key: &str) -> Option<System> {
    let table = root.get(key)?;
    let text = |key: &str| table.get(key).and_then(Node::text).map(str::to_owned);
    Some(System { id: text("id")?, version: text("version").unwrap_or_default() })
}
