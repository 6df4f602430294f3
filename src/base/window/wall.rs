//! One window, and the instants at which the wall of its zone shows a time in it.

use super::parts::{Clock, Day, Days, Part, Zone};
use crate::base::time::Timestamp;
use jiff::civil::{Date, DateTime};
use serde::{Deserialize, Serialize};

/// No zone is further from UTC than this, in seconds.
const OFFSET_MAX: i64 = 26 * 3600;
/// A window that does not open within so many days never does.
const DAYS_MAX: usize = 3660;

/// One maintenance window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    #[serde(flatten)]
    pub when: When,
    pub zone: Zone,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum When {
    Once { from: DateTime, to: DateTime },
    Again(Recurring),
}

/// A window that opens again and again. All of its days are those on which it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recurring {
    pub from: Clock,
    /// Where it is not later than `from`, of the next day.
    pub to: Clock,
    /// Only these days of the week; every day without them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub days: Vec<Day>,
    /// Only these dates; every date without them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub dates: Vec<Days>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub except: Vec<Part>,
}

/// From and to in milliseconds since the epoch; open at the first, closed at the last.
pub(super) type Span = (i64, i64);

impl Window {
    /// The first stretch of this window that ends after an instant. It may have begun long before.
    pub(super) fn next(&self, after: Timestamp) -> Option<Span> {
        let after = after.as_millis();
        let later = |spans: Vec<Span>| spans.into_iter().filter(|(_, to)| *to > after).min();
        match &self.when {
            When::Once { from, to } => later(self.spans(*from, *to)),
            When::Again(again) => {
                let instant = jiff::Timestamp::from_millisecond(after).ok()?;
                let today = self.zone.rules().to_datetime(instant).date();
                // A stretch that began the day before may still go on; clocks that go back over midnight add a day.
                let first = today.checked_sub(jiff::Span::new().days(2)).ok()?;
                let mut days = again.days_from(first);
                let found = days.find_map(|day| Some((day, later(self.on(again, day))?)));
                let (day, found) = found?;
                // Where clocks go back over midnight, the next day's begins before this one's comes again.
                let tomorrow = day.tomorrow().ok().filter(|day| again.is_on(*day));
                let other = tomorrow.and_then(|day| later(self.on(again, day)));
                Some(other.map_or(found, |other| found.min(other)))
            }
        }
    }

    /// Whether its times are shown on the wall at all: a night may leave them out.
    pub fn ever_opens(&self) -> bool {
        match &self.when {
            When::Once { from, to } => !self.spans(*from, *to).is_empty(),
            When::Again(_) => self.next(Timestamp::from_millis(0)).is_some(),
        }
    }

    fn on(&self, again: &Recurring, day: Date) -> Vec<Span> {
        let next = (again.to <= again.from).then(|| day.tomorrow().ok());
        let last = next.unwrap_or(Some(day));
        match (again.from.on(day), last.and_then(|last| again.to.on(last))) {
            (Some(from), Some(to)) => self.spans(from, to),
            // The calendar ends with the year 9999.
            (_, _) => Vec::new(),
        }
    }

    /// The stretches of time in which the wall shows a time from the first up to the second, in order, without those that
    /// touch each other. There are two where clocks go back over an edge, and none where they leave it out.
    fn spans(&self, from: DateTime, to: DateTime) -> Vec<Span> {
        let zone = self.zone.rules();
        let (from, to) = (seconds_of(from), seconds_of(to));
        let end = to + OFFSET_MAX;
        let mut spans: Vec<Span> = Vec::new();
        let mut at = from - OFFSET_MAX;
        while at < end {
            let Ok(instant) = jiff::Timestamp::from_second(at) else { break };
            let offset = i64::from(zone.to_offset(instant).seconds());
            let change = zone.following(instant).next();
            let until = change.map_or(end, |change| change.timestamp().as_second().min(end));
            let span = (at.max(from - offset) * 1000, until.min(to - offset) * 1000);
            match spans.last_mut() {
                _ if span.0 >= span.1 => {}
                Some(last) if last.1 == span.0 => last.1 = span.1,
                Some(_) | None => spans.push(span),
            }
            at = until;
        }
        spans
    }
}

/// Seconds of a wall time, were its zone UTC.
fn seconds_of(wall: DateTime) -> i64 {
    let day = wall.date().duration_since(Date::constant(1970, 1, 1)).as_secs();
    let time = wall.time();
    day + i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second())
}

impl Recurring {
    /// Whether it begins on this day.
    pub fn is_on(&self, date: Date) -> bool {
        let week = self.days.is_empty() || self.days.iter().any(|day| Part::Week(*day).has(date));
        let dates = self.dates.is_empty() || self.dates.iter().any(|d| Part::Dates(*d).has(date));
        week && dates && !self.except.iter().any(|part| part.has(date))
    }

    /// The days on which it begins, from this one on.
    fn days_from(&self, first: Date) -> impl Iterator<Item = Date> + '_ {
        let last = self.dates.iter().map(|days| days.last()).max();
        let first = match self.dates.iter().map(|days| days.first()).min() {
            Some(start) => start.max(first),
            None => first,
        };
        first
            .series(jiff::Span::new().days(1))
            .take(DAYS_MAX)
            .take_while(move |day| last.is_none_or(|last| *day <= last))
            .filter(|day| self.is_on(*day))
    }
}
