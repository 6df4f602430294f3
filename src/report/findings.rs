//! Findings of many hosts, each told once.

use crate::{
    journal::{Acceptance, Finding, StepId},
    playbook::Severity,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// What one host has found.
pub(super) struct Item<'a, T> {
    /// Its place in the plan.
    pub host: usize,
    pub at: T,
    /// The step that it is told under.
    pub step: &'a StepId,
    pub finding: &'a Finding,
}

/// One finding over the fleet.
pub(super) struct Found<'a, T = ()> {
    pub step: &'a StepId,
    /// As the first of the hosts has it.
    pub finding: &'a Finding,
    pub first: T,
    pub hosts: Vec<usize>,
    /// What was said, by how many hosts; the most frequent first.
    pub messages: Vec<(&'a str, usize)>,
}

/// What makes two findings one, in the order in which they are told: what nobody has accepted comes first, because it is new.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    is_accepted: bool,
    severity: Reverse<Severity>,
    step: &'a StepId,
    key: Option<&'a str>,
    remedy: Option<&'a str>,
    accepted: Option<&'a Acceptance>,
}

/// Findings of one step with one severity and one remedy are one; those of a migrator's report go by its key.
pub(super) fn grouped<'a, T: Ord + Copy>(
    items: impl Iterator<Item = Item<'a, T>>,
) -> Vec<Found<'a, T>> {
    struct Seen<'a, T> {
        finding: &'a Finding,
        first: T,
        hosts: BTreeSet<usize>,
        messages: BTreeMap<&'a str, BTreeSet<usize>>,
    }
    let mut groups: BTreeMap<Key<'a>, Seen<'a, T>> = BTreeMap::new();
    for Item { host, at, step, finding } in items {
        let accepted = finding.accepted.as_deref();
        let key = Key {
            is_accepted: accepted.is_some_and(|accepted| !accepted.expired),
            severity: Reverse(finding.severity),
            step,
            key: finding.key(),
            // Under one key a report may tell each host its own remedy.
            remedy: finding.remedy.as_deref().filter(|_| finding.key().is_none()),
            accepted,
        };
        let seen = groups.entry(key).or_insert_with(|| Seen {
            finding,
            first: at,
            hosts: BTreeSet::new(),
            messages: BTreeMap::new(),
        });
        seen.first = seen.first.min(at);
        seen.hosts.insert(host);
        seen.messages.entry(&finding.message).or_default().insert(host);
    }
    let found = groups.into_iter().map(|(key, seen)| {
        let mut messages: Vec<(&str, usize)> =
            seen.messages.into_iter().map(|(text, hosts)| (text, hosts.len())).collect();
        messages.sort_by_key(|(_, hosts)| Reverse(*hosts));
        Found {
            step: key.step,
            finding: seen.finding,
            first: seen.first,
            hosts: seen.hosts.into_iter().collect(),
            messages,
        }
    });
    found.collect()
}
