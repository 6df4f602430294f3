//! What the checker says of the model: nothing of it as it is, and a counterexample for every planted bug.

use crate::{
    model::{Faults, State},
    steps::{ALWAYS, Bug, Model},
};
use stateright::{Checker, HasDiscoveries, Model as _};
use std::collections::{BTreeMap, HashMap};

/// Explores the model until what is wanted is found, or to its end. What does not hold, with the way there, and how many states
/// were seen. One thread goes by breadth, so that the way is a shortest one.
fn explore(model: Model, wanted: &[&'static str]) -> (BTreeMap<&'static str, Vec<String>>, usize) {
    let until = HasDiscoveries::AllOf(wanted.iter().copied().collect());
    let checker = model.checker().finish_when(until).spawn_bfs().join();
    let states = checker.unique_state_count();
    let found = checker.discoveries().into_iter().map(|(name, path)| {
        let actions = path.into_actions().into_iter();
        (name, actions.map(|action| format!("{action:?}")).collect())
    });
    (found.collect(), states)
}

/// For the checker never to stop before its end.
const ALL: [&str; 1] = ["a property that no model has"];

fn none() -> Faults {
    Faults::default()
}

/// Worlds with different faults; each is explored whole.
fn worlds() -> Vec<(&'static str, Faults)> {
    vec![
        ("no fault", none()),
        ("two connections end", Faults { breaks: 2, ..none() }),
        ("a connection ends, and a controller dies", Faults { breaks: 1, crashes: 1, ..none() }),
        ("two controllers die", Faults { crashes: 2, ..none() }),
        ("a limit is over, and a connection ends", Faults { breaks: 1, timeouts: 1, ..none() }),
        ("a limit is over, and a controller dies", Faults { crashes: 1, timeouts: 1, ..none() }),
        ("two of our own processes are killed", Faults { breaks: 1, kills: 2, ..none() }),
        ("a reboot", Faults { breaks: 1, crashes: 1, reboots: 1, ..none() }),
        ("a power cut, and a connection ends", Faults { breaks: 1, power: 1, ..none() }),
        ("a power cut, and a controller dies", Faults { crashes: 1, power: 1, ..none() }),
    ]
}

#[test]
fn nothing_is_found_in_the_protocol_as_it_is() {
    let mut all = 0;
    for (name, faults) in worlds() {
        let (found, states) = explore(Model::new(faults), &ALL);
        println!("{states:>8} states: {name}");
        if let Some((property, path)) = found.first_key_value() {
            panic!("{name}: not so: {property}\n    {}", path.join("\n    "));
        }
        all += states;
    }
    println!("{all:>8} states in all");
}

/// Bugs that only a host brings out that is slower than the patience of who waits for it.
const SLOW: [Bug; 2] = [Bug::NoSecondName, Bug::SecondNameByCheck];

/// Every planted bug, the faults that bring it out, and what the checker finds of it.
fn planted() -> Vec<(Bug, Faults, &'static str)> {
    let breaks = Faults { breaks: 1, ..none() };
    let power = Faults { breaks: 1, power: 1, ..none() };
    let late = Faults { breaks: 1, timeouts: 1, ..none() };
    vec![
        (Bug::NameByCheck, breaks, ALWAYS[3].0),
        (Bug::LookTakesNothing, breaks, ALWAYS[3].0),
        (Bug::StopTakesNothing, late, ALWAYS[3].0),
        (Bug::LoserGuesses, Faults { breaks: 2, ..none() }, ALWAYS[6].0),
        (Bug::BootAfterName, breaks, ALWAYS[6].0),
        (Bug::DiedEmptied, Faults { breaks: 2, copies: 1, ..none() }, ALWAYS[4].0),
        (Bug::SizeNotChecked, breaks, ALWAYS[1].0),
        (Bug::EmptyIsZero, breaks, ALWAYS[4].0),
        (Bug::NoLastLook, breaks, ALWAYS[6].0),
        (Bug::PidAlone, late, ALWAYS[7].0),
        (Bug::IntentLater, Faults { crashes: 1, ..none() }, ALWAYS[2].0),
        (Bug::ResumeForgets, Faults { crashes: 1, ..none() }, ALWAYS[3].0),
        (Bug::BreakIsFailure, breaks, ALWAYS[4].0),
        (Bug::HandedLate, Faults { breaks: 1, silences: 1, ..none() }, ALWAYS[3].0),
        (Bug::BootsNotCompared, power, ALWAYS[3].0),
        (Bug::LoserIsRefused, Faults { timeouts: 1, copies: 1, ..none() }, ALWAYS[3].0),
        (Bug::NoSecondName, breaks, ALWAYS[5].0),
        (Bug::SecondNameByCheck, breaks, ALWAYS[3].0),
    ]
}

#[test]
fn every_planted_bug_is_found() {
    for (bug, faults, wanted) in planted() {
        let is_patient = !SLOW.contains(&bug);
        let model = Model { bug: Some(bug), is_patient, ..Model::new(faults) };
        let (found, states) = explore(model, &[wanted]);
        let Some(path) = found.get(wanted) else {
            panic!("{bug:?} is not found in {states} states; but {found:#?}");
        };
        println!("{bug:?}: not so: {wanted}: {} steps, {states} states", path.len());
    }
}

/// What the protocol does not promise, each with the assumption that it hangs on. Were one of these not found any more, the
/// protocol would promise more than its documents say.
#[test]
fn its_limits_are_these_and_no_others() {
    let breaks = Faults { breaks: 1, ..none() };
    let silent = Faults { silences: 1, ..breaks };
    let copied = Faults { copies: 1, ..breaks };
    let quick = |reruns_lost| Model { is_patient: false, reruns_lost, ..Model::new(breaks) };
    let holds = |faults| Model { reruns_lost: false, ..Model::new(faults) };
    let once = ALWAYS[5].0;
    let limits = [
        ("a host slower than anybody's patience", quick(false), vec![]),
        ("the same, where what is lost is run again", quick(true), vec![]),
        ("a host that is silent too long, where what is lost is held", holds(silent), vec![]),
        ("the same, where what is lost is run again", Model::new(silent), vec![once]),
        ("a launcher that arrives twice, which no TCP does", Model::new(copied), vec![]),
    ];
    for (name, model, wanted) in limits {
        let (found, states) = explore(model, &ALL);
        println!("{states:>8} states: {name}: {:?}", found.keys());
        let mut names: Vec<&str> = found.into_keys().collect();
        names.sort_by_key(|name| ALWAYS.iter().position(|(other, _)| other == name));
        assert_eq!(names, wanted, "{name}");
    }
}

/// From every state an end of the run can be reached: nothing is forgotten, and nobody waits for what cannot come.
#[test]
fn every_state_leads_to_an_end() {
    // The largest worlds are left out: here all states and ways are kept in memory, and nothing is added by a third fault.
    let small = |faults: &Faults| faults.reboots == 0 && faults.kills == 0;
    let also = ("a reboot", Faults { breaks: 1, reboots: 1, ..none() });
    for (name, faults) in worlds().into_iter().filter(|(_, f)| small(f)).chain([also]) {
        let model = Model::new(faults);
        let (states, edges) = graph(&model);
        let mut leads: Vec<bool> = states.iter().map(State::is_over).collect();
        let mut left: Vec<usize> = (0..states.len()).filter(|n| leads[*n]).collect();
        while let Some(to) = left.pop() {
            for from in &edges[to] {
                if !std::mem::replace(&mut leads[*from], true) {
                    left.push(*from);
                }
            }
        }
        if let Some(stuck) = leads.iter().position(|leads| !leads) {
            panic!("{name}: no way on from {:#?}", states[stuck]);
        }
    }
}

/// All states, and for each those that lead to it.
fn graph(model: &Model) -> (Vec<State>, Vec<Vec<usize>>) {
    let mut states = model.init_states();
    let mut places: HashMap<State, usize> = HashMap::from([(states[0].clone(), 0)]);
    let mut edges = vec![Vec::new()];
    let mut at = 0;
    while at < states.len() {
        for next in model.next_steps(&states[at]).into_iter().map(|(_, next)| next) {
            let place = *places.entry(next.clone()).or_insert_with(|| {
                states.push(next);
                edges.push(Vec::new());
                states.len() - 1
            });
            edges[place].push(at);
        }
        at += 1;
    }
    (states, edges)
}
