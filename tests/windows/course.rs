//! Forecasts and calendars: the same as the run, and inside the windows by an oracle that knows only the clock on the wall.

use crate::{
    fleet::{BESIDE, Play, plan, playbook},
    wall::{MINUTE, Said, at, said},
};
use fleetlift::{
    base::time::Timestamp,
    run::{Basis, HostPhase, Mark, RunPhase, RunState, calendar, forecast, foresee, rest_of_way},
};
use proptest::prelude::*;
use std::{fmt::Write as _, time::Duration};

#[derive(Clone, Debug)]
struct Wave {
    hosts: usize,
    after: bool,
    canary: usize,
    parallel: usize,
    window: Option<Said>,
    skips: bool,
}

fn wave() -> impl Strategy<Value = Wave> {
    let window = proptest::option::weighted(0.7, said());
    (1..5usize, any::<bool>(), 0..3usize, 1..4usize, window, any::<bool>()).prop_map(
        |(hosts, after, canary, parallel, window, skips)| Wave {
            hosts,
            after,
            canary,
            parallel,
            window,
            skips,
        },
    )
}

/// The files of a fleet with these waves. Hosts of waves that skip have no backup to make.
fn files(waves: &[Wave], parallel: usize) -> (String, String) {
    let (mut hosts, mut rollout) = (String::new(), format!("[defaults]\nparallel = {parallel}\n"));
    for (number, wave) in waves.iter().enumerate() {
        writeln!(hosts, "[groups.w{number}]\nhosts = [\"w{number}-[1:{}]\"]", wave.hosts).unwrap();
        writeln!(hosts, "vars.backup = {}", !wave.skips).unwrap();
        writeln!(rollout, "[[wave]]\nname = \"w{number}\"\nhosts = \"@w{number}\"").unwrap();
        writeln!(rollout, "canary = {}\nparallel = {}", wave.canary, wave.parallel).unwrap();
        if wave.after && number > 0 {
            writeln!(rollout, "after = [\"w{}\"]", number - 1).unwrap();
        }
        if let Some(window) = &wave.window {
            writeln!(rollout, "window = {}", window.written()).unwrap();
        }
    }
    (hosts, rollout)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// What is foreseen is what the run does, step by step; and what it does is inside its windows.
    #[test]
    fn the_run_keeps_to_what_is_foreseen(
        waves in proptest::collection::vec(wave(), 1..4),
        parallel in 1..6usize,
        change in 1..400u64,
        start in 0..(400 * 1440i64),
    ) {
        prop_assume!(waves.iter().flat_map(|w| &w.window).all(|window| window.from != window.to));
        let (hosts, rollout) = files(&waves, parallel);
        let book = playbook(change).replace("run = \"copy\"\n", "run = \"copy\"\nwhen = \"backup\"\n");
        let plan = plan(&hosts, &book, &rollout);
        let now = Timestamp::from_millis(at("2025-01-15T00:00:00Z").as_millis() + start * MINUTE);
        let course = foresee(&plan, &RunState::new(&plan), now, Mark::P90);
        let mut play = Play::begin(plan, &now.to_string());
        play.play_out();
        prop_assert_eq!(&course.hosts, &play.spans);
        prop_assert_eq!(course.stuck.is_empty(), play.state.counts.get("migrated") == Some(&play.plan.hosts.len()));
        prop_assert!(play.said("host_rested").is_empty(), "nobody has to stop on the way");
        for (host, (from, to)) in &play.spans {
            let Some(window) = &waves[play.plan.hosts[*host].wave].window else { continue };
            let zone = jiff::tz::TimeZone::get(window.zone).unwrap();
            let to = to.unwrap();
            for instant in (from.as_millis()..to.as_millis()).step_by(MINUTE as usize) {
                prop_assert!(window.is_open(&zone, instant), "{} at {}", from, Timestamp::from_millis(instant));
            }
        }
    }

    /// In the middle of a run the forecast is what is left of it.
    #[test]
    fn what_is_left_is_foreseen_at_any_moment(
        waves in proptest::collection::vec(wave(), 1..3),
        change in 1..90u64,
        minutes in 0..600u64,
    ) {
        prop_assume!(waves.iter().flat_map(|w| &w.window).all(|window| window.from != window.to));
        let (hosts, rollout) = files(&waves, 3);
        let book = playbook(change).replace("run = \"copy\"\n", "run = \"copy\"\nwhen = \"backup\"\n");
        let begin = at("2025-03-20T00:00:00Z");
        let mut play = Play::begin(plan(&hosts, &book, &rollout), &begin.to_string());
        play.until(&(begin + Duration::from_secs(minutes * 60)).to_string());
        let (now, state) = (play.now, play.state.clone());
        let foreseen = foresee(&play.plan, &state, now, Mark::P90);
        play.play_out();
        for (host, span) in &foreseen.hosts {
            prop_assert_eq!(span, &play.spans[host], "host {} at {}", host, now);
        }
        let moved = play.spans.values().filter(|(_, end)| end.is_none_or(|end| end > now)).count();
        prop_assert!(foreseen.hosts.len() >= moved);
    }
}

/// Hosts of one wave, short and long ones by turns, as drawn; and whether any of them is kept waiting at a rest that would
/// end inside the window that is open.
fn kept_waiting(
    play: &Play,
    wave: &Said,
    long: &[bool],
    change: u64,
    parallel: usize,
) -> Vec<usize> {
    let zone = jiff::tz::TimeZone::get(wave.zone).unwrap();
    let now = play.now.as_millis();
    let in_flight = play.state.waves[0].in_flight;
    let fits = |host: &usize| {
        let need = BESIDE + if long[*host] { change * 60 } else { 0 };
        // A minute of room, and the minute in which it ends.
        let end = now + (need as i64 + 60) * 1000;
        (now..end).step_by(MINUTE as usize).chain([end - 1]).all(|at| wave.is_open(&zone, at))
    };
    let pending = |host: &usize| play.state.hosts[*host].phase == HostPhase::Pending;
    match in_flight < parallel {
        true => (0..long.len()).filter(pending).filter(fits).collect(),
        false => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// A host that is too long for what is left of a window keeps none waiting that would fit.
    #[test]
    fn nobody_waits_behind_a_host_that_is_too_long(
        long in proptest::collection::vec(any::<bool>(), 1..8),
        window in said(),
        change in 1..400u64,
        parallel in 1..4usize,
        start in 0..(400 * 1440i64),
    ) {
        prop_assume!(window.from != window.to);
        let mut hosts = String::new();
        for (number, long) in long.iter().enumerate() {
            writeln!(hosts, "[hosts.w-{number}]\nvars.long = {long}").unwrap();
        }
        let rollout = format!(
            "[[wave]]\nname = \"w\"\nhosts = \"@all\"\nparallel = {parallel}\nwindow = {}\n", window.written()
        );
        let book = playbook(change).replace("run = \"change\"\n", "run = \"change\"\nwhen = \"long\"\n");
        let now = Timestamp::from_millis(at("2025-01-15T00:00:00Z").as_millis() + start * MINUTE);
        let mut play = Play::begin(plan(&hosts, &book, &rollout), &now.to_string());
        while let Some(next) = play.settle() {
            let waiting = kept_waiting(&play, &window, &long, change, parallel);
            prop_assert!(waiting.is_empty(), "{:?} could start at {}, long are {:?}", waiting, play.now, long);
            play.now = play.now.max(next);
            play.land();
        }
        let waiting = kept_waiting(&play, &window, &long, change, parallel);
        prop_assert!(waiting.is_empty(), "{:?} could start at {}, long are {:?}", waiting, play.now, long);
        // What could ever be done was done.
        let short = long.iter().filter(|long| !**long).count();
        let migrated = play.state.counts.get("migrated").copied().unwrap_or(0);
        let stuck = matches!(play.state.phase, RunPhase::Paused(_));
        prop_assert!(migrated == long.len() || (stuck && migrated <= short), "{migrated} of {long:?}");
    }
}

fn fifteen() -> (&'static str, &'static str) {
    (
        "[groups.a]\nhosts = [\"a-[1:10]\"]\n[groups.b]\nhosts = [\"b-[1:5]\"]\n",
        "[defaults]\nparallel = 5\n[[wave]]\nname = \"a\"\nhosts = \"@a\"\n[[wave]]\nname = \"b\"\nhosts = \"@b\"\nafter = [\"a\"]\n",
    )
}

#[test]
fn a_forecast_counts_slots_and_waves() {
    let (hosts, rollout) = fifteen();
    let plan = plan(hosts, &playbook(30), rollout);
    let now = at("2026-11-21T00:00:00Z");
    let one = 30 * 60 + BESIDE;
    let found = forecast(&plan, &RunState::new(&plan), now);
    // Ten hosts, five at once, and then five more.
    assert_eq!((found.p50_s, found.p90_s), (3 * one, 3 * one));
    assert_eq!(found.basis, Basis::Playbook);
    let made = calendar(&plan, now).unwrap();
    assert_eq!((made.nights, made.hosts_a_night), (0, 0));
    assert_eq!(made.critical_path.iter().map(|w| w.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(made.length(), Duration::from_secs(3 * one));
    assert_eq!(made.waves[1].first_start, Some(now + Duration::from_secs(2 * one)));
}

#[test]
fn runs_before_this_one_are_believed_and_this_one_more() {
    let (hosts, rollout) = fifteen();
    let mut plan = plan(hosts, &playbook(30), rollout);
    let change =
        plan.steps.iter().find(|step| step.id.step.as_str() == "change").unwrap().id.clone();
    let minutes = |list: &[u64]| -> Vec<u64> { list.iter().map(|n| n * 60_000).collect() };
    let now = at("2026-11-21T00:00:00Z");
    let of = |plan: &fleetlift::plan::Plan| forecast(plan, &RunState::new(plan), now);
    plan.measure([(change.clone(), minutes(&[10, 10, 10, 10]))].into());
    assert_eq!(of(&plan).basis, Basis::Playbook, "four are too few");
    plan.measure([(change.clone(), minutes(&[50, 10, 20, 30, 40, 60, 70, 80, 90, 100]))].into());
    let found = of(&plan);
    assert_eq!((found.p50_s, found.p90_s), (3 * (50 * 60 + BESIDE), 3 * (90 * 60 + BESIDE)));
    assert_eq!(found.basis, Basis::PastRuns);
    // Five hosts of this run take five minutes each: so will the others.
    let mut play = Play::begin(plan, &now.to_string());
    play.slow.insert("change".into(), Duration::from_secs(300));
    play.until("2026-11-21T00:08:30Z");
    assert_eq!(play.state.counts["migrated"], 5);
    let found = forecast(&play.plan, &play.state, play.now);
    assert_eq!((found.p50_s, found.p90_s, found.basis), {
        let since = 510 - (300 + BESIDE);
        (2 * (300 + BESIDE) - since, 2 * (300 + BESIDE) - since, Basis::ThisRun)
    });
}

#[test]
fn what_is_known_to_be_skipped_takes_no_time() {
    let book = playbook(30).replace("run = \"copy\"\n", "run = \"copy\"\nwhen = \"false\"\n");
    let plan = plan("[groups.a]\nhosts = [\"a-1\"]\n", &book, "");
    let state = RunState::new(&plan);
    let rest = rest_of_way(&plan, &state, 0, Mark::P90, at("2026-11-21T00:00:00Z"));
    assert_eq!(rest, Duration::from_secs(30 * 60 + BESIDE - 60));
}

#[test]
fn a_plan_that_can_never_end_says_why() {
    let rollout = "[[wave]]\nname = \"past\"\nhosts = \"@a\"\n\
        window = { from = \"2024-09-08 01:00\", to = \"2024-09-08 05:00\", zone = \"Asia/Shanghai\" }\n\
        [[wave]]\nname = \"short\"\nhosts = \"@b\"\n\
        window = { from = \"01:00\", to = \"01:30\", zone = \"Asia/Shanghai\" }\n";
    let (hosts, _) = fifteen();
    let plan = plan(hosts, &playbook(30), rollout);
    let stuck = calendar(&plan, at("2026-11-21T00:00:00Z")).unwrap_err();
    let told: Vec<(&str, Option<Duration>)> =
        stuck.iter().map(|stuck| (stuck.wave.as_str(), stuck.longest)).collect();
    assert_eq!(told, [("past", None), ("short", Some(Duration::from_secs(1800)))]);
    assert_eq!(stuck[1].needs, Duration::from_secs(30 * 60 + BESIDE + 60));
    // In time for the first, it is only the second.
    let stuck = calendar(&plan, at("2024-09-01T00:00:00Z")).unwrap_err();
    assert_eq!(stuck.len(), 1);
}

/// Ten thousand hosts in ten waves, one after the other, on four nights a week.
#[test]
fn ten_thousand_hosts_have_a_calendar() {
    let mut hosts = String::new();
    let mut rollout = "[defaults]\nparallel = 60\n".to_owned();
    for rack in 0..10 {
        writeln!(hosts, "[groups.r{rack}]\nhosts = [\"r{rack}-[0001:1000]\"]").unwrap();
        writeln!(rollout, "[[wave]]\nname = \"r{rack}\"\nhosts = \"@r{rack}\"\ncanary = 2")
            .unwrap();
        writeln!(
            rollout,
            "window = {{ from = \"22:00\", to = \"04:00\", zone = \"Europe/Berlin\", days = [\"mon\", \"tue\", \"wed\", \"thu\"] }}"
        )
        .unwrap();
        if rack > 0 {
            writeln!(rollout, "after = [\"r{}\"]", rack - 1).unwrap();
        }
    }
    let plan = plan(&hosts, &playbook(30), &rollout);
    let made = calendar(&plan, at("2026-11-21T00:00:00Z")).unwrap();
    let placed: usize =
        made.waves.iter().flat_map(|wave| &wave.nights).map(|night| night.hosts).sum();
    assert_eq!(placed, 10_000);
    assert_eq!(made.critical_path.len(), 10);
    // Six hours have room for ten rounds of sixty; the canary of a wave goes alone.
    assert!(made.hosts_a_night <= 600, "{}", made.hosts_a_night);
    assert!((17..=22).contains(&made.nights), "{}", made.nights);
}
