//! The fold alone: what holds and releases make of a host, wherever it stands.

use super::name;
use crate::{
    stage::{lenient, playbook},
    support::{plans::plan, tape::Tape},
};
use fleetlift::{
    base::time::Timestamp,
    journal::{End, Event, Failure, Outcome as Passed, Then},
    run::{Todo, decide},
};
use std::collections::BTreeMap;

/// A host's way, and what a hold and a release make of it: the word after each record.
#[test]
fn the_table_of_holds() {
    let plan = plan(&["a"], &playbook(), &lenient());
    let host = || name("a");
    let step = |place: usize| plan.steps[place].id.clone();
    let ask = |n: u32, hold: bool| {
        let (by, hosts, request) =
            ("alice".to_owned(), vec![host()], format!("{n}").parse().unwrap());
        match hold {
            true => Event::HoldRequested { by, hosts, request },
            false => Event::ReleaseRequested { by, hosts, request },
        }
    };
    let start = || Event::HostStarted { host: host(), wave: plan.waves[0].name.clone() };
    let began = |place| Event::AttemptStarted { host: host(), step: step(place), attempt: 1 };
    let rest = || Event::HostHeld { host: host() };
    let passed = |place| Event::AttemptPassed {
        host: host(),
        step: step(place),
        attempt: 1,
        exit: None,
        duration_ms: 0,
        outcome: Passed::Changed,
        stdout: None,
    };
    let end =
        || Event::HostFinished { host: host(), end: End::Failed, touched: false, failure: None };
    let lost = |place| Event::AttemptFailed {
        host: host(),
        step: step(place),
        attempt: 1,
        failure: Failure::Lost { reason: String::new() },
        duration_ms: 0,
        tail: String::new(),
        then: Then::Retry { not_before: Timestamp::from_millis(9) },
        never: false,
    };
    type Row = (&'static str, Vec<Event>, Event, Option<&'static str>);
    let rows: Vec<Row> = vec![
        ("pending", vec![], ask(1, true), Some("held")),
        ("pending, and held", vec![ask(1, true)], start(), None),
        ("pending, and held", vec![ask(1, true)], rest(), None),
        ("pending, and held", vec![ask(1, true)], ask(2, true), Some("held")),
        ("pending, and held", vec![ask(1, true)], ask(2, false), Some("pending")),
        ("the same request", vec![ask(1, true)], ask(1, false), None),
        ("released", vec![ask(1, true), ask(2, false)], start(), Some("running")),
        ("in flight", vec![start()], ask(1, true), Some("running")),
        ("in flight, not held", vec![start()], rest(), None),
        ("in flight, held", vec![start(), ask(1, true)], rest(), Some("held")),
        ("in flight, held", vec![start(), ask(1, true)], began(0), Some("running")),
        ("a step runs", vec![start(), began(0), ask(1, true)], rest(), None),
        ("a retry is due", vec![start(), began(0), lost(0), ask(1, true)], rest(), Some("held")),
        ("a retry is due", vec![start(), began(0), lost(0)], ask(1, true), Some("running")),
        ("at rest", vec![start(), ask(1, true), rest()], began(0), None),
        ("at rest", vec![start(), ask(1, true), rest()], start(), None),
        ("at rest", vec![start(), ask(1, true), rest()], end(), None),
        ("at rest", vec![start(), ask(1, true), rest()], ask(2, false), Some("pending")),
        ("waits for a slot", vec![start(), ask(1, true), rest(), ask(2, false)], began(0), None),
        (
            "waits for a slot",
            vec![start(), ask(1, true), rest(), ask(2, false)],
            ask(3, true),
            Some("held"),
        ),
        (
            "waits for a slot",
            vec![start(), ask(1, true), rest(), ask(2, false)],
            start(),
            Some("running"),
        ),
        ("ended", vec![start(), end()], ask(1, true), Some("failed")),
        ("ended, while held", vec![start(), ask(1, true), end()], ask(2, false), Some("failed")),
        (
            "after its first step",
            vec![start(), began(0), passed(0), ask(1, true)],
            rest(),
            Some("held"),
        ),
    ];
    for (what, before, event, word) in rows {
        let told = format!("{what}, then {event:?}");
        let mut tape = Tape::begin(plan.clone(), Timestamp::from_millis(1));
        tape.record(Event::WaveStarted { wave: plan.waves[0].name.clone() });
        for event in before {
            tape.record(event);
        }
        let legal = tape.try_record(event);
        assert_eq!(legal.is_ok(), word.is_some(), "{told}: {legal:?}");
        let Some(word) = word else { continue };
        let state = &tape.state;
        assert_eq!(state.hosts[0].word(), word, "{told}");
        assert_eq!(state.counts, BTreeMap::from([(word, 1)]), "{told}");
        // Nothing is ever undecided in silence.
        let decision = decide(&plan, state, Timestamp::from_millis(10));
        let silent = decision.todo.is_empty() && decision.waiting_on.is_empty();
        assert!(!silent, "{told}");
        let starts = decision.todo.iter().any(|todo| matches!(todo, Todo::Attempt { .. }));
        assert!(!starts || state.hosts[0].held_by.is_none(), "{told}: {:?}", decision.todo);
    }
}
