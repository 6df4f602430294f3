//! Reboots of made-up hosts, in paused time: how each of them ends, what is said of it, and when.

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use fleetlift::{
    base::{
        facts::{Facts, System},
        name::HostName,
        phase::Phase,
        template::Templates,
        time::Timestamp,
    },
    engine::{Engine, Observer, Secrets, Shared, ThisMachine},
    inventory::{Connection, Host, Inventory},
    journal::{
        Contact, End, Event, Failure, Moment, Notice, Outcome, RebootVerdict, Record, Sighting,
        Store, tell_sightings,
    },
    plan::{Plan, Task, build},
    playbook::{Action, Hop, HopSystem, OnLost, Playbook, Reboot, Severity, Step},
    rollout::{Allowance, OnFailure, Rollout},
    run::{Ending, HostPhase, Result as AttemptResult, RunState, Todo, decide, judge},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use support::fake::{Answer, FakeFleet, FakeHost, NEW_KEY, Play, Shows, TokioClock};

struct Silent;

impl Observer for Silent {
    fn record(&mut self, _: &Record, _: &RunState, _: &Plan) {}
    fn tick(&mut self, _: Timestamp, _: &RunState, _: &Plan) {}
}

fn step(name: &str, run: &str) -> Step {
    Step {
        name: name.parse().unwrap(),
        action: Action::Run(run.into()),
        when: None,
        unless: None,
        verify: None,
        expect: None,
        timeout: Duration::from_secs(60),
        retries: 0,
        retry_delay: Duration::from_millis(1),
        ok_exit: vec![0],
        sudo: None,
        env: BTreeMap::new(),
        register: false,
        on_lost: None,
        probe: None,
        arms: false,
        already: false,
        disarm: None,
        severity: Severity::Blocker,
        remedy: None,
        reads: None,
        report: None,
        estimate: None,
    }
}

fn reboot() -> Reboot {
    Reboot {
        timeout: Duration::from_secs(3600),
        down: Duration::from_secs(300),
        each: Duration::from_secs(3600),
        boots: 1,
        into: Some(HopSystem::To),
        new_host_key: false,
        command: Some("reboot-now".into()),
        until: None,
    }
}

fn reboots(reboot: Reboot) -> Step {
    Step { action: Action::Reboot(reboot), verify: Some("check-system".into()), ..step("boot", "") }
}

fn system(id: &str, version: &str) -> System {
    System { id: id.into(), version: version.into() }
}

/// From old 1 to new 2 by these steps, and back by one that restores.
fn playbook(migrate: Vec<Step>) -> Playbook {
    let steps = BTreeMap::from([
        (Phase::Migrate, migrate),
        (Phase::Verify, vec![step("services", "ask-services")]),
        (Phase::Rollback, vec![step("restore", "restore")]),
    ]);
    let hop = Hop {
        name: "old-to-new".into(),
        title: "Old to new".into(),
        from: Some(system("old", "1")),
        to: Some(system("new", "2")),
        vars: BTreeMap::new(),
        steps,
    };
    Playbook {
        name: "old-to-new".into(),
        title: "Old to new".into(),
        support: None,
        hops: vec![hop],
        sources: Vec::new(),
        files: Vec::new(),
    }
}

fn inventory(names: &[&str]) -> Inventory {
    let host = |name: &str| Host {
        name: name.parse().unwrap(),
        groups: Vec::new(),
        vars: BTreeMap::new(),
        labels: BTreeMap::new(),
        connection: Arc::new(Connection::default()),
        addresses: vec![name.to_owned()],
    };
    let hosts = names.iter().map(|name| (name.parse().unwrap(), host(name))).collect();
    Inventory { hosts, ..Inventory::default() }
}

fn plan(playbook: &Playbook, names: &[&str]) -> Plan {
    let inventory = inventory(names);
    let mut rollout = Rollout { on_failure: OnFailure::Rollback, ..Rollout::default() };
    rollout.budget.failures = Allowance::Hosts(100);
    rollout.waves[0].canary = 0;
    let selected = inventory.hosts.keys().cloned().collect();
    build(&inventory, playbook, &rollout, "@all", &selected).unwrap()
}

#[test]
fn a_reboot_leads_only_into_a_system_that_is_named() {
    let mut unnamed = playbook(vec![reboots(reboot())]);
    unnamed.hops[0].to = None;
    let inventory = inventory(&["a"]);
    let selected = inventory.hosts.keys().cloned().collect();
    let faults = build(&inventory, &unnamed, &Rollout::default(), "@all", &selected).unwrap_err();
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let plan = plan(&playbook(migrate), &["a"]);
        let text = serde_json::to_string(&plan).unwrap();
        let digest = fleetlift::base::digest::digest(text.as_bytes());
        let plan = Arc::new(plan);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let run = "20261121-0900-test".parse().unwrap();
        let journal = store.create(&run, &text, &digest).unwrap();
        let shared = Shared {
            plan: Arc::clone(&plan),
            run: run.clone(),
            transport: Arc::new(fleet.clone()),
            clock: Arc::new(TokioClock::start()),
            controller: Arc::new(ThisMachine),
            secrets: Arc::new(Secrets::default()),
            templates: Templates::default(),
            outputs: journal.outputs(),
            artifacts: dir.path().join("artifacts"),
        };
        let (_control, orders) = tokio::sync::mpsc::channel(4);
        let engine = Engine::new(shared, RunState::new(&plan), journal, orders, Box::new(Silent));
        let first = Event::RunStarted {
            plan: digest,
            playbook: "old-to-new".into(),
            operator: "tester".into(),
            controller: "here".into(),
            version: "0".into(),
            hosts: 1,
        };
        let (_, state) = engine.drive(vec![first]).await.unwrap();
        let records = store.read(&run).unwrap().records(0).unwrap();
        assert_eq!(RunState::replay(&plan, &records).unwrap(), state);
        Ran { state, records, fleet }
    })
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

/// Leads every host through the plan without an engine, second by second: each reboot takes `took` seconds, and that of the
/// last host for ever. Returns what was told of late ones until the end, and when.
fn late_findings(plan: &Plan, took: u64, end: u64) -> Vec<(u64, HostName, Notice)> {
    let mut state = RunState::new(plan);
    let mut told = Vec::new();
    let mut dark: BTreeMap<usize, u64> = BTreeMap::new();
    let started = Event::RunStarted {
        plan: String::new(),
        playbook: String::new(),
        operator: String::new(),
        controller: String::new(),
        version: String::new(),
        hosts: plan.hosts.len(),
    };
    let at = |second: u64| Timestamp::from_millis(i64::try_from(second * 1000).unwrap());
    let note = |state: &mut RunState, second: u64, event: Event| {
        let record = Record { seq: state.next_seq, at: at(second), event };
        state.apply(plan, &record).unwrap();
    };
    note(&mut state, 0, started);
    for second in 0..end {
        loop {
            let todo = decide(plan, &state, at(second)).todo;
            if todo.is_empty() {
                break;
            }
            for todo in todo {
                let (host, step, attempt) = match todo {
                    Todo::Attempt { host, step, attempt } => (host, step, attempt),
                    Todo::Record(event) => {
                        if let Event::HostFinding { host, finding } = &event {
                            told.push((second, host.clone(), finding.notice.clone().unwrap()));
                        }
                        note(&mut state, second, event);
                        continue;
                    }
                };
                let (name, id) = (plan.hosts[host].name.clone(), plan.steps[step].id.clone());
                let began = Event::AttemptStarted { host: name.clone(), step: id, attempt };
                note(&mut state, second, began);
                if plan.steps[step].reboots {
                    let boot_id = format!("old boot of {name}");
                    note(&mut state, second, Event::HostDark { host: name, boot_id });
                    dark.insert(host, second);
                } else {
                    for event in judge(plan, &state, host, &passed(plan, host, step), at(second)) {
                        note(&mut state, second, event);
                    }
                }
            }
        }
        let back: Vec<usize> = dark
            .iter()
            .filter(|(host, since)| **host + 1 < plan.hosts.len() && second - **since >= took)
            .map(|(host, _)| *host)
            .collect();
        for host in back {
            dark.remove(&host);
            let step = state.hosts[host].step().unwrap();
            for event in judge(plan, &state, host, &passed(plan, host, step), at(second)) {
                note(&mut state, second, event);
            }
        }
    }
    told
}

fn passed(plan: &Plan, host: usize, step: usize) -> AttemptResult {
    let facts = match &plan.rendered(host, step).task {
        Task::Look { moment: Moment::Before, .. } => Some(system("old", "1")),
        Task::Look { moment: Moment::After | Moment::RolledBack, .. } => Some(system("new", "2")),
        Task::Act(_) => None,
    };
    let facts = facts.map(|system| {
        let machine_id = plan.hosts[host].name.to_string();
        Arc::new(Facts { machine_id, system: Some(system), ..Facts::default() })
    });
    AttemptResult {
        ending: Ending::Passed { exit: Some(0), outcome: Outcome::Changed, stdout: None },
        duration: Duration::ZERO,
        tail: String::new(),
        facts,
        warnings: Vec::new(),
        findings: Vec::new(),
        never: false,
    }
}

#[test]
fn a_host_that_is_later_than_all_before_it_is_told_once() {
    let plan = plan(&playbook(vec![reboots(reboot())]), &["a", "b", "c", "d"]);
    let late = late_findings(&plan, 240, 1_000);
    assert_eq!(late.len(), 1, "{late:?}");
    let (at, host, Notice::Late { hosts: 3, p50_ms: 240_000, max_ms: 240_000, .. }) = &late[0]
    else {
        panic!("{late:?}")
    };
    // Past one and a half times what 95 of 100 took.
    assert_eq!((*at, host), (360, &"d".parse::<HostName>().unwrap()));
}
