//! Many drawn rollouts.

use crate::{
    spec::Spec,
    world::{Came, play},
};
use fleetlift::run::RunPhase;

/// So many small worlds, and so many of up to 1,000 hosts, in every test run.
const SMALL: u64 = 200;
const LARGE: u64 = 6;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// So many seeds from the first on, or the one that is asked for: as it was printed.
fn seeds(first: u64, many: u64) -> std::ops::Range<u64> {
    match number("FLEETLIFT_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("FLEETLIFT_SIMULATE").unwrap_or(many),
    }
}

fn try_seed(test: &str, seed: u64, most: u64) -> Came {
    let spec = Spec::draw(seed, most);
    let came = play(&spec, seed);
    assert!(
        came.wrong.is_empty(),
        "{}\n{}\n{}\nagain: FLEETLIFT_SEED={seed} cargo test --test limits {test}",
        spec.rollout(),
        if spec.hosts.len() < 40 { spec.inventory() } else { String::new() },
        came.wrong.join("\n"),
    );
    came
}

#[test]
fn small_fleets_keep_their_limits() {
    let (mut finished, mut paused, mut records) = (0, 0, 0);
    for seed in seeds(0, SMALL) {
        let came = try_seed("small_fleets", seed, 60);
        records += came.records;
        match came.phase {
            RunPhase::Finished(_) => finished += 1,
            RunPhase::Paused(_) => paused += 1,
            RunPhase::New | RunPhase::Running => panic!("seed {seed} came to no end"),
        }
    }
    println!("{finished} finished, {paused} wait for hosts that are down, {records} records");
    if number("FLEETLIFT_SEED").is_none() {
        assert!(finished > 0 && paused > 0, "the worlds are too much alike");
    }
}

#[test]
fn large_fleets_keep_their_limits() {
    // Other worlds than the small ones.
    for seed in seeds(1_000_000, LARGE) {
        let came = try_seed("large_fleets", seed, 1000);
        println!(
            "seed {seed}: {} records, {} decisions, {:?} in all, the dearest {:?}",
            came.records, came.calls, came.cost, came.dearest
        );
    }
}
