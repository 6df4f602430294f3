//! The end screen: what happened, what failed and why, and what to type next.

use super::{
    build::{in_order, millis},
    content::{Content, word},
    document::{Span, Spans},
    model::{FailureGroup, FindingGroup, Report, RunStanding},
    paint::Paint,
    state::{State, Tone},
    words::Words,
};
use crate::{
    base::text::{fold_names, shorten},
    playbook::Severity,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// Failures and findings with a place of their own; the rest is counted, so that the end fits on a screen.
const GROUPS_MAX: usize = 6;

/// Lines of output under a failure: the last ones say most.
const EVIDENCE_MAX: usize = 6;

/// Columns of a line of hosts or of output.
const LINE_COLUMNS_MAX: usize = 110;

/// Columns of hosts in a heading.
const WHO_COLUMNS_MAX: usize = 60;

/// The end screen of a run, as a report tells it. `program` is how the operator calls this program for the run's store, so
/// that the commands it shows can be typed as they are.
pub fn summary(report: &Report, program: &str, color: bool) -> String {
    let content = Content { report, words: Words::english() };
    let screen = Screen { content, paint: Paint { color }, program };
    let mut out = String::new();
    screen.head(&mut out);
    screen.failures(&mut out);
    screen.findings(&mut out);
    screen.next(&mut out);
    out
}

struct Screen<'a> {
    content: Content<'a>,
    paint: Paint,
    program: &'a str,
}

impl Screen<'_> {
    fn say(&self, key: &'static str) -> &str {
        self.content.words.get(key)
    }

    fn head(&self, out: &mut String) {
        let (report, words, paint) = (self.content.report, self.content.words, self.paint);
        let (verdict, tone) = self.content.verdict();
        let length = match (report.run.started, report.run.ended.or(report.run.as_of)) {
            (Some(from), Some(to)) => words.length(millis(from, to)),
            (Some(_) | None, _) => String::new(),
        };
        let _ = writeln!(
            out,
            "{}  {}  {}",
            paint.tone(tone, &verdict),
            paint.bold(&report.run.title),
            paint.dim(&format!("{}  {length}", report.run.id)),
        );
        let _ = write!(out, "{}\n\n", self.content.lead());
        if let Some(fault) = &report.run.fault {
            let _ = write!(
                out,
                "{}\n\n",
                paint.tone(Tone::Bad, &words.say("run.fault", &[("fault", fault)]))
            );
        }
        let width = in_order(&report.summary.counts)
            .iter()
            .map(|(state, _)| self.content.state_label(*state).chars().count())
            .max()
            .unwrap_or(0);
        for (state, n) in in_order(&report.summary.counts) {
            let hosts = report.hosts.iter().filter(|host| host.state == state);
            let folded = fold_names(hosts.map(|host| host.name.as_str()));
            let label = self.content.state_label(state);
            let _ = writeln!(
                out,
                "  {} {label:<width$} {:>6}  {}",
                paint.sign(state),
                words.number(n),
                paint.dim(&shorten(&folded, LINE_COLUMNS_MAX)),
            );
        }
    }

    /// Hosts, folded; counted where that is too long for a heading.
    fn who(&self, hosts: &[&str]) -> String {
        let folded = fold_names(hosts.iter().copied());
        if folded.chars().count() <= WHO_COLUMNS_MAX {
            return folded;
        }
        self.content.words.say("value.hosts", &[("n", &self.content.words.number(hosts.len()))])
    }

    fn failures(&self, out: &mut String) {
        let failures = &self.content.report.failures;
        for group in failures.iter().take(GROUPS_MAX) {
            self.failure(out, group);
        }
        self.more(out, failures.len());
    }

    fn failure(&self, out: &mut String, group: &FailureGroup) {
        let hosts: Vec<&str> = group.cases.iter().map(|case| case.host.as_str()).collect();
        let what = match &group.step {
            Some(step) => format!("{}: {}", self.content.step(step), group.failure),
            None => group.failure.to_string(),
        };
        let _ = writeln!(
            out,
            "\n{} {}  {}",
            self.paint.sign(group.state),
            self.paint.bold(&self.who(&hosts)),
            shorten(&what, LINE_COLUMNS_MAX)
        );
        let then = group
            .then
            .as_ref()
            .map(|then| self.content.then(then, group.state))
            .unwrap_or_default();
        let _ = writeln!(out, "    {}. {then}", plain(&self.content.touched(group.touched)));
        if let Some(case) = group.cases.first() {
            let skip = case.evidence.len().saturating_sub(EVIDENCE_MAX);
            if group.cases.len() > 1 && !case.evidence.is_empty() {
                let from = self.content.words.say("summary.output_of", &[("host", &case.host)]);
                let _ = writeln!(out, "    {}", self.paint.dim(&from));
            }
            for line in &case.evidence[skip..] {
                let _ = writeln!(
                    out,
                    "    {} {}",
                    self.paint.dim("│"),
                    shorten(line, LINE_COLUMNS_MAX)
                );
            }
        }
        let _ = writeln!(
            out,
            "    {} {}",
            self.say("summary.advice"),
            plain(&self.content.advice(group)).replace("fleetlift ", &format!("{} ", self.program))
        );
    }

    fn findings(&self, out: &mut String) {
        let findings = &self.content.report.findings;
        let (blockers, warnings): (Vec<_>, Vec<_>) =
            findings.iter().filter(|f| f.severity > Severity::Info).partition(|f| f.blocks());
        for finding in blockers.iter().take(GROUPS_MAX) {
            self.finding(out, finding);
        }
        self.more(out, blockers.len());
        if !warnings.is_empty() {
            self.warnings(out, &warnings);
        }
    }

    /// Warnings stopped nobody: they are named here, and told in the report.
    fn warnings(&self, out: &mut String, warnings: &[&FindingGroup]) {
        let mut steps: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for warning in warnings {
            let hosts = steps.entry(warning.step.step.as_str()).or_default();
            hosts.extend(warning.hosts.iter().map(String::as_str));
        }
        let named = steps.iter().map(|(step, hosts)| {
            let n = self.content.words.number(hosts.len());
            format!("{step} ({})", self.content.words.say("value.hosts", &[("n", &n)]))
        });
        let named = named.collect::<Vec<_>>().join(", ");
        let line = self.content.words.say("summary.warnings", &[("steps", &named)]);
        let _ = writeln!(out, "\n{} {line}", self.paint.tone(Tone::Warn, "•"));
    }

    fn finding(&self, out: &mut String, finding: &FindingGroup) {
        let hosts: Vec<&str> = finding.hosts.iter().map(String::as_str).collect();
        let (tone, sign, key) = (Tone::Warn, State::Blocked.sign(), "value.blocker");
        let _ = writeln!(
            out,
            "\n{} {}  {} {}",
            self.paint.tone(tone, &sign.to_string()),
            self.paint.bold(&self.who(&hosts)),
            self.paint.tone(tone, self.say(key)),
            self.content.step(&finding.step),
        );
        for message in finding.messages.iter().take(2) {
            let _ = writeln!(out, "    {}", shorten(&message.text, LINE_COLUMNS_MAX));
        }
        if let Some(key) = &finding.key {
            let _ = writeln!(out, "    {}", self.paint.dim(key));
        }
        if let Some(said) = self.content.acceptance(finding.accepted.as_ref()) {
            let _ = writeln!(out, "    {said}");
        }
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(out, "    {} {remedy}", self.say("summary.remedy"));
        }
    }

    fn more(&self, out: &mut String, total: usize) {
        if total > GROUPS_MAX {
            let n = self.content.words.number(total - GROUPS_MAX);
            let _ = writeln!(out, "\n{}", self.content.words.say("summary.more", &[("n", &n)]));
        }
    }

    /// The commands that come next, the most useful first.
    fn next(&self, out: &mut String) {
        let report = self.content.report;
        let (run, program) = (&report.run.id, self.program);
        let mut lines: Vec<(String, &str)> = Vec::new();
        if let Some(host) = report.hosts.iter().find(|host| host.state == State::Held) {
            lines.push((format!("{program} release {run} {}", word(&host.name)), "next.release"));
        }
        let gate = report.run.pauses.last().and_then(|pause| pause.gate.as_ref());
        if let (RunStanding::Paused, Some(gate)) = (report.run.state, gate) {
            let command = format!("{program} approve {run} {} --reason TEXT", word(gate));
            lines.push((command, "next.approve"));
        }
        if report.run.state == RunStanding::Paused {
            lines.push((format!("{program} resume {run}"), "next.resume"));
        }
        if let Some(case) = report.failures.first().and_then(|group| group.cases.first()) {
            lines.push((format!("{program} why {run} {}", word(&case.host)), "next.why"));
        }
        lines.push((format!("{program} report {run} -o report.html"), "next.report"));
        let migrated = report.summary.counts.get(State::Migrated.word()).copied().unwrap_or(0);
        if report.run.can_commit && migrated > 0 && report.run.state == RunStanding::Finished {
            lines.push((format!("{program} commit {run}"), "next.commit"));
        }
        let width = lines.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
        let _ = writeln!(out, "\n{}", self.paint.bold(self.say("next.title")));
        for (command, key) in lines {
            let _ = writeln!(out, "  {command:<width$}  {}", self.paint.dim(self.say(key)));
        }
    }
}

/// Spans without their marks.
pub(super) fn plain(spans: &Spans) -> String {
    spans
        .iter()
        .map(|span| match span {
            Span::Text(text)
            | Span::Strong(text)
            | Span::Code(text)
            | Span::Muted(text)
            | Span::State(_, text)
            | Span::Tone(_, text) => text.as_str(),
        })
        .collect()
}
