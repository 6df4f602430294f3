//! What a controller does that takes up what another has begun.

use crate::{
    fake::{Answer, FakeFleet, Play, Shows},
    stage::{Driver, PausedClock, Ran, Stage, good, lenient, planned, playbook},
    support::plans::step,
};
use fleetlift::{
    base::{phase::Phase, time::Timestamp},
    engine::{self, Control, Observer, Outcome, reopening},
    journal::{Contact, End, Event, Failure, Record},
    plan::Plan,
    playbook::{Action, Reboot, Step},
    rollout::{OnFailure, Rollout},
    run::RunState,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Leaves the run at a record of this kind.
struct LeavesAt(fn(&Event) -> bool, mpsc::Sender<Control>);

impl Observer for LeavesAt {
    fn record(&mut self, record: &Record, _: &RunState, _: &Plan) {
        if self.0(&record.event) {
            self.1.try_send(Control::Leave).unwrap();
        }
    }

    fn tick(&mut self, _: Timestamp, _: &RunState, _: &Plan) {}
}

/// A controller that leaves as soon as a record of this kind is on the disk.
fn left_at(fleet: &FakeFleet, first: Option<Vec<Event>>, wanted: fn(&Event) -> bool) -> Driver {
    let (control, orders) = mpsc::channel(4);
    let observer = Box::new(LeavesAt(wanted, control));
    Driver { observer, orders: Some(orders), first, ..Driver::of(fleet.clone()) }
}

/// So long after the last record.
fn later(stage: &Stage, fleet: &FakeFleet, after: Duration) -> Ran {
    let stands = stage.records().last().unwrap().at;
    let clock = || Arc::new(PausedClock::starting(stands + after)) as _;
    stage.drive(|| Driver { clock: Some(clock()), ..Driver::of(fleet.clone()) }).unwrap()
}

/// Takes the host up again for its rollback.
fn back(stage: &Stage) -> Vec<Event> {
    let (operator, controller) = ("tester".to_owned(), "here".to_owned());
    let driver = engine::Driver { operator, controller };
    reopening(&stage.plan, &[0], Phase::Rollback, &driver)
}

/// The intent to reboot was on the disk, and its controller died before the command: the host has all of the reboot's time.
#[test]
fn the_time_of_a_reboot_begins_with_its_command() {
    const SLOW: Play = &[(150, Shows::Out(Contact::PortClosed)), (0, Shows::Boot("new", "2"))];
    let mut host = good();
    host.rules.retain(|rule| rule.containing != "reboot-now");
    let fleet = FakeFleet::with([("a", host.rule("reboot-now", Answer::Plays(SLOW)))]);
    let mut playbook = playbook();
    let migrate = playbook.hops[0].steps.get_mut(&Phase::Migrate).unwrap();
    let time = Duration::from_secs(600);
    let Action::Reboot(reboot) = &migrate[1].action else { panic!("{migrate:?}") };
    let longer = Reboot { timeout: time, down: time, each: time, ..reboot.clone() };
    migrate[1].action = Action::Reboot(longer);
    let stage = Stage::new(planned(&fleet, &playbook, &lenient()));
    let is_dark = |event: &Event| matches!(event, Event::HostDark { .. });
    let ran = stage.drive(|| left_at(&fleet, None, is_dark)).unwrap();
    assert_eq!(ran.outcome, Outcome::Left);
    assert!(!fleet.ran("a").contains(&"reboot-now".to_owned()));
    let ran = later(&stage, &fleet, Duration::from_secs(7200));
    assert_eq!(ran.end("a"), End::Migrated);
    let dark = ran.records.iter().find_map(|record| match record.event {
        Event::HostReturned { dark_ms, .. } => Some(dark_ms),
        _ => None,
    });
    assert!((100_000..400_000).contains(&dark.unwrap()), "{dark:?}");
}

/// Whoever takes up an attempt that was recorded and not made looks first, as the controller before had to.
#[test]
fn nothing_is_written_beside_a_step_that_still_runs_whoever_comes() {
    let fleet = FakeFleet::with([("a", good().rule("upgrade", Answer::Lost))]);
    let mut playbook = playbook();
    let template =
        Action::Template { text: "restored".into(), to: "/etc/restored".into(), mode: 0o644 };
    let restore = Step { action: template, ..step("restore", "") };
    playbook.hops[0].steps.insert(Phase::Rollback, vec![restore]);
    let rollout = Rollout { on_failure: OnFailure::Hold, ..lenient() };
    let stage = Stage::new(planned(&fleet, &playbook, &rollout));
    let at_work = |is: bool| {
        fleet.0.lock().unwrap().values_mut().for_each(|host| host.at_work = is);
    };
    let uploaded = || fleet.0.lock().unwrap().values().next().unwrap().uploaded.clone();
    let ran = stage.drive(|| Driver::of(fleet.clone())).unwrap();
    assert_eq!(ran.end("a"), End::NeedsHands);
    at_work(true);
    let begins = |event: &Event| matches!(event, Event::AttemptStarted { step, .. } if step.phase == Phase::Rollback);
    let ran = stage.drive(|| left_at(&fleet, Some(back(&stage)), begins)).unwrap();
    assert_eq!(ran.outcome, Outcome::Left);
    let ran = stage.drive(|| Driver::of(fleet.clone())).unwrap();
    assert_eq!((ran.end("a"), uploaded()), (End::NeedsHands, Vec::new()));
    let refused = ran.records.iter().any(|record| {
        matches!(&record.event, Event::AttemptFailed { failure: Failure::Refused { reason }, .. }
            if reason.contains("still runs on the host"))
    });
    assert!(refused, "{:#?}", ran.records);
    // When it is over the way back is free.
    at_work(false);
    let first = Some(back(&stage));
    stage.drive(|| Driver { first, ..Driver::of(fleet.clone()) }).unwrap();
    assert_eq!(uploaded(), ["/etc/restored"]);
}
