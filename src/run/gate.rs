//! Windows: whether a host of a wave may be worked on now, and else when.

use super::{pace, state::RunState};
use crate::{
    base::{
        time::Timestamp,
        window::{Opening, Windows},
    },
    plan::{Plan, PlanWave},
};
use std::{cell::RefCell, collections::BTreeMap, time::Duration};

/// What a host needs is looked for with so much room to spare: a controller wakes a moment after a window has opened, and
/// what would fit to the millisecond would never begin.
pub const ROOM: Duration = Duration::from_secs(60);

/// An answer of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Now,
    /// From this instant on.
    At(Timestamp),
    /// No window is open long enough any more.
    Never,
}

/// How long the rest of each host's way may take.
pub(super) trait Needs {
    fn need(&self, host: usize) -> Duration;
}

/// By the forecast that nine of ten hosts keep.
#[derive(Clone, Copy)]
pub struct Forecast<'a> {
    pub plan: &'a Plan,
    pub state: &'a RunState,
    pub now: Timestamp,
}

impl Needs for Forecast<'_> {
    fn need(&self, host: usize) -> Duration {
        pace::rest_of_way(self.plan, self.state, host, pace::Mark::P90, self.now)
    }
}

/// The gates of all waves at one instant, as walls show it.
pub(super) struct Gates<'a> {
    needs: &'a dyn Needs,
    now: Timestamp,
    wall: Timestamp,
    /// Openings that were asked for, by wave.
    openings: RefCell<BTreeMap<usize, Option<Opening>>>,
    /// Answers that were given, by wave and by what was needed: hosts of a wave need mostly the same.
    answers: RefCell<BTreeMap<(usize, Duration), Pass>>,
}

impl<'a> Gates<'a> {
    pub fn new(needs: &'a dyn Needs, now: Timestamp, wall: Timestamp) -> Self {
        Self { needs, now, wall, openings: RefCell::default(), answers: RefCell::default() }
    }

    /// What clocks on walls show.
    pub fn wall(&self) -> Timestamp {
        self.wall
    }

    /// When to decide again for a window that opens then, by the time of the run.
    pub fn wake(&self, opens: Timestamp) -> Timestamp {
        self.now + opens.since(self.wall)
    }

    /// Whether this host may take a slot.
    pub fn may_start(&self, wave: &PlanWave, number: usize, host: usize) -> Pass {
        match &wave.windows {
            None => Pass::Now,
            Some(windows) => self.ask(windows, number, self.needs.need(host) + ROOM),
        }
    }

    /// Whether this host, which is at a safe point, may go on.
    pub fn may_go_on(&self, wave: &PlanWave, number: usize, host: usize) -> Pass {
        match &wave.windows {
            None => Pass::Now,
            Some(windows) => self.ask(windows, number, self.needs.need(host)),
        }
    }

    /// The opening of a wave that is, or is to come; whatever a host needs, none may start before it.
    pub fn soonest(&self, wave: &PlanWave, number: usize) -> Option<Timestamp> {
        let windows = wave.windows.as_ref()?;
        Some(self.opening(windows, number)?.from)
    }

    fn opening(&self, windows: &Windows, number: usize) -> Option<Opening> {
        let mut openings = self.openings.borrow_mut();
        *openings.entry(number).or_insert_with(|| windows.opening(self.wall))
    }

    fn ask(&self, windows: &Windows, number: usize, need: Duration) -> Pass {
        let mut answers = self.answers.borrow_mut();
        *answers.entry((number, need)).or_insert_with(|| self.answer(windows, number, need))
    }

    fn answer(&self, windows: &Windows, number: usize, need: Duration) -> Pass {
        let opening = self.opening(windows, number);
        match opening {
            None => Pass::Never,
            Some(opening) if opening.is_open(self.wall) && opening.fits(self.wall, need) => {
                Pass::Now
            }
            Some(_) => match windows.fitting(self.wall, need) {
                Some(opening) => Pass::At(opening.from),
                None => Pass::Never,
            },
        }
    }
}
