//! What a host is given: each event, and what it makes of the host where it may come.

use super::{HostPhase, HostState, LeftBoot, Retry, Way};
use crate::{
    base::{phase::Phase, time::Timestamp},
    journal::{End, Event, Moment, StepId},
    plan::Plan,
};
use std::sync::Arc;

impl HostState {
    /// The one table of a host's legal transitions. The only wildcard arm is the illegal case.
    pub(in crate::run) fn next(
        &mut self,
        plan: &Plan,
        index: usize,
        event: &Event,
        at: Timestamp,
    ) -> Result<(), String> {
        use HostPhase::{Ended, Idle, Pending, Resting, Running, Waiting};
        let place = |id: &StepId| plan.step_index(id).ok_or_else(|| format!("no step {id}"));
        match (&self.phase, event) {
            (_, Event::HoldRequested { by, .. }) => {
                self.hold(Some(by), at);
                return Ok(());
            }
            (_, Event::ReleaseRequested { .. }) => {
                self.hold(None, at);
                return Ok(());
            }
            (Pending, Event::HostStarted { .. }) if self.held_by.is_none() => {
                self.phase = Idle;
                self.started = Some(at);
            }
            (Resting { retry }, Event::HostStarted { .. })
                if self.held_by.is_none() && !self.between =>
            {
                self.phase = match *retry {
                    Some(Retry { step, next, not_before }) => Waiting { step, next, not_before },
                    None => Idle,
                };
            }
            (Idle, Event::HostHeld { .. }) if self.held_by.is_some() && self.is_safe() => {
                self.phase = Resting { retry: None };
            }
            (Waiting { step, next, not_before }, Event::HostHeld { .. })
                if self.held_by.is_some() && self.is_safe() =>
            {
                let retry = Retry { step: *step, next: *next, not_before: *not_before };
                self.phase = Resting { retry: Some(retry) };
            }
            (Idle, Event::HostRested { hop, .. }) if self.is_safe() => {
                self.phase = Resting { retry: None };
                if hop.is_some() {
                    (self.between, self.rested_before) = (true, Some(self.hop));
                }
            }
            (Waiting { step, next, not_before }, Event::HostRested { hop: None, .. })
                if self.is_safe() =>
            {
                let retry = Retry { step: *step, next: *next, not_before: *not_before };
                self.phase = Resting { retry: Some(retry) };
            }
            (Idle, Event::AttemptStarted { step, attempt, .. })
                if place(step)? == self.cursor && *attempt == self.next_attempt(self.cursor) =>
            {
                (self.uncounted, self.nevers) = (attempt - 1, 0);
                self.attempts.insert(self.cursor, *attempt);
                self.phase = Running { step: self.cursor, attempt: *attempt };
            }
            (Waiting { step: due, next, .. }, Event::AttemptStarted { step, attempt, .. })
                if next == attempt && place(step)? == *due =>
            {
                let (step, attempt) = (*due, *attempt);
                self.attempts.insert(step, attempt);
                self.phase = Running { step, attempt };
            }
            (Running { step: runs, attempt: a }, Event::AttemptPassed { step, attempt: b, .. })
                if a == b && place(step)? == *runs =>
            {
                self.pass(plan, index, *runs, event);
            }
            (Running { step: runs, attempt: a }, Event::AttemptFailed { step, attempt: b, .. })
                if a == b && place(step)? == *runs =>
            {
                self.fail(plan, *runs, *a, event);
            }
            (Running { step: now, .. }, Event::StepSkipped { step, reason, .. })
                if place(step)? == *now =>
            {
                self.skip(plan, *now, reason);
            }
            (Idle, Event::StepSkipped { step, .. }) if place(step)? == self.cursor => {
                self.advance(plan, self.cursor);
            }
            (Running { .. }, Event::HostFacts { moment, facts, .. }) => {
                // What a rehearsal's way back has lost is to be missed on the second way, too.
                if *moment == Moment::Before && (!self.rehearsed || self.before.is_none()) {
                    self.before = Some(Arc::clone(facts));
                }
                self.latest = Some(Arc::clone(facts));
                if !facts.boot_id.is_empty() {
                    self.boot_id = Some(facts.boot_id.clone());
                }
                return Ok(());
            }
            (Running { .. }, Event::HostDark { boot_id, .. }) => {
                self.dark = Some(at);
                self.left_boot = Some(LeftBoot { boot_id: boot_id.clone(), at });
                self.boot_id = Some(boot_id.clone());
                // From now on the host may reboot, whoever hears of it.
                if let Running { step, .. } = self.phase {
                    self.touched |= plan.steps[step].id.phase == Phase::Migrate;
                }
            }
            (Running { .. }, Event::HostReturned { boot_id, .. }) => {
                self.dark = None;
                self.boot_id = Some(boot_id.clone());
            }
            (Running { step: now, .. }, Event::HostKeyTaken { step, key, .. })
                if place(step)? == *now =>
            {
                self.host_key = Some((*now, Arc::from(key.as_str())));
                return Ok(());
            }
            (Running { .. } | Idle | Waiting { .. }, Event::HostFinding { finding, .. }) => {
                self.told(finding.notice.as_ref());
                return Ok(());
            }
            (Idle, Event::HopFinished { hop, .. })
                if self.way == Way::Forward && usize::from(*hop) == self.hop =>
            {
                self.hop += 1;
                self.changing = false;
                self.cursor =
                    plan.hops.get(self.hop).map_or(plan.steps.len(), |hop| hop.forward.start);
            }
            (Idle, Event::HopFinished { hop, .. })
                if self.way == (Way::Commit { hop: usize::from(*hop) }) =>
            {
                let next = usize::from(*hop) + 1;
                self.way = Way::Commit { hop: next };
                self.cursor = plan.hops.get(next).map_or(plan.steps.len(), |hop| hop.commit.start);
            }
            (Idle, Event::RollbackStarted { hop, because, .. }) => {
                let hop = usize::from(*hop);
                let Some(planned) = plan.hops.get(hop) else { return Err(format!("no hop {hop}")) };
                let all = matches!(self.way, Way::Back { all: true, .. });
                self.way = Way::Back { hop, all };
                self.cursor = planned.rollback.start;
                if self.failure.is_none() {
                    self.failure.clone_from(because);
                }
                self.fate = None;
            }
            (Idle, Event::RehearsalStarted { hop, .. }) => {
                let hop = usize::from(*hop);
                let Some(planned) = plan.hops.get(hop) else { return Err(format!("no hop {hop}")) };
                self.way = Way::Back { hop, all: true };
                self.cursor = planned.rollback.start;
                self.rehearsing = true;
            }
            (Idle, Event::RehearsalPassed { .. }) if self.rehearsing => self.begin_again(plan),
            (Idle, Event::HostFinished { end, failure, .. }) => {
                self.phase = Ended(*end);
                self.held_by = None;
                self.failure = failure.clone();
                self.fate = None;
                self.dark = None;
            }
            (Ended(end), Event::HostReopened { phase, .. }) => {
                self.reopen(plan, *end, *phase)?;
            }
            (phase, event) => return Err(format!("{event:?} is not legal in {phase:?}")),
        }
        if let HostPhase::Running { step, .. } = self.phase
            && plan.steps[step].id.phase == Phase::Migrate
        {
            self.changing = true;
        }
        self.since = at;
        Ok(())
    }

    /// What an operator asks for the host. In flight it stays what it is, until its next safe point; after its end nothing
    /// is left to hold.
    fn hold(&mut self, by: Option<&String>, at: Timestamp) {
        if let HostPhase::Ended(_) = self.phase {
            return;
        }
        let was = self.word();
        // Who said it first holds it; anybody may release it.
        self.held_by = by.map(|by| self.held_by.take().unwrap_or_else(|| by.clone()));
        if self.word() != was {
            self.since = at;
        }
    }

    /// After a rehearsal the host is what it was, and goes its way once more.
    fn begin_again(&mut self, plan: &Plan) {
        (self.rehearsing, self.rehearsed) = (false, true);
        (self.way, self.hop, self.entry) = (Way::Forward, 0, 0);
        self.cursor = plan.hops.first().map_or(0, |hop| hop.forward.start);
        self.changing = false;
        self.rested_before = None;
    }

    /// An operator takes the host up again, for the way back or for its commit.
    fn reopen(&mut self, plan: &Plan, end: End, phase: Phase) -> Result<(), String> {
        self.reopened += 1;
        self.reopened_from = Some(end);
        (self.way, self.cursor) = match phase {
            Phase::Rollback => {
                let hop = self.last_changed_hop().ok_or("nothing was changed")?;
                (Way::Back { hop, all: true }, plan.hops[hop].rollback.start)
            }
            Phase::Commit => (Way::Commit { hop: 0 }, plan.hops[0].commit.start),
            Phase::Backup | Phase::Precheck | Phase::Migrate | Phase::Verify => {
                return Err(format!("a host is not reopened for {phase}"));
            }
        };
        self.phase = HostPhase::Idle;
        self.failure = None;
        self.fate = None;
        self.blocked = false;
        (self.accepted, self.rehearsing) = (false, false);
        Ok(())
    }
}
