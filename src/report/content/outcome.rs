//! Batches, hops, before and after, and the table of problems.

use super::Content;
use crate::{
    journal::Moment,
    report::{
        build::in_order,
        document::{BatchBar, Block, Chart, Row, Section, Span, Spans, Table, muted, text},
        model::{Aspect, Batch, Difference, ItemHosts, Problem, ProblemKind},
        state::State,
    },
};

/// Lost or gained things named in one cell; the rest is counted.
const ITEMS_MAX: usize = 12;

impl Content<'_> {
    pub(super) fn batches(&self) -> Section {
        let mut table = Table::new(vec![
            self.column("batch"),
            self.numeric("planned"),
            self.numeric("on_target"),
            self.numeric("failed"),
            self.numeric("rolled_back"),
            self.numeric("blocked"),
            self.numeric("open"),
            self.numeric("success"),
            self.column("started"),
            self.column("ended"),
        ]);
        for batch in &self.report.batches {
            table.push(self.batch_row(batch, text(batch.name.clone())));
        }
        let total = vec![Span::Strong(self.words.get("value.total").to_owned())];
        let cells = self.batch_row(&self.report.total, total);
        table.rows.push(Row { cells, total: true });
        let counted = self.report.batches.iter().map(|batch| BatchBar {
            name: batch.name.clone(),
            counts: in_order(&batch.counts),
            amount: format!(
                "{} / {}",
                self.words.number(batch.on_target),
                self.words.number(batch.planned)
            ),
        });
        let legend = in_order(&self.report.total.counts)
            .into_iter()
            .map(|(state, _)| (state, self.state_label(state)))
            .collect();
        let label = self.words.get("chart.batches").to_owned();
        Section {
            id: "batches",
            title: self.title("batches"),
            blocks: vec![
                Block::Chart(Chart::Batches { label, batches: counted.collect(), legend }),
                Block::Table(table),
                Block::Note(self.words.get("note.batches").to_owned()),
            ],
        }
    }

    fn batch_row(&self, batch: &Batch, name: Spans) -> Vec<Spans> {
        let count = |states: &[State]| -> usize {
            states.iter().filter_map(|state| batch.counts.get(state.word())).sum()
        };
        // Every column but the plan's adds up to it.
        let failed = count(&[State::Failed, State::Unreachable, State::NeedsHands]);
        let open = count(&[
            State::Pending,
            State::Running,
            State::Armed,
            State::Dark,
            State::Held,
            State::NotStarted,
        ]);
        vec![
            name,
            self.number(batch.planned),
            self.number(batch.on_target),
            self.number(failed),
            self.number(count(&[State::RolledBack])),
            self.number(count(&[State::Blocked])),
            self.number(open),
            text(self.words.percent(batch.success_percent)),
            self.time(batch.started),
            self.time(batch.ended),
        ]
    }

    /// Only a chain has hops worth telling apart.
    pub(super) fn hops(&self) -> Option<Section> {
        if self.report.hops.len() < 2 {
            return None;
        }
        let mut table = Table::new(vec![
            self.column("hop"),
            self.column("from_system"),
            self.column("to_system"),
            self.numeric("began"),
            self.numeric("reached"),
            self.numeric("rolled_back"),
            self.numeric("p50"),
        ]);
        for hop in &self.report.hops {
            let system = |system: &Option<crate::base::facts::System>| {
                system.as_ref().map_or_else(|| self.dash(), |s| text(s.to_string()))
            };
            table.push(vec![
                text(hop.title.clone()),
                system(&hop.from),
                system(&hop.to),
                self.number(hop.began),
                self.number(hop.reached),
                self.number(hop.rolled_back),
                self.length(hop.p50_ms),
            ]);
        }
        let blocks = vec![Block::Table(table)];
        Some(Section { id: "hops", title: self.title("hops"), blocks })
    }

    pub(super) fn changes(&self) -> Option<Section> {
        if self.report.changes.is_empty() {
            return None;
        }
        let mut table = Table::new(vec![
            self.column("aspect"),
            self.column("before"),
            self.column("after"),
            self.numeric("count"),
            self.wide("hosts"),
        ]);
        for change in &self.report.changes {
            let mut after = text(change.after.clone());
            if change.moment == Moment::RolledBack {
                let note = self.words.get("value.after_rollback");
                after.push(Span::Muted(format!(" {note}")));
            }
            table.push(vec![
                text(self.aspect(change.aspect)),
                text(change.before.clone()),
                after,
                self.number(change.hosts.len()),
                muted(self.folded(&change.hosts)),
            ]);
        }
        let mut blocks = vec![Block::Table(table)];
        if !self.report.differences.is_empty() {
            blocks.push(Block::Heading(text(self.words.get("section.differences"))));
            blocks.push(Block::Table(self.differences()));
        }
        blocks.push(Block::Note(self.words.get("note.changes").to_owned()));
        Some(Section { id: "changes", title: self.title("changes"), blocks })
    }

    fn aspect(&self, aspect: Aspect) -> String {
        self.words.get(&format!("aspect.{}", aspect.as_str())).to_owned()
    }

    fn differences(&self) -> Table {
        let mut table = Table::new(vec![
            self.column("aspect"),
            self.numeric("same"),
            self.wide("lost"),
            self.wide("gained"),
        ]);
        for Difference { aspect, same, lost, gained } in &self.report.differences {
            table.push(vec![
                text(self.aspect(*aspect)),
                self.number(*same),
                self.items(lost),
                self.items(gained),
            ]);
        }
        table
    }

    fn items(&self, items: &[ItemHosts]) -> Spans {
        if items.is_empty() {
            return self.dash();
        }
        let mut spans = Vec::new();
        for (i, item) in items.iter().take(ITEMS_MAX).enumerate() {
            if i > 0 {
                spans.push(Span::Text("; ".to_owned()));
            }
            spans.push(Span::Text(format!("{} ", item.item)));
            let n = self.words.number(item.hosts.len());
            let on = self.words.say("value.on_hosts", &[("n", &n)]);
            spans.push(Span::Muted(on));
        }
        if items.len() > ITEMS_MAX {
            let n = self.words.number(items.len() - ITEMS_MAX);
            spans.push(Span::Muted(self.words.say("value.and_more", &[("n", &n)])));
        }
        spans
    }

    pub(super) fn problems(&self) -> Option<Section> {
        if self.report.problems.is_empty() {
            return None;
        }
        let mut table = Table::new(vec![
            self.wide("problem"),
            self.column("first_seen"),
            self.wide("impact"),
            self.wide("remedy"),
            self.numeric("fixed_in"),
        ]);
        for problem in &self.report.problems {
            table.push(vec![
                self.problem_what(problem),
                self.time(Some(problem.first)),
                self.problem_impact(problem),
                text(self.problem_remedy(problem)),
                self.length(problem.fixed_ms),
            ]);
        }
        let blocks =
            vec![Block::Table(table), Block::Note(self.words.get("note.problems").to_owned())];
        Some(Section { id: "problems", title: self.title("problems"), blocks })
    }

    fn problem_what(&self, problem: &Problem) -> Spans {
        match &problem.step {
            Some(step) => {
                vec![Span::Strong(self.step(step)), Span::Text(format!(": {}", problem.what))]
            }
            None => text(problem.what.clone()),
        }
    }

    fn problem_impact(&self, problem: &Problem) -> Spans {
        let key = match problem.kind {
            ProblemKind::Pause => return text(self.words.get("impact.pause")),
            ProblemKind::Retried => "impact.retried",
            ProblemKind::Finding if problem.state.is_none() => "impact.warning",
            ProblemKind::Failure | ProblemKind::Finding => "",
        };
        let mut spans = match problem.state {
            Some(state) => self.state(state),
            None => text(self.words.get(key)),
        };
        spans.push(Span::Text(" ".to_owned()));
        spans.extend(self.hosts_of(&problem.hosts));
        spans
    }

    fn problem_remedy(&self, problem: &Problem) -> String {
        if let Some(remedy) = &problem.remedy {
            return remedy.clone();
        }
        let key = match (problem.kind, problem.state) {
            (ProblemKind::Retried, _) => "remedy.retried",
            (ProblemKind::Pause, _) if problem.fixed_ms.is_some() => "remedy.resumed",
            (ProblemKind::Pause, _) => "remedy.paused",
            (ProblemKind::Failure, Some(State::RolledBack)) => "remedy.rolled_back",
            (ProblemKind::Failure | ProblemKind::Finding, _) => "remedy.open",
        };
        self.words.get(key).to_owned()
    }
}
