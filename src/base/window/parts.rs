//! What a window is written with: zones, times of the day, days of the week, dates.

use crate::base::{fault::Refusal, suggest::did_you_mean, time::Timestamp};
use jiff::{
    civil::{Date, DateTime, Weekday},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A time zone, known by its name in the IANA database.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone itself.
    pub fn rules(&self) -> &TimeZone {
        &self.0
    }

    pub fn as_str(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

impl FromStr for Zone {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let refuse = |hint: String| Err(Refusal::new("this is no time zone").hint(hint));
        if text.starts_with(['+', '-']) || text.bytes().next().is_some_and(|b| b.is_ascii_digit()) {
            return refuse(
                "an offset does not follow its clocks: name a place, such as \"Europe/Berlin\""
                    .to_owned(),
            );
        }
        match TimeZone::get(text) {
            Ok(zone) if zone.iana_name().is_some() => Ok(Self(zone)),
            Ok(_) | Err(_) => {
                let known: Vec<String> =
                    jiff::tz::db().available().map(|name| name.to_string()).collect();
                let near = did_you_mean(text, known.iter().map(String::as_str));
                refuse(near.unwrap_or_else(|| {
                    "zones have names such as \"Europe/Berlin\", \"Asia/Shanghai\", \"UTC\""
                        .to_owned()
                }))
            }
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({self})")
    }
}

impl TryFrom<String> for Zone {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        text.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.as_str().to_owned()
    }
}

/// A time of the day, to the minute: `00:00` to `24:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Clock(u16);

impl Clock {
    /// The end of a day, which is the beginning of the next.
    pub const MIDNIGHT: Self = Self(24 * 60);

    /// Of this day; `24:00` is the next day's beginning. `None` after the year 9999.
    pub fn on(self, day: Date) -> Option<DateTime> {
        let minutes = i64::from(self.0);
        day.at(0, 0, 0, 0).checked_add(jiff::Span::new().minutes(minutes)).ok()
    }
}

impl FromStr for Clock {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let refuse = || {
            Refusal::new("this is no time of the day")
                .hint("such as \"01:30\", from 00:00 to 24:00")
        };
        let digits = |text: &str| -> Option<u16> {
            let whole = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            whole.then(|| text.parse().ok()).flatten()
        };
        let (hours, minutes) = text.split_once(':').ok_or_else(refuse)?;
        match (digits(hours), digits(minutes)) {
            (Some(hours @ 0..24), Some(minutes @ 0..60)) => Ok(Self(hours * 60 + minutes)),
            (Some(24), Some(0)) => Ok(Self::MIDNIGHT),
            (_, _) => Err(refuse()),
        }
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl TryFrom<String> for Clock {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        text.parse()
    }
}

impl From<Clock> for String {
    fn from(clock: Clock) -> Self {
        clock.to_string()
    }
}

/// Reads `2024-09-08 01:00`; also with a `T`, and with `24:00`.
pub fn parse_moment(text: &str) -> Result<DateTime, Refusal> {
    let refuse = || {
        Refusal::new("this is no time of a day")
            .hint("such as \"2024-09-08 01:00\", in the window's zone")
    };
    let (day, clock) = text.split_once([' ', 'T']).ok_or_else(refuse)?;
    let clock: Clock = clock.parse().map_err(|_| refuse())?;
    clock.on(parse_date(day)?).ok_or_else(refuse)
}

fn parse_date(text: &str) -> Result<Date, Refusal> {
    let refuse = || Refusal::new("this is no date").hint("such as \"2024-09-08\"");
    // Other forms of a date would be read too, and then be taken for something else by people.
    if text.len() != 10 {
        return Err(refuse());
    }
    text.parse().map_err(|_| refuse())
}

/// Reads `2024-09-08`: when that day ends, in UTC.
pub fn end_of_day(text: &str) -> Result<Timestamp, Refusal> {
    let next = parse_date(text)?.tomorrow().and_then(|day| day.to_zoned(TimeZone::UTC));
    let next = next.map_err(|_| Refusal::new("this date is beyond every calendar"))?;
    Ok(Timestamp::from_millis(next.timestamp().as_millisecond()))
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    /// The words of files.
    pub const WORDS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    const ALL: [Self; 7] =
        [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().zip(Self::WORDS).find(|(_, word)| *word == text).map(|(day, _)| day)
    }

    /// Whether a date falls on it.
    fn has(self, date: Date) -> bool {
        let weekday = match self {
            Self::Mon => Weekday::Monday,
            Self::Tue => Weekday::Tuesday,
            Self::Wed => Weekday::Wednesday,
            Self::Thu => Weekday::Thursday,
            Self::Fri => Weekday::Friday,
            Self::Sat => Weekday::Saturday,
            Self::Sun => Weekday::Sunday,
        };
        date.weekday() == weekday
    }
}

/// A date, or the dates from one to another: `2024-09-08`, `2024-12-20..2025-01-06`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Days {
    first: Date,
    last: Date,
}

impl Days {
    pub fn first(self) -> Date {
        self.first
    }

    pub fn last(self) -> Date {
        self.last
    }

    fn has(self, date: Date) -> bool {
        (self.first..=self.last).contains(&date)
    }
}

impl FromStr for Days {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let Some((first, last)) = text.split_once("..") else {
            let date = parse_date(text)?;
            return Ok(Self { first: date, last: date });
        };
        let (first, last) = (parse_date(first)?, parse_date(last)?);
        if last < first {
            return Err(Refusal::new("these dates end before they begin")
                .hint(format!("\"{last}..{first}\"?")));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}..{}", self.first, self.last),
        }
    }
}

impl TryFrom<String> for Days {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        text.parse()
    }
}

impl From<Days> for String {
    fn from(days: Days) -> Self {
        days.to_string()
    }
}

/// Some days: of the week, or of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Part {
    Week(Day),
    Dates(Days),
}

impl Part {
    pub(super) fn has(self, date: Date) -> bool {
        match self {
            Self::Week(day) => day.has(date),
            Self::Dates(days) => days.has(date),
        }
    }
}

impl FromStr for Part {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        if let Some(day) = Day::parse(text) {
            return Ok(Self::Week(day));
        }
        if text.bytes().any(|b| b.is_ascii_digit()) {
            return text.parse().map(Self::Dates);
        }
        let hint = did_you_mean(text, Day::WORDS).unwrap_or_else(|| {
            "such as \"fri\", \"2024-12-24\", \"2024-12-20..2025-01-06\"".to_owned()
        });
        Err(Refusal::new("this is neither a day of the week nor a date").hint(hint))
    }
}
