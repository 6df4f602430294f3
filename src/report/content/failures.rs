//! Failures with their evidence, and findings.

use super::Content;
use crate::{
    journal::{Acceptance, Failure, Then},
    playbook::Severity,
    report::{
        dark::hint,
        document::{Block, Section, Span, Spans, Table, code, sentence, text},
        model::{FailureCase, FailureGroup, FindingGroup},
        naming::accepted_text,
        state::{State, Tone},
    },
};

/// Different outputs shown for one failure; those of all hosts are in the JSON and in `fleetlift log`.
const CASES_SHOWN_MAX: usize = 3;

impl Content<'_> {
    pub(super) fn failures(&self) -> Option<Section> {
        if self.report.failures.is_empty() {
            return None;
        }
        let mut blocks = Vec::new();
        for group in &self.report.failures {
            blocks.extend(self.failure_group(group));
        }
        Some(Section { id: "failures", title: self.title("failures"), blocks })
    }

    fn failure_group(&self, group: &FailureGroup) -> Vec<Block> {
        let names: Vec<String> = group.cases.iter().map(|case| case.host.clone()).collect();
        let mut heading = self.state(group.state);
        heading.push(Span::Text(" ".to_owned()));
        heading.extend(self.hosts_of(&names));
        let mut facts: Vec<(String, Spans)> = Vec::new();
        let mut fact = |key: &str, value: Spans| {
            facts.push((self.words.get(&format!("fact.{key}")).to_owned(), value));
        };
        if let Some(step) = &group.step {
            fact("step", text(self.step(step)));
        }
        fact("failure", text(self.failure(&group.failure)));
        fact("touched", self.touched(group.touched));
        if let Some(then) = &group.then {
            fact("then", text(self.then(then, group.state)));
        }
        fact("advice", self.advice(group));
        let mut blocks = vec![Block::Heading(heading), Block::Facts(facts)];
        let shown = shown_cases(&group.cases);
        for case in &shown {
            blocks.push(Block::Paragraph(self.case_line(case)));
            if !case.evidence.is_empty() {
                blocks.push(Block::Output(case.evidence.clone()));
            }
        }
        if group.cases.len() > shown.len() {
            let n = self.words.number(group.cases.len() - shown.len());
            blocks.push(Block::Note(self.words.say("note.more_cases", &[("n", &n)])));
        }
        blocks
    }

    pub(in crate::report) fn touched(&self, touched: bool) -> Spans {
        let (key, tone) =
            if touched { ("value.touched", Tone::Warn) } else { ("value.untouched", Tone::Good) };
        vec![Span::Tone(tone, self.words.get(key).to_owned())]
    }

    fn case_line(&self, case: &FailureCase) -> Spans {
        let at = self.words.time(case.at);
        let said = match case.attempt {
            Some(attempt) => {
                self.words.say("value.case_attempt", &[("at", &at), ("attempt", &attempt)])
            }
            None => self.words.say("value.case", &[("at", &at)]),
        };
        vec![Span::Strong(case.host.clone()), Span::Muted(format!(" {said}"))]
    }

    /// What the engine did about a failed attempt.
    pub(in crate::report) fn then(&self, then: &Then, state: State) -> String {
        let key = match then {
            Then::Retry { .. } => "then.retry",
            Then::GoOn => "then.go_on",
            Then::Block => "then.block",
            Then::RollBack if state == State::RolledBack => "then.rolled_back",
            Then::RollBack => "then.roll_back",
            Then::GiveUp => "then.give_up",
        };
        self.words.get(key).to_owned()
    }

    /// What an operator can do about it.
    pub(in crate::report) fn advice(&self, group: &FailureGroup) -> Spans {
        let key = match (group.state, group.touched) {
            (State::Unreachable, true) => "advice.unreachable_touched",
            (State::Unreachable, false) => "advice.unreachable",
            (State::RolledBack, _) => "advice.rolled_back",
            (State::Failed, _) => "advice.failed",
            (State::NeedsHands, _) => "advice.needs_hands",
            (State::Running | State::Armed | State::Dark, _) => "advice.in_flight",
            (State::Migrated | State::Already | State::Committed, _) => "advice.migrated",
            (State::Blocked | State::Held | State::Pending | State::NotStarted, _) => {
                "advice.other"
            }
        };
        let host = group.cases.first().map(|case| word(&case.host)).unwrap_or_default();
        let say = self.words.say(key, &[("run", &self.report.run.id), ("host", &host)]);
        let mut spans = Vec::new();
        if let Some(remedy) = &group.remedy {
            spans.push(Span::Text(format!("{remedy} ")));
        }
        if let Failure::Reboot(verdict) = &group.failure {
            let hint = format!("{} ", hint(self.words, verdict));
            spans.extend(sentence(&hint));
        }
        spans.extend(sentence(&say));
        spans
    }

    pub(super) fn findings(&self) -> Option<Section> {
        if self.report.findings.is_empty() {
            return None;
        }
        let mut table = Table::new(vec![
            self.column("severity"),
            self.column("step"),
            self.wide("finding"),
            self.wide("hosts"),
            self.wide("remedy"),
        ]);
        for finding in &self.report.findings {
            table.push(vec![
                self.severity(finding.severity),
                text(self.step(&finding.step)),
                self.finding_said(finding),
                self.hosts_of(&finding.hosts),
                finding.remedy.clone().map_or_else(|| self.dash(), text),
            ]);
        }
        let blocks =
            vec![Block::Table(table), Block::Note(self.words.get("note.findings").to_owned())];
        Some(Section { id: "findings", title: self.title("findings"), blocks })
    }

    fn severity(&self, severity: Severity) -> Spans {
        let (key, tone) = match severity {
            Severity::Info => ("value.info", Tone::Calm),
            Severity::Warning => ("value.warning", Tone::Warn),
            Severity::Blocker => ("value.blocker", Tone::Bad),
        };
        vec![Span::Tone(tone, self.words.get(key).to_owned())]
    }

    /// What was found, and by whose word it does not block.
    fn finding_said(&self, finding: &FindingGroup) -> Spans {
        let mut spans = self.messages(finding);
        if let Some(key) = &finding.key {
            spans.push(Span::Text(" ".to_owned()));
            spans.extend(code(key.clone()));
        }
        if let Some(summary) = &finding.summary {
            spans.push(Span::Text(" ".to_owned()));
            spans.push(Span::Muted(summary.clone()));
        }
        if let Some(said) = self.acceptance(finding.accepted.as_ref()) {
            spans.push(Span::Text("; ".to_owned()));
            spans.push(Span::Tone(Tone::Warn, said));
        }
        spans
    }

    /// By whose word a finding does not block, in one sentence.
    pub(in crate::report) fn acceptance(&self, accepted: Option<&Acceptance>) -> Option<String> {
        accepted.map(|accepted| accepted_text(self.words, accepted))
    }

    fn messages(&self, finding: &FindingGroup) -> Spans {
        let mut spans = Vec::new();
        for (i, message) in finding.messages.iter().enumerate() {
            if i > 0 {
                spans.push(Span::Text("; ".to_owned()));
            }
            spans.extend(code(message.text.clone()));
            if finding.messages.len() > 1 {
                let n = self.words.number(message.hosts);
                spans.push(Span::Muted(format!(
                    " {}",
                    self.words.say("value.on_hosts", &[("n", &n)])
                )));
            }
        }
        spans
    }
}

/// The first case, and those after it whose output differs from what is shown already.
fn shown_cases(cases: &[FailureCase]) -> Vec<&FailureCase> {
    let mut shown: Vec<&FailureCase> = Vec::new();
    for case in cases {
        let new = !shown.iter().any(|other| other.evidence == case.evidence);
        if shown.is_empty() || (new && !case.evidence.is_empty()) {
            shown.push(case);
        }
        if shown.len() == CASES_SHOWN_MAX {
            break;
        }
    }
    shown
}

/// A word that a shell takes as it is meant.
pub(in crate::report) fn word(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
}
