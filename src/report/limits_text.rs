//! Limits of a plan, in words.

use crate::{
    base::{
        text::{fold_names, shorten},
        time::format_length,
    },
    plan::{Plan, PlanWave},
    rollout::{Allowance, AtMost, Budget},
};

/// Names of hosts that a limit does not reach, in characters.
const NAMES_MAX: usize = 120;

/// What a budget says beside how many may fail of all: `3 in a row pause`.
fn also(budget: &Budget) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(budget.consecutive.map(|n| format!("{n} bad in a row pause")));
    notes.extend(budget.per_hour.map(|n| format!("{n} bad an hour")));
    notes.extend(budget.per.iter().map(|(label, part)| match part {
        Allowance::Hosts(n) => format!("{n} bad per {label}"),
        Allowance::Percent(p) => format!("{p} % bad per {label}"),
    }));
    notes
}

fn at_most(limits: &[AtMost]) -> impl Iterator<Item = String> {
    limits.iter().map(|limit| format!("at most {} away per {}", limit.hosts, limit.per))
}

/// What a wave's own limits are.
pub(super) fn of_wave(wave: &PlanWave) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(wave.barrier.map(|n| format!("batches of {n}")));
    notes.extend(at_most(&wave.at_most));
    if let Some(budget) = &wave.budget {
        let bad = match (budget.failures, budget.failures.of(wave.hosts.len())) {
            (Allowance::Percent(100), _) => None,
            (_, 0) => Some("its first bad end pauses".to_owned()),
            (_, n) => Some(format!("{n} bad allowed")),
        };
        notes.extend(bad);
        notes.extend(also(budget));
    }
    notes.extend(wave.rehearse_rollback.then(|| "canaries rehearse the rollback".to_owned()));
    notes.extend(wave.rest_between_hops.then(|| "rests between hops".to_owned()));
    notes.extend(wave.soak.map(|soak| format!("soaks {}", format_length(soak))));
    notes
}

/// What the limits over all waves are, beside those that every plan has; and whom they do not reach. A line each.
pub(super) fn of_fleet(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    let notes: Vec<String> =
        at_most(&plan.limits.at_most).chain(also(&plan.limits.budget)).collect();
    if !notes.is_empty() {
        lines.push(format!("over all waves: {}", notes.join(", ")));
    }
    let waves = plan.waves.iter().enumerate();
    let own = waves.flat_map(|(n, wave)| wave.at_most.iter().map(move |limit| (Some(n), limit)));
    for (wave, limit) in plan.limits.at_most.iter().map(|limit| (None, limit)).chain(own) {
        let free = plan.hosts.iter().filter(|host| {
            wave.is_none_or(|wave| host.wave == wave) && !host.labels.contains_key(&limit.per)
        });
        let names = fold_names(free.map(|host| host.name.as_str()));
        if !names.is_empty() {
            let names = shorten(&names, NAMES_MAX);
            lines.push(format!("without the label {}, and not limited by it: {names}", limit.per));
        }
    }
    lines.dedup();
    lines
}
