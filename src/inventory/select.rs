//! What a selection matches.

use super::{Inventory, Selection, SelectionError};
use crate::base::{
    fault::Refusal,
    name::{GroupName, HostName},
    selection::{Atom, Factor, Term, glob_matches, is_glob},
    suggest::nearest,
};
use std::collections::BTreeSet;

/// Tells the word of a host's state, where there is a run.
pub type States<'s> = dyn Fn(&HostName) -> Option<&str> + 's;

impl Selection {
    /// The hosts that are meant: in the order of the terms, in a group in the order in which it is written, otherwise by
    /// name. A term that names nothing is an error, and so is a selection that matches nothing.
    pub fn select(&self, inventory: &Inventory) -> Result<Vec<HostName>, SelectionError> {
        self.evaluate(inventory, None)
    }

    /// The same, for a caller who knows a run and thus can tell the states of hosts.
    pub fn select_with(
        &self,
        inventory: &Inventory,
        states: &States<'_>,
    ) -> Result<Vec<HostName>, SelectionError> {
        self.evaluate(inventory, Some(states))
    }

    fn evaluate(
        &self,
        inventory: &Inventory,
        states: Option<&States<'_>>,
    ) -> Result<Vec<HostName>, SelectionError> {
        let mut removed = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut chosen = Vec::new();
        for term in &self.terms {
            let hosts = term_hosts(term, inventory, states)?;
            if term.removes {
                removed.extend(hosts);
            } else {
                chosen.extend(hosts.into_iter().filter(|name| seen.insert(*name)));
            }
        }
        let hosts: Vec<HostName> =
            chosen.into_iter().filter(|name| !removed.contains(name)).cloned().collect();
        if hosts.is_empty() {
            return Err(Refusal::new("the selection matches no host")
                .hint("`fleetlift hosts -i FLEET` lists hosts and groups"));
        }
        Ok(hosts)
    }
}

fn term_hosts<'i>(
    term: &Term,
    inventory: &'i Inventory,
    states: Option<&States<'_>>,
) -> Result<Vec<&'i HostName>, Refusal> {
    let mut hosts: Option<Vec<&HostName>> = None;
    for factor in &term.factors {
        let found = factor_hosts(factor, inventory, states)
            .map_err(|refusal| Refusal { range: Some(factor.place.clone()), ..refusal })?;
        hosts = Some(match hosts {
            None => found,
            Some(before) => {
                let found: BTreeSet<&HostName> = found.into_iter().collect();
                let keeps = |name: &&HostName| found.contains(name) != factor.negated;
                before.into_iter().filter(keeps).collect()
            }
        });
    }
    Ok(hosts.unwrap_or_default())
}

fn factor_hosts<'i>(
    factor: &Factor,
    inventory: &'i Inventory,
    states: Option<&States<'_>>,
) -> Result<Vec<&'i HostName>, Refusal> {
    let mut hosts = Vec::new();
    let mut seen = BTreeSet::new();
    match &factor.atom {
        Atom::All => hosts.extend(inventory.hosts.keys()),
        Atom::Hosts(names) => {
            for name in names {
                let found = named_hosts(name, inventory)?;
                hosts.extend(found.into_iter().filter(|name| seen.insert(*name)));
            }
        }
        Atom::Groups(names) => {
            let mut visited = BTreeSet::new();
            for name in names {
                for group in named_groups(name, inventory)? {
                    group_hosts(group, inventory, &mut visited, &mut |name| {
                        if seen.insert(name) {
                            hosts.push(name);
                        }
                    });
                }
            }
        }
        Atom::State(state) => {
            let Some(states) = states else {
                return Err(Refusal::new(
                    "there is no run here that could tell the states of hosts",
                )
                .hint("`state=` is for commands that name a run"));
            };
            hosts.extend(inventory.hosts.keys().filter(|name| states(name) == Some(state)));
        }
    }
    Ok(hosts)
}

fn named_hosts<'i>(name: &str, inventory: &'i Inventory) -> Result<Vec<&'i HostName>, Refusal> {
    let known = || inventory.hosts.keys();
    if is_glob(name) {
        let found: Vec<&HostName> =
            known().filter(|host| glob_matches(name, host.as_str())).collect();
        if found.is_empty() {
            return Err(Refusal::new(format!("no host matches `{name}`")));
        }
        return Ok(found);
    }
    if let Some((host, _)) = inventory.hosts.get_key_value(name) {
        return Ok(vec![host]);
    }
    let refusal = Refusal::new(format!("there is no host `{name}`"));
    if inventory.groups.contains_key(name) {
        return Err(refusal.hint(format!("the group of this name is `@{name}`")));
    }
    // Another number is another server, and never a slip.
    let words = |name: &str| name.replace(|c: char| c.is_ascii_digit(), "");
    let candidates = known().map(HostName::as_str).filter(|host| words(host) != words(name));
    Err(match nearest(name, candidates) {
        Some(near) => refusal.hint(format!("did you mean `{near}`?")),
        None => refusal,
    })
}

fn named_groups<'i>(name: &str, inventory: &'i Inventory) -> Result<Vec<&'i GroupName>, Refusal> {
    let known = || inventory.groups.keys();
    if is_glob(name) {
        let found: Vec<&GroupName> =
            known().filter(|group| glob_matches(name, group.as_str())).collect();
        if found.is_empty() {
            return Err(Refusal::new(format!("no group matches `@{name}`")));
        }
        return Ok(found);
    }
    if let Some((group, _)) = inventory.groups.get_key_value(name) {
        return Ok(vec![group]);
    }
    let refusal = Refusal::new(format!("there is no group `{name}`"));
    if inventory.hosts.contains_key(name) {
        return Err(refusal.hint(format!("the host of this name is `{name}`, without `@`")));
    }
    Err(match nearest(name, known().map(GroupName::as_str)) {
        Some(near) => refusal.hint(format!("did you mean `@{near}`?")),
        None => refusal,
    })
}

/// A group's own hosts in the order in which they are written, then those of its children.
fn group_hosts<'i>(
    name: &'i GroupName,
    inventory: &'i Inventory,
    visited: &mut BTreeSet<&'i GroupName>,
    take: &mut dyn FnMut(&'i HostName),
) {
    if !visited.insert(name) {
        return;
    }
    let Some(group) = inventory.groups.get(name) else { return };
    group.hosts.iter().for_each(&mut *take);
    for child in &group.children {
        group_hosts(child, inventory, visited, take);
    }
}
