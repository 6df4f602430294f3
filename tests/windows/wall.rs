//! When windows are open: cases with what is expected beside them, and an oracle that looks at the clock on the wall
//! minute by minute.

use fleetlift::{
    base::{time::Timestamp, window::Windows},
    rollout,
};
use proptest::prelude::*;
use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path, time::Duration};

pub const MINUTE: i64 = 60_000;

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn windows_of(text: &str) -> Windows {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rollout.toml");
    fs::write(&file, text).unwrap();
    let rollout = rollout::read(&file).unwrap_or_else(|f| panic!("{}", f.render(false)));
    rollout.waves[0].windows.clone().unwrap()
}

fn window(window: &str) -> Windows {
    windows_of(&format!("[[wave]]\nname = \"w\"\nhosts = \"@all\"\nwindow = {window}\n"))
}

/// The openings of a case, as the zone's wall shows them and in UTC.
fn show(case: &Path) -> String {
    let text = fs::read_to_string(case).unwrap();
    let head = text.lines().next().unwrap();
    let (from, count) = head.strip_prefix("# from ").unwrap().split_once(", ").unwrap();
    let count: usize = count.split(' ').next().unwrap().parse().unwrap();
    let windows = windows_of(&text);
    let mut shown = String::new();
    let mut next = at(from);
    for _ in 0..count {
        let Some(opening) = windows.opening(next) else {
            shown.push_str("never again\n");
            break;
        };
        let open = if opening.is_open(next) { ", open" } else { "" };
        writeln!(
            shown,
            "{} to {} ({} to {}), {} minutes{open}",
            windows.wall(opening.from),
            windows.wall(opening.to),
            opening.from,
            opening.to,
            opening.length().as_secs() / 60,
        )
        .unwrap();
        next = opening.to;
    }
    shown
}

#[test]
fn windows_open_as_expected() {
    let mut wrong = String::new();
    let mut seen = 0;
    for entry in fs::read_dir("tests/cases/windows").unwrap() {
        let case = entry.unwrap().path();
        if case.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        seen += 1;
        let found = show(&case);
        let beside = case.with_extension("expected");
        if std::env::var_os("FLEETLIFT_ACCEPT").is_some() {
            fs::write(&beside, &found).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if found != expected {
            write!(wrong, "--- {}\n{expected}+++ found\n{found}", case.display()).unwrap();
        }
    }
    assert!(seen > 20, "the cases are where this test looks for them: {seen}");
    assert!(wrong.is_empty(), "{wrong}FLEETLIFT_ACCEPT=1 writes them anew");
}

#[test]
fn work_fits_only_where_it_ends_inside() {
    let nightly = window("{ from = \"22:00\", to = \"04:00\", zone = \"Europe/Berlin\" }");
    let hours = |n: u64| Duration::from_secs(n * 3600);
    let evening = at("2026-11-21T20:00:00Z");
    let opens = |now: Timestamp, need: Duration| nightly.fitting(now, need).map(|o| o.from);
    let tonight = Some(at("2026-11-21T21:00:00Z"));
    let tomorrow = Some(at("2026-11-22T21:00:00Z"));
    assert_eq!(opens(evening, hours(6)), tonight);
    assert_eq!(opens(evening, hours(6) + Duration::from_millis(1)), None);
    // Two hours are left at 02:00, and not a millisecond more.
    let late = at("2026-11-22T01:00:00Z");
    assert_eq!(opens(late, hours(2)), tonight);
    assert_eq!(opens(late + Duration::from_millis(1), hours(2)), tomorrow);
    assert_eq!(nightly.longest(evening), Some(hours(6)));
    let october = at("2026-10-20T20:00:00Z");
    assert_eq!(nightly.longest(october), Some(hours(7)), "one night has an hour twice");
    assert_eq!(opens(october, hours(7)), Some(at("2026-10-24T20:00:00Z")));
}

pub const ZONES: [&str; 9] = [
    "Europe/Berlin",
    "America/New_York",
    "Asia/Shanghai",
    "Australia/Lord_Howe",
    "UTC",
    "Pacific/Apia",
    "America/Havana",
    "Africa/Casablanca",
    "Atlantic/Azores",
];

/// A day near which the clocks of one of these zones change, or some other day.
pub fn days() -> impl Strategy<Value = jiff::civil::Date> {
    let changes = [
        (2025, 3, 30),
        (2025, 10, 26),
        (2026, 3, 8),
        (2026, 11, 1),
        (2025, 10, 5),
        (2025, 4, 6),
        (2011, 12, 30),
        (2024, 3, 10),
        (2024, 11, 3),
        (2025, 2, 23),
        (2025, 4, 6),
    ];
    let near = (0..changes.len(), -3..3i64).prop_map(move |(i, days)| {
        let (year, month, day) = changes[i];
        jiff::civil::date(year, month, day) + jiff::Span::new().days(days)
    });
    let any = (2020..2030i16, 1..=365i64)
        .prop_map(|(year, day)| jiff::civil::date(year, 1, 1) + jiff::Span::new().days(day));
    prop_oneof![3 => near, 1 => any]
}

/// A window as the oracle knows it: minutes of the day, and the days on which it begins.
#[derive(Clone, Debug)]
pub struct Said {
    pub zone: &'static str,
    pub from: i64,
    pub to: i64,
    pub days: BTreeSet<usize>,
    pub except: Option<jiff::civil::Date>,
}

const WORDS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Said {
    pub fn written(&self) -> String {
        let clock = |minutes: i64| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let days: Vec<&str> = self.days.iter().map(|day| WORDS[*day]).collect();
        let days = if days.is_empty() { String::new() } else { format!(", days = {days:?}") };
        let except = self.except.map_or(String::new(), |day| format!(", except = [\"{day}\"]"));
        format!(
            "{{ from = \"{}\", to = \"{}\", zone = \"{}\"{days}{except} }}",
            clock(self.from),
            clock(self.to),
            self.zone
        )
    }

    fn begins_on(&self, day: jiff::civil::Date) -> bool {
        let number = usize::try_from(day.weekday().to_monday_zero_offset()).unwrap();
        (self.days.is_empty() || self.days.contains(&number)) && self.except != Some(day)
    }

    /// Whether the wall of the zone shows a time of the window at this instant.
    pub fn is_open(&self, zone: &jiff::tz::TimeZone, instant: i64) -> bool {
        let wall = jiff::Timestamp::from_millisecond(instant).unwrap().to_zoned(zone.clone());
        let minute = i64::from(wall.hour()) * 60 + i64::from(wall.minute());
        let (today, yesterday) = (wall.date(), wall.date().yesterday().unwrap());
        if self.from < self.to {
            return self.begins_on(today) && (self.from..self.to).contains(&minute);
        }
        (self.begins_on(today) && minute >= self.from)
            || (self.begins_on(yesterday) && minute < self.to)
    }
}

pub fn said() -> impl Strategy<Value = Said> {
    let edge = prop_oneof![0..1440i64, 0..240i64, (1380..1440i64)];
    let week = proptest::collection::btree_set(0..7usize, 0..7);
    (0..ZONES.len(), edge.clone(), edge, week, proptest::option::of(days())).prop_map(
        |(zone, from, to, days, except)| Said { zone: ZONES[zone], from, to, days, except },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Four days, minute by minute: the openings of one or two windows are exactly the minutes at which a wall shows one.
    #[test]
    fn windows_are_open_when_the_wall_says_so(
        said in proptest::collection::vec(said(), 1..3),
        day in days(),
        minute in 0..1440i64,
    ) {
        prop_assume!(said.iter().all(|window| window.from != window.to));
        let written: Vec<String> = said.iter().map(Said::written).collect();
        let windows = window(&format!("[{}]", written.join(", ")));
        let zones: Vec<jiff::tz::TimeZone> =
            said.iter().map(|window| jiff::tz::TimeZone::get(window.zone).unwrap()).collect();
        let start = day.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_millisecond()
            + minute * MINUTE;
        let mut opening = windows.opening(Timestamp::from_millis(start));
        for instant in (start..start + 4 * 1440 * MINUTE).step_by(MINUTE as usize) {
            let now = Timestamp::from_millis(instant);
            if opening.is_some_and(|opening| opening.to <= now) {
                opening = windows.opening(now);
            }
            let found = opening.is_some_and(|opening| opening.is_open(now));
            let expected = said.iter().zip(&zones).any(|(window, zone)| window.is_open(zone, instant));
            prop_assert_eq!(found, expected, "{} with {:?}", now, written);
        }
    }

    /// Asked at any instant, an opening is the same: the answer does not depend on when one asks.
    #[test]
    fn an_opening_does_not_depend_on_who_asks(said in said(), day in days(), minutes in 0..2880i64) {
        prop_assume!(said.from != said.to);
        let windows = window(&said.written());
        let start = day.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_millisecond();
        let (early, late) = (Timestamp::from_millis(start), Timestamp::from_millis(start + minutes * MINUTE));
        let mut opening = windows.opening(early);
        while opening.is_some_and(|opening| opening.to <= late) {
            opening = opening.and_then(|opening| windows.opening(opening.to));
        }
        prop_assert_eq!(windows.opening(late).map(|o| o.to), opening.map(|o| o.to));
    }
}
