//! What is asked again and again while a run goes on: which questions, what their answers mean, and when they stop the run.

use super::state::{RunPhase, RunState};
use crate::{
    base::time::Timestamp,
    journal::{Event, PauseReason, Told, WatchId},
    plan::{Plan, PlanWave},
    rollout::{Act, Watch},
};
use std::collections::BTreeMap;

/// The last answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub told: Told,
    /// So many in a row were not good.
    pub in_a_row: u32,
    /// Since when it has meant the same.
    pub since: Timestamp,
}

/// Too many answers in a row were not good: until somebody resumes the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trip {
    pub watch: WatchId,
    pub told: Told,
    pub in_a_row: u32,
}

/// The answers that the present controller has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watches {
    pub answers: BTreeMap<WatchId, Answer>,
    pub tripped: Option<Trip>,
}

/// A question of the plan.
fn watch<'p>(plan: &'p Plan, id: &WatchId) -> Option<&'p Watch> {
    match id {
        WatchId::Health(name) => {
            plan.waves.iter().find(|wave| wave.name == *name).and_then(|wave| wave.health.as_ref())
        }
        WatchId::Interrupt(name) => {
            let found = plan.interrupts.iter().find(|interrupt| interrupt.name == *name);
            found.map(|interrupt| &interrupt.watch)
        }
    }
}

/// The questions that are to be put now.
pub fn watched<'p>(plan: &'p Plan, state: &RunState) -> Vec<(WatchId, &'p Watch)> {
    if state.phase != RunPhase::Running || state.only_reopened.is_some() {
        return Vec::new();
    }
    let interrupts = plan.interrupts.iter();
    let interrupts = interrupts.map(|i| (WatchId::Interrupt(i.name.clone()), &i.watch));
    let waves = plan.waves.iter().zip(&state.waves).filter(|(_, at)| at.started && !at.finished);
    let healths = waves
        .filter_map(|(wave, _)| Some((WatchId::Health(wave.name.clone()), wave.health.as_ref()?)));
    interrupts.chain(healths).collect()
}

/// The record of an answer, where it says something new.
pub fn answered(plan: &Plan, state: &RunState, id: &WatchId, told: Told) -> Option<Event> {
    let limit = watch(plan, id)?.failures;
    let known = state.watches.answers.get(id);
    let before = known.map_or(0, |known| known.in_a_row);
    let in_a_row = if told.is_well() { 0 } else { (before + 1).min(limit) };
    let news = known.is_none_or(|known| !known.told.means(&told) || known.in_a_row != in_a_row);
    news.then(|| Event::WatchTold { watch: id.clone(), told, in_a_row })
}

impl Watches {
    /// Takes in an answer.
    pub(super) fn take(
        &mut self,
        plan: &Plan,
        id: &WatchId,
        (told, in_a_row): (&Told, u32),
        at: Timestamp,
    ) -> Result<(), String> {
        let limit = watch(plan, id).ok_or_else(|| format!("nobody asks for the {id}"))?.failures;
        let known = self.answers.get(id).filter(|known| known.told.means(told));
        let since = known.map_or(at, |known| known.since);
        self.answers.insert(id.clone(), Answer { told: told.clone(), in_a_row, since });
        if !told.is_well() && in_a_row >= limit && self.tripped.is_none() {
            self.tripped = Some(Trip { watch: id.clone(), told: told.clone(), in_a_row });
        }
        Ok(())
    }

    fn is_well(&self, id: &WatchId) -> bool {
        self.answers.get(id).is_some_and(|answer| answer.told.is_well())
    }

    /// The interrupt that is not known to be well.
    pub(super) fn doubt(&self, plan: &Plan) -> Option<WatchId> {
        let ids = plan.interrupts.iter().map(|i| WatchId::Interrupt(i.name.clone()));
        ids.into_iter().find(|id| !self.is_well(id))
    }

    /// The health of a wave, where it is asked for and not known to be good.
    pub(super) fn doubt_of(&self, wave: &PlanWave) -> Option<WatchId> {
        wave.health.as_ref()?;
        let id = WatchId::Health(wave.name.clone());
        (!self.is_well(&id)).then_some(id)
    }

    /// Whether the health of a wave is asked for, and not known to be good.
    pub fn is_in_doubt(&self, wave: &PlanWave) -> bool {
        self.doubt_of(wave).is_some()
    }

    /// What the run does, where an answer has stopped it.
    pub(super) fn act(&self, plan: &Plan) -> Option<Act> {
        watch(plan, &self.tripped.as_ref()?.watch).map(|watch| watch.act)
    }

    /// Why the run stops.
    pub(super) fn halt(&self, plan: &Plan) -> Option<PauseReason> {
        let Trip { watch: id, told, in_a_row } = self.tripped.clone()?;
        let recovery = watch(plan, &id).and_then(|watch| watch.recovery.clone());
        Some(PauseReason::Watch { watch: id, told, in_a_row, recovery })
    }

    /// Whether hosts of this wave that are migrated go back.
    pub(super) fn undoes(&self, plan: &Plan, wave: &PlanWave) -> bool {
        let Some(trip) = &self.tripped else { return false };
        let own = match &trip.watch {
            WatchId::Health(name) => *name == wave.name,
            WatchId::Interrupt(_) => true,
        };
        own && self.act(plan) == Some(Act::RollbackWave)
    }
}
