//! What to do next: a pure function of the plan, the state and the time. It is never silent: without something to do
//! there is something to wait for.

use super::{
    gate::{Forecast, Gates, Pass},
    host::{Fate, HostPhase, HostState, Way},
    judge::finding,
    starts,
    state::{RunPhase, RunState},
    waiting::WaitingOn,
};
use crate::{
    base::{name::HostName, phase::Phase, time::Timestamp},
    journal::{End, Event, Failure, Notice, PauseReason, RebootVerdict, Scope, Skip, Verdict},
    plan::{Plan, Task},
    rollout::Act,
};
use std::collections::BTreeSet;

/// One thing to do. Everything is recorded before it is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Todo {
    /// Write this down; nothing else.
    Record(Event),
    /// Write down the intent, then run the attempt. Indices into the plan's hosts and steps.
    Attempt { host: usize, step: usize, attempt: u32 },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    pub todo: Vec<Todo>,
    pub waiting_on: Vec<WaitingOn>,
    /// When to decide again, if nothing happens before.
    pub wake: Option<Timestamp>,
}

impl Decision {
    pub(super) fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |sooner| sooner.min(at)));
    }

    /// Where nothing is left to do now but to wait for a time or a person: why a controller that does not wait pauses.
    pub fn waits_outside(&self) -> Option<PauseReason> {
        if !self.todo.is_empty() || self.waiting_on.iter().any(WaitingOn::is_busy) {
            return None;
        }
        self.soonest().or_else(|| self.gates().next())
    }

    /// What opens or ends first by itself: a window, or a soak.
    fn soonest(&self) -> Option<PauseReason> {
        let timed = self.waiting_on.iter().filter_map(|waits| match waits {
            WaitingOn::Window { opens, .. } => Some(((*opens)?, waits)),
            WaitingOn::Soak { until, .. } => Some((*until, waits)),
            WaitingOn::Attempts { .. }
            | WaitingOn::Retry { .. }
            | WaitingOn::Wave { .. }
            | WaitingOn::Canary { .. }
            | WaitingOn::Approval { .. }
            | WaitingOn::Domain { .. }
            | WaitingOn::Barrier { .. }
            | WaitingOn::Watch { .. }
            | WaitingOn::Held { .. }
            | WaitingOn::Hop { .. }
            | WaitingOn::Draining { .. } => None,
        });
        timed.min_by_key(|(at, _)| *at).and_then(|(_, waits)| waits.as_pause())
    }

    /// The gates that are closed, as reasons to pause.
    fn gates(&self) -> impl Iterator<Item = PauseReason> {
        self.pauses().filter(|reason| matches!(reason, PauseReason::Approval { .. }))
    }

    /// Whether a question was put whose answer is still to come, or was not good.
    fn waits_for_answers(&self) -> bool {
        self.waiting_on.iter().any(|waits| matches!(waits, WaitingOn::Watch { .. }))
    }

    fn pauses(&self) -> impl Iterator<Item = PauseReason> {
        self.waiting_on.iter().filter_map(WaitingOn::as_pause)
    }

    /// Why a run pauses in which nothing goes on by itself any more.
    fn stuck(&self) -> Option<PauseReason> {
        let find = |fits: fn(&PauseReason) -> bool| self.pauses().find(fits);
        // Of several reasons the one that a person can do something about at once.
        find(|reason| matches!(reason, PauseReason::Window { .. }))
            .or_else(|| find(|reason| matches!(reason, PauseReason::Held { .. })))
            .or_else(|| find(|reason| matches!(reason, PauseReason::Domain { .. })))
            .or_else(|| find(|reason| matches!(reason, PauseReason::Hop { .. })))
    }
}

/// Decides. Its cost grows with the hosts that need a decision, not with the fleet.
pub fn decide(plan: &Plan, state: &RunState, now: Timestamp) -> Decision {
    decide_at(plan, state, now, now)
}

/// Decides, where a clock that was set differs from the time of the run, which never goes back: windows are those of the
/// wall.
pub fn decide_at(plan: &Plan, state: &RunState, now: Timestamp, wall: Timestamp) -> Decision {
    decide_by(plan, state, now, &Gates::new(&Forecast { plan, state, now }, now, wall))
}

/// Decides, with gates of one's own.
pub(super) fn decide_by(
    plan: &Plan,
    state: &RunState,
    now: Timestamp,
    gates: &Gates<'_>,
) -> Decision {
    let mut decision = Decision::default();
    if state.phase != RunPhase::Running {
        return decision;
    }
    let halt = halt(plan, state);
    let parked = advance_hosts(plan, state, now, gates, &mut decision);
    watch_the_dark(plan, state, now, &mut decision);
    starts::settle_waves(plan, state, now, halt.is_none().then_some(gates), &mut decision);
    if halt.is_none() {
        starts::start_hosts(plan, state, gates, &mut decision);
    } else {
        starts::undo_waves(plan, state, &mut decision);
    }
    if state.running > 0 {
        decision.waiting_on.push(WaitingOn::Attempts { running: state.running });
    }
    if !decision.todo.is_empty() {
        decision.waiting_on.extend(halt.map(|reason| WaitingOn::Draining { reason }));
        return decision;
    }
    decision.waiting_on.extend(at_rest(plan, state));
    if state.in_flight() == parked {
        let end = match state.waves.iter().all(|wave| wave.finished) {
            true => Some(Event::RunFinished { verdict: verdict(state) }),
            // A window that opens is worth waiting for; one that never does is said when nothing else is left.
            // So is a person's word, which may come at any time.
            false
                if halt.is_none()
                    && (decision.wake.is_some()
                        || decision.gates().next().is_some()
                        || decision.waits_for_answers()) =>
            {
                None
            }
            false => {
                halt.clone().or_else(|| decision.stuck()).map(|reason| Event::RunPaused { reason })
            }
        };
        if let Some(end) = end {
            decision.todo.push(Todo::Record(end));
            return decision;
        }
    }
    decision.waiting_on.extend(halt.map(|reason| WaitingOn::Draining { reason }));
    decision
}

/// Hosts that nothing but a person's word takes on. When only they are left, the run says so and pauses.
fn at_rest(plan: &Plan, state: &RunState) -> impl Iterator<Item = WaitingOn> {
    let named = |hosts: &BTreeSet<usize>| -> Option<Vec<HostName>> {
        let names = hosts.iter().map(|host| plan.hosts[*host].name.clone());
        (!hosts.is_empty()).then(|| names.collect())
    };
    let held = named(&state.held).map(|hosts| WaitingOn::Held { hosts });
    let between = named(&state.between).map(|hosts| WaitingOn::Hop { hosts });
    held.into_iter().chain(between)
}

fn verdict(state: &RunState) -> Verdict {
    let all = state.counts.iter().all(|(word, _)| {
        [End::Migrated, End::Already, End::Committed].iter().any(|end| end.word() == *word)
    });
    if all { Verdict::Completed } else { Verdict::Incomplete }
}

/// Why no new host may start.
fn halt(plan: &Plan, state: &RunState) -> Option<PauseReason> {
    if let Some(by) = state.stopping.as_ref().or(state.only_reopened.as_ref()) {
        return Some(PauseReason::Stopped { by: by.clone() });
    }
    if let Some(reason) = state.watches.halt(plan) {
        return Some(reason);
    }
    // That a canary failed says more than the budget that is spent by it.
    let canary = plan.waves.iter().zip(&state.waves).find_map(|(wave, at)| {
        let host = at.bad_canary.clone()?;
        let known = state.host(&host).map(|index| &state.hosts[index]);
        let wave = wave.name.clone();
        Some(match known.is_some_and(|at| at.rehearsing || at.rehearsed) {
            true => PauseReason::Rehearsal { wave, host },
            false => PauseReason::Canary { wave, host },
        })
    });
    canary.or_else(|| over_budget(plan, state))
}

/// The budget that is spent.
fn over_budget(plan: &Plan, state: &RunState) -> Option<PauseReason> {
    let index = state.domains.index();
    let fleet = (None, Scope::default());
    let allowed = state.tuned.failures(plan).of(plan.hosts.len());
    if let Some(over) = state.tally.over(&plan.limits.budget, allowed, fleet, index) {
        return Some(over);
    }
    for (number, (wave, at)) in plan.waves.iter().zip(&state.waves).enumerate() {
        let Some(budget) = &wave.budget else { continue };
        let own = (Some(number), Scope { wave: Some(wave.name.clone()), domain: None });
        let allowed = budget.failures.of(wave.hosts.len());
        if let Some(over) = at.tally.over(budget, allowed, own, index) {
            return Some(over);
        }
    }
    None
}

/// What hosts in flight do next. Returns how many of them are parked at a safe point, since the run is to stop.
fn advance_hosts(
    plan: &Plan,
    state: &RunState,
    now: Timestamp,
    gates: &Gates<'_>,
    decision: &mut Decision,
) -> usize {
    let stops = state.stopping.is_some()
        || state.only_reopened.is_some()
        || state.watches.act(plan) == Some(Act::Stop);
    let rests = |host: &HostState| {
        host.is_safe() || (state.only_reopened.is_some() && host.way == Way::Forward)
    };
    let held = |host: &HostState| host.held_by.is_some() && host.is_safe();
    let rest = |index: usize| {
        let host = plan.hosts[index].name.clone();
        Todo::Record(Event::HostHeld { host })
    };
    let mut parked = 0;
    for index in &state.idle {
        let host = &state.hosts[*index];
        match next(plan, state, *index, host) {
            Todo::Attempt { .. } if held(host) => decision.todo.push(rest(*index)),
            Todo::Attempt { .. } if stops && rests(host) => parked += 1,
            Todo::Attempt { .. } if is_shut_out(plan, *index, host, gates) => {
                let host = plan.hosts[*index].name.clone();
                decision.todo.push(Todo::Record(Event::HostRested { host, hop: None }));
            }
            todo => decision.todo.push(todo),
        }
    }
    for index in &state.holding {
        let host = &state.hosts[*index];
        if held(host) && matches!(host.phase, HostPhase::Waiting { .. }) {
            decision.todo.push(rest(*index));
        }
    }
    for (not_before, index) in &state.due {
        let host = &state.hosts[*index];
        if held(host) {
            continue;
        }
        if stops && rests(host) {
            parked += 1;
        } else if *not_before > now {
            let until = *not_before;
            let host = plan.hosts[*index].name.clone();
            decision.waiting_on.push(WaitingOn::Retry { host, until });
            decision.wake_at(until);
            if !stops {
                break;
            }
        } else if is_shut_out(plan, *index, host, gates) {
            let host = plan.hosts[*index].name.clone();
            decision.todo.push(Todo::Record(Event::HostRested { host, hop: None }));
        } else if let HostPhase::Waiting { step, next, .. } = host.phase {
            decision.todo.push(Todo::Attempt { host: *index, step, attempt: next });
        }
    }
    parked
}

/// Whether a host at a safe point has to rest there: its window is closed, or closes too soon.
fn is_shut_out(plan: &Plan, index: usize, host: &HostState, gates: &Gates<'_>) -> bool {
    let number = plan.hosts[index].wave;
    host.is_safe() && gates.may_go_on(&plan.waves[number], number, index) != Pass::Now
}

/// Hosts that reboot for longer than all before them: a person should know, long before the deadline.
fn watch_the_dark(plan: &Plan, state: &RunState, now: Timestamp, decision: &mut Decision) {
    let Some(soonest) = state.learned.soonest() else { return };
    for (since, index) in &state.rebooting {
        // In the order in which they went down: those after this one are not late, either.
        if now.since(*since) < soonest {
            let due = *since + soonest;
            decision.wake_at(due);
            return;
        }
        let Some(step) = state.hosts[*index].step() else { continue };
        let Some(past) = state.learned.of(step) else { continue };
        let so_far = now.since(*since);
        match past.late_after() {
            Some(late_after) if so_far >= late_after => {
                let notice = Notice::Late {
                    so_far_ms: u64::try_from(so_far.as_millis()).unwrap_or(u64::MAX),
                    hosts: past.hosts,
                    p50_ms: past.p50_ms,
                    p95_ms: past.p95_ms,
                    max_ms: past.max_ms,
                };
                decision.todo.push(Todo::Record(finding(plan, *index, step, notice)));
            }
            Some(late_after) => {
                decision.wake_at(*since + late_after);
            }
            None => {}
        }
    }
}

/// The next thing for a host with nothing running.
fn next(plan: &Plan, state: &RunState, index: usize, host: &HostState) -> Todo {
    let name = &plan.hosts[index].name;
    if let Some(fate) = &host.fate {
        return Todo::Record(settle(plan, index, host, fate));
    }
    match host.way {
        Way::Forward => forward(plan, state, index, host),
        Way::Back { hop, all } => {
            if plan.hops[hop].rollback.contains(&host.cursor) {
                return step(plan, index, host);
            }
            // Hops before the one that the host entered by have done nothing to it.
            if all && hop > host.entry {
                let hop = hop as u16 - 1;
                let rehearsing = host.rehearsing;
                let host = name.clone();
                return Todo::Record(match rehearsing {
                    true => Event::RehearsalStarted { host, hop },
                    false => Event::RollbackStarted { host, hop, because: None },
                });
            }
            if host.rehearsing && !host.armed {
                return Todo::Record(Event::RehearsalPassed { host: name.clone() });
            }
            // A host that the next boot migrates is not back, whatever system it runs now.
            let end = if host.armed { End::NeedsHands } else { End::RolledBack };
            finish(name, host, end)
        }
        Way::Commit { hop } => match plan.hops.get(hop) {
            None => finish(name, host, End::Committed),
            Some(planned) if planned.commit.contains(&host.cursor) => step(plan, index, host),
            Some(_) => Todo::Record(Event::HopFinished { host: name.clone(), hop: hop as u16 }),
        },
    }
}

fn forward(plan: &Plan, state: &RunState, index: usize, host: &HostState) -> Todo {
    let name = &plan.hosts[index].name;
    let Some(hop) = plan.hops.get(host.hop) else {
        return match host.last_changed_hop().filter(|_| rehearses(plan, state, index)) {
            Some(hop) => {
                Todo::Record(Event::RehearsalStarted { host: name.clone(), hop: hop as u16 })
            }
            None => finish(name, host, End::Migrated),
        };
    };
    if host.already && !hop.forward.contains(&host.cursor) {
        return finish(name, host, End::Already);
    }
    if !hop.forward.contains(&host.cursor) {
        return Todo::Record(Event::HopFinished { host: name.clone(), hop: host.hop as u16 });
    }
    if host.blocked && plan.steps[host.cursor].id.phase != Phase::Precheck {
        return finish(name, host, blocked(host));
    }
    let between = host.hop > host.entry && host.cursor == hop.forward.start;
    let rests = plan.waves[plan.hosts[index].wave].rest_between_hops;
    if rests && between && !host.already && host.rested_before != Some(host.hop) {
        let hop = Some(host.hop as u16 - 1);
        return Todo::Record(Event::HostRested { host: name.clone(), hop });
    }
    step(plan, index, host)
}

/// How a host ends that a precheck blocks: well only where nothing was changed, so that others may be asked in its place.
fn blocked(host: &HostState) -> End {
    match (host.rehearsed && host.hop == host.entry, host.touched) {
        // What is found only now is what the way back has left there. It stands where its rehearsal has brought it.
        (true, _) => End::RolledBack,
        (false, true) => End::NeedsHands,
        (false, false) => End::Blocked,
    }
}

/// Whether a host goes back before it counts as migrated: canaries do, which are alone until there are enough good ones.
pub(super) fn rehearses(plan: &Plan, state: &RunState, index: usize) -> bool {
    let number = plan.hosts[index].wave;
    let (wave, host) = (&plan.waves[number], &state.hosts[index]);
    wave.rehearse_rollback
        && state.waves[number].good < wave.canary
        && !host.rehearsed
        && !host.already
        && host.way == Way::Forward
}

/// The step at the cursor: run, or skipped for a reason that is known already.
fn step(plan: &Plan, index: usize, host: &HostState) -> Todo {
    let planned = &plan.steps[host.cursor];
    let skip = match &plan.rendered(index, host.cursor).skip {
        Some(when) => Some(Skip::Condition { when: when.to_string() }),
        None if planned.disarms && !host.armed => {
            Some(Skip::Condition { when: "the host is armed".to_owned() })
        }
        None => None,
    };
    match skip {
        Some(reason) => Todo::Record(Event::StepSkipped {
            host: plan.hosts[index].name.clone(),
            step: planned.id.clone(),
            reason,
        }),
        None => {
            let attempt = host.next_attempt(host.cursor);
            Todo::Attempt { host: index, step: host.cursor, attempt }
        }
    }
}

fn finish(name: &HostName, host: &HostState, end: End) -> Todo {
    let failure = host.failure.clone();
    Todo::Record(Event::HostFinished { host: name.clone(), end, touched: host.touched, failure })
}

/// What becomes of a host whose step failed for good.
fn settle(plan: &Plan, index: usize, host: &HostState, fate: &Fate) -> Event {
    let name = &plan.hosts[index].name;
    let failed = &plan.steps[fate.step];
    if fate.roll_back {
        let because = Some(fate.failure.clone());
        return Event::RollbackStarted { host: name.clone(), hop: failed.id.hop, because };
    }
    let looks = matches!(plan.rendered(index, fate.step).task, Task::Look { .. });
    let end = match (failed.id.phase, &fate.failure) {
        // Another works on it, and let us do nothing: it is what it was.
        (Phase::Rollback | Phase::Commit, locked)
            if locked.is_locked() && host.reopened_from.is_some() =>
        {
            host.reopened_from.unwrap_or(End::NeedsHands)
        }
        (Phase::Rollback | Phase::Commit, _) => End::NeedsHands,
        (_, Failure::Unreachable { .. } | Failure::Reboot(RebootVerdict::NeverBack { .. })) => {
            End::Unreachable
        }
        // After a rehearsal the host had said where it is, and says something else now.
        (Phase::Precheck, Failure::Unverified { .. }) if looks && !host.rehearsed => End::Blocked,
        (_, _) if host.touched => End::NeedsHands,
        (_, _) => End::Failed,
    };
    // A rollback that fails must not hide why it was begun.
    let failure = host.failure.clone().unwrap_or_else(|| fate.failure.clone());
    Event::HostFinished { host: name.clone(), end, touched: host.touched, failure: Some(failure) }
}
