//! In what two plans differ, part by part.

use super::{
    About, Change, Shown, What,
    leaves::{Leaf, leaves},
    view::View,
};
use crate::{
    base::{name::HostName, phase::Phase},
    journal::StepId,
    plan::Plan,
};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// Every way in which the new plan differs from the old one, hosts that differ alike together.
pub fn differences(old: &Plan, new: &Plan) -> Result<Vec<Change>, serde_json::Error> {
    let (old, new) = (View::of(old)?, View::of(new)?);
    let mut changes = Vec::new();
    keys(&About::Plan, leaves(Some(&old.whole), Some(&new.whole)), &mut changes);
    named(
        &old.hops,
        &new.hops,
        "hops",
        |name| About::Hop(name.clone()),
        String::clone,
        &mut changes,
    );
    named(
        &old.waves,
        &new.waves,
        "waves",
        |name| About::Wave(name.clone()),
        |name| name.to_string(),
        &mut changes,
    );
    start_order(&old, &new, &mut changes);
    let veiled = hosts(&old, &new, &mut changes);
    let step = |id: &StepId| About::Step(id.clone(), new.hop_of(id).or_else(|| old.hop_of(id)));
    for phase in Phase::ALL {
        // Steps of a phase, hop after hop: an order across phases is nobody's choice.
        let of = |view: &View<'_>| -> Vec<(StepId, Json)> {
            view.steps.iter().filter(|(id, _)| id.phase == phase).cloned().collect()
        };
        named(&of(&old), &of(&new), phase.as_str(), step, |id| id.step.to_string(), &mut changes);
    }
    texts(&old, &new, &veiled, &mut changes);
    Ok(changes)
}

fn keys(about: &About, leaves: Vec<Leaf>, changes: &mut Vec<Change>) {
    changes.extend(leaves.into_iter().map(|Leaf { key, old, new }| Change {
        about: about.clone(),
        what: What::Key { key, old, new },
    }));
}

/// Compares two lists of named parts: what came, what went, what changed, and the order of what stayed.
fn named<K: Ord>(
    old: &[(K, Json)],
    new: &[(K, Json)],
    of: &'static str,
    about: impl Fn(&K) -> About,
    label: impl Fn(&K) -> String,
    changes: &mut Vec<Change>,
) {
    let before: BTreeMap<&K, &Json> = old.iter().map(|(key, json)| (key, json)).collect();
    let after: BTreeMap<&K, &Json> = new.iter().map(|(key, json)| (key, json)).collect();
    let gone = old.iter().filter(|(key, _)| !after.contains_key(key));
    changes.extend(gone.map(|(key, _)| Change { about: about(key), what: What::Removed }));
    for (key, json) in new {
        match before.get(key) {
            None => changes.push(Change { about: about(key), what: What::Added }),
            Some(was) => keys(&about(key), leaves(Some(was), Some(json)), changes),
        }
    }
    let stayed = |list: &[(K, Json)]| -> Vec<String> {
        let both =
            list.iter().filter(|(key, _)| before.contains_key(key) && after.contains_key(key));
        both.map(|(key, _)| label(key)).collect()
    };
    let (old, new) = (stayed(old), stayed(new));
    if old != new {
        changes.push(Change { about: About::Plan, what: What::Order { of, old, new } });
    }
}

/// The order in which the hosts of a wave start.
fn start_order(old: &View<'_>, new: &View<'_>, changes: &mut Vec<Change>) {
    for wave in &new.plan.waves {
        let Some(was) = old.plan.waves.iter().find(|other| other.name == wave.name) else {
            continue;
        };
        let names = |view: &View<'_>, hosts: &[usize]| -> Vec<HostName> {
            hosts.iter().map(|host| view.plan.hosts[*host].name.clone()).collect()
        };
        let (before, after) = (names(old, &was.hosts), names(new, &wave.hosts));
        let (old_set, new_set): (BTreeSet<_>, BTreeSet<_>) =
            (before.iter().collect(), after.iter().collect());
        let both = |list: &[HostName]| -> Vec<String> {
            let both = list.iter().filter(|name| old_set.contains(name) && new_set.contains(name));
            both.map(ToString::to_string).collect()
        };
        let (before, after) = (both(&before), both(&after));
        if before != after {
            let what = What::Order { of: "hosts", old: before, new: after };
            changes.push(Change { about: About::Wave(wave.name.clone()), what });
        }
    }
}

/// Compares what is said of each host. Returns those for which a text may hold what is not shown.
fn hosts(old: &View<'_>, new: &View<'_>, changes: &mut Vec<Change>) -> BTreeSet<HostName> {
    let missing = |from: &View<'_>, of: &View<'_>| -> Vec<HostName> {
        from.hosts.keys().filter(|name| !of.hosts.contains_key(*name)).cloned().collect()
    };
    for (names, what) in [(missing(old, new), What::Removed), (missing(new, old), What::Added)] {
        if !names.is_empty() {
            changes.push(Change { about: About::Hosts(names), what });
        }
    }
    let mut alike: BTreeMap<Leaf, Vec<HostName>> = BTreeMap::new();
    let mut veiled = BTreeSet::new();
    for (name, (_, is)) in &new.hosts {
        let Some((_, was)) = old.hosts.get(name) else { continue };
        for leaf in leaves(Some(was), Some(is)) {
            if [&leaf.old, &leaf.new].contains(&&Some(Shown::Hidden)) {
                veiled.insert(name.clone());
            }
            alike.entry(leaf).or_default().push(name.clone());
        }
    }
    for (leaf, names) in alike {
        keys(&About::Hosts(names), vec![leaf], changes);
    }
    veiled
}

/// Compares what each step is for each host. Most hosts share it, so that each pair is compared once.
fn texts(old: &View<'_>, new: &View<'_>, veiled: &BTreeSet<HostName>, changes: &mut Vec<Change>) {
    let place = |view: &View<'_>| -> BTreeMap<StepId, usize> {
        view.steps.iter().enumerate().map(|(i, (id, _))| (id.clone(), i)).collect()
    };
    let (before, hidden_defaults) = (place(old), defaults_are_veiled(changes));
    let stayed = new.hosts.iter().filter_map(|(name, (now, _))| {
        let (was, _) = old.hosts.get(name)?;
        Some((name, *was, *now))
    });
    let stayed: Vec<(&HostName, usize, usize)> = stayed.collect();
    for (step, (id, _)) in new.steps.iter().enumerate() {
        let Some(was) = before.get(id) else { continue };
        let mut known: BTreeMap<(u32, u32), Vec<Leaf>> = BTreeMap::new();
        let mut alike: BTreeMap<Leaf, Vec<HostName>> = BTreeMap::new();
        for (name, old_host, new_host) in &stayed {
            let pair =
                (old.plan.hosts[*old_host].steps[*was], new.plan.hosts[*new_host].steps[step]);
            let found = known.entry(pair).or_insert_with(|| {
                leaves(old.rendered.get(pair.0 as usize), new.rendered.get(pair.1 as usize))
            });
            let hide = hidden_defaults || veiled.contains(*name);
            for leaf in found.iter() {
                let leaf = if hide { veil(leaf) } else { leaf.clone() };
                alike.entry(leaf).or_default().push((*name).clone());
            }
        }
        for (leaf, names) in alike {
            let names = if names.len() == stayed.len() { Vec::new() } else { names };
            keys(&About::StepOf(id.clone(), new.hop_of(id), names), vec![leaf], changes);
        }
    }
}

/// A text that was rendered with a value that is not shown is not shown either.
fn veil(leaf: &Leaf) -> Leaf {
    let hide = |shown: &Option<Shown>| shown.as_ref().map(|_| Shown::Hidden);
    Leaf { key: leaf.key.clone(), old: hide(&leaf.old), new: hide(&leaf.new) }
}

/// Whether a playbook's default changed that is not shown: any host's texts may hold it.
fn defaults_are_veiled(changes: &[Change]) -> bool {
    changes.iter().any(|change| match (&change.about, &change.what) {
        (About::Hop(_), What::Key { old, new, .. }) => [old, new].contains(&&Some(Shown::Hidden)),
        (
            About::Plan
            | About::Wave(_)
            | About::Hop(_)
            | About::Step(..)
            | About::Hosts(_)
            | About::StepOf(..),
            What::Added | What::Removed | What::Order { .. } | What::Key { .. },
        ) => false,
    })
}
