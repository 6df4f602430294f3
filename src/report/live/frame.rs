//! The frame that is redrawn: a bar, counts, and the hosts in flight.

use super::track::Track;
use crate::{
    base::{
        text::{fold_names, one_line, shorten},
        time::Timestamp,
    },
    plan::Plan,
    report::{
        build::{in_order, millis},
        dark::Dark,
        naming::step_name,
        paint::Paint,
        state::{State, Tone},
        status::{rests, waits_on},
        words::Words,
    },
    run::{Expected, HostPhase, HostState, RunPhase, RunState, WaitingOn, Waits, decide},
};
use console::{measure_text_width, truncate_str};
use std::fmt::Display;

/// Hosts in flight with a line each, where the terminal has room.
const HOSTS_MAX: usize = 12;

/// Lines that events above the frame keep to themselves.
const ROWS_FOR_EVENTS: usize = 6;

/// Columns of the bar, and the terminal below which there is none.
const BAR_COLUMNS: usize = 32;
const BAR_TERMINAL_MIN: usize = 60;

/// Columns of the names of hosts that rest.
const RESTING_COLUMNS_MAX: usize = 40;

/// Columns of a host's name: longer ones are cut.
const NAME_COLUMNS_MAX: usize = 28;

/// The terminal's.
#[derive(Clone, Copy, Debug)]
pub(in crate::report) struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// What a frame is made from.
pub(in crate::report) struct Frame<'a> {
    pub words: &'a Words,
    pub paint: Paint,
    pub plan: &'a Plan,
    pub state: &'a RunState,
    pub now: Timestamp,
}

impl Frame<'_> {
    /// The frame's lines, none wider than the terminal.
    pub fn lines(&self, track: &Track, size: Size) -> Vec<String> {
        let mut lines = vec![self.bar(track, size.columns), self.counts()];
        lines.extend(self.halt());
        lines.extend(self.outside());
        lines.extend(self.rests(track));
        let room = size.rows.saturating_sub(ROWS_FOR_EVENTS + lines.len()).clamp(1, HOSTS_MAX);
        lines.extend(self.hosts(track, room));
        if track.in_flight() > room {
            let n = self.words.number(track.in_flight() - room);
            lines.push(self.paint.dim(&self.words.say("live.more", &[("n", &n)])));
        }
        // One column stays free: a terminal that wraps at its edge would break the frame.
        let width = size.columns.saturating_sub(1).max(1);
        lines.iter().map(|line| truncate_str(line, width, "…").into_owned()).collect()
    }

    /// The same in one line, for a log.
    pub fn one_line(&self, track: &Track) -> String {
        format!("{}; {}", self.progress(track), self.counts())
    }

    fn done(&self) -> usize {
        in_order(&self.state.counts)
            .into_iter()
            .filter(|(state, _)| {
                !state.is_in_flight() && !matches!(state, State::Pending | State::Held)
            })
            .map(|(_, n)| n)
            .sum()
    }

    fn bar(&self, track: &Track, columns: usize) -> String {
        let text = self.progress(track);
        if columns < BAR_TERMINAL_MIN {
            return text;
        }
        format!("{}  {text}", self.blocks())
    }

    /// The bar: a stretch for each tone, told apart by shade, too. What there is, is seen: no stretch is rounded away.
    fn blocks(&self) -> String {
        let total = self.state.hosts.len().max(1);
        let mut bar = String::new();
        let mut used = 0;
        for tone in [Tone::Good, Tone::Warn, Tone::Bad, Tone::Busy] {
            let n: usize = in_order(&self.state.counts)
                .into_iter()
                .filter(|(state, _)| state.tone() == tone)
                .map(|(_, n)| n)
                .sum();
            let mut columns = n * BAR_COLUMNS / total;
            if n > 0 {
                columns = columns.max(1);
            }
            let columns = columns.min(BAR_COLUMNS - used);
            used += columns;
            let shade = match tone {
                Tone::Good => "█",
                Tone::Warn | Tone::Bad => "▓",
                Tone::Busy => "▒",
                Tone::Calm => "░",
            };
            bar.push_str(&self.paint.tone(tone, &shade.repeat(columns)));
        }
        bar.push_str(&self.paint.dim(&"░".repeat(BAR_COLUMNS - used)));
        bar
    }

    /// `10 of 15 hosts  3.2 a minute  12m to 25m left  1h 02m so far`.
    fn progress(&self, track: &Track) -> String {
        let words = self.words;
        let done = words.number(self.done());
        let hosts = words.number(self.state.hosts.len());
        let so_far = self.state.started.map_or(0, |started| millis(started, self.now));
        let mut parts = vec![words.say("live.done", &[("done", &done), ("hosts", &hosts)])];
        parts.extend(self.rate(track));
        let pending = self.state.counts.get(State::Pending.word()).copied().unwrap_or(0);
        if pending > 0 || track.in_flight() > 0 {
            // What nobody can know yet is left out.
            parts.extend(track.left(self.now).map(|(low, high)| {
                let (low, high) = (words.length(low), words.length(high));
                let key = if low == high { "live.left_alike" } else { "live.left" };
                words.say(key, &[("low", &low), ("high", &high)])
            }));
        }
        parts.push(words.say("live.so_far", &[("length", &words.length(so_far))]));
        parts.join("  ")
    }

    /// Hosts a minute, or an hour where that is more telling.
    fn rate(&self, track: &Track) -> Option<String> {
        let words = self.words;
        let rate = track.per_minute(self.now)?;
        Some(if rate < 1.0 {
            words.say("live.an_hour", &[("rate", &format!("{:.1}", rate * 60.0))])
        } else {
            words.say("live.a_minute", &[("rate", &format!("{rate:.1}"))])
        })
    }

    fn counts(&self) -> String {
        let count = |(state, n): (State, usize)| {
            let label = self.words.get(&format!("state.{}", state.word())).to_lowercase();
            let text = format!("{} {} {label}", state.sign(), self.words.number(n));
            self.paint.tone(state.tone(), &text)
        };
        in_order(&self.state.counts).into_iter().map(count).collect::<Vec<_>>().join("  ")
    }

    /// Why no new host starts.
    fn halt(&self) -> Option<String> {
        let text = match (&self.state.phase, &self.state.stopping) {
            (RunPhase::Paused(reason), _) => {
                self.words.say("live.paused", &[("reason", &one_line(&reason.to_string()))])
            }
            (RunPhase::Running, Some(by)) => {
                self.words.say("live.stopping", &[("by", &one_line(by))])
            }
            (RunPhase::New | RunPhase::Running | RunPhase::Finished(_), _) => return None,
        };
        Some(self.paint.tone(Tone::Warn, &text))
    }

    /// What is waited for where nothing is at work: a window, an approval, time, a good answer.
    pub fn outside(&self) -> Option<String> {
        if self.state.running > 0 || self.state.phase != RunPhase::Running {
            return None;
        }
        let waiting_on = decide(self.plan, self.state, self.now).waiting_on;
        let outside = |on: &&WaitingOn| {
            matches!(
                on,
                WaitingOn::Window { .. }
                    | WaitingOn::Approval { .. }
                    | WaitingOn::Soak { .. }
                    | WaitingOn::Watch { .. }
            )
        };
        let outside = waiting_on.iter().find(outside)?;
        let text = one_line(&waits_on(self.words, outside)).into_owned();
        Some(self.paint.tone(Tone::Calm, &self.words.say("live.waits", &[("what", &text)])))
    }

    /// Hosts that rest on their way, and until when: those that nobody holds.
    fn rests(&self, track: &Track) -> Option<String> {
        let free = |index: &&usize| self.state.hosts[**index].held_by.is_none();
        let resting: Vec<usize> = track.resting().iter().filter(free).copied().collect();
        let first = *resting.first()?;
        let expected = Expected { plan: self.plan, state: self.state, now: self.now };
        let waiting_on = decide(self.plan, self.state, self.now).waiting_on;
        let how = rests(self.words, Waits::new(&expected, &waiting_on).of(first));
        let names = resting.iter().filter_map(|index| self.plan.hosts.get(*index));
        let names = fold_names(names.map(|host| host.name.as_str()));
        let names = shorten(&one_line(&names), RESTING_COLUMNS_MAX).into_owned();
        let n = self.words.number(resting.len());
        let values: [(&str, &dyn Display); 3] = [("n", &n), ("hosts", &names), ("how", &how)];
        Some(self.paint.tone(Tone::Calm, &self.words.say("live.rests", &values)))
    }

    fn hosts(&self, track: &Track, room: usize) -> Vec<String> {
        let shown: Vec<(State, String, String)> = track
            .flying()
            .take(room)
            .filter_map(|index| {
                let host = self.state.hosts.get(index)?;
                let name = one_line(self.plan.hosts.get(index)?.name.as_str()).into_owned();
                let name = truncate_str(&name, NAME_COLUMNS_MAX, "…").into_owned();
                let state = State::of(host, false);
                Some((state, name, self.at(state, host)))
            })
            .collect();
        let width = shown.iter().map(|(_, name, _)| measure_text_width(name)).max().unwrap_or(0);
        let line = |(state, name, at): &(State, String, String)| {
            let pad = " ".repeat(width - measure_text_width(name));
            format!("  {} {name}{pad}  {at}", self.paint.sign(*state))
        };
        shown.iter().map(line).collect()
    }

    fn dark(&self, host: &HostState) -> String {
        let Some(dark) = Dark::of(self.plan, self.state, host, self.now) else {
            return String::new();
        };
        let mut text = dark.so_far(self.words);
        if let Some(others) = dark.others(self.words) {
            text.push_str(&self.paint.dim(&format!(" ({others})")));
        }
        if dark.late {
            let late = format!("  {}", self.words.get("dark.late"));
            text.push_str(&self.paint.tone(Tone::Warn, &late));
        }
        text
    }

    /// What a host is doing, and for how long.
    fn at(&self, state: State, host: &HostState) -> String {
        let words = self.words;
        let so_far = words.length(millis(host.since, self.now));
        let step = host.step().and_then(|step| self.plan.steps.get(step));
        let name = step.map(|step| step_name(self.plan, &step.id)).unwrap_or_default();
        if state == State::Dark {
            return self.dark(host);
        }
        let mut text = match &host.phase {
            HostPhase::Running { attempt: 1, .. } => {
                words.say("live.step", &[("step", &name), ("length", &so_far)])
            }
            HostPhase::Running { attempt, .. } => words
                .say("live.attempt", &[("step", &name), ("attempt", attempt), ("length", &so_far)]),
            HostPhase::Waiting { next, not_before, .. } => {
                let until = words.length(millis(self.now, *not_before));
                words.say("live.retry", &[("step", &name), ("attempt", next), ("length", &until)])
            }
            HostPhase::Pending
            | HostPhase::Idle
            | HostPhase::Resting { .. }
            | HostPhase::Ended(_) => words.get("live.between").to_owned(),
        };
        if host.held_by.is_some() {
            text.push_str(&self.paint.tone(Tone::Warn, words.get("live.holding")));
        }
        if host.armed {
            text.push_str(&self.paint.tone(Tone::Warn, words.get("live.armed")));
        }
        text
    }
}
