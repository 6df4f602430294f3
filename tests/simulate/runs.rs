//! The tests: many seeds, every crash of small runs, the same seed twice.

use crate::{
    drive::{Came, Course, simulate},
    scenario::{Form, Scenario},
    sim::Crash,
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// So many seeds in every test run; more by `just simulate N`.
const SEEDS: u64 = 150;
/// So many small worlds whose waves go back.
const UNDONE_SEEDS: u64 = 60;
/// So many small worlds have a crash at each of their records in every test run.
const PURE_SEEDS: u64 = 4;
/// Side by side.
const THREADS: u64 = 2;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// The seeds to try: one that failed before, or many from the first on.
fn seeds(many: u64) -> std::ops::Range<u64> {
    if let Some(seed) = number("FLEETLIFT_SEED") {
        return seed..seed + 1;
    }
    let first = number("FLEETLIFT_FIRST").unwrap_or(0);
    first..first + number("FLEETLIFT_SIMULATE").unwrap_or(many)
}

/// Tries seeds, some at once, up to the first that fails.
fn try_all(test: &str, many: u64, one: impl Fn(u64) -> Result<Came, String> + Sync) {
    let seeds = seeds(many);
    let next = AtomicU64::new(seeds.start);
    let survey = std::env::var_os("FLEETLIFT_SURVEY").is_some();
    let kinds = Mutex::new(BTreeMap::<String, (u64, u64)>::new());
    let (records, slowest, hours) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    return;
                }
                let start = Instant::now();
                match one(seed) {
                    Ok(came) => {
                        hours.fetch_add(came.virtual_ms, Ordering::Relaxed);
                        records.fetch_add(came.lines.len() as u64, Ordering::Relaxed)
                    }
                    Err(told) if survey => {
                        let kind = kind_of(&told);
                        let mut kinds = kinds.lock().unwrap();
                        let (count, _) = kinds.entry(kind).or_insert((0, seed));
                        *count += 1;
                        0
                    }
                    Err(told) => {
                        next.store(seeds.end, Ordering::Relaxed);
                        panic!(
                            "{told}\nseed {seed} fails after {} seeds; again: FLEETLIFT_SEED={seed} cargo test --test simulate {test}",
                            seed - seeds.start + 1
                        );
                    }
                };
                let took = start.elapsed().as_millis() as u64;
                slowest.fetch_max(took * 1_000_000 + seed % 1_000_000, Ordering::Relaxed);
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let failed = threads.into_iter().filter_map(|thread| thread.join().err()).next();
        if let Some(panic) = failed {
            std::panic::resume_unwind(panic);
        }
    });
    for (kind, (count, seed)) in kinds.into_inner().unwrap() {
        println!("{count:>6} seeds, the first is {seed}: {kind}");
    }
    let slowest = slowest.into_inner();
    println!(
        "{test}: {} seeds, {} records, {} simulated hours, {:.1} s; the slowest is seed {} with {} ms",
        seeds.end - seeds.start,
        records.into_inner(),
        hours.into_inner() / 3_600_000,
        began.elapsed().as_secs_f64(),
        slowest % 1_000_000,
        slowest / 1_000_000
    );
}

/// The first thing that is wrong in a failure, without names and numbers.
fn kind_of(told: &str) -> String {
    let line = told.lines().find(|line| line.starts_with("=> ")).unwrap_or_default();
    let digit = |c: char| if c.is_ascii_digit() { '#' } else { c };
    line.chars().map(digit).collect::<String>().replace("##", "#").replace("##", "#")
}

/// A failure, with the whole history of a run that is repeated for it.
fn failure(scenario: &Scenario, course: &Course, came: &Came) -> String {
    let again = simulate(scenario, course, true);
    let same = if again.lines == came.lines { "" } else { "NOT REPEATED: another history\n" };
    format!("{}\n{same}{course:?}\n=> {}", again.history, came.wrong.join("\n=> "))
}

#[test]
fn every_seed_keeps_the_promises() {
    try_all("every_seed", SEEDS, |seed| {
        let scenario = Scenario::new(seed, Form::Any);
        let course = Course::of(&scenario);
        let came = simulate(&scenario, &course, false);
        match came.wrong.is_empty() {
            true => Ok(came),
            false => Err(failure(&scenario, &course, &came)),
        }
    });
}

#[test]
fn waves_go_back_as_far_as_they_should() {
    let undone = AtomicU64::new(0);
    try_all("waves_go_back", UNDONE_SEEDS, |seed| {
        let scenario = Scenario::new(seed, Form::Undone);
        let course = Course::of(&scenario);
        let came = simulate(&scenario, &course, false);
        let reopened = came.lines.iter().filter(|line| line.contains("\"host_reopened\""));
        undone.fetch_add(reopened.count() as u64, Ordering::Relaxed);
        match came.wrong.is_empty() {
            true => Ok(came),
            false => Err(failure(&scenario, &course, &came)),
        }
    });
    if number("FLEETLIFT_SEED").is_none() {
        assert!(undone.into_inner() > 0, "no wave ever went back");
    }
}

/// The ends and systems of all hosts are those of a run that nobody interrupted, wherever its controllers die.
#[test]
fn wherever_controllers_die_the_hosts_end_alike() {
    try_all("wherever_controllers_die", PURE_SEEDS, |seed| {
        let scenario = Scenario::new(seed, Form::Pure);
        let calm = simulate(&scenario, &Course::default(), false);
        if !calm.wrong.is_empty() {
            return Err(failure(&scenario, &Course::default(), &calm));
        }
        let mut crashes: Vec<Vec<Crash>> = Vec::new();
        for write in 1..=calm.writes {
            crashes.push(vec![Crash::After(write)]);
            if write % 4 == 0 {
                crashes.push(vec![Crash::Before(write)]);
            }
        }
        let step = (calm.calls / 40).max(1);
        crashes.extend((1..=calm.calls).step_by(step as usize).map(|n| vec![Crash::Call(n)]));
        let mut chance = scenario.chance("crashes");
        for _ in 0..10 {
            let first = Crash::After(chance.between(1, calm.writes));
            let second = Crash::Call(chance.between(1, 12));
            let third = Crash::At(chance.between(0, 20_000));
            crashes.push(vec![first, second, third]);
        }
        for crashes in crashes {
            let course = Course { crashes, ..Course::default() };
            let mut came = simulate(&scenario, &course, false);
            if came.wrong.is_empty() && (came.ends != calm.ends || came.places != calm.places) {
                let (now, then) = ((&came.ends, &came.places), (&calm.ends, &calm.places));
                came.wrong.push(format!("ends\n{now:?}, undisturbed\n{then:?}"));
            }
            if !came.wrong.is_empty() {
                return Err(failure(&scenario, &course, &came));
            }
        }
        Ok(calm)
    });
}

#[test]
fn the_same_seed_gives_the_same_records() {
    for seed in 0..20 {
        let once = || {
            let scenario = Scenario::new(seed, Form::Any);
            simulate(&scenario, &Course::of(&scenario), false)
        };
        let (one, two) = (once(), once());
        assert!(one.lines == two.lines, "seed {seed}");
        assert!(one.lines.len() > 3, "seed {seed}");
    }
}
