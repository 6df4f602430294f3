//! Counts always add up, whatever happened.

use super::{
    stories,
    story::{Story, WAY, facts, plan, step_id},
};
use crate::{
    journal::{End, Event, Failure, Moment, Skip, Then, Verdict},
    report::{Report, State},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};

fn assert_adds_up(report: &Report) {
    let hosts = report.hosts.len();
    assert_eq!(report.summary.hosts, hosts);
    assert_eq!(report.summary.counts.values().sum::<usize>(), hosts);
    assert_eq!(report.total.planned, hosts);
    assert_eq!(report.batches.iter().map(|batch| batch.planned).sum::<usize>(), hosts);
    let on_target: usize = report.batches.iter().map(|batch| batch.on_target).sum();
    assert_eq!(on_target, report.summary.on_target);
    for batch in &report.batches {
        assert_eq!(batch.counts.values().sum::<usize>(), batch.planned);
    }
}

/// A controller that dies while the host is dark leaves the boot to the next one, whose guard finds the work done.
#[test]
fn a_boot_that_nobody_saw_return_was_asked_for_all_the_same() {
    for (asked, unexpected) in [(true, false), (false, true)] {
        let mut story = Story::new(plan(&[("all", vec!["a-01".into()])]));
        let mut part = story.host(0, 0);
        let steps = WAY.iter().map(|step| step.1);
        let place = |name| steps.clone().position(|step| step == name).unwrap();
        let (reboot, system) = (place("boot-upgrade"), place("system"));
        part.until(reboot);
        part.start(reboot, 1);
        if asked {
            part.dark().wait(60_000);
        }
        let host = part.name();
        let reason = Skip::Guard { unless: "true".into() };
        part.say(Event::StepSkipped { host: host.clone(), step: step_id(reboot), reason });
        for step in reboot + 1..system {
            part.pass(step, 1);
        }
        part.start(system, 1);
        let facts = Arc::new(facts(0, 2, true));
        part.say(Event::HostFacts { host, moment: Moment::After, facts });
        let boots = &story.report().hosts[0].boots;
        let told: Vec<bool> = boots.iter().map(|boot| boot.unexpected).collect();
        assert_eq!(told, [false, unexpected], "asked for: {asked}");
    }
}

#[test]
fn every_story_adds_up() {
    for (name, story) in stories::all() {
        println!("{name}");
        assert_adds_up(&story.report());
    }
    assert_adds_up(&stories::empty());
}

#[test]
fn states_are_those_of_the_fold() {
    for (name, story) in stories::all() {
        let counts: BTreeMap<&str, usize> = story.state().counts;
        assert_eq!(story.report().summary.counts, counts, "{name}");
        for word in counts.keys() {
            assert!(State::from_word(word).is_some(), "{word}");
        }
    }
}

#[test]
fn every_end_has_its_state() {
    let ends = [
        End::Migrated,
        End::Already,
        End::Blocked,
        End::Failed,
        End::RolledBack,
        End::NeedsHands,
        End::Unreachable,
        End::Committed,
    ];
    for end in ends {
        assert_eq!(State::from(end).word(), end.word());
        assert_eq!(State::from(end).is_good(), end.is_good());
    }
}

/// What may become of a host; `None` is a host that never starts.
fn fate() -> impl Strategy<Value = Option<End>> {
    prop_oneof![
        Just(None),
        Just(Some(End::Migrated)),
        Just(Some(End::Already)),
        Just(Some(End::Blocked)),
        Just(Some(End::Failed)),
        Just(Some(End::RolledBack)),
        Just(Some(End::NeedsHands)),
        Just(Some(End::Unreachable)),
    ]
}

fn tell(story: &mut Story, host: usize, fate: End) {
    let mut part = story.host(host, host as i64);
    match fate {
        End::Migrated => part.migrate(),
        End::Blocked => part.block("no"),
        End::RolledBack => part.roll_back(Failure::Exited { code: 1 }, "no\n"),
        End::Already | End::Committed => {
            part.pass(0, 1);
            part.end(fate, false, None);
        }
        End::Failed | End::NeedsHands | End::Unreachable => {
            let failure = Failure::Unreachable { reason: "no".into() };
            part.fail(0, 1, failure.clone(), "", Then::GiveUp);
            part.end(fate, fate == End::NeedsHands, Some(failure));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The oracle counts the fates themselves.
    #[test]
    fn random_ends_add_up(
        fates in prop::collection::vec(fate(), 1..40),
        split in 1usize..5,
        finished in any::<bool>(),
    ) {
        let waves: Vec<String> = (0..split).map(|i| format!("w{i}")).collect();
        let mut names: Vec<Vec<String>> = vec![Vec::new(); split];
        for host in 0..fates.len() {
            names[host * split / fates.len()].push(format!("h{host}"));
        }
        let waves: Vec<(&str, Vec<String>)> =
            waves.iter().zip(names).map(|(wave, names)| (wave.as_str(), names)).collect();
        let mut story = Story::new(plan(&waves));
        for (host, fate) in fates.iter().enumerate() {
            if let Some(fate) = fate {
                tell(&mut story, host, *fate);
            }
        }
        if finished {
            story.finish(Verdict::Incomplete);
        }
        let report = story.report();
        assert_adds_up(&report);
        let good = fates.iter().flatten().filter(|end| {
            matches!(end, End::Migrated | End::Already | End::Committed)
        }).count();
        prop_assert_eq!(report.summary.on_target, good);
        let unborn = fates.iter().filter(|fate| fate.is_none()).count();
        let word = if finished { "not_started" } else { "pending" };
        prop_assert_eq!(report.summary.counts.get(word).copied().unwrap_or(0), unborn);
        let whole = fates.len();
        prop_assert_eq!(report.summary.completion_percent == 100.0, good == whole);
    }
}
