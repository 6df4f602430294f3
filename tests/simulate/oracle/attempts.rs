//! Attempts: which may begin, after which, and whether their end is true.

use super::{At, Open, Oracle, id};
use crate::{host::Host, scenario::Kind};
use fleetlift::{
    base::phase::Phase,
    journal::{Failure, Skip, Then},
    plan::Task,
    playbook::{Action, OnLost},
};

impl Oracle {
    /// The intent of an attempt.
    pub(super) fn attempt(
        &mut self,
        name: &str,
        step: &str,
        attempt: u32,
        truth: &Host,
        said: &mut Vec<String>,
    ) {
        let told = &self.hosts[name];
        if told.at != At::InFlight {
            said.push("an attempt, but it is not in flight".to_owned());
        }
        if let Some(open) = &told.open {
            said.push(format!("{step} is attempted while {open:?} is open"));
        }
        let missing: Vec<String> =
            self.earlier(step).into_iter().filter(|it| !told.settled.contains(it)).collect();
        if !missing.is_empty() && !told.reopened {
            said.push(format!("{step} is attempted before {missing:?}"));
        }
        if let Some((hop, _)) = step.split_once(".rollback.")
            && !self.has_begun(name, hop.parse().unwrap())
        {
            said.push(format!("{step} is attempted, but the hop has changed nothing"));
        }
        if told.settled.contains(step) {
            said.push(format!("{step} is attempted, but it is over"));
        }
        if told.blocked && !step.contains(".precheck.") && !told.reopened {
            said.push(format!("{step} is attempted on a blocked host"));
        }
        match &told.failed {
            Some((failed, last, failure, then)) => {
                self.retried(step, attempt, (failed, *last), (failure, then), truth, said);
            }
            None if attempt != told.last.get(step).map_or(1, |last| last + 1) => {
                said.push(format!("{step} is begun with attempt {attempt}"));
            }
            None => {}
        }
        let rests = self.plan.waves[self.hosts[name].wave].rest_between_hops;
        let told = self.told(name);
        let open =
            Open { step: step.to_owned(), attempt, dark: false, returned: false, boot: truth.boot };
        told.open = Some(open);
        told.hop = step.split('.').next().and_then(|hop| hop.parse().ok()).unwrap();
        let forward = ["backup", "precheck", "migrate", "verify"];
        let is_forward = step.split('.').nth(1).is_some_and(|phase| forward.contains(&phase));
        let enters = told.finished.is_some_and(|hop| hop + 1 == told.hop);
        if rests && is_forward && enters && !told.rested.contains(&told.hop) {
            said.push(format!("{step} is attempted without a rest before its hop"));
        }
        if step.contains(".migrate.") {
            told.begun.insert(told.hop);
        }
        told.last.insert(step.to_owned(), attempt);
    }

    /// The steps that a host passes before this one, in the same hop and direction.
    fn earlier(&self, step: &str) -> Vec<String> {
        let names: Vec<String> = self.plan.steps.iter().map(|planned| id(&planned.id)).collect();
        let at = names.iter().position(|name| name == step).unwrap();
        let side = |at: usize| {
            let id = &self.plan.steps[at].id;
            let side = match id.phase {
                Phase::Rollback => 1,
                Phase::Commit => 2,
                Phase::Backup | Phase::Precheck | Phase::Migrate | Phase::Verify => 0,
            };
            (id.hop, side)
        };
        (0..at).filter(|other| side(*other) == side(at)).map(|at| names[at].clone()).collect()
    }

    /// Whether an attempt may follow a failed one.
    fn retried(
        &self,
        step: &str,
        attempt: u32,
        (failed, last): (&str, u32),
        (failure, then): (&Failure, &Then),
        truth: &Host,
        said: &mut Vec<String>,
    ) {
        if failed != step || attempt != last + 1 {
            said.push(format!("attempt {attempt} of {step} follows attempt {last} of {failed}"));
        }
        match then {
            Then::Retry { not_before } if not_before.as_millis() <= self.at => {}
            Then::Retry { .. } => said.push(format!("{step} is retried too early")),
            _ => said.push(format!("{step} is attempted after {then:?}")),
        }
        let Some(spec) = self.spec(step) else { return };
        let changes = matches!(spec.phase, Phase::Migrate | Phase::Rollback | Phase::Commit);
        let began = truth.attempts.get(&(step.to_owned(), last)).is_some_and(|n| *n > 0);
        let unknown = match failure {
            Failure::Lost { .. } => spec.on_lost != OnLost::Rerun,
            Failure::TimedOut { stopped, .. } => !stopped,
            Failure::Unreachable { .. } | Failure::Refused { .. } => began,
            // A reboot is never asked for twice.
            Failure::Reboot(_) => true,
            Failure::Exited { .. } | Failure::Killed { .. } | Failure::Unverified { .. } => false,
        };
        if changes && unknown {
            said.push(format!("{step} is attempted again after {failure:?}"));
        }
    }

    /// An attempt is over.
    pub(super) fn close(
        &mut self,
        name: &str,
        step: &str,
        attempt: u32,
        said: &mut Vec<String>,
    ) -> Option<Open> {
        let open = self.told(name).open.take();
        if !open.as_ref().is_some_and(|open| open.step == step && open.attempt == attempt) {
            said.push(format!("attempt {attempt} of {step} ends, open is {open:?}"));
        }
        open
    }

    pub(super) fn passed(
        &mut self,
        name: &str,
        step: &str,
        attempt: u32,
        stdout: Option<&str>,
        truth: &Host,
        said: &mut Vec<String>,
    ) {
        let planned = self.plan.steps.iter().find(|it| id(&it.id) == step).unwrap().clone();
        let printed = truth.outputs.get(&(step.to_owned(), attempt));
        if let (Some(heard), Some(printed)) = (stdout, printed)
            && heard != printed
        {
            said.push(format!("{step} printed {printed:?}, heard was {heard:?}"));
        }
        if self.is_script(step) && !truth.attempts.contains_key(&(step.to_owned(), attempt)) {
            said.push(format!("attempt {attempt} of {step} passed, and never began"));
        }
        let told = self.told(name);
        told.armed = (told.armed || planned.arms) && !planned.disarms && !planned.reboots;
        told.settled.insert(step.to_owned());
        told.failed = None;
    }

    pub(super) fn failed(
        &mut self,
        name: &str,
        (step, attempt): (&str, u32),
        failure: &Failure,
        then: &Then,
        truth: &Host,
        said: &mut Vec<String>,
    ) {
        self.gave_up(failure, truth, said);
        let untouched = matches!(failure, Failure::Unreachable { .. } | Failure::Refused { .. });
        let began = truth.attempts.contains_key(&(step.to_owned(), attempt));
        if untouched && began && self.is_script(step) {
            said.push(format!("attempt {attempt} of {step} began, but is told as {failure:?}"));
        }
        let arms = self.plan.steps.iter().any(|it| id(&it.id) == step && it.arms);
        let told = self.told(name);
        // Whether a step armed the host that did not pass is not known: it counts as armed.
        told.armed |= arms && !untouched;
        match then {
            Then::GoOn | Then::Block => {
                if !step.contains(".precheck.") {
                    said.push(format!("{step} failed, and the host goes on"));
                }
                told.blocked |= *then == Then::Block;
                told.settled.insert(step.to_owned());
                told.failed = None;
            }
            Then::Retry { .. } | Then::RollBack | Then::GiveUp => {
                told.failed = Some((step.to_owned(), attempt, failure.clone(), then.clone()));
            }
        }
    }

    pub(super) fn skipped(
        &mut self,
        name: &str,
        step: &str,
        reason: &Skip,
        said: &mut Vec<String>,
    ) {
        let reboots = self.plan.steps.iter().any(|it| id(&it.id) == step && it.reboots);
        let spec = self.spec(step);
        let told = self.told(name);
        if let Some(open) = told.open.take()
            && open.step != step
        {
            said.push(format!("{step} is skipped while {open:?} is open"));
        }
        let proven = matches!(reason, Skip::Proven { .. } | Skip::Guard { .. });
        if proven && reboots {
            told.armed = false;
        }
        if proven && spec.is_some_and(|s| s.kind == Kind::Arm) {
            told.armed = true;
        }
        told.settled.insert(step.to_owned());
        told.failed = None;
    }

    fn is_script(&self, step: &str) -> bool {
        let at = self.plan.steps.iter().position(|planned| id(&planned.id) == step).unwrap();
        let tasks = self.plan.rendered.iter().filter(|rendered| rendered.step == at);
        tasks.map(|rendered| &rendered.task).all(|task| matches!(task, Task::Act(Action::Run(_))))
    }
}
