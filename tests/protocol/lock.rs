//! The host's own lock, as `src/host/ssh/remote/lock.sh` takes it: runs that know nothing of each other, each with a launcher
//! that may be kept waiting before any of its operations, for as long as it takes leases to run out.

use stateright::{Checker, HasDiscoveries, Model, Property};

/// Runs that want the host.
const RUNS: usize = 3;
/// Numbers that are given at most; nobody takes one above.
const NUMBERS: usize = 4;

/// One mistake that somebody could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// There is a lease, and no number: whoever held it once begins.
    NoFencing,
    /// Who takes the lock looks for scripts before that only.
    NoLookAfterwards,
    /// The number is made in two steps: a look whether it is free, and a write.
    NumberByCheck,
    /// A number that was given and removed meanwhile is taken for the highest.
    NumberNotReadAgain,
    /// Who takes the lock looks for scripts of the run that held it last, and of no other.
    LastHolderAlone,
    /// Whether the lock is held is seen by the next number alone, and a lease that is renewed makes its file anew.
    NextNumberAlone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lease {
    Lasts,
    /// Run out, or given back.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Lock {
    /// None in a file that only a late renewal has made.
    run: Option<usize>,
    lease: Lease,
}

/// A run's script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Script {
    None,
    Named,
    Never,
    Runs,
    Ended,
}

/// What a launcher does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Next {
    List,
    Read {
        high: usize,
        low: usize,
    },
    Renew {
        high: usize,
    },
    /// Whether the other run is at work, before the lock is taken.
    Look {
        high: usize,
        low: usize,
        other: usize,
    },
    Take {
        high: usize,
        low: usize,
        other: Option<usize>,
    },
    /// Only with a planted bug: it has seen the number free.
    Write {
        high: usize,
        low: usize,
        other: Option<usize>,
    },
    ReadAgain {
        mine: usize,
        low: usize,
        other: Option<usize>,
    },
    LookAgain {
        mine: usize,
        low: usize,
        other: Option<usize>,
    },
    /// Gives a number back that it must not keep.
    Undo {
        mine: usize,
        again: bool,
    },
    RemoveLower {
        mine: usize,
        low: usize,
    },
    Name {
        mine: usize,
    },
    StillHeld {
        mine: usize,
    },
    Begin {
        mine: usize,
    },
    Work {
        mine: usize,
    },
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    locks: [Option<Lock>; NUMBERS + 1],
    scripts: [Script; RUNS],
    launchers: [Next; RUNS],
    /// The numbers whose runs were let go on with them.
    granted: [bool; NUMBERS + 1],
    /// A script began under a lower number than the highest that was granted to another run.
    began_late: bool,
    /// Two runs went on with one number.
    shared: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Action {
    Launcher(usize, Next),
    LeaseRunsOut(usize),
}

struct Host {
    bug: Option<Bug>,
}

impl Host {
    fn grant(state: &mut State, mine: usize) {
        state.shared |= state.granted[mine];
        state.granted[mine] = true;
    }

    /// Whether a script of another run may be at work: of any, since the last holder may have died before it had looked
    /// whether the one before it was.
    fn is_busy(&self, state: &State, run: usize, last: usize) -> bool {
        let at_work = |other: usize| matches!(state.scripts[other], Script::Named | Script::Runs);
        match self.bug {
            Some(Bug::LastHolderAlone) => at_work(last),
            Some(_) | None => (0..RUNS).any(|other| other != run && at_work(other)),
        }
    }

    fn highest(state: &State) -> usize {
        (1..=NUMBERS).rev().find(|n| state.locks[*n].is_some()).unwrap_or(0)
    }

    fn lowest(state: &State) -> usize {
        (1..=NUMBERS).find(|n| state.locks[*n].is_some()).unwrap_or(0)
    }

    fn read(&self, state: &State, run: usize, high: usize, low: usize) -> Next {
        let Some(lock) = state.locks[high] else { return Next::List };
        match (lock.run, lock.lease) {
            (Some(owner), _) if owner == run => Next::Renew { high },
            (Some(_), Lease::Lasts) => Next::Over,
            (Some(other), Lease::Over) => Next::Look { high, low, other },
            // It has no owner that could be read: it is read again.
            (None, _) => Next::List,
        }
    }

    fn still_held(&self, state: &State, mine: usize) -> bool {
        match self.bug {
            Some(Bug::NoFencing) => true,
            Some(Bug::NextNumberAlone) => {
                state.locks[mine].is_some() && state.locks.get(mine + 1).is_none_or(Option::is_none)
            }
            Some(_) | None => state.locks[mine].is_some() && Self::highest(state) == mine,
        }
    }

    fn take(state: &mut State, run: usize, high: usize, low: usize, other: Option<usize>) -> Next {
        let mine = high + 1;
        state.locks[mine] = Some(Lock { run: Some(run), lease: Lease::Lasts });
        Next::ReadAgain { mine, low, other }
    }

    /// One operation of a run's launcher. None where it can do nothing more.
    fn operate(&self, state: &mut State, run: usize) -> Option<Next> {
        Some(match state.launchers[run] {
            Next::List => match Self::highest(state) {
                0 => Next::Take { high: 0, low: 0, other: None },
                high => Next::Read { high, low: Self::lowest(state) },
            },
            Next::Read { high, low } => self.read(state, run, high, low),
            Next::Renew { high } => {
                // A file that was removed since is made anew by that, without an owner.
                let run = state.locks[high].and_then(|lock| lock.run);
                state.locks[high] = Some(Lock { run, lease: Lease::Lasts });
                Next::Name { mine: high }
            }
            Next::Look { other, .. } if self.is_busy(state, run, other) => Next::Over,
            Next::Look { high, low, other } => Next::Take { high, low, other: Some(other) },
            Next::Take { high, .. } if high == NUMBERS => return None,
            Next::Take { high, .. } if state.locks[high + 1].is_some() => Next::List,
            Next::Take { high, low, other } if self.bug == Some(Bug::NumberByCheck) => {
                Next::Write { high, low, other }
            }
            Next::Take { high, low, other } | Next::Write { high, low, other } => {
                Self::take(state, run, high, low, other)
            }
            Next::ReadAgain { mine, low, other } => {
                if self.bug != Some(Bug::NumberNotReadAgain) && Self::highest(state) != mine {
                    Next::Undo { mine, again: true }
                } else {
                    Next::LookAgain { mine, low, other }
                }
            }
            Next::LookAgain { mine, other: Some(other), .. }
                if self.bug != Some(Bug::NoLookAfterwards) && self.is_busy(state, run, other) =>
            {
                Next::Undo { mine, again: false }
            }
            Next::LookAgain { mine, low, .. } => {
                Self::grant(state, mine);
                Next::RemoveLower { mine, low }
            }
            Next::Undo { mine, again } => {
                state.locks[mine] = None;
                if again { Next::List } else { Next::Over }
            }
            Next::RemoveLower { mine, low } if low == 0 || low >= mine => Next::Name { mine },
            Next::RemoveLower { mine, low } => {
                state.locks[low] = None;
                Next::RemoveLower { mine, low: low + 1 }
            }
            Next::Name { mine } => {
                state.scripts[run] = Script::Named;
                Next::StillHeld { mine }
            }
            Next::StillHeld { mine } if self.still_held(state, mine) => Next::Begin { mine },
            Next::StillHeld { .. } => {
                state.scripts[run] = Script::Never;
                Next::Over
            }
            Next::Begin { mine } => {
                state.scripts[run] = Script::Runs;
                state.began_late |= state.granted[mine + 1..].contains(&true);
                Next::Work { mine }
            }
            Next::Work { mine } => {
                state.scripts[run] = Script::Ended;
                // Only its own line is given back.
                if let Some(lock) = state.locks[mine].as_mut().filter(|lock| lock.run == Some(run))
                {
                    lock.lease = Lease::Over;
                }
                Next::Over
            }
            Next::Over => return None,
        })
    }
}

impl Model for Host {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let free = State {
            locks: [None; NUMBERS + 1],
            scripts: [Script::None; RUNS],
            launchers: [Next::List; RUNS],
            granted: [false; NUMBERS + 1],
            began_late: false,
            shared: false,
        };
        // The first run has had the host for a while.
        let mut held = free.clone();
        held.locks[1] = Some(Lock { run: Some(0), lease: Lease::Lasts });
        held.granted[1] = true;
        vec![free, held]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend((0..RUNS).map(|run| Action::Launcher(run, state.launchers[run])));
        actions
            .extend((1..=NUMBERS).filter(|n| state.locks[*n].is_some()).map(Action::LeaseRunsOut));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Launcher(run, _) => next.launchers[run] = self.operate(&mut next, run)?,
            Action::LeaseRunsOut(number) => {
                let lock = next.locks[number].as_mut()?;
                lock.lease = Lease::Over;
            }
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("scripts of one run at a time", |_, s: &State| {
                s.scripts.iter().filter(|script| **script == Script::Runs).count() <= 1
            }),
            Property::always(
                "nothing begins under a number older than one that was granted",
                |_, s: &State| !s.began_late,
            ),
            Property::always("no number is granted twice", |_, s: &State| !s.shared),
            Property::sometimes("two runs work, one after the other", |_, s: &State| {
                s.scripts.iter().filter(|script| **script == Script::Ended).count() > 1
            }),
        ]
    }
}

/// What does not hold, with the way there, and how many states were seen.
fn explore(bug: Option<Bug>) -> (Option<(&'static str, Vec<String>)>, usize) {
    let checker =
        Host { bug }.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let states = checker.unique_state_count();
    if bug.is_none() {
        assert!(checker.discovery("two runs work, one after the other").is_some());
    }
    let found = checker.discoveries().into_iter().find(|(name, _)| !name.starts_with("two runs"));
    let found = found.map(|(name, path)| {
        (name, path.into_actions().into_iter().map(|action| format!("{action:?}")).collect())
    });
    (found, states)
}

#[test]
fn nobody_works_on_a_host_beside_the_holder_of_its_lock() {
    let (found, states) = explore(None);
    println!("{states:>8} states: {RUNS} runs want one host");
    if let Some((property, path)) = found {
        panic!("not so: {property}\n    {}", path.join("\n    "));
    }
}

#[test]
fn every_bug_planted_in_the_lock_is_found() {
    for bug in [
        Bug::NoFencing,
        Bug::NoLookAfterwards,
        Bug::NumberByCheck,
        Bug::NumberNotReadAgain,
        Bug::LastHolderAlone,
        Bug::NextNumberAlone,
    ] {
        let (found, states) = explore(Some(bug));
        let Some((property, path)) = found else {
            panic!("{bug:?} is not found in {states} states")
        };
        println!("{bug:?}: not so: {property}: {} steps, {states} states", path.len());
    }
}
