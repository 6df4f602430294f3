//! Several windows, as one: open while one of them is.

use super::{parts::Zone, wall::Window};
use crate::base::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A stretch without a gap is followed so far, in milliseconds: no host takes longer, and one without an end has none.
const STRETCH_MAX: i64 = 8 * 24 * 3600 * 1000;
/// So many openings are looked at for one that is long enough.
const OPENINGS_MAX: usize = 100;

/// Maintenance windows, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Window>", into = "Vec<Window>")]
pub struct Windows(Vec<Window>);

/// A list of windows that has none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a list of windows is empty")]
pub struct NoWindow;

impl TryFrom<Vec<Window>> for Windows {
    type Error = NoWindow;

    fn try_from(windows: Vec<Window>) -> Result<Self, NoWindow> {
        Self::new(windows).ok_or(NoWindow)
    }
}

impl From<Windows> for Vec<Window> {
    fn from(windows: Windows) -> Self {
        windows.0
    }
}

/// A stretch of time in which windows are open without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    pub from: Timestamp,
    /// Closed again at this instant.
    pub to: Timestamp,
}

impl Opening {
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }

    /// Whether work of this length that begins at this instant, or with the opening, ends inside.
    pub fn fits(&self, at: Timestamp, need: Duration) -> bool {
        self.from.max(at) + need <= self.to
    }

    pub fn length(&self) -> Duration {
        self.to.since(self.from)
    }
}

impl Windows {
    /// `None` for an empty list: then there is no limit to say.
    pub fn new(windows: Vec<Window>) -> Option<Self> {
        (!windows.is_empty()).then_some(Self(windows))
    }

    /// The zone in which times are told; windows of one list may have several.
    pub fn zone(&self) -> &Zone {
        &self.0[0].zone
    }

    /// The opening that this instant is in, else the next one. `None` where there is none any more.
    pub fn opening(&self, at: Timestamp) -> Option<Opening> {
        let (from, mut to) = self.0.iter().filter_map(|window| window.next(at)).min()?;
        // Windows that touch or overlap are one.
        while to - from.max(at.as_millis()) < STRETCH_MAX {
            let end = Timestamp::from_millis(to);
            let touching =
                self.0.iter().filter_map(|w| w.next(end)).filter(|(from, _)| *from <= to);
            match touching.map(|(_, to)| to).max() {
                Some(longer) => to = longer,
                None => break,
            }
        }
        Some(Opening { from: Timestamp::from_millis(from), to: Timestamp::from_millis(to) })
    }

    /// The first opening from this instant on in which work of this length still ends.
    pub fn fitting(&self, at: Timestamp, need: Duration) -> Option<Opening> {
        let mut next = at;
        for _ in 0..OPENINGS_MAX {
            let opening = self.opening(next)?;
            if opening.fits(at, need) {
                return Some(opening);
            }
            next = opening.to;
        }
        None
    }

    /// The longest opening of those that are to come.
    pub fn longest(&self, at: Timestamp) -> Option<Duration> {
        let mut next = at;
        let openings = std::iter::from_fn(|| {
            let opening = self.opening(next)?;
            next = opening.to;
            Some(opening)
        });
        openings.take(OPENINGS_MAX).map(|opening| opening.to.since(opening.from.max(at))).max()
    }

    /// An instant as the zone's wall shows it: `Sun 2024-09-08 01:00`.
    pub fn wall(&self, at: Timestamp) -> String {
        format(self.zone().rules(), at, WALL)
    }

    /// The day of an instant in the zone: `2024-09-08`.
    pub fn date(&self, at: Timestamp) -> String {
        format(self.zone().rules(), at, "%F")
    }
}

const WALL: &str = "%a %F %H:%M";

/// An instant as the wall of a zone shows it, with the zone's name: `Sun 2024-09-08 01:00 Asia/Shanghai`. In UTC where
/// the zone is not known here.
pub fn wall_in(zone: &str, at: Timestamp) -> String {
    match zone.parse::<Zone>() {
        Ok(zone) => format!("{} {zone}", format(zone.rules(), at, WALL)),
        Err(_) => format!("{} UTC", format(&jiff::tz::TimeZone::UTC, at, WALL)),
    }
}

fn format(zone: &jiff::tz::TimeZone, at: Timestamp, form: &str) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(instant) => instant.to_zoned(zone.clone()).strftime(form).to_string(),
        Err(_) => at.to_string(),
    }
}
