//! Which waves begin and end, and which hosts take a slot.

use super::{
    decide::{Decision, Todo},
    domains::Taken,
    gate::{Gates, Pass},
    state::{RunState, WaveState},
    waiting::WaitingOn,
};
use crate::{
    base::{approval::Lack, name::WaveName, phase::Phase, time::Timestamp},
    journal::Event,
    plan::{Plan, PlanWave},
};

/// Waves begin when those before them have ended, they are approved and their window is open, and end with their last host. Without gates
/// none begins.
pub(super) fn settle_waves(
    plan: &Plan,
    state: &RunState,
    now: Timestamp,
    gates: Option<&Gates<'_>>,
    decision: &mut Decision,
) {
    for (number, (wave, at)) in plan.waves.iter().zip(&state.waves).enumerate() {
        if at.finished || is_undone(plan, state, (wave, at)) {
            continue;
        }
        let open: Vec<WaveName> = wave
            .after
            .iter()
            .filter(|before| !state.waves[**before].finished)
            .map(|before| plan.waves[*before].name.clone())
            .collect();
        let name = wave.name.clone();
        if at.started && at.open == 0 {
            let doubt = state.watches.doubt_of(wave).filter(|_| at.soaks_until(wave).is_some());
            match at.soaks_until(wave).filter(|until| *until > now) {
                // What was watched to the end ends well.
                None if doubt.is_some() => {
                    decision.waiting_on.extend(doubt.map(|watch| WaitingOn::Watch { watch }));
                }
                Some(until) => {
                    decision.wake_at(until);
                    decision.waiting_on.push(WaitingOn::Soak { wave: name, until });
                }
                None => decision.todo.push(Todo::Record(Event::WaveFinished { wave: name })),
            }
        } else if let Some(gates) = gates
            && !at.started
            && open.is_empty()
        {
            let mut entry = Entry::new(gates, (number, wave), at);
            let mut ready = at.ready.iter().copied();
            if at.ready.is_empty() || entry.next(|| ready.next()).is_some() {
                decision.todo.push(Todo::Record(Event::WaveStarted { wave: name }));
            } else {
                entry.tell(decision);
            }
        } else if !at.started && !open.is_empty() {
            decision.waiting_on.push(WaitingOn::Wave { wave: name, after: open });
        }
    }
}

/// Whether a wave goes back, and has hosts that are still to go. It is not over before: nobody would take them back afterwards.
fn is_undone(plan: &Plan, state: &RunState, (wave, at): (&PlanWave, &WaveState)) -> bool {
    state.watches.undoes(plan, wave) && !at.migrated.is_empty()
}

/// So many hosts of a wave are asked at the gate in one decision: a host that waits behind as many that are too long for
/// tonight waits with them.
const ASKED_MAX: usize = 1000;

/// The entry to a wave: who may take a slot now, and what the others wait for.
struct Entry<'a> {
    gates: &'a Gates<'a>,
    number: usize,
    wave: &'a PlanWave,
    /// Who goes first was chosen: canaries keep their order.
    in_order: bool,
    left: usize,
    /// The gate is closed.
    lack: Option<Lack>,
    /// Somebody was refused; and from when on the first of these may start.
    refused: bool,
    opens: Option<Timestamp>,
}

impl<'a> Entry<'a> {
    fn new(gates: &'a Gates<'a>, (number, wave): (usize, &'a PlanWave), at: &WaveState) -> Self {
        let lack = wave.approval.as_ref().and_then(|rule| at.gate.lack(rule, gates.wall()));
        let in_order = at.good < wave.canary;
        Self { gates, number, wave, in_order, left: ASKED_MAX, lack, refused: false, opens: None }
    }

    /// The next of these hosts that may start now. One whose way is too long for what is left of a window lets those behind it
    /// pass.
    fn next(&mut self, mut hosts: impl FnMut() -> Option<usize>) -> Option<usize> {
        if self.lack.is_some() {
            return None;
        }
        while self.left > 0 {
            let host = hosts()?;
            match self.gates.may_start(self.wave, self.number, host) {
                Pass::Now => return Some(host),
                Pass::At(opens) => {
                    self.opens = Some(self.opens.map_or(opens, |sooner| sooner.min(opens)));
                }
                Pass::Never => {}
            }
            self.refused = true;
            self.left -= 1;
            // Nobody could start before that, either.
            let soonest = self.gates.soonest(self.wave, self.number);
            if self.in_order || soonest.is_none() || self.opens == soonest {
                self.left = 0;
            }
        }
        None
    }

    /// What those wait for who were not let in.
    fn tell(self, decision: &mut Decision) {
        let Self { gates, wave, lack, refused, opens, .. } = self;
        if let Some(lack) = lack {
            decision.waiting_on.push(WaitingOn::Approval { gate: wave.name.clone(), lack });
        } else if refused {
            if let Some(opens) = opens {
                decision.wake_at(gates.wake(opens));
            }
            let zone = wave.windows.as_ref();
            let zone = zone.map_or_else(String::new, |windows| windows.zone().to_string());
            decision.waiting_on.push(WaitingOn::Window { wave: wave.name.clone(), opens, zone });
        }
    }
}

/// Free slots take the next hosts that fit.
pub(super) fn start_hosts(
    plan: &Plan,
    state: &RunState,
    gates: &Gates<'_>,
    decision: &mut Decision,
) {
    let mut slots = state.tuned.parallel(plan).saturating_sub(state.in_flight());
    let mut taken = Taken::default();
    if let Some(watch) = state.watches.doubt(plan) {
        decision.waiting_on.push(WaitingOn::Watch { watch });
        return;
    }
    for (number, (wave, at)) in plan.waves.iter().zip(&state.waves).enumerate() {
        if !at.started || at.finished || at.ready.is_empty() {
            continue;
        }
        if let Some(watch) = state.watches.doubt_of(wave) {
            decision.waiting_on.push(WaitingOn::Watch { watch });
            continue;
        }
        let places = state.tuned.parallel_of(plan, wave);
        let mut free = slots.min(places.saturating_sub(at.in_flight));
        if at.good < wave.canary {
            free = free.min(state.canaries_left(plan, number));
            decision.waiting_on.push(WaitingOn::Canary { wave: wave.name.clone() });
        }
        if let Some(barrier) = wave.barrier {
            let left = barrier.saturating_sub(at.batch);
            if left == 0 {
                decision.waiting_on.push(WaitingOn::Barrier { wave: wave.name.clone() });
            }
            free = free.min(left);
        }
        let mut queue = state.domains.queue(number);
        let mut entry = Entry::new(gates, (number, wave), at);
        while free > 0 {
            let mut all = false;
            let next = entry.next(|| {
                let next = queue.next(&taken);
                all = next.is_none();
                next
            });
            let Some(index) = next else {
                if all {
                    decision.waiting_on.extend(away(plan, state, (wave, at), &taken));
                }
                break;
            };
            let host = plan.hosts[index].name.clone();
            let event = Event::HostStarted { host, wave: wave.name.clone() };
            decision.todo.push(Todo::Record(event));
            taken.take(&state.domains, index);
            (slots, free) = (slots - 1, free - 1);
        }
        entry.tell(decision);
    }
}

/// Where an answer says so, hosts that are migrated go back: as many at once as may be in flight, and be down. Windows are not
/// asked: what is migrated and not well had better not wait for tomorrow night.
pub(super) fn undo_waves(plan: &Plan, state: &RunState, decision: &mut Decision) {
    let mut slots = state.tuned.parallel(plan).saturating_sub(state.in_flight());
    let mut taken = Taken::default();
    let Some(trip) = &state.watches.tripped else { return };
    for (wave, at) in plan.waves.iter().zip(&state.waves) {
        if at.finished || state.stopping.is_some() || !is_undone(plan, state, (wave, at)) {
            continue;
        }
        let places = state.tuned.parallel_of(plan, wave);
        let mut free = slots.min(places.saturating_sub(at.in_flight));
        for index in &at.migrated {
            if free == 0 {
                break;
            }
            if !state.domains.may_go_back(*index, &taken) {
                continue;
            }
            let host = plan.hosts[*index].name.clone();
            let (phase, operator) = (Phase::Rollback, trip.watch.to_string());
            decision.todo.push(Todo::Record(Event::HostReopened { host, phase, operator }));
            taken.take(&state.domains, *index);
            (slots, free) = (slots - 1, free - 1);
        }
    }
}

/// In which domain the first host of a wave that is ready must wait, and for whom.
fn away(
    plan: &Plan,
    state: &RunState,
    (wave, at): (&PlanWave, &WaveState),
    taken: &Taken,
) -> Option<WaitingOn> {
    let first = *at.ready.first()?;
    let (domain, hosts) = state.domains.blocks(first, taken)?;
    let hosts = hosts.map(|host| plan.hosts[host].name.clone()).collect();
    Some(WaitingOn::Domain { wave: wave.name.clone(), domain: domain.clone(), hosts })
}
