//! Time: points, lengths, and the clock that everything asks.

use super::{text_set::Text, utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr, time::Duration};

/// A point in time, to the millisecond, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// How long before `self` the earlier point lies; zero where it does not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with milliseconds: `2026-11-21T09:15:02.120Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match utc::write(self.0) {
            Some(text) => f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?),
            None => match jiff::Timestamp::from_millisecond(self.0) {
                Ok(at) => write!(f, "{at:.3}"),
                Err(_) => write!(f, "{} ms after 1970", self.0),
            },
        }
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        match utc::read(text) {
            Some(millis) => Ok(Self(millis)),
            None => Ok(Self(text.parse::<jiff::Timestamp>()?.as_millisecond())),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Text::deserialize(from)?.0.parse().map_err(D::Error::custom)
    }
}

impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time", "description": "RFC 3339, UTC" })
    }
}

/// What tells the time. Nothing but a clock asks the machine.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;

    /// What the clocks on walls show, wherever they were set to. Windows are asked with this, and nothing else is.
    fn wall(&self) -> Timestamp {
        self.now()
    }

    /// Time since some fixed point, which nobody can set, and which goes on while the machine sleeps. A clock that is never
    /// set is its own.
    fn steady(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now().as_millis()).unwrap_or(0))
    }
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_millisecond())
    }

    fn steady(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let part = |number: i64| u64::try_from(number).unwrap_or(0);
        Duration::from_secs(part(now.tv_sec)) + Duration::from_nanos(part(now.tv_nsec))
    }
}

/// Why a text is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a length of time")]
pub struct LengthError {
    text: String,
}

/// Reads a length of time as operators write it: `90s`, `15m`, `2h 30m`, `1d`. A bare number is refused.
pub fn parse_length(text: &str) -> Result<Duration, LengthError> {
    let refuse = || LengthError { text: text.to_owned() };
    let length: jiff::SignedDuration = text.parse().or_else(|_| {
        // jiff leaves days out of absolute lengths; here a day is always 24 hours.
        let (days, rest) = text.split_once('d').ok_or_else(refuse)?;
        let days: i64 = days.trim().parse().map_err(|_| refuse())?;
        let rest = match rest.trim() {
            "" => jiff::SignedDuration::ZERO,
            rest => rest.parse().map_err(|_| refuse())?,
        };
        let days = i32::try_from(days).map_err(|_| refuse())?;
        let days = jiff::SignedDuration::from_hours(24).checked_mul(days).ok_or_else(refuse)?;
        days.checked_add(rest).ok_or_else(refuse)
    })?;
    Duration::try_from(length).map_err(|_| refuse())
}

/// Writes a length of time for people, in at most two units: `850ms`, `12s`, `3m 05s`, `2h 30m`, `4d 2h`.
pub fn format_length(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0 => format!("{}ms", length.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Serde for lengths of time, as whole milliseconds.
pub mod millis {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub fn serialize<S: Serializer>(length: &Duration, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_u64(u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Ok(Duration::from_millis(u64::deserialize(from)?))
    }
}

/// As `millis`, where there may be none.
pub mod maybe_millis {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::time::Duration;

    pub fn serialize<S: Serializer>(length: &Option<Duration>, out: S) -> Result<S::Ok, S::Error> {
        let millis = length.map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
        millis.serialize(out)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_operators_write_them() {
        let cases = [
            ("90s", 90),
            ("15m", 900),
            ("2h 30m", 9000),
            ("2h30m", 9000),
            ("1d", 86_400),
            ("1d 2h", 93_600),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse_length(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        let huge = ["4294967297d", "1d 2562047788015215h", "99999999999999999999h"];
        for text in ["", "90", "-5s", "fast", "1x"].into_iter().chain(huge) {
            assert!(parse_length(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lengths_are_written_in_two_units() {
        let cases = [(850, "850ms"), (12_000, "12s"), (185_000, "3m 05s"), (9_000_000, "2h 30m")];
        for (millis, text) in cases {
            assert_eq!(format_length(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_timestamp_survives_its_text() {
        let at = Timestamp::from_millis(1_795_252_502_120);
        assert_eq!(at.to_string().parse().ok(), Some(at));
    }
}
