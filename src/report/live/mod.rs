//! The live display: what the run is doing, as it does it. Pretty on a terminal, plain lines in a log, JSON for programs.

mod announce;
mod frame;
mod track;

use super::{paint::Paint, words::Words};
use crate::{
    base::{text::safe_json, time::Timestamp},
    journal::Record,
    plan::Plan,
    run::RunState,
};
use announce::Announcer;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{io::Write, time::Duration};
use track::Track;

/// Redraws in a second: more is unrest, not information.
const REDRAWS_HZ: u8 = 10;

/// How often a log gets a line about the whole run.
const PLAIN_SUMMARY_EVERY: Duration = Duration::from_secs(30);

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A frame that is redrawn, with events above it; on standard error.
    Pretty,
    /// A line for each important event; on standard error.
    Plain,
    /// Each record as one line of JSON; on standard output.
    Json,
}

/// Shows a run while it goes on. It takes in records and ticks, and never stops a run: an output that is gone is left
/// alone.
pub struct Display {
    view: View,
    track: Track,
    announcer: Announcer,
    paint: Paint,
    words: &'static Words,
}

enum View {
    Pretty(ProgressBar),
    Plain {
        out: Output,
        summary_due: Option<Timestamp>,
        /// What was said last of a window that is waited for.
        waits: Option<String>,
    },
    Json(Output),
}

/// Where lines go. After the first error, such as a closed pipe, nothing more is written.
struct Output {
    to: Box<dyn Write + Send>,
    gone: bool,
}

impl Output {
    fn line(&mut self, line: &str) {
        if !self.gone {
            self.gone = writeln!(self.to, "{line}").and_then(|()| self.to.flush()).is_err();
        }
    }
}

impl Display {
    /// A display for a run that stands at `state`: new, or resumed.
    pub fn new(mode: Mode, color: bool, plan: &Plan, state: &RunState) -> Self {
        let bar = ProgressDrawTarget::stderr_with_hz(REDRAWS_HZ);
        let view = match mode {
            // Without a terminal there is nothing to redraw.
            Mode::Pretty if bar.is_hidden() => Self::plain(Box::new(std::io::stderr())),
            Mode::Pretty => Self::pretty(bar),
            Mode::Plain => Self::plain(Box::new(std::io::stderr())),
            Mode::Json => View::Json(Output { to: Box::new(std::io::stdout()), gone: false }),
        };
        Self::of(view, color, plan, state)
    }

    /// A display that writes its lines somewhere else. A pretty one has no terminal to draw on there, and is plain.
    pub fn with_output(
        mode: Mode,
        color: bool,
        plan: &Plan,
        state: &RunState,
        to: Box<dyn Write + Send>,
    ) -> Self {
        let view = match mode {
            Mode::Pretty | Mode::Plain => Self::plain(to),
            Mode::Json => View::Json(Output { to, gone: false }),
        };
        Self::of(view, color, plan, state)
    }

    fn of(view: View, color: bool, plan: &Plan, state: &RunState) -> Self {
        Self {
            view,
            track: Track::new(plan, state),
            announcer: Announcer::default(),
            paint: Paint { color },
            words: Words::english(),
        }
    }

    fn pretty(target: ProgressDrawTarget) -> View {
        let bar = ProgressBar::with_draw_target(None, target);
        let style =
            ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        View::Pretty(bar)
    }

    fn plain(to: Box<dyn Write + Send>) -> View {
        View::Plain { out: Output { to, gone: false }, summary_due: None, waits: None }
    }

    /// Takes in a record that the state has taken in already.
    pub fn on_record(&mut self, record: &Record, state: &RunState, plan: &Plan) {
        self.track.take(record, state);
        match &mut self.view {
            View::Json(out) => {
                // A record is texts, numbers and lists, which JSON can always say.
                if let Ok(line) = serde_json::to_string(record) {
                    out.line(&safe_json(&line));
                }
            }
            View::Pretty(bar) => {
                let columns = console::Term::stderr().size().1.into();
                for line in self.announcer.lines(self.words, self.paint, record, state, plan) {
                    bar.println(console::truncate_str(&line, columns, "…"));
                }
            }
            View::Plain { out, .. } => {
                for line in self.announcer.lines(self.words, self.paint, record, state, plan) {
                    out.line(&line);
                }
            }
        }
    }

    /// Shows how time goes by. Its cost grows with the hosts shown, not with the fleet.
    pub fn tick(&mut self, now: Timestamp, state: &RunState, plan: &Plan) {
        match &mut self.view {
            View::Json(_) => {}
            View::Pretty(bar) => {
                let (rows, columns) = console::Term::stderr().size();
                let size = frame::Size { columns: columns.into(), rows: rows.into() };
                self.track.refresh(now, state, plan);
                let frame = frame::Frame { words: self.words, paint: self.paint, plan, state, now };
                bar.set_message(frame.lines(&self.track, size).join("\n"));
            }
            View::Plain { out, summary_due, waits } => {
                let frame = frame::Frame { words: self.words, paint: self.paint, plan, state, now };
                match summary_due {
                    Some(due) if *due > now => return,
                    // The first line comes after a while, when there is something to say.
                    None => {}
                    Some(_) => match frame.outside() {
                        // A night of waiting is one line, not a thousand.
                        Some(text) if waits.as_ref() == Some(&text) => {}
                        Some(text) => {
                            out.line(&format!("{}  {text}", self.words.clock(now)));
                            *waits = Some(text);
                        }
                        None => {
                            self.track.refresh(now, state, plan);
                            let line = frame.one_line(&self.track);
                            out.line(&format!("{}  {line}", self.words.clock(now)));
                            *waits = None;
                        }
                    },
                }
                *summary_due = Some(now + PLAIN_SUMMARY_EVERY);
            }
        }
    }

    /// Clears what is drawn, so that the end screen has the terminal for itself.
    pub fn finish(&mut self) {
        if let View::Pretty(bar) = &self.view {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
pub(super) use frame::{Frame, Size};
#[cfg(test)]
pub(super) use track::Track as Tracked;
