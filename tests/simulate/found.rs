//! What the simulator has found, each shown by itself on a tape of records: the fold, what is decided, what is judged.

use crate::{
    scenario::system,
    support::{
        plans::{self, hop, plan, playbook},
        tape::{self, exited, facts, passed, result},
    },
};
use fleetlift::{
    base::{name::HostName, phase::Phase, time::Timestamp},
    engine::can_roll_back,
    journal::{End, Event, Failure, Moment, Skip, StepId},
    playbook::{Action, Step},
    rollout::Rollout,
    run::{Ending, HostPhase, HostState, Result as AttemptResult, Todo, Unseen, decide, judge},
};
use std::time::Duration;

fn step(name: &str) -> Step {
    Step { retries: 1, retry_delay: Duration::from_secs(1), ..plans::step(name, name) }
}

fn boot(name: &str) -> Step {
    let reboot = plans::reboot(Duration::from_secs(60));
    Step { action: Action::Reboot(reboot), retries: 0, ..step(name) }
}

/// One host on its way, by hand.
struct Tape(tape::Tape);

impl Tape {
    /// Two hops of these steps each; the host enters by the hop that begins with this place of the chain.
    fn new(entry: usize, migrate: &[Step], rollback: &[Step]) -> Self {
        let hop = |place: usize| {
            let steps = [(Phase::Migrate, migrate.to_vec()), (Phase::Rollback, rollback.to_vec())];
            let (from, to) = (system(place), system(place + 1));
            hop(&format!("hop{place}"), Some(from), Some(to), steps)
        };
        let plan = plan(&["a"], &playbook(vec![hop(0), hop(1)]), &Rollout::default());
        let mut tape = Self(tape::Tape::begin(plan, Timestamp::from_millis(0)));
        tape.decided();
        let (host, facts) = (tape.host(), facts(system(entry)).unwrap());
        tape.say(Event::HostFacts { host, moment: Moment::Before, facts });
        tape.pass();
        tape
    }

    fn say(&mut self, event: Event) {
        // Every record has a time of its own.
        self.0.now = Timestamp::from_millis(self.0.state.next_seq as i64);
        self.0.record(event);
    }

    fn host(&self) -> HostName {
        self.0.plan.hosts[0].name.clone()
    }

    fn state(&self) -> &HostState {
        &self.0.state.hosts[0]
    }

    /// Writes down whatever is decided, until an attempt runs or nothing is left. Returns what was decided last.
    fn decided(&mut self) -> Option<Todo> {
        let mut last = None;
        loop {
            let now = Timestamp::from_millis(1_000_000);
            let decision = decide(&self.0.plan, &self.0.state, now);
            let Some(todo) = decision.todo.into_iter().next() else { return last };
            match todo.clone() {
                Todo::Record(event) => self.say(event),
                Todo::Attempt { step, attempt, .. } => {
                    let (host, step) = self.place(step);
                    self.say(Event::AttemptStarted { host, step, attempt });
                }
            }
            last = Some(todo);
        }
    }

    fn place(&self, step: usize) -> (HostName, StepId) {
        (self.host(), self.0.plan.steps[step].id.clone())
    }

    fn running(&self) -> (String, u32) {
        match self.state().phase {
            HostPhase::Running { step, attempt } => {
                (self.0.plan.steps[step].id.to_string(), attempt)
            }
            ref other => panic!("nothing runs: {other:?}"),
        }
    }

    fn judged(&mut self, ending: Ending, never: bool) {
        let result = AttemptResult { never, ..result(ending) };
        for event in judge(&self.0.plan, &self.0.state, 0, &result, Timestamp::from_millis(0)) {
            self.say(event);
        }
        self.decided();
    }

    fn pass(&mut self) {
        self.judged(passed(), false);
    }

    fn fail(&mut self) {
        self.judged(exited(), false);
    }

    fn end(&self) -> Option<End> {
        match self.state().phase {
            HostPhase::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// An operator takes the host up again.
    fn reopen(&mut self, phase: Phase) {
        let (operator, controller) = ("op".to_owned(), "c".to_owned());
        self.say(Event::RunResumed { operator: operator.clone(), controller, only_reopened: true });
        let host = self.host();
        self.say(Event::HostReopened { host, phase, operator });
        self.decided();
    }

    fn dark(&mut self) {
        let host = self.host();
        self.say(Event::HostDark { host, boot_id: "one".to_owned() });
    }
}

/// Else the next reboot would be taken for one whose command was given, and count as done with no boot at all.
#[test]
fn a_reboot_that_is_skipped_leaves_no_boot_behind() {
    let mut tape = Tape::new(0, &[boot("boot")], &[]);
    tape.dark();
    assert_eq!(tape.state().word(), "dark");
    tape.judged(Ending::Skipped(Skip::Guard { unless: "done".to_owned() }), false);
    assert_eq!(tape.state().left_boot, None);
    assert_eq!(tape.state().word(), "running");
    tape.pass();
    assert_eq!(tape.running().0, "1.migrate.boot");
    assert_eq!(tape.state().left_boot, None);
}

#[test]
fn a_reboot_that_fails_is_not_dark_any_more() {
    let mut tape = Tape::new(0, &[step("change"), boot("boot")], &[step("restore")]);
    tape.pass();
    tape.dark();
    tape.fail();
    assert_eq!(tape.running().0, "0.rollback.restore");
    assert_eq!(tape.state().word(), "running");
}

#[test]
fn a_host_that_does_not_return_from_a_reboot_is_touched() {
    let mut tape = Tape::new(0, &[boot("boot")], &[]);
    tape.dark();
    let reason = "did not return".to_owned();
    tape.judged(Ending::Failed(Failure::Unreachable { reason }), false);
    assert_eq!(tape.end(), Some(End::Unreachable));
    assert!(tape.state().touched);
}

#[test]
fn an_attempt_that_never_began_is_no_retry() {
    let mut tape = Tape::new(0, &[step("change")], &[]);
    for attempt in 1..=4 {
        assert_eq!(tape.running(), ("0.migrate.change".to_owned(), attempt));
        let reason = "it never began".to_owned();
        tape.judged(Ending::Failed(Failure::Unreachable { reason }), true);
    }
    tape.fail();
    assert_eq!(tape.running(), ("0.migrate.change".to_owned(), 6), "its one retry is left");
    tape.fail();
    assert_eq!(tape.end(), Some(End::NeedsHands));
}

#[test]
fn a_step_that_arms_and_fails_is_disarmed() {
    let arm = Step { arms: true, disarm: Some("disarm".into()), retries: 0, ..step("arm") };
    let mut tape = Tape::new(0, &[arm], &[step("restore")]);
    tape.fail();
    assert_eq!(tape.running().0, "0.rollback.disarm-arm");
    tape.pass();
    assert!(!tape.state().armed);
}

#[test]
fn a_host_that_is_still_armed_is_not_rolled_back() {
    let arm = Step { arms: true, retries: 0, ..step("arm") };
    let mut tape = Tape::new(0, &[arm, step("more")], &[step("restore")]);
    tape.pass();
    tape.fail();
    tape.fail();
    assert_eq!(tape.running().0, "0.rollback.restore");
    tape.pass();
    tape.pass();
    assert_eq!(tape.end(), Some(End::NeedsHands));
}

/// The host refuses an attempt whose directory it has: a second rollback was refused for its numbers alone.
#[test]
fn a_second_rollback_has_attempts_of_its_own() {
    let mut tape = Tape::new(0, &[step("change")], &[step("restore")]);
    tape.fail();
    tape.fail();
    assert_eq!(tape.running(), ("0.rollback.restore".to_owned(), 1));
    tape.fail();
    tape.fail();
    assert_eq!(tape.end(), Some(End::NeedsHands));
    tape.reopen(Phase::Rollback);
    assert_eq!(tape.running(), ("0.rollback.restore".to_owned(), 3));
    tape.fail();
    assert_eq!(tape.running(), ("0.rollback.restore".to_owned(), 4), "and retries of its own");
}

/// The lane asks the host whether it still runs, before it changes anything beside it.
#[test]
fn a_step_whose_end_nobody_saw_is_remembered() {
    let mut tape = Tape::new(0, &[step("change")], &[step("restore")]);
    let failure = Failure::TimedOut { limit_ms: 1, stopped: false };
    tape.judged(Ending::Failed(failure), false);
    assert_eq!(tape.end(), Some(End::NeedsHands));
    tape.reopen(Phase::Rollback);
    let host = tape.state();
    assert_eq!(host.reopened, 1);
    let change = tape.0.plan.steps.iter().position(|s| s.id.step.as_str() == "change").unwrap();
    assert_eq!(host.unseen, Some(Unseen { step: change, attempt: 1, reopened: 0 }));
}

#[test]
fn hops_that_changed_nothing_are_not_rolled_back() {
    // It came on the system between the hops.
    let mut tape = Tape::new(1, &[step("change")], &[step("restore")]);
    assert_eq!(tape.running().0, "1.migrate.change");
    tape.pass();
    tape.pass();
    assert_eq!(tape.end(), Some(End::Migrated));
    assert!(can_roll_back(&tape.0.plan, &tape.0.state, 0));
    tape.reopen(Phase::Rollback);
    assert_eq!(tape.running().0, "1.rollback.restore");
    tape.pass();
    tape.pass();
    assert_eq!(tape.end(), Some(End::RolledBack));
}
