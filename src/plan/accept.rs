//! Accepted findings, for the hosts and the prechecks of a plan.

use super::model::PlanAccept;
use crate::{
    base::{
        fault::{Fault, Refusal},
        phase::Phase,
        suggest::did_you_mean,
    },
    inventory::{Inventory, Selection},
    playbook::Playbook,
    rollout::{Accept, Rollout, fault_in_accept},
};
use std::collections::BTreeSet;

/// What the rollout accepts. A name that no precheck has would silently accept nothing, so it is a fault.
pub fn accepts(
    inventory: &Inventory,
    playbook: &Playbook,
    rollout: &Rollout,
    faults: &mut Vec<Fault>,
) -> Vec<PlanAccept> {
    let known: BTreeSet<&str> = playbook
        .hops
        .iter()
        .filter_map(|hop| hop.steps.get(&Phase::Precheck))
        .flatten()
        .map(|step| step.name.as_str())
        .collect();
    let mut accepts = Vec::new();
    for (number, accept) in rollout.accepts.iter().enumerate() {
        let mut fault = |key, refusal| faults.push(fault_in_accept(rollout, number, key, refusal));
        if !known.contains(accept.finding.as_str()) {
            fault("finding", unknown(accept, playbook, &known));
        }
        match Selection::parse(&accept.hosts).and_then(|s| s.select(inventory)) {
            Ok(hosts) => accepts.push(PlanAccept {
                finding: accept.finding.clone(),
                hosts: hosts.into_iter().collect(),
                by: accept.by.clone(),
                until: accept.until.clone(),
                ends: accept.ends,
                reason: accept.reason.clone(),
            }),
            Err(refusal) => fault("hosts", refusal),
        }
    }
    accepts
}

fn unknown(accept: &Accept, playbook: &Playbook, known: &BTreeSet<&str>) -> Refusal {
    let names = || known.iter().copied().collect::<Vec<_>>().join(", ");
    let hint = did_you_mean(&accept.finding, known.iter().copied()).unwrap_or_else(|| match known
        .is_empty()
    {
        true => "this playbook has no prechecks".to_owned(),
        false => format!("its prechecks are {}", names()),
    });
    let (playbook, finding) = (&playbook.name, &accept.finding);
    Refusal::new(format!("no precheck of {playbook} is called `{finding}`")).hint(hint)
}
