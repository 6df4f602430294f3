//! Which records are worth a line of their own, and what that line says.

use crate::{
    base::approval::Decision,
    base::name::HostName,
    base::text::{fold_names, one_line, shorten},
    journal::{End, Event, Failure, Finding, Record, Then, Verdict},
    plan::Plan,
    playbook::Severity,
    report::{
        build::millis,
        build_groups::evidence,
        gates_text::word_of,
        naming::{accepted_text, keyed, step_name},
        paint::Paint,
        state::{State, Tone},
        watch_text::tuned,
        words::Words,
    },
    run::RunState,
};
use std::{collections::BTreeSet, fmt::Display};

/// Columns of a line of output in an announcement.
const OUTPUT_COLUMNS_MAX: usize = 160;

/// Turns records into lines, and remembers which warnings it has told: the end screen has all of them, with their hosts.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    warned: BTreeSet<String>,
}

/// What is told once: a migrator's finding by its key, whichever step tells it, and all others by their step.
fn what(finding: &Finding) -> String {
    finding.key().unwrap_or(finding.step.step.as_str()).to_owned()
}

impl Announcer {
    /// The lines for a record: none for most.
    pub fn lines(
        &mut self,
        words: &Words,
        paint: Paint,
        record: &Record,
        state: &RunState,
        plan: &Plan,
    ) -> Vec<String> {
        if let Event::HostFinding { finding, .. } = &record.event
            && !finding.blocks()
            // What is about this host alone is told of each.
            && finding.notice.is_none()
            && !self.warned.insert(what(finding))
        {
            return Vec::new();
        }
        let line = Line { words, state, record };
        let Some((sign, tone, text)) = line.say(plan) else { return Vec::new() };
        let clock = paint.dim(&words.clock(record.at));
        let mut lines = vec![format!("{clock}  {} {text}", paint.tone(tone, &sign.to_string()))];
        if let Event::AttemptFailed { tail, .. } = &record.event
            && let Some(last) = evidence(tail).last()
        {
            let last = shorten(last, OUTPUT_COLUMNS_MAX);
            lines.push(format!("{:12}{}", "", paint.dim(&format!("│ {last}"))));
        }
        lines
    }
}

struct Line<'a> {
    words: &'a Words,
    state: &'a RunState,
    record: &'a Record,
}

impl Line<'_> {
    fn with(&self, key: &str, values: &[(&str, &dyn Display)]) -> String {
        self.words.say(key, values)
    }

    fn say(&self, plan: &Plan) -> Option<(char, Tone, String)> {
        let host = self.record.event.host().map(|host| one_line(host.as_str()));
        let host = host.unwrap_or_default();
        Some(match &self.record.event {
            Event::RunStarted { operator, hosts, .. } => {
                let hosts = self.words.number(*hosts);
                let (title, operator) = (one_line(&plan.title), one_line(operator));
                let values: [(&str, &dyn Display); 3] =
                    [("title", &title), ("hosts", &hosts), ("operator", &operator)];
                ('▸', Tone::Busy, self.with("live.run_started", &values))
            }
            Event::RunResumed { operator, .. } => (
                '▸',
                Tone::Busy,
                self.with("live.run_resumed", &[("operator", &one_line(operator))]),
            ),
            Event::StopRequested { by, .. } => {
                ('‖', Tone::Warn, self.with("live.stopping", &[("by", &one_line(by))]))
            }
            Event::LeaveRequested { by, .. } => {
                ('‖', Tone::Warn, self.with("live.leaving", &[("by", &one_line(by))]))
            }
            Event::HoldRequested { by, hosts, .. } => {
                ('‖', Tone::Warn, self.asked("live.hold", by, hosts))
            }
            Event::ReleaseRequested { by, hosts, .. } => {
                ('▸', Tone::Busy, self.asked("live.release", by, hosts))
            }
            Event::GateDecided { approval, .. } => {
                let said = word_of(self.words, ["live.approve", "live.reject"], plan, approval);
                match approval.statement.decision {
                    Decision::Approve => ('▸', Tone::Good, said),
                    Decision::Reject => ('‖', Tone::Warn, said),
                }
            }
            Event::WatchTold { watch, told, .. } => {
                let (watch, said) = (watch.to_string(), told.to_string());
                let (sign, tone) =
                    if told.is_well() { ('▸', Tone::Good) } else { ('‖', Tone::Warn) };
                let (watch, said) = (one_line(&watch), one_line(&said));
                (sign, tone, self.with("live.watch", &[("watch", &watch), ("told", &said)]))
            }
            Event::LimitsTuned { by, parallel, failures, .. } => {
                ('▸', Tone::Busy, tuned(self.words, "live.tuned", by, (*parallel, *failures)))
            }
            Event::RehearsalStarted { .. } => {
                ('‖', Tone::Calm, self.with("live.rehearses", &[("host", &host)]))
            }
            Event::RehearsalPassed { .. } => {
                ('✓', Tone::Good, self.with("live.rehearsed", &[("host", &host)]))
            }
            Event::HostHeld { .. } => ('‖', Tone::Warn, self.with("live.held", &[("host", &host)])),
            Event::HostRested { hop: Some(_), .. } => {
                ('‖', Tone::Calm, self.with("live.rests_between", &[("host", &host)]))
            }
            Event::HostRested { hop: None, .. } => {
                ('‖', Tone::Calm, self.with("live.rested", &[("host", &host)]))
            }
            Event::RunPaused { reason } => {
                let reason = reason.to_string();
                ('‖', Tone::Warn, self.with("live.paused", &[("reason", &one_line(&reason))]))
            }
            Event::RunFinished { verdict: Verdict::Completed } => {
                ('✓', Tone::Good, self.words.get("live.run_completed").to_owned())
            }
            Event::RunFinished { verdict: Verdict::Incomplete } => {
                ('■', Tone::Warn, self.words.get("live.run_incomplete").to_owned())
            }
            Event::WaveStarted { wave } => {
                let n = plan.waves.iter().find(|w| w.name == *wave).map_or(0, |w| w.hosts.len());
                let (wave, n) = (one_line(wave.as_str()), self.words.number(n));
                ('▸', Tone::Busy, self.with("live.wave_started", &[("wave", &wave), ("n", &n)]))
            }
            Event::WaveFinished { wave } => {
                let wave = one_line(wave.as_str());
                ('·', Tone::Calm, self.with("live.wave_finished", &[("wave", &wave)]))
            }
            // The report has it.
            Event::HostFinding { finding, .. } if finding.severity == Severity::Info => {
                return None;
            }
            Event::HostFinding { finding, .. } => self.finding(&host, finding),
            Event::RollbackStarted { .. } => {
                ('↩', Tone::Warn, self.with("live.rollback", &[("host", &host)]))
            }
            Event::HostFinished { end, .. } => self.ended(&host, *end),
            Event::AttemptFailed { step, failure, then, .. } => {
                // A warning is told as its finding.
                if *then == Then::GoOn || *then == Then::Block {
                    return None;
                }
                self.failed(&host, &step_name(plan, step), failure, then)
            }
            Event::HostStarted { .. }
            | Event::HostFacts { .. }
            | Event::HopFinished { .. }
            | Event::HostReopened { .. }
            | Event::AttemptStarted { .. }
            | Event::AttemptPassed { .. }
            | Event::StepSkipped { .. }
            | Event::HostDark { .. }
            | Event::HostReturned { .. }
            | Event::HostKeyTaken { .. } => return None,
        })
    }

    /// What an operator asked for some hosts.
    fn asked(&self, key: &str, by: &str, hosts: &[HostName]) -> String {
        let names = fold_names(hosts.iter().map(HostName::as_str));
        let names = shorten(&one_line(&names), OUTPUT_COLUMNS_MAX).into_owned();
        self.with(key, &[("by", &one_line(by)), ("hosts", &names)])
    }

    fn finding(&self, host: &str, finding: &Finding) -> (char, Tone, String) {
        let (sign, tone, key) = match finding.severity {
            Severity::Info | Severity::Warning => ('•', Tone::Warn, "live.warning"),
            Severity::Blocker if finding.blocks() => ('■', Tone::Warn, "live.blocker"),
            Severity::Blocker => ('•', Tone::Warn, "live.accepted"),
        };
        let message = keyed(finding);
        let (step, message) = (&finding.step.step, one_line(&message));
        let text = self.with(key, &[("host", &host), ("step", step), ("message", &message)]);
        let text = match &finding.accepted {
            Some(accepted) => format!("{text}; {}", accepted_text(self.words, accepted)),
            None => text,
        };
        (sign, tone, text)
    }

    fn ended(&self, host: &str, end: End) -> (char, Tone, String) {
        let state = State::from(end);
        let label = self.words.get(&format!("state.{}", state.word())).to_lowercase();
        let started = self.record.event.host().and_then(|name| self.state.host(name));
        let started = started.and_then(|i| self.state.hosts.get(i)).and_then(|host| host.started);
        let length = self.words.length(started.map_or(0, |from| millis(from, self.record.at)));
        // Why has been told by the line of the failure or of the finding.
        let text =
            self.with("live.ended", &[("host", &host), ("state", &label), ("length", &length)]);
        (state.sign(), state.tone(), text)
    }

    fn failed(
        &self,
        host: &str,
        step: &str,
        failure: &Failure,
        then: &Then,
    ) -> (char, Tone, String) {
        let failure = failure.to_string();
        let (tone, then) = match then {
            Then::Retry { not_before } => {
                let length = self.words.length(millis(self.record.at, *not_before));
                (Tone::Warn, self.with("live.then_retry", &[("length", &length)]))
            }
            Then::RollBack => (Tone::Bad, self.words.get("live.then_roll_back").to_owned()),
            Then::GiveUp | Then::GoOn | Then::Block => {
                (Tone::Bad, self.words.get("live.then_give_up").to_owned())
            }
        };
        let values: [(&str, &dyn Display); 4] =
            [("host", &host), ("step", &step), ("failure", &one_line(&failure)), ("then", &then)];
        ('✗', tone, self.with("live.failed", &values))
    }
}
