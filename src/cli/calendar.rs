//! When a plan would be done: lengths from runs before, and the calendar that comes of them.

use super::{
    args::{Common, What},
    common,
    error::CliError,
    exec_run::{Planned, rollout_of, seal},
};
use crate::{
    base::{
        fault::{Faults, Refusal},
        time::{Timestamp, format_length},
    },
    journal::{Event, StepId, Store},
    plan::Plan,
    rollout::fault_in_window,
    run::{self, Calendar, Stuck},
};
use std::collections::BTreeMap;

/// So many runs before this one are asked, the newest first: what was true long ago may be so no more.
const RUNS_MAX: usize = 10;
/// And so many attempts of each of them.
const ATTEMPTS_MAX: usize = 20_000;

/// The plan with what runs before it have measured. A run that cannot be read is left out: a forecast is no reason to stop.
pub fn measured(common: &Common, planned: Planned) -> Result<Planned, CliError> {
    let Ok(store) = common::store(common) else { return Ok(planned) };
    let lengths = lengths(&store, &planned.plan.playbook);
    if lengths.is_empty() {
        return Ok(planned);
    }
    let mut plan = planned.plan;
    plan.measure(lengths);
    seal(plan)
}

/// How long attempts of each step took, in runs of this playbook.
fn lengths(store: &Store, playbook: &str) -> BTreeMap<StepId, Vec<u64>> {
    let mut lengths: BTreeMap<StepId, Vec<u64>> = BTreeMap::new();
    let mut asked = 0;
    for run in store.runs().unwrap_or_default().iter().rev() {
        let Ok(reader) = store.read(run) else { continue };
        let is_ours = reader.first().ok().flatten().is_some_and(|record| {
            matches!(&record.event, Event::RunStarted { playbook: of, .. } if of == playbook)
        });
        if !is_ours {
            continue;
        }
        for (step, millis) in reader.lengths(ATTEMPTS_MAX).unwrap_or_default() {
            lengths.entry(step).or_default().push(millis);
        }
        asked += 1;
        if asked == RUNS_MAX {
            break;
        }
    }
    lengths
}

/// The plan laid out in time. A plan that can never end is a fault of the rollout.
pub fn calendar(what: &What, plan: &Plan, now: Timestamp) -> Result<Calendar, CliError> {
    run::calendar(plan, now).map_err(|stuck| {
        // The rollout was read a moment ago; where it cannot be read now, the faults have no place.
        let rollout = rollout_of(&what.fleet.inventory).unwrap_or_default();
        let fault = |stuck: &Stuck| fault_in_window(&rollout, &stuck.wave, refusal(plan, stuck));
        Faults(stuck.iter().map(fault).collect()).into()
    })
}

/// The same for a plan whose files are not at hand: one that can never end is refused.
pub fn calendar_of(plan: &Plan, now: Timestamp) -> Result<Calendar, CliError> {
    run::calendar(plan, now).map_err(|stuck| {
        let mut refusals = stuck.iter().map(|stuck| refusal(plan, stuck));
        let first = refusals.next().unwrap_or_else(|| Refusal::new("the plan can never end"));
        let said = CliError::refused(first.message);
        let said = refusals.fold(said, |said, refusal| said.cause(&refusal));
        said.hint("no host was contacted; change its windows, and save it anew")
    })
}

fn refusal(plan: &Plan, stuck: &Stuck) -> Refusal {
    let (wave, needs) = (&stuck.wave, format_length(stuck.needs));
    let host = &plan.hosts[stuck.host].name;
    match stuck.longest {
        None => {
            Refusal::new(format!("no window of wave {wave} opens any more: {host} can never start"))
                .hint("its dates are over before it is the wave's turn; give it later ones")
        }
        Some(longest) => {
            let longest = format_length(longest);
            Refusal::new(format!(
                "no window of wave {wave} is long enough: {host} needs {needs}, the longest has {longest}"
            ))
            .hint("a host starts only where its forecast ends inside; one minute of it is room to spare")
        }
    }
}
