//! The evidence for one host's state, record by record.

use super::{
    build_groups::evidence,
    dark::{Dark, hint},
    gates_text::word_of,
    naming::{accepted_text, keyed, step_name},
    watch_text::tuned,
    words::Words,
};
use crate::{
    base::{
        facts::Facts,
        name::HostName,
        phase::Phase,
        text::{first_command, one_line},
    },
    journal::{
        End, Event, Failure, Finding, Outcome, PauseReason, Record, Skip, StepId, Then, Verdict,
    },
    plan::Plan,
    playbook::Severity,
    run::RunState,
};
use std::fmt::{Display, Write as _};

/// Why a host is in its state: every record about it, in order, as lines to read.
pub fn why(plan: &Plan, records: &[Record], host: &HostName) -> String {
    let words = Words::english();
    let teller = Teller { plan, words };
    let mut state = RunState::new(plan);
    let legal = records.iter().take_while(|record| state.apply(plan, record).is_ok()).count();
    let name = one_line(host.as_str());
    let Some(now) = state.host(host).and_then(|index| state.hosts.get(index)) else {
        return words.say("why.unknown", &[("host", &name)]) + "\n";
    };
    let label = words.get(&format!("state.{}", now.word())).to_lowercase();
    let touched = words.get(if now.is_touched(plan) { "value.touched" } else { "value.untouched" });
    let mut out =
        words.say("why.head", &[("host", &name), ("state", &label), ("touched", &touched)]);
    out.push('\n');
    if let Some(failure) = &now.failure {
        let _ = writeln!(out, "{}", teller.because(&records[..legal], host, failure));
        if let Failure::Reboot(verdict) = failure {
            let _ = writeln!(out, "{}", hint(words, verdict));
        }
    }
    let as_of = records[..legal].last().map(|record| record.at);
    if let Some(dark) = as_of.and_then(|as_of| Dark::of(plan, &state, now, as_of)) {
        let others = dark.others(words).map(|others| format!("; {others}")).unwrap_or_default();
        let (at, limit) = (words.clock(dark.since), words.length(dark.limit_ms));
        let values: [(&str, &dyn Display); 3] =
            [("at", &at), ("limit", &limit), ("others", &others)];
        let _ = writeln!(out, "{}", words.say("why.dark_now", &values));
    }
    if let Some(by) = &now.held_by {
        let key = if now.is_in_flight() { "why.holding" } else { "why.held_by" };
        let _ = writeln!(out, "{}", words.say(key, &[("by", &one_line(by))]));
    }
    if now.armed {
        let _ = writeln!(out, "{}", words.get("why.armed"));
    }
    let wave = plan.hosts.iter().find(|planned| planned.name == *host).map(|planned| planned.wave);
    let wave = wave.map(|number| &plan.waves[number].name);
    let is_of_another_wave = |event: &Event| {
        let Event::GateDecided { approval, .. } = event else { return false };
        Some(&approval.statement.wave) != wave
    };
    out.push('\n');
    for record in &records[..legal] {
        if record.event.is_about(host) && !is_of_another_wave(&record.event) {
            teller.tell(&mut out, record);
        }
    }
    if let Some(record) = records.get(legal) {
        let _ = writeln!(out, "{}", words.say("why.broken", &[("seq", &record.seq)]));
    }
    out
}

struct Teller<'a> {
    plan: &'a Plan,
    words: &'a Words,
}

impl Teller<'_> {
    fn tell(&self, out: &mut String, record: &Record) {
        let Some(line) = self.line(&record.event) else { return };
        let _ = writeln!(
            out,
            "{}  {:>6}  {}",
            self.words.time(record.at),
            format!("#{}", record.seq),
            line
        );
        if let Event::HostFinding { finding, .. } = &record.event
            && (finding.notice.is_some() || finding.reported.is_some())
            && let Some(remedy) = &finding.remedy
        {
            let remedy = self.say("why.remedy", &[("remedy", &one_line(remedy))]);
            let _ = writeln!(out, "{:29}{remedy}", "");
        }
        if let Event::HostFinding { finding, .. } = &record.event
            && finding.severity > Severity::Info
            && let Some(reported) = finding.reported.as_ref().filter(|it| !it.summary.is_empty())
        {
            let _ = writeln!(out, "{:29}│ {}", "", one_line(&reported.summary));
        }
        if let Event::AttemptFailed { tail, .. } = &record.event {
            for line in evidence(tail) {
                let _ = writeln!(out, "{:29}│ {line}", "");
            }
        }
    }

    fn say(&self, key: &str, values: &[(&str, &dyn Display)]) -> String {
        self.words.say(key, values)
    }

    /// The failure that decided the host's fate, with the step that failed so, where one did.
    fn because(&self, records: &[Record], host: &HostName, failure: &Failure) -> String {
        let step = records.iter().find_map(|record| {
            let Event::AttemptFailed { host: of, step, failure: how, then, .. } = &record.event
            else {
                return None;
            };
            let decisive = !matches!(then, Then::Retry { .. } | Then::GoOn);
            (of == host && how == failure && decisive).then(|| step_name(self.plan, step))
        });
        let failure = failure.to_string();
        let failure = one_line(&failure);
        match step {
            Some(step) => self.say("why.because_of", &[("step", &step), ("failure", &failure)]),
            None => self.say("why.because", &[("failure", &failure)]),
        }
    }

    fn line(&self, event: &Event) -> Option<String> {
        Some(match event {
            Event::RunStarted { operator, controller, .. } => self.say(
                "why.run_started",
                &[("operator", &one_line(operator)), ("controller", &one_line(controller))],
            ),
            Event::RunResumed { operator, controller, .. } => self.say(
                "why.run_resumed",
                &[("operator", &one_line(operator)), ("controller", &one_line(controller))],
            ),
            Event::StopRequested { by, .. } => self.say("why.stop", &[("by", &one_line(by))]),
            Event::LeaveRequested { by, .. } => self.say("why.leave", &[("by", &one_line(by))]),
            Event::HoldRequested { by, .. } => self.say("why.hold", &[("by", &one_line(by))]),
            Event::ReleaseRequested { by, .. } => self.say("why.release", &[("by", &one_line(by))]),
            Event::GateDecided { approval, .. } => {
                word_of(self.words, ["why.approve", "why.reject"], self.plan, approval)
            }
            Event::WatchTold { .. } => return None,
            Event::LimitsTuned { by, parallel, failures, .. } => {
                tuned(self.words, "why.tuned", by, (*parallel, *failures))
            }
            Event::RehearsalStarted { .. } => self.words.get("why.rehearses").to_owned(),
            Event::RehearsalPassed { .. } => self.words.get("why.rehearsed").to_owned(),
            Event::RunPaused { reason } => self.paused(reason),
            Event::RunFinished { verdict } => self.finished(*verdict).to_owned(),
            Event::WaveStarted { .. } | Event::WaveFinished { .. } => return None,
            Event::HostStarted { wave, .. } => {
                self.say("why.host_started", &[("wave", &one_line(wave.as_str()))])
            }
            Event::HostHeld { .. } => self.words.get("why.held").to_owned(),
            Event::HostRested { hop: Some(_), .. } => self.words.get("why.between").to_owned(),
            Event::HostRested { hop: None, .. } => self.words.get("why.rested").to_owned(),
            Event::HostFacts { facts, .. } => self.facts(facts),
            Event::HopFinished { hop, .. } => {
                let title = self.plan.hops.get(usize::from(*hop)).map_or("", |hop| &hop.title);
                self.say("why.hop", &[("hop", &one_line(title))])
            }
            Event::HostFinding { finding, .. } => self.finding(finding),
            Event::RollbackStarted { because, .. } => match because {
                Some(failure) => {
                    let failure = failure.to_string();
                    self.say("why.rollback", &[("failure", &one_line(&failure))])
                }
                None => self.words.get("why.rollback_asked").to_owned(),
            },
            Event::HostFinished { end, touched, .. } => self.ended(*end, *touched),
            Event::HostReopened { phase, operator, .. } => {
                self.say("why.reopened", &[("phase", phase), ("operator", &one_line(operator))])
            }
            Event::AttemptStarted { step, attempt, .. } => self
                .say("why.began", &[("step", &step_name(self.plan, step)), ("attempt", attempt)]),
            Event::AttemptPassed { step, exit, duration_ms, outcome, .. } => {
                self.passed(step, *exit, *duration_ms, *outcome)
            }
            Event::AttemptFailed { step, failure, duration_ms, then, .. } => {
                self.failed(step, failure, *duration_ms, then)
            }
            Event::StepSkipped { step, reason, .. } => self.skipped(step, reason),
            Event::HostDark { boot_id, .. } => {
                self.say("why.dark", &[("boot", &one_line(boot_id))])
            }
            Event::HostKeyTaken { step, old, new, .. } => self.key_taken(step, old.as_deref(), new),
            Event::HostReturned { boot_id, dark_ms, system, .. } => {
                let system = system.as_ref().map(ToString::to_string).unwrap_or_default();
                self.say(
                    "why.returned",
                    &[
                        ("boot", &one_line(boot_id)),
                        ("length", &self.words.length(*dark_ms)),
                        ("system", &one_line(&system)),
                    ],
                )
            }
        })
    }

    fn key_taken(&self, step: &StepId, old: Option<&str>, new: &str) -> String {
        let old = old.unwrap_or(self.words.get("why.key_unknown"));
        let step = step_name(self.plan, step);
        let (old, new) = (one_line(old), one_line(new));
        self.say("why.key_taken", &[("step", &step), ("old", &old), ("new", &new)])
    }

    fn passed(&self, step: &StepId, exit: Option<i32>, millis: u64, outcome: Outcome) -> String {
        let exit = exit.map(|code| self.say("why.exit", &[("code", &code)])).unwrap_or_default();
        // What is kept for a rollback is not a change of the host.
        let changes = matches!(step.phase, Phase::Migrate | Phase::Rollback | Phase::Commit);
        let key = match outcome {
            Outcome::Changed if changes => "why.passed_changed",
            Outcome::Changed | Outcome::Unchanged => "why.passed",
        };
        let length = self.words.length(millis);
        self.say(
            key,
            &[("step", &step_name(self.plan, step)), ("length", &length), ("exit", &exit)],
        )
    }

    fn failed(&self, step: &StepId, failure: &Failure, millis: u64, then: &Then) -> String {
        let failure = failure.to_string();
        self.say(
            "why.failed",
            &[
                ("step", &step_name(self.plan, step)),
                ("failure", &one_line(&failure)),
                ("length", &self.words.length(millis)),
                ("then", &self.then(then)),
            ],
        )
    }

    fn skipped(&self, step: &StepId, reason: &Skip) -> String {
        let (key, detail) = match reason {
            Skip::Guard { unless } => ("skip.guard", first_command(unless)),
            Skip::Condition { when } => ("skip.condition", when.clone()),
            Skip::Proven { probe } => ("skip.proven", first_command(probe)),
        };
        let reason = format!("{} {}", self.words.get(key), one_line(&detail));
        self.say("why.skipped", &[("step", &step_name(self.plan, step)), ("reason", &reason)])
    }

    /// The decision about a failure, and when it is due.
    fn then(&self, then: &Then) -> String {
        match then {
            Then::Retry { not_before } => {
                self.say("why.retry", &[("at", &self.words.clock(*not_before))])
            }
            Then::GoOn => self.words.get("then.go_on").to_owned(),
            Then::Block => self.words.get("then.block").to_owned(),
            Then::RollBack => self.words.get("why.roll_back").to_owned(),
            Then::GiveUp => self.words.get("why.give_up").to_owned(),
        }
    }

    fn paused(&self, reason: &PauseReason) -> String {
        self.say("why.paused", &[("reason", &one_line(&reason.to_string()))])
    }

    fn finished(&self, verdict: Verdict) -> &str {
        match verdict {
            Verdict::Completed => self.words.get("why.run_completed"),
            Verdict::Incomplete => self.words.get("why.run_incomplete"),
        }
    }

    fn ended(&self, end: End, touched: bool) -> String {
        let label = self.words.get(&format!("state.{}", end.word())).to_lowercase();
        let touched = self.words.get(if touched { "value.touched" } else { "value.untouched" });
        self.say("why.ended", &[("state", &label), ("touched", &touched)])
    }

    fn finding(&self, finding: &Finding) -> String {
        let key = match finding.severity {
            Severity::Info => "why.info",
            Severity::Warning => "why.warning",
            Severity::Blocker if finding.blocks() => "why.blocker",
            Severity::Blocker => "why.accepted",
        };
        let step = step_name(self.plan, &finding.step);
        let message = keyed(finding);
        let said = self.say(key, &[("step", &step), ("message", &one_line(&message))]);
        match &finding.accepted {
            Some(accepted) => format!("{said}; {}", accepted_text(self.words, accepted)),
            None => said,
        }
    }

    fn facts(&self, facts: &Facts) -> String {
        let system = facts.system.as_ref().map(ToString::to_string).unwrap_or_default();
        self.say(
            "why.facts",
            &[
                ("system", &one_line(&system)),
                ("kernel", &one_line(&facts.kernel)),
                ("machine", &one_line(&facts.machine_id)),
                ("boot", &one_line(&facts.boot_id)),
            ],
        )
    }
}
