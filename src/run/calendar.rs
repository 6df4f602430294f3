//! The calendar of a run: which wave in which nights, how many hosts in each, and how long all of it takes.

use super::{
    foresee::{Course, Stuck, foresee},
    pace::{Basis, Mark, basis},
    state::RunState,
};
use crate::{
    base::{name::WaveName, time::Timestamp, window::Opening},
    plan::Plan,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long the rest of a run takes, if nothing goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// Where every host takes as long as the median of hosts does, in seconds.
    pub p50_s: u64,
    /// Where every host takes as long as the slow ones do.
    pub p90_s: u64,
    pub basis: Basis,
}

/// The forecast for what is left of a run.
pub fn forecast(plan: &Plan, state: &RunState, now: Timestamp) -> Forecast {
    let slow = foresee(plan, state, now, Mark::P90);
    forecast_beside(plan, state, now, &slow)
}

/// The forecast, where its slow side is known.
fn forecast_beside(plan: &Plan, state: &RunState, now: Timestamp, slow: &Course) -> Forecast {
    let seconds = |course: &Course| course.ends.since(now).as_millis().div_ceil(1000) as u64;
    let usual = seconds(&foresee(plan, state, now, Mark::P50));
    let slow = seconds(slow);
    // Hosts that end sooner may let others begin before a window closes, and so be later than slow ones.
    Forecast { p50_s: usual.min(slow), p90_s: slow.max(usual), basis: basis(plan, state) }
}

/// A plan laid out in time, by the lengths that nine of ten hosts keep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calendar {
    pub begins: Timestamp,
    pub ends: Timestamp,
    pub forecast: Forecast,
    /// How many nights have hosts of waves with windows, and how many hosts the fullest has.
    pub nights: usize,
    pub hosts_a_night: usize,
    /// The waves that the last one had to wait for, one after the other, and that last one.
    pub critical_path: Vec<WaveName>,
    pub waves: Vec<WaveCalendar>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WaveCalendar {
    pub wave: WaveName,
    pub hosts: usize,
    /// Absent for a wave without hosts.
    pub first_start: Option<Timestamp>,
    pub last_end: Option<Timestamp>,
    /// In which zone its windows are told; absent without windows.
    pub zone: Option<String>,
    /// Empty without windows.
    pub nights: Vec<Night>,
}

/// What happens in one opening of a wave's windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Night {
    /// The day of its opening, in the zone.
    pub date: String,
    pub opens: Timestamp,
    pub closes: Timestamp,
    pub hosts: usize,
    pub first_start: Timestamp,
    pub last_end: Timestamp,
}

/// Lays out a plan that would begin now. An error where it can never end: the waves that no window is long enough for.
pub fn calendar(plan: &Plan, now: Timestamp) -> Result<Calendar, Vec<Stuck>> {
    let state = RunState::new(plan);
    let slow = foresee(plan, &state, now, Mark::P90);
    if !slow.stuck.is_empty() {
        return Err(slow.stuck);
    }
    let waves: Vec<WaveCalendar> =
        (0..plan.waves.len()).map(|number| wave(plan, &slow, number)).collect();
    let mut by_date: BTreeMap<&str, usize> = BTreeMap::new();
    for night in waves.iter().flat_map(|wave| &wave.nights) {
        *by_date.entry(&night.date).or_default() += night.hosts;
    }
    Ok(Calendar {
        begins: now,
        ends: slow.ends,
        forecast: forecast_beside(plan, &state, now, &slow),
        nights: by_date.len(),
        hosts_a_night: by_date.values().copied().max().unwrap_or(0),
        critical_path: critical_path(plan, &waves),
        waves,
    })
}

fn wave(plan: &Plan, course: &Course, number: usize) -> WaveCalendar {
    let planned = &plan.waves[number];
    let mut spans: Vec<(Timestamp, Timestamp)> = planned
        .hosts
        .iter()
        .filter_map(|host| course.hosts.get(host))
        .filter_map(|(start, end)| Some((*start, (*end)?)))
        .collect();
    spans.sort_unstable();
    let mut nights: Vec<Night> = Vec::new();
    let mut opening: Option<Opening> = None;
    for (start, end) in &spans {
        let Some(windows) = &planned.windows else { break };
        if let Some(night) = nights.last_mut()
            && opening.is_some_and(|opening| opening.is_open(*start))
        {
            night.hosts += 1;
            night.last_end = night.last_end.max(*end);
            continue;
        }
        opening = windows.opening(*start);
        let Some(opening) = opening else { break };
        nights.push(Night {
            date: windows.date(opening.from),
            opens: opening.from,
            closes: opening.to,
            hosts: 1,
            first_start: *start,
            last_end: *end,
        });
    }
    WaveCalendar {
        wave: planned.name.clone(),
        hosts: planned.hosts.len(),
        first_start: spans.first().map(|(start, _)| *start),
        last_end: spans.iter().map(|(_, end)| *end).max(),
        zone: planned.windows.as_ref().map(|windows| windows.zone().to_string()),
        nights,
    }
}

/// From the wave that ends last back through those that it waited for.
fn critical_path(plan: &Plan, waves: &[WaveCalendar]) -> Vec<WaveName> {
    let last = |among: &mut dyn Iterator<Item = usize>| {
        among.filter(|n| waves[*n].last_end.is_some()).max_by_key(|n| waves[*n].last_end)
    };
    let mut path = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = last(&mut (0..waves.len()));
    while let Some(number) = next {
        if !seen.insert(number) {
            break;
        }
        path.push(waves[number].wave.clone());
        next = last(&mut plan.waves[number].after.iter().copied());
    }
    path.reverse();
    path
}

impl Calendar {
    /// How long all of it takes by the lengths that nine of ten hosts keep.
    pub fn length(&self) -> Duration {
        self.ends.since(self.begins)
    }
}
