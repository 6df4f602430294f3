//! The stories that the tests read: one for each way a run can go.

use super::story::{Story, centos, name, reference_plan};
use crate::{
    base::time::Timestamp,
    journal::{End, Event, Failure, PauseReason, Scope, Skip, Then, Verdict},
    playbook::Severity,
};

const LEAPP: &str = "==> Actions\n  check_boot_avail_space\nError: Transaction check error:\n  \
    file /usr/lib64/libssl.so.1.1 conflicts between attempted installs\nError: leapp upgrade failed\n";

/// When each host of the reference fleet starts, in minutes: wave after wave.
fn minute(host: usize) -> i64 {
    match host {
        0 => 0,
        1..3 => 40,
        3..11 => 80 + (host as i64 - 3) * 4,
        _ => 150 + (host as i64 - 11) * 10,
    }
}

/// All fifteen are migrated; one needed a second attempt, all had a step to skip, two had a warning.
pub fn all_migrated() -> Story {
    let mut story = Story::new(reference_plan());
    for host in 0..15 {
        let mut part = story.host(host, minute(host));
        match host {
            5 => {
                part.until(4);
                let due = Timestamp::from_millis(super::story::START + part.now + 260_000);
                let failure = Failure::Exited { code: 1 };
                part.fail(
                    4,
                    1,
                    failure,
                    "Could not resolve mirror\n",
                    Then::Retry { not_before: due },
                );
                part.wait(30_000).pass(4, 2);
                for step in 5..9 {
                    part.pass(step, 1);
                }
                let host = part.name();
                part.say(Event::HopFinished { host, hop: 0 });
                part.end(End::Migrated, true, None);
            }
            7 | 8 => {
                part.until(4).find(
                    3,
                    Severity::Warning,
                    "A third-party kernel module is loaded: nvidia",
                    None,
                );
                for step in 4..9 {
                    part.pass(step, 1);
                }
                let host = part.name();
                part.say(Event::HopFinished { host, hop: 0 });
                part.end(End::Migrated, true, None);
            }
            11.. => {
                part.pass(0, 1)
                    .skip(1, Skip::Guard { unless: "test -s /var/backups/etc.tgz".into() });
                for step in 2..9 {
                    part.pass(step, 1);
                }
                let host = part.name();
                part.say(Event::HopFinished { host, hop: 0 });
                part.end(End::Migrated, true, None);
            }
            _ => part.migrate(),
        }
    }
    story.finish(Verdict::Completed);
    story
}

/// Thirteen migrated, one rolled back, one blocked.
pub fn some_failed() -> Story {
    let mut story = Story::new(reference_plan());
    for host in 0..15 {
        let mut part = story.host(host, minute(host));
        match host {
            5 => part.roll_back(Failure::Exited { code: 1 }, LEAPP),
            13 => part.block("only 118 MiB are free on /boot, 200 are needed"),
            _ => part.migrate(),
        }
    }
    story.finish(Verdict::Incomplete);
    story
}

/// Two rolled back in the web wave; the rest never began.
pub fn over_budget() -> Story {
    let mut story = Story::new(reference_plan());
    for host in 0..5 {
        let mut part = story.host(host, minute(host));
        match host {
            3 | 4 => part.roll_back(Failure::Exited { code: 1 }, LEAPP),
            _ => part.migrate(),
        }
    }
    story.pause(PauseReason::OverBudget { failures: 2, allowed: 1, of: Scope::default() });
    story
}

/// Some are done, some are at every stage, some wait.
pub fn still_running() -> Story {
    let mut story = Story::new(reference_plan());
    for host in 0..3 {
        story.host(host, minute(host)).migrate();
    }
    let mut part = story.host(3, 80);
    part.until(6).start(6, 1).dark();
    let mut part = story.host(4, 82);
    part.until(6).start(6, 1);
    let mut part = story.host(5, 84);
    part.until(5).start(5, 1);
    let mut part = story.host(6, 100);
    part.until(4);
    let due = Timestamp::from_millis(super::story::START + part.now + 260_000);
    part.fail(4, 1, Failure::Exited { code: 1 }, "mirror gone\n", Then::Retry { not_before: due });
    let mut part = story.host(7, 105);
    part.start(0, 1);
    story
}

/// One is held before its turn, one rests at a safe point; nothing else is left.
pub fn held() -> Story {
    let mut story = Story::new(reference_plan());
    for host in 0..13 {
        story.host(host, minute(host)).migrate();
    }
    let by = || "li.si@ops-01".to_owned();
    let (early, late) = ("db-03", "db-04");
    let (early, late) = (super::story::name(early), super::story::name(late));
    let asked =
        |hosts, id: &str| Event::HoldRequested { by: by(), hosts, request: id.parse().unwrap() };
    story.at(60_000, asked(vec![early.clone()], "1795252562000-0001"));
    let mut part = story.host(14, 150);
    part.until(2);
    let in_the_step = part.now + 1;
    part.pass(2, 1);
    part.say(Event::HostHeld { host: late.clone() });
    story.at(in_the_step, asked(vec![late.clone()], "1795261502000-0002"));
    story.pause(PauseReason::Held { hosts: vec![early, late] });
    story
}

/// A rollback that failed, a step that was lost, and a host that nobody could reach.
pub fn needs_hands() -> Story {
    let mut story = Story::new(reference_plan());
    story.host(0, 0).migrate();
    let mut part = story.host(1, 5);
    let upgrade = Failure::TimedOut { limit_ms: 7_200_000, stopped: true };
    part.until(5).fail(5, 1, upgrade.clone(), "...\nstill installing glibc\n", Then::RollBack);
    part.go_back(0, upgrade.clone()).pass(9, 1);
    let restore = Failure::Exited { code: 5 };
    part.fail(10, 1, restore, "lvconvert: snapshot is invalid\n", Then::GiveUp);
    part.end(End::NeedsHands, true, Some(upgrade));
    let mut part = story.host(2, 6);
    let lost = Failure::Lost { reason: "its process is gone, and it left no exit code".into() };
    part.until(6).start(6, 1).dark().back(400_000, centos());
    let host = part.name();
    let step = part_step();
    part.say(Event::AttemptFailed {
        host,
        step,
        attempt: 1,
        failure: lost.clone(),
        duration_ms: 400_000,
        tail: String::new(),
        never: false,
        then: Then::GiveUp,
    });
    part.end(End::NeedsHands, true, Some(lost));
    let mut part = story.host(3, 7);
    let gone = Failure::Unreachable { reason: "connection refused by 10.0.3.1:22".into() };
    part.fail(0, 1, gone.clone(), "", Then::GiveUp);
    part.end(End::Unreachable, false, Some(gone));
    story.finish(Verdict::Incomplete);
    story
}

fn part_step() -> crate::journal::StepId {
    crate::journal::StepId {
        hop: 0,
        phase: crate::base::phase::Phase::Migrate,
        step: "boot-upgrade".parse().unwrap(),
    }
}

/// Two hops: one host passes both, one goes back from the second to rest after the first, one is under way in it.
pub fn two_hops() -> Story {
    let names = ["a-01", "a-02", "a-03"].map(str::to_owned).to_vec();
    let mut story = Story::new(super::story::two_hops(&[("all", names)]));
    for host in 0..3 {
        let mut part = story.host(host, host as i64 * 3);
        part.until(9);
        let name = part.name();
        part.say(Event::HopFinished { host: name.clone(), hop: 0 });
        for step in 14..18 {
            part.pass(step, 1);
        }
        match host {
            0 => {
                for step in 18..22 {
                    part.pass(step, 1);
                }
                part.say(Event::HopFinished { host: name, hop: 1 });
                part.end(End::Migrated, true, None);
            }
            1 => {
                let failure = Failure::Killed { signal: "SIGKILL".into() };
                part.fail(18, 1, failure.clone(), "Out of memory\n", Then::RollBack);
                part.go_back(1, failure.clone());
                for step in 22..25 {
                    part.pass(step, 1);
                }
                part.end(End::RolledBack, true, Some(failure));
            }
            _ => drop(part.start(18, 1)),
        }
    }
    story
}

/// Hosts that rest: one between its hops, one where its window has closed, one of these held.
pub fn resting() -> Story {
    let names = ["a-01", "a-02", "a-03"].map(str::to_owned).to_vec();
    let mut story = Story::new(super::story::two_hops(&[("all", names)]));
    for host in 0..3 {
        let mut part = story.host(host, host as i64 * 3);
        let name = part.name();
        let hop = if host == 0 {
            part.until(9);
            part.say(Event::HopFinished { host: name.clone(), hop: 0 });
            Some(0)
        } else {
            part.until(1);
            None
        };
        part.say(Event::HostRested { host: name.clone(), hop });
        if host == 2 {
            let (by, request) = ("alice".to_owned(), "r1".parse().unwrap());
            part.say(Event::HoldRequested { hosts: vec![name], by, request });
        }
    }
    story
}

/// Names, outputs and remedies that try to be something else.
pub fn hostile() -> Story {
    let names = ["<script>alert(1)<", "\"q\"'s", "a b|c `d` __e__", "ev\u{202e}il", "$(reboot);x"];
    let mut plan = super::story::plan(&[("<b>wave", names.map(str::to_owned).to_vec())]);
    plan.title = "CentOS 7 </title><script>alert(2)</script> \u{1b}[2J".into();
    plan.support = Some("]]> --> <!-- </style> & &amp;".into());
    plan.steps[2].remedy = Some("Run <img src=x onerror=alert(3)> | `rm`\n# now\u{7}".into());
    let mut story = Story::new(plan);
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[31m</pre><script>alert(4)</script>\r\n```\n    # not a title\n\u{9b}2J\u{202e}x\n";
    story.host(0, 0).roll_back(Failure::Killed { signal: "<i>KILL</i>\u{1b}c".into() }, evil);
    story.host(1, 1).block("<svg onload=alert(5)> \u{1b}[2J 'q' \"p\" | x");
    story.host(2, 2).migrate();
    story.host(3, 3).migrate();
    let refused = Failure::Refused { reason: "key changed: </td></table>\u{1b}[1A".into() };
    let mut part = story.host(4, 4);
    part.fail(0, 1, refused.clone(), "", Then::GiveUp);
    part.end(End::Failed, false, Some(refused));
    story.finish(Verdict::Incomplete);
    story
}

/// A run that has not recorded anything yet.
pub fn empty() -> crate::report::Report {
    let plan = reference_plan();
    crate::report::Report::build(&plan, super::story::digest(), &super::story::run_id(), &[])
}

/// Stories by name, for tests that hold for all of them.
pub fn all() -> Vec<(&'static str, Story)> {
    vec![
        ("all_migrated", all_migrated()),
        ("some_failed", some_failed()),
        ("over_budget", over_budget()),
        ("still_running", still_running()),
        ("held", held()),
        ("needs_hands", needs_hands()),
        ("two_hops", two_hops()),
        ("hostile", hostile()),
    ]
}

/// A fleet of this many hosts; one in forty is rolled back, one in fifty blocked, one in a hundred unreachable.
pub fn large(hosts: usize) -> Story {
    let waves: Vec<(String, Vec<String>)> = (0..8)
        .map(|wave| {
            let names =
                (0..hosts).filter(|i| i % 8 == wave).map(|i| format!("srv-{i:05}")).collect();
            (format!("dc{wave}"), names)
        })
        .collect();
    let waves: Vec<(&str, Vec<String>)> =
        waves.iter().map(|(wave, names)| (wave.as_str(), names.clone())).collect();
    let mut story = Story::new(super::story::plan(&waves));
    for host in 0..hosts {
        let mut part = story.host(host, host as i64 / 100 * 9);
        match host {
            h if h % 40 == 39 => part.roll_back(Failure::Exited { code: 1 }, LEAPP),
            h if h % 50 == 48 => part.block("only 118 MiB are free on /boot, 200 are needed"),
            h if h % 100 == 7 => {
                let gone = Failure::Unreachable { reason: "no answer".into() };
                part.fail(0, 1, gone.clone(), "", Then::GiveUp);
                part.end(End::Unreachable, false, Some(gone));
            }
            _ => part.migrate(),
        }
    }
    story.finish(Verdict::Incomplete);
    story
}

#[test]
fn names_of_the_reference_fleet() {
    assert_eq!(reference_plan().hosts[5].name, name("web-03"));
}
