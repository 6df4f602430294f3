//! Reboots of made-up hosts, in paused time: how each of them ends, what is said of it, and when.

use crate::{
    fake::{Answer, FakeFleet, FakeHost, NEW_KEY, Play, Shows},
    stage::{self, lenient},
    support::plans::{self, build, hop, inventory, step, system},
};
use fleetlift::{
    base::phase::Phase,
    journal::{
        Contact, End, Event, Failure, Notice, RebootVerdict, Record, Sighting, tell_sightings,
    },
    playbook::{Action, HopSystem, OnLost, Playbook, Reboot, Step},
    rollout::{OnFailure, Rollout},
    run::{HostPhase, RunState},
};
use std::time::Duration;

pub fn reboot() -> Reboot {
    Reboot {
        down: Duration::from_secs(300),
        into: Some(HopSystem::To),
        command: Some("reboot-now".into()),
        ..plans::reboot(Duration::from_secs(3600))
    }
}

pub fn reboots(reboot: Reboot) -> Step {
    Step { action: Action::Reboot(reboot), verify: Some("check-system".into()), ..step("boot", "") }
}

/// From old 1 to new 2 by these steps, and back by one that restores.
pub fn playbook(migrate: Vec<Step>) -> Playbook {
    let steps = [
        (Phase::Migrate, migrate),
        (Phase::Verify, vec![step("services", "ask-services")]),
        (Phase::Rollback, vec![step("restore", "restore")]),
    ];
    let (from, to) = (system("old", "1"), system("new", "2"));
    plans::playbook(vec![hop("old-to-new", Some(from), Some(to), steps)])
}

pub fn rollout() -> Rollout {
    Rollout { on_failure: OnFailure::Rollback, ..lenient() }
}

#[test]
fn a_reboot_leads_only_into_a_system_that_is_named() {
    let mut unnamed = playbook(vec![reboots(reboot())]);
    unnamed.hops[0].to = None;
    let faults = build(&inventory(&["a"]), &unnamed, &Rollout::default()).unwrap_err();
    let told = faults.0.iter().any(|fault| fault.message.contains("needs the playbook's `to`"));
    assert!(told, "{faults:?}");
}

struct Ran {
    state: RunState,
    records: Vec<Record>,
    fleet: FakeFleet,
}

impl Ran {
    fn end(&self) -> End {
        match self.state.hosts[0].phase {
            HostPhase::Ended(end) => end,
            ref phase => panic!("it has not ended: {phase:?}"),
        }
    }

    /// The failure of the reboot, and the evidence beside it.
    fn verdict(&self) -> (&RebootVerdict, &str) {
        let failed = self.records.iter().find_map(|record| match &record.event {
            Event::AttemptFailed { failure: Failure::Reboot(verdict), tail, .. } => {
                Some((verdict, tail.as_str()))
            }
            _ => None,
        });
        failed.unwrap_or_else(|| panic!("no reboot has failed: {:#?}", self.records))
    }

    fn notices(&self) -> Vec<&Notice> {
        let notice = |record| match record {
            &Record { event: Event::HostFinding { ref finding, .. }, .. } => {
                finding.notice.as_ref()
            }
            _ => None,
        };
        self.records.iter().filter_map(notice).collect()
    }

    fn left(&self) -> Vec<String> {
        self.fleet.0.lock().unwrap().values().flat_map(|host| host.left.clone()).collect()
    }

    fn ran(&self, what: &str) -> usize {
        self.fleet.ran("a").iter().filter(|text| text.contains(what)).count()
    }
}

/// Runs the steps on the one host `a`.
fn run(host: FakeHost, migrate: Vec<Step>) -> Ran {
    let fleet = FakeFleet::with([("a", host)]);
    let stage::Ran { state, records, .. } = stage::run(&fleet, &playbook(migrate), &rollout());
    Ran { state, records, fleet }
}

fn plays(scenes: Play) -> FakeHost {
    FakeHost::new("old", "1")
        .rule("reboot-now", Answer::Plays(scenes))
        .rule("restore", Answer::Becomes("old", "1"))
}

const CLOSED: Shows = Shows::Out(Contact::PortClosed);
const SILENT: Shows = Shows::Out(Contact::NoAnswer);

#[test]
fn a_host_that_is_slow_to_come_up_is_waited_for() {
    // Shutting down, off, in its firmware, coming up: none of these is a failure.
    let ran = run(
        plays(&[
            (20, Shows::Same),
            (30, Shows::Out(Contact::GoingDown)),
            (100, CLOSED),
            (200, SILENT),
            (20, Shows::Out(Contact::NoSsh)),
            (30, Shows::Out(Contact::TurnedAway)),
            (60, Shows::Refuses),
            (40, Shows::Out(Contact::GoingDown)),
            (0, Shows::Boot("new", "2")),
        ]),
        vec![reboots(reboot())],
    );
    assert_eq!(ran.end(), End::Migrated);
    assert_eq!(ran.ran("reboot-now"), 1);
    assert!(ran.notices().is_empty(), "{:?}", ran.notices());
}

#[test]
fn a_host_that_never_goes_down_is_told_so_before_its_deadline() {
    let ran = run(plays(&[(0, Shows::Same)]), vec![reboots(reboot())]);
    let (verdict, _) = ran.verdict();
    let RebootVerdict::StayedUp { waited_ms } = verdict else { panic!("{verdict:?}") };
    assert!((300_000..400_000).contains(waited_ms), "{waited_ms}");
    // It answers, so its way back is tried.
    assert_eq!((ran.end(), ran.ran("restore")), (End::RolledBack, 1));
}

#[test]
fn a_reboot_that_the_host_provably_was_not_told_is_told_again() {
    const BACK: Play = &[(20, Shows::Same), (40, CLOSED), (0, Shows::Boot("new", "2"))];
    let never = |power_cut| Answer::Never { power_cut };
    let host = |answers| {
        let host = FakeHost::new("old", "1").rule("reboot-now", Answer::InTurn(answers));
        host.rule("restore", Answer::Becomes("old", "1"))
    };
    let attempts = |ran: &Ran| {
        let started = |record: &&Record| matches!(&record.event, Event::AttemptStarted { step, .. } if step.step.as_str() == "boot");
        ran.records.iter().filter(started).count()
    };
    // In the same attempt: what the journal says of the host going dark stays true.
    let ran =
        run(host(vec![never(false), never(false), Answer::Plays(BACK)]), vec![reboots(reboot())]);
    assert_eq!((ran.end(), ran.ran("reboot-now"), attempts(&ran)), (End::Migrated, 1, 1));
    // Nobody tells a host that has been started anew since to reboot: it may be on its way.
    let ran = run(host(vec![never(true), Answer::Plays(BACK)]), vec![reboots(reboot())]);
    assert_eq!(ran.verdict().0, &RebootVerdict::OldSystem { system: system("old", "1") });
    assert_eq!((ran.ran("reboot-now"), attempts(&ran)), (0, 1));
    // Not for ever; and the attempt that was never told costs no retry.
    let ran = run(host(vec![never(false)]), vec![reboots(reboot())]);
    assert_eq!((ran.end(), ran.ran("reboot-now"), attempts(&ran)), (End::Unreachable, 0, 5));
}

/// After a reboot that failed nobody knows which boot the host is in, until it is asked.
#[test]
fn never_is_not_believed_of_a_host_whose_boot_nobody_knew() {
    let lost = |ran: &Ran| {
        ran.records.iter().any(|record| match &record.event {
            Event::AttemptFailed { step, failure: Failure::Lost { .. }, .. } => {
                step.phase == Phase::Rollback
            }
            _ => false,
        })
    };
    let never = || Answer::Never { power_cut: true };
    let host = FakeHost::new("old", "1").rule("reboot-now", Answer::Exit(1, ""));
    let ran = run(host.rule("restore", never()), vec![reboots(reboot())]);
    assert_eq!((ran.end(), ran.ran("restore"), lost(&ran)), (End::NeedsHands, 0, true));
    // One that has answered all the time is where it was.
    let host = FakeHost::new("old", "1").rule("reboot-now", Answer::Plays(&[(0, Shows::Same)]));
    let ran = run(host.rule("restore", never()), vec![reboots(reboot())]);
    assert!(matches!(ran.verdict().0, RebootVerdict::StayedUp { .. }));
    assert_eq!((ran.end(), ran.ran("restore"), lost(&ran)), (End::NeedsHands, 0, true));
}

#[test]
fn a_host_that_comes_back_as_it_was_is_told_so_with_what_its_check_says() {
    let host = plays(&[(60, CLOSED), (0, Shows::Boot("old", "1"))]);
    let host = host.rule("check-system", Answer::Exit(1, "the initramfs gave up\n"));
    let ran = run(host, vec![reboots(reboot())]);
    let (verdict, tail) = ran.verdict();
    assert_eq!(verdict, &RebootVerdict::OldSystem { system: system("old", "1") });
    assert!(tail.contains("the initramfs gave up"), "{tail}");
    assert_eq!((ran.end(), ran.ran("restore")), (End::RolledBack, 1));

    let ran = run(plays(&[(60, CLOSED), (0, Shows::Boot("rescue", ""))]), vec![reboots(reboot())]);
    let wanted = system("new", "2");
    let rescue = RebootVerdict::WrongSystem { system: Some(system("rescue", "")), wanted };
    assert_eq!(ran.verdict().0, &rescue);

    // A reboot that leads nowhere in particular is not judged, and one that leads back is judged by where it leads.
    let nowhere = Reboot { into: None, ..reboot() };
    let ran = run(plays(&[(60, CLOSED), (0, Shows::Boot("old", "1"))]), vec![reboots(nowhere)]);
    assert!(ran.records.iter().all(|r| !format!("{r:?}").contains("OldSystem")));
    let back = Reboot { into: Some(HopSystem::From), ..reboot() };
    let ran = run(plays(&[(60, CLOSED), (0, Shows::Boot("new", "2"))]), vec![reboots(back)]);
    let wanted = system("old", "1");
    let went_on = RebootVerdict::WrongSystem { system: Some(system("new", "2")), wanted };
    assert_eq!(ran.verdict().0, &went_on);
}

#[test]
fn a_host_that_never_returns_is_told_by_what_was_seen_of_it() {
    let cases: [(Play, Contact, &[Contact]); 5] = [
        (
            &[(240, CLOSED), (0, SILENT)],
            Contact::NoAnswer,
            &[Contact::PortClosed, Contact::NoAnswer],
        ),
        (&[(0, CLOSED)], Contact::PortClosed, &[Contact::PortClosed]),
        (&[(0, Shows::Out(Contact::NoSsh))], Contact::NoSsh, &[Contact::NoSsh]),
        (
            &[(90, SILENT), (0, Shows::Refuses)],
            Contact::LoginRefused,
            &[Contact::NoAnswer, Contact::LoginRefused],
        ),
        (&[(0, Shows::Out(Contact::GoingDown))], Contact::GoingDown, &[Contact::GoingDown]),
    ];
    for (scenes, wanted, story) in cases {
        let ran = run(plays(scenes), vec![reboots(reboot())]);
        let (verdict, tail) = ran.verdict();
        let RebootVerdict::NeverBack { limit_ms, last, seen } = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!((*limit_ms, *last), (3_600_000, wanted));
        let contacts: Vec<Contact> = seen.iter().map(|sighting| sighting.contact).collect();
        assert_eq!(contacts, story, "{seen:?}");
        assert!(tail.contains(&tell_sightings(seen)) && tail.contains("last: "), "{tail}");
        let first = seen[0].lasted_ms / 1000;
        assert!(scenes[0].0 == 0 || first.abs_diff(scenes[0].0) < 30, "{seen:?}");
        // Nobody can be led back over a login that does not come about.
        assert_eq!((ran.end(), ran.ran("restore")), (End::Unreachable, 0));
        assert!(ran.state.hosts[0].touched);
    }
    let seen = [(Contact::PortClosed, 240_000), (Contact::NoAnswer, 3_360_000)]
        .map(|(contact, lasted_ms)| Sighting { contact, lasted_ms });
    assert_eq!(tell_sightings(&seen), "port closed for 4m 00s, then no answer for 56m 00s");
}

#[test]
fn each_darkness_has_a_deadline_of_its_own() {
    let ready = |scenes| plays(scenes).rule("is-ready", Answer::Exit(1, "still at work\n"));
    let each = || Reboot {
        each: Duration::from_secs(600),
        until: Some("is-ready".into()),
        boots: 2,
        ..reboot()
    };
    // Up for a while on the new system, then down for ever: not waited for until the end of the hour.
    let ran = run(
        ready(&[(300, CLOSED), (120, Shows::Boot("new", "2")), (0, SILENT)]),
        vec![reboots(each())],
    );
    let (verdict, _) = ran.verdict();
    let RebootVerdict::NeverBack { limit_ms: 600_000, last: Contact::NoAnswer, seen } = verdict
    else {
        panic!("{verdict:?}")
    };
    let contacts: Vec<Contact> = seen.iter().map(|sighting| sighting.contact).collect();
    let [.., Contact::NewBoot | Contact::BrokeOff, Contact::NoAnswer] = contacts[..] else {
        panic!("{contacts:?}")
    };

    // Up, and never ready: that is not never back. Nor is it on the wrong system.
    let ran = run(ready(&[(300, CLOSED), (0, Shows::Boot("new", "2"))]), vec![reboots(each())]);
    let (verdict, tail) = ran.verdict();
    assert!(matches!(verdict, RebootVerdict::NotOver { limit_ms: 3_600_000, .. }), "{verdict:?}");
    assert!(tail.contains("still at work"), "{tail}");
    let ran = run(ready(&[(300, CLOSED), (0, Shows::Boot("old", "1"))]), vec![reboots(each())]);
    assert!(matches!(ran.verdict().0, RebootVerdict::OldSystem { .. }), "{:?}", ran.verdict());
}

#[test]
fn boots_that_nobody_asked_for_are_told() {
    // Two boots that both answered.
    let host = plays(&[
        (60, CLOSED),
        (60, Shows::Boot("new", "2")),
        (60, CLOSED),
        (0, Shows::Boot("new", "2")),
    ]);
    let twice = Reboot { until: Some("is-ready".into()), ..reboot() };
    let ran = run(host.rule("is-ready", Answer::Boot(3)), vec![reboots(twice.clone())]);
    assert_eq!(ran.end(), End::Migrated);
    let extra = |seen, told_by_host| Notice::ExtraBoots { seen, expected: 1, told_by_host };
    assert_eq!(ran.notices(), [&extra(2, false)]);
    let returned = ran.records.iter().filter(|r| matches!(r.event, Event::HostReturned { .. }));
    assert_eq!(returned.count(), 2);

    // Three of which one answered: the host itself remembers them.
    let mut host = plays(&[(60, CLOSED), (0, Shows::Boot("new", "2"))]);
    let id = |n: u32| format!("00000000000040008000{n:012}");
    // The boot that is left has number 1, and the one that answers number 2: two others lie between them.
    host.boots = format!("-3 {} x\n-2 {} x\n-1 {} x\n 0 {} x\n", id(1), id(71), id(72), id(2));
    let ran = run(host, vec![reboots(reboot())]);
    assert_eq!((ran.end(), ran.notices()), (End::Migrated, vec![&extra(3, true)]));
    // As many as are expected are no finding.
    let host = plays(&[
        (60, CLOSED),
        (60, Shows::Boot("new", "2")),
        (60, CLOSED),
        (0, Shows::Boot("new", "2")),
    ]);
    let expected = Reboot { boots: 2, ..twice };
    let ran = run(host.rule("is-ready", Answer::Boot(3)), vec![reboots(expected)]);
    assert!(ran.notices().is_empty(), "{:?}", ran.notices());
}

#[test]
fn another_key_or_another_machine_ends_the_reboot_at_once() {
    let ran = run(plays(&[(60, CLOSED), (0, Shows::Rekeyed("new", "2"))]), vec![reboots(reboot())]);
    let (shown, expected) = ("ssh-ed25519 SHA256:new".to_owned(), Some("SHA256:old".to_owned()));
    let changed = RebootVerdict::KeyChanged { shown, expected, revoked: false };
    assert_eq!(ran.verdict().0, &changed);
    assert_eq!((ran.end(), ran.ran("restore")), (End::NeedsHands, 0));

    let announced = || Reboot { new_host_key: true, ..reboot() };
    let ran = run(plays(&[(60, CLOSED), (0, Shows::Revoked)]), vec![reboots(announced())]);
    assert!(matches!(ran.verdict().0, RebootVerdict::KeyChanged { revoked: true, .. }));
    assert!(ran.state.hosts[0].host_key.is_none());

    let ran = run(
        plays(&[(60, CLOSED), (0, Shows::OtherMachine("strange"))]),
        vec![reboots(announced())],
    );
    let (was, is) = ("id-of-a".to_owned(), "strange".to_owned());
    assert_eq!(ran.verdict().0, &RebootVerdict::OtherMachine { was, is });
    // It may be another host of the run, whose lock is not ours to give back.
    assert_eq!(ran.left(), [""; 0]);

    // A host that has no machine id is known by its key alone, and that is another one.
    let nameless = plays(&[(60, CLOSED), (0, Shows::Rekeyed("new", "2"))]);
    let nameless = FakeHost { machine: Some(""), ..nameless };
    let ran = run(nameless, vec![reboots(announced())]);
    let unknown = || "without an id".to_owned();
    assert_eq!(ran.verdict().0, &RebootVerdict::OtherMachine { was: unknown(), is: unknown() });
    assert!(ran.state.hosts[0].host_key.is_none());
}

#[test]
fn a_new_key_that_is_announced_is_taken_once_and_kept() {
    let announced = Reboot { new_host_key: true, ..reboot() };
    let host = plays(&[(60, CLOSED), (0, Shows::Rekeyed("new", "2"))]);
    // The connection is opened anew for the steps after it: the key of the journal counts there.
    let again = Reboot { command: Some("once-more".into()), ..reboot() };
    let again = Step { name: "again".parse().unwrap(), ..reboots(again) };
    let host =
        host.rule("once-more", Answer::Plays(&[(30, CLOSED), (0, Shows::Rekeyed("new", "2"))]));
    let ran = run(host, vec![reboots(announced), again]);
    assert_eq!(ran.end(), End::Migrated);
    let taken: Vec<&Event> = ran
        .records
        .iter()
        .map(|record| &record.event)
        .filter(|event| matches!(event, Event::HostKeyTaken { .. }))
        .collect();
    let [Event::HostKeyTaken { old: Some(old), new, key, step, .. }] = taken[..] else {
        panic!("{taken:?}")
    };
    assert_eq!((old.as_str(), new.as_str()), ("SHA256:old", "ssh-ed25519 SHA256:new"));
    assert_eq!((key.as_str(), step.step.as_str()), (NEW_KEY, "boot"));
    assert!(matches!(ran.notices()[..], [Notice::NewHostKey { .. }]), "{:?}", ran.notices());
    // It is on disk before the host counts as back.
    let place = |wanted: fn(&Event) -> bool| ran.records.iter().position(|r| wanted(&r.event));
    let written = place(|event| matches!(event, Event::HostKeyTaken { .. }));
    assert!(written < place(|event| matches!(event, Event::HostReturned { .. })));
}

/// What arms the host and is undone by `disarm-arm`.
fn arm() -> Step {
    Step { arms: true, disarm: Some("undo-arm".into()), ..step("arm", "arm-it") }
}

#[test]
fn an_armed_host_is_expected_on_the_new_system_and_disarmed_on_its_way_back() {
    let nowhere = || reboots(Reboot { into: None, ..reboot() });
    let ran = run(plays(&[(60, CLOSED), (0, Shows::Boot("old", "1"))]), vec![arm(), nowhere()]);
    assert!(matches!(ran.verdict().0, RebootVerdict::OldSystem { .. }));
    assert_eq!((ran.ran("undo-arm"), ran.end()), (1, End::RolledBack));
    assert!(!ran.state.hosts[0].armed);

    // What was armed, and is not any more, is not disarmed.
    let host = plays(&[(60, CLOSED), (0, Shows::Boot("new", "2"))]);
    let ran = run(host.rule("ask-services", Answer::Exit(1, "")), vec![arm(), nowhere()]);
    assert_eq!((ran.ran("undo-arm"), ran.end()), (0, End::RolledBack));

    // A step that fails may have armed the host before it failed.
    let host = plays(&[]).rule("arm-it", Answer::Exit(1, "half of it is done"));
    let ran = run(host, vec![arm(), nowhere()]);
    assert_eq!((ran.ran("undo-arm"), ran.ran("reboot-now")), (1, 0));

    // One that was done already has armed it too, before this run.
    let done = Step { unless: Some("is-armed".into()), ..arm() };
    let host = plays(&[]).rule("stumble", Answer::Exit(1, ""));
    let ran = run(host, vec![done, step("stumble", "stumble")]);
    assert_eq!((ran.ran("arm-it"), ran.ran("undo-arm")), (0, 1));
}

#[test]
fn a_power_cut_while_armed_is_told_and_not_followed_by_another_reboot() {
    // The power goes while a step is at work after the arming; the host boots into its upgrade and is the new system.
    let cut = &[(40, CLOSED), (0, Shows::Boot("new", "2"))];
    let probed = Step {
        on_lost: Some(OnLost::Probe),
        probe: Some("is-done".into()),
        ..step("work", "work-on")
    };
    let nowhere = reboots(Reboot { into: None, ..reboot() });
    let host =
        plays(&[(60, CLOSED), (0, Shows::Boot("old", "1"))]).rule("work-on", Answer::LostIn(cut));
    let ran = run(host.clone(), vec![arm(), probed, nowhere.clone()]);
    assert_eq!(ran.end(), End::Migrated, "{:#?}", ran.records);
    assert_eq!(ran.ran("reboot-now"), 0, "its reboot has happened already");
    let [Notice::UnaskedBoot { armed: true, system: runs, .. }] = ran.notices()[..] else {
        panic!("{:?}", ran.notices());
    };
    assert_eq!(runs, &Some(system("new", "2")));

    // Without a probe the lost step leaves the host to a person, who is told what it runs now.
    let ran = run(host, vec![arm(), step("work", "work-on"), nowhere]);
    assert_eq!(ran.end(), End::NeedsHands);
    let Some(Failure::Lost { reason }) = &ran.state.hosts[0].failure else { panic!() };
    assert!(reason.contains("started anew while it was armed, and runs new 2 now"), "{reason}");
}
