//! A calendar for a terminal.

use super::words::Words;
use crate::{
    base::{
        text::{one_line, shorten},
        time::{Timestamp, format_length},
        window::wall_in,
    },
    plan::Plan,
    run::{Basis, Calendar, Forecast, Night, WaveCalendar},
};
use std::{fmt::Write as _, time::Duration};

/// Nights named one by one; of more it is said how many.
const NIGHTS_MAX: usize = 7;
/// Columns of a list of waves.
const PATH_COLUMNS_MAX: usize = 120;

/// The calendar as text. Without windows it says nothing of dates: then it is the same whenever one asks.
pub fn calendar_text(plan: &Plan, calendar: &Calendar, colour: bool) -> String {
    let mut out = String::new();
    let head = if colour { "\u{1b}[1mCalendar\u{1b}[0m" } else { "Calendar" };
    let path: Vec<&str> = calendar.critical_path.iter().map(|wave| wave.as_str()).collect();
    let path = one_line(&path.join(", ")).into_owned();
    let path = shorten(&path, PATH_COLUMNS_MAX);
    let zone = calendar.waves.iter().find_map(|wave| wave.zone.as_deref());
    // Writing to a string does not fail.
    let _ = writeln!(out, "\n{head}");
    let _ = writeln!(out, "  {}", forecast_text(&calendar.forecast));
    if calendar.critical_path.len() > 1 {
        let _ = writeln!(out, "  the critical path is {path}");
    }
    let Some(zone) = zone else { return out };
    let (begins, ends) = (wall_in(zone, calendar.begins), wall_in(zone, calendar.ends));
    let _ = writeln!(
        out,
        "  from {begins} to {ends}: {}, at most {} a night",
        counted(calendar.nights, "night"),
        counted(calendar.hosts_a_night, "host")
    );
    for (number, wave) in calendar.waves.iter().enumerate() {
        let _ = writeln!(out, "{}", one_line(&wave_line(plan, number, wave, zone)));
    }
    out
}

/// `2h 10m, or 3h 05m where hosts are slow, by …`.
pub(super) fn forecast_text(forecast: &Forecast) -> String {
    let words = Words::english();
    let length = |seconds| format_length(Duration::from_secs(seconds));
    let (usual, slow) = (length(forecast.p50_s), length(forecast.p90_s));
    let basis = words.get(match forecast.basis {
        Basis::Playbook => "forecast.by_playbook",
        Basis::PastRuns => "forecast.by_past_runs",
        Basis::ThisRun => "forecast.by_this_run",
    });
    let key = if usual == slow { "forecast.alike" } else { "forecast.between" };
    words.say(key, &[("usual", &usual), ("slow", &slow), ("basis", &basis)])
}

fn wave_line(plan: &Plan, number: usize, wave: &WaveCalendar, zone: &str) -> String {
    let own = wave.zone.as_deref().unwrap_or(zone);
    let at = |at: Option<Timestamp>| at.map_or_else(|| "–".to_owned(), |at| wall_in(own, at));
    let mut line = format!("{:>3}  {:<14} ", number + 1, wave.wave);
    if plan.waves[number].hosts.is_empty() {
        line.push_str("no host");
        return line;
    }
    // The zone stands once, behind both.
    let first = at(wave.first_start);
    let first = first.strip_suffix(own).unwrap_or(&first).trim_end();
    let _ = write!(line, "{first} to {}", at(wave.last_end));
    if !wave.nights.is_empty() {
        let _ = write!(line, ", {}", nights(&wave.nights));
    }
    line
}

fn nights(nights: &[Night]) -> String {
    let most = nights.iter().map(|night| night.hosts).max().unwrap_or(0);
    let count = counted(nights.len(), "night");
    if nights.len() > NIGHTS_MAX {
        return format!("{count}, at most {} a night", counted(most, "host"));
    }
    let each: Vec<String> =
        nights.iter().map(|night| format!("{} on {}", night.hosts, night.date)).collect();
    format!("{count}: {}", each.join(", "))
}

fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
