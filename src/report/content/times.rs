//! Where the time went: steps, dark time, retries; and what did not run.

use super::Content;
use crate::{
    journal::Skip,
    report::{
        document::{Block, Section, Span, Spans, Table, code, text},
        model::StepStats,
    },
};

/// Steps shown in the order of their length; the rest is in the JSON.
const STEPS_MAX: usize = 15;

impl Content<'_> {
    pub(super) fn steps(&self) -> Option<Section> {
        let mut steps: Vec<&StepStats> =
            self.report.steps.iter().filter(|s| s.passed + s.failed > 0).collect();
        if steps.is_empty() {
            return None;
        }
        steps.sort_by_key(|stats| std::cmp::Reverse(stats.p50_ms));
        let shown = steps.len().min(STEPS_MAX);
        let mut table = Table::new(vec![
            self.column("step"),
            self.numeric("p50"),
            self.numeric("p95"),
            self.numeric("max"),
            self.column("slowest"),
            self.numeric("passed"),
            self.numeric("failed_attempts"),
            self.numeric("retries"),
        ]);
        for stats in &steps[..shown] {
            table.push(vec![
                text(self.step(&stats.step)),
                self.length(stats.p50_ms),
                self.length(stats.p95_ms),
                self.length(stats.max_ms),
                stats.slowest.clone().map_or_else(|| self.dash(), text),
                self.number(stats.passed),
                self.number_or_dash(stats.failed),
                self.number_or_dash(stats.retries),
            ]);
        }
        let mut blocks = vec![Block::Table(table)];
        if steps.len() > shown {
            let n = self.words.number(steps.len() - shown);
            blocks.push(Block::Note(self.words.say("note.more_steps", &[("n", &n)])));
        }
        blocks.extend(self.dark());
        Some(Section { id: "times", title: self.title("times"), blocks })
    }

    fn dark(&self) -> Vec<Block> {
        let Some(dark) = &self.report.dark else { return Vec::new() };
        let facts = [
            ("fact.dark_hosts", self.words.number(dark.hosts)),
            ("fact.dark_p50", self.words.length(dark.p50_ms)),
            ("fact.dark_p95", self.words.length(dark.p95_ms)),
            ("fact.dark_max", format!("{} ({})", self.words.length(dark.max_ms), dark.longest)),
            ("fact.dark_total", self.words.length(dark.total_ms)),
        ];
        let facts =
            facts.into_iter().map(|(key, value)| (self.words.get(key).to_owned(), text(value)));
        vec![
            Block::Heading(text(self.words.get("section.dark"))),
            Block::Facts(facts.collect()),
            Block::Note(self.words.get("note.dark").to_owned()),
        ]
    }

    pub(super) fn skipped(&self) -> Option<Section> {
        if self.report.skipped.is_empty() {
            return None;
        }
        let mut table = Table::new(vec![
            self.column("step"),
            self.wide("reason"),
            self.numeric("count"),
            self.wide("hosts"),
        ]);
        for group in &self.report.skipped {
            table.push(vec![
                text(self.step(&group.step)),
                self.skip(&group.reason),
                self.number(group.hosts.len()),
                vec![Span::Muted(self.folded(&group.hosts))],
            ]);
        }
        Some(Section {
            id: "skipped",
            title: self.title("skipped"),
            blocks: vec![Block::Table(table)],
        })
    }

    /// Why a step did not run.
    pub(in crate::report) fn skip(&self, reason: &Skip) -> Spans {
        let (key, detail) = match reason {
            Skip::Guard { unless } => ("skip.guard", unless),
            Skip::Condition { when } => ("skip.condition", when),
            Skip::Proven { probe } => ("skip.proven", probe),
        };
        let mut spans = vec![Span::Text(format!("{} ", self.words.get(key)))];
        spans.extend(code(crate::base::text::one_line(detail)));
        spans
    }
}
