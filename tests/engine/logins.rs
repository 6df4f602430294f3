//! Hosts that let nobody in for a while: how long they are waited for, and how often they are asked.

use crate::{
    fake::{Answer, FakeFleet, FakeHost, Play, Shows},
    stage::{Driver, Ran, Stage, good, lenient, planned, playbook},
    support::plans::{hop, plan, playbook as of_hops, step},
};
use fleetlift::{
    base::phase::Phase,
    host::{BoxFuture, ConnectError, Session, Target, Transport},
    journal::{Contact, End, Failure},
    playbook::{Action, Step, WaitFor},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

/// A fleet whose doors count.
#[derive(Clone)]
struct Counted(FakeFleet, Arc<Mutex<Vec<Instant>>>);

impl Transport for Counted {
    fn connect<'a>(
        &'a self,
        target: &'a Target,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, ConnectError>> {
        self.1.lock().unwrap().push(Instant::now());
        self.0.connect(target)
    }
}

/// A host that shows this from the beginning.
fn from_the_beginning(scenes: Play) -> Ran {
    let fleet = FakeFleet::with([("a", good())]);
    let stage = Stage::new(planned(&fleet, &playbook(), &lenient()));
    let ran = stage.drive(|| {
        fleet.0.lock().unwrap().get_mut("a").unwrap().play = Some((Instant::now(), scenes, 0));
        Driver::of(fleet.clone())
    });
    ran.unwrap()
}

/// sshd locks an address out for 15 s or more, for what others behind it have done: no reason to call the host unreachable.
#[test]
fn a_host_that_turns_us_away_is_tried_for_longer_than_one_that_is_silent() {
    let away = from_the_beginning(&[(40, Shows::Out(Contact::TurnedAway)), (0, Shows::Same)]);
    assert_eq!(away.end("a"), End::Migrated);
    let silent = from_the_beginning(&[(40, Shows::Out(Contact::NoAnswer)), (0, Shows::Same)]);
    assert_eq!(silent.end("a"), End::Unreachable);
    let for_good = from_the_beginning(&[(0, Shows::Out(Contact::TurnedAway))]);
    assert_eq!(for_good.end("a"), End::Unreachable);
    assert!(for_good.took < Duration::from_secs(120), "{:?}", for_good.took);
}

/// Shuts the host's door, waits for its SSH port, and goes on. Returns the logins that were tried, too.
fn shut(scenes: Play, timeout: Duration) -> (Ran, usize) {
    let wait = Step { action: Action::Wait(WaitFor::Port(22)), timeout, ..step("up", "") };
    let steps = [(Phase::Migrate, vec![step("shut", "shut"), wait, step("after", "after")])];
    let host = FakeHost::new("old", "1").rule("shut", Answer::Plays(scenes));
    let fleet = FakeFleet::with([("a", host)]);
    let stage = Stage::new(plan(&["a"], &of_hops(vec![hop("h", None, None, steps)]), &lenient()));
    let tried = Arc::default();
    let counted = Counted(fleet, Arc::clone(&tried));
    let ran = stage.drive(|| Driver::of(counted.clone())).unwrap();
    let tried = tried.lock().unwrap().len();
    (ran, tried)
}

/// A whole night of it costs a login each ten seconds, or each minute where they are refused.
#[test]
fn a_wait_for_the_port_of_ssh_is_made_of_logins_far_between() {
    const NIGHT: u64 = 8 * 3600;
    let day = Duration::from_secs(24 * 3600);
    let (ran, tried) = shut(&[(NIGHT, Shows::Out(Contact::GoingDown)), (0, Shows::Same)], day);
    assert_eq!(ran.end("a"), End::Migrated);
    assert!(ran.took >= Duration::from_secs(NIGHT), "{:?}", ran.took);
    assert!(tried < 2920, "{tried} logins");
    let (ran, tried) = shut(&[(NIGHT, Shows::Refuses), (0, Shows::Same)], day);
    assert_eq!(ran.end("a"), End::Migrated);
    assert!(tried < 520, "{tried} logins");

    // A key that is not the host's ends it at once, and so does its time.
    let (ran, tried) = shut(&[(0, Shows::Revoked)], day);
    assert!(matches!(ran.state.hosts[0].failure, Some(Failure::Refused { .. })));
    assert!(tried < 5, "{tried} logins");
    let (ran, _) = shut(&[(0, Shows::Refuses)], Duration::from_secs(600));
    assert!(matches!(ran.state.hosts[0].failure, Some(Failure::TimedOut { .. })));
    assert!(ran.took < Duration::from_secs(700), "{:?}", ran.took);
}
