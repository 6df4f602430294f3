//! What a rollout asks for and a plan cannot give: labels that no host has, rehearsals without a way back.

use super::{
    model::{PlanHop, PlanHost},
    render::RESULT_NAMES,
};
use crate::{
    base::{
        fault::{Fault, Refusal},
        name::WaveName,
        suggest::did_you_mean,
        template::Templates,
    },
    rollout::{AtMost, Budget, Question, Rollout, fault_in_key},
};
use std::collections::BTreeSet;

/// Finds all of these.
pub fn check_care(
    rollout: &Rollout,
    (hosts, hops, templates): (&[PlanHost], &[PlanHop], &Templates),
    faults: &mut Vec<Fault>,
) {
    check_labels(rollout, hosts, faults);
    check_rehearsals(rollout, hops, faults);
    check_questions(rollout, templates, faults);
}

/// A rehearsal needs a way back through each hop.
fn check_rehearsals(rollout: &Rollout, hops: &[PlanHop], faults: &mut Vec<Fault>) {
    let Some(hop) = hops.iter().find(|hop| hop.rollback.is_empty()) else { return };
    for wave in rollout.waves.iter().filter(|wave| wave.rehearse_rollback) {
        let message = format!("{} has no rollback that could be rehearsed", hop.name);
        let refusal = Refusal::new(message).hint("add [[rollback]] steps to the playbook");
        faults.push(fault_in_key(rollout, Some(&wave.name), "rehearse_rollback", refusal));
    }
}

/// What is expected of an answer must be an expression, before anybody counts on it.
fn check_questions(rollout: &Rollout, templates: &Templates, faults: &mut Vec<Fault>) {
    for wave in &rollout.waves {
        let Some(health) = &wave.health else { continue };
        let Question::IsWell { expect: Some(expect), .. } = &health.ask else { continue };
        let refusal = match templates.expression_names(expect) {
            Err(error) => Some(Refusal::new(format!("`expect`: {}", error.message))),
            Ok(names) => {
                names.iter().find(|name| !RESULT_NAMES.contains(&name.as_str())).map(|name| {
                    let message = format!("`expect` knows no `{name}`");
                    Refusal::new(message).hint("it knows stdout, stderr and exit")
                })
            }
        };
        if let Some(refusal) = refusal {
            faults.push(fault_in_key(rollout, Some(&wave.name), "health", refusal));
        }
    }
}

/// Finds labels in the limits of the rollout that no host of the plan has, or none of the wave that asks for it.
fn check_labels(rollout: &Rollout, hosts: &[PlanHost], faults: &mut Vec<Fault>) {
    let everywhere = labels(hosts.iter());
    let mut ask = |wave: Option<&WaveName>,
                   budget: Option<&Budget>,
                   at_most: &[AtMost],
                   known: &BTreeSet<&str>| {
        let of_budget = budget.into_iter().flat_map(|budget| budget.per.keys());
        let of_domains = at_most.iter().map(|limit| &limit.per);
        let asked = of_budget.map(|label| ("budget", label));
        for (key, label) in asked.chain(of_domains.map(|label| ("at_most", label))) {
            if !known.contains(label.as_str()) {
                faults.push(fault_in_key(rollout, wave, key, unknown(wave, label, &everywhere)));
            }
        }
    };
    ask(None, Some(&rollout.budget), &rollout.at_most, &everywhere);
    for (number, wave) in rollout.waves.iter().enumerate() {
        let mut own = hosts.iter().filter(|host| host.wave == number).peekable();
        // A wave that `--limit` has left without hosts limits nothing, and nothing is wrong with it.
        if own.peek().is_some() {
            let own = labels(own);
            ask(Some(&wave.name), wave.budget.as_ref(), &wave.at_most, &own);
        }
    }
}

fn labels<'h>(hosts: impl Iterator<Item = &'h PlanHost>) -> BTreeSet<&'h str> {
    hosts.flat_map(|host| host.labels.keys().map(String::as_str)).collect()
}

fn unknown(wave: Option<&WaveName>, label: &str, known: &BTreeSet<&str>) -> Refusal {
    let whose = match wave {
        None => "no host of the plan".to_owned(),
        Some(wave) => format!("no host of wave {wave}"),
    };
    let names: Vec<&str> = known.iter().copied().collect();
    let hint =
        did_you_mean(label, known.iter().copied()).unwrap_or_else(|| match names.as_slice() {
            [] => format!("labels are given in the inventory: labels = {{ {label} = \"…\" }}"),
            names => format!("labels of these hosts are {}", names.join(", ")),
        });
    Refusal::new(format!("{whose} has the label `{label}`")).hint(hint)
}
