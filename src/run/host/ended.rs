//! What the end of an attempt makes of its host.

use super::{Fate, HostPhase, HostState, Registered, Unseen};
use crate::{
    base::phase::Phase,
    journal::{Event, Failure, Moment, Outcome, RebootVerdict, Skip, Then},
    plan::{Plan, PlanStep, Task},
};

impl HostState {
    pub(super) fn pass(&mut self, plan: &Plan, index: usize, step: usize, event: &Event) {
        let Event::AttemptPassed { outcome, stdout, exit, .. } = event else { return };
        self.reopened_from = None;
        let planned = &plan.steps[step];
        if planned.id.phase == Phase::Migrate && *outcome == Outcome::Changed {
            self.touched = true;
        }
        self.arm(planned);
        if let Some(stdout) = stdout {
            let kept = Registered { stdout: stdout.clone(), exit: *exit };
            self.registered.insert(planned.id.step.to_string(), kept);
        }
        self.advance(plan, step);
        let enters =
            matches!(plan.rendered(index, step).task, Task::Look { moment: Moment::Before, .. });
        if enters {
            let system = self.latest.as_ref().and_then(|facts| facts.system.as_ref());
            // A host that already rests between two hops goes on from there.
            match plan.entry_hop(system) {
                Some(hop) if hop > 0 => {
                    (self.hop, self.entry) = (hop, hop);
                    self.cursor = plan.hops[hop].forward.start;
                }
                Some(_) => {}
                // Of the way only the proofs are left that it is wholly there.
                None => {
                    self.already = true;
                    self.hop = plan.hops.len().saturating_sub(1);
                    self.entry = self.hop;
                    self.cursor = plan.next_proof(0);
                }
            }
        }
    }

    pub(super) fn fail(&mut self, plan: &Plan, step: usize, attempt: u32, event: &Event) {
        let Event::AttemptFailed { failure, then, never, .. } = event else { return };
        if !failure.is_locked() {
            self.reopened_from = None;
        }
        let planned = &plan.steps[step];
        if planned.id.phase == Phase::Migrate && failure.touches() {
            self.touched = true;
        }
        if let Failure::Lost { .. } | Failure::TimedOut { stopped: false, .. } = failure {
            self.unseen = Some(Unseen { step, attempt, reopened: self.reopened });
        }
        // It may have armed the host before it failed: a rollback disarms it.
        self.armed |= planned.arms && failure.touches();
        if *never {
            self.uncounted += 1;
            self.nevers += 1;
        }
        if let Failure::Reboot(RebootVerdict::StayedUp { .. }) = failure {
            // It has answered all the time, from the boot that it was to leave.
            self.dark = None;
        }
        self.end_reboot();
        match then {
            Then::Retry { not_before } => {
                self.phase =
                    HostPhase::Waiting { step, next: attempt + 1, not_before: *not_before };
            }
            Then::GoOn => self.advance(plan, step),
            Then::Block => {
                self.blocked = true;
                self.failure.get_or_insert_with(|| failure.clone());
                self.advance(plan, step);
            }
            Then::RollBack | Then::GiveUp => {
                let roll_back = *then == Then::RollBack;
                self.fate = Some(Fate { step, failure: failure.clone(), roll_back });
                self.phase = HostPhase::Idle;
            }
        }
    }

    /// A step that is over without an attempt that passed.
    pub(super) fn skip(&mut self, plan: &Plan, step: usize, reason: &Skip) {
        // A lost step that is proven to have done its work has changed the host.
        let proven = matches!(reason, Skip::Proven { .. });
        self.touched |= proven && plan.steps[step].id.phase == Phase::Migrate;
        // Its work is done, by this attempt or by somebody before us: so the host is armed by it.
        if matches!(reason, Skip::Guard { .. } | Skip::Proven { .. }) {
            self.arm(&plan.steps[step]);
        }
        self.advance(plan, step);
    }

    pub(super) fn advance(&mut self, plan: &Plan, step: usize) {
        self.end_reboot();
        self.phase = HostPhase::Idle;
        self.cursor = if self.already { plan.next_proof(step + 1) } else { step + 1 };
    }

    /// Whether the host is armed once this step has done its work.
    pub(super) fn arm(&mut self, step: &PlanStep) {
        self.armed = (self.armed || step.arms) && !step.disarms && !step.reboots;
    }

    /// A reboot is under way no longer.
    fn end_reboot(&mut self) {
        if self.dark.is_some() && self.left_boot.is_some() {
            // It left a boot, and was not seen in another one.
            self.boot_id = None;
        }
        self.left_boot = None;
        self.late = false;
        self.dark = None;
    }
}
