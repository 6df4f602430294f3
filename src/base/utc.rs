//! A point in time as a journal has it, `2026-11-21T09:15:02.120Z`: every record has one, so it is read and written without
//! a calendar. Whatever looks otherwise is left to the calendar.

const DAY: i64 = 86_400_000;
/// 0000-03-01, counted from 1970: years that begin in March have their leap day last.
const FIRST: i64 = -719_468;
/// Days of four hundred years, after which the calendar begins anew.
const ERA: i64 = 146_097;

/// Milliseconds since 1970 as text; nothing for years that have not four digits, nor for the calendar's last one, which
/// is not whole.
pub(super) fn write(millis: i64) -> Option<[u8; 24]> {
    let (days, rest) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    put(&mut text[0..4], u64::try_from(year).ok().filter(|year| *year < 9999)?);
    let parts = [
        (5, 2, month),
        (8, 2, day),
        (11, 2, rest / 3_600_000),
        (14, 2, rest / 60_000 % 60),
        (17, 2, rest / 1000 % 60),
        (20, 3, rest % 1000),
    ];
    for (at, digits, value) in parts {
        put(&mut text[at..at + digits], u64::try_from(value).ok()?);
    }
    Some(text)
}

fn put(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// The milliseconds since 1970 of a text that [`write`] has written.
pub(super) fn read(text: &str) -> Option<i64> {
    let text: &[u8; 24] = text.as_bytes().try_into().ok()?;
    let get = |at: usize, digits: usize| {
        text[at..at + digits].iter().try_fold(0_i64, |value, digit| {
            digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0'))
        })
    };
    let days = days(get(0, 4)?, get(5, 2)?, get(8, 2)?);
    let (hour, minute) = (get(11, 2)?, get(14, 2)?);
    let millis = days * DAY + (hour * 60 + minute) * 60_000 + get(17, 2)? * 1000 + get(20, 3)?;
    // A day that is none, a minute too many, another separator: the text would be another one.
    (write(millis)? == *text).then_some(millis)
}

/// Year, month and day of a day since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let (era, day) = ((days - FIRST).div_euclid(ERA), (days - FIRST).rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// The inverse, also for what is no day.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let day = (153 * month + 2) / 5 + day - 1;
    era * ERA + year * 365 + year / 4 - year / 100 + day + FIRST
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_calendar(millis: i64) -> Option<String> {
        let at = jiff::Timestamp::from_millisecond(millis).ok()?;
        Some(format!("{at:.3}"))
    }

    /// Every day that four digits can say, by the calendar.
    #[test]
    fn every_day_is_the_calendar_s() {
        for day in
            (-719_600_i64..2_932_910).step_by(7).chain([-719_528, -719_529, 2_932_532, 2_932_896])
        {
            let millis = day * DAY + 45_296_789;
            let Some(text) = write(millis) else { continue };
            let text = String::from_utf8(text.to_vec()).unwrap();
            assert_eq!(by_calendar(millis), Some(text.clone()));
            assert_eq!(read(&text), Some(millis));
        }
        assert!(write(2_932_532 * DAY - 1).is_some() && write(2_932_532 * DAY).is_none());
        assert!(write(-719_528 * DAY).is_some() && write(-719_528 * DAY - 1).is_none());
    }

    proptest! {
        #[test]
        fn any_instant_is_the_calendar_s(millis in -70_000_000_000_000_i64..260_000_000_000_000) {
            if let Some(text) = write(millis) {
                let text = String::from_utf8(text.to_vec()).unwrap();
                prop_assert_eq!(by_calendar(millis), Some(text.clone()));
                prop_assert_eq!(read(&text), Some(millis));
            }
        }

        /// What is read quickly means what the calendar says; what the calendar refuses is not read.
        #[test]
        fn what_is_read_is_what_the_calendar_reads(
            text in "(00|20)[0-9]{2}-[0-1][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9][.,][0-9]{3}[Zz]",
        ) {
            if let Some(millis) = read(&text) {
                let at: jiff::Timestamp = text.parse().unwrap();
                prop_assert_eq!(millis, at.as_millisecond());
            }
        }
    }
}
