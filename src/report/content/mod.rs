//! What the report says, section by section, in the words of one language.

mod approvals;
mod failures;
mod head;
mod hosts;
mod outcome;
mod timeline;
mod times;

pub(super) use failures::word;

use super::{
    document::{Column, ColumnKind, Document, Section, Span, Spans},
    model::Report,
    naming::of_hops,
    state::State,
    words::Words,
};
use crate::{
    base::{
        text::{fold_names, shorten},
        time::Timestamp,
    },
    journal::{Failure, StepId},
};

/// Columns of folded hosts in a cell or a heading.
const FOLDED_COLUMNS_MAX: usize = 200;

/// What a section is made from.
#[derive(Clone, Copy)]
pub(super) struct Content<'a> {
    pub report: &'a Report,
    pub words: &'a Words,
}

/// The whole document. A section that has nothing to say is left out.
pub(super) fn document(report: &Report, words: &Words) -> Document {
    let content = Content { report, words };
    let mut document = content.head();
    let sections: [Option<Section>; 13] = [
        Some(content.run()),
        Some(content.batches()),
        content.approvals(),
        content.hops(),
        content.changes(),
        content.problems(),
        content.failures(),
        content.findings(),
        content.timeline(),
        content.steps(),
        content.skipped(),
        content.hosts(),
        content.boots(),
    ];
    document.sections = sections.into_iter().flatten().collect();
    document
}

impl Content<'_> {
    fn title(&self, key: &'static str) -> String {
        self.words.get(&format!("section.{key}")).to_owned()
    }

    fn column(&self, key: &str) -> Column {
        self.column_of(key, ColumnKind::Text)
    }

    fn wide(&self, key: &str) -> Column {
        self.column_of(key, ColumnKind::Wide)
    }

    fn numeric(&self, key: &str) -> Column {
        self.column_of(key, ColumnKind::Number)
    }

    fn column_of(&self, key: &str, kind: ColumnKind) -> Column {
        Column { title: self.words.get(&format!("column.{key}")).to_owned(), kind }
    }

    pub(in crate::report) fn state_label(&self, state: State) -> String {
        self.words.get(&format!("state.{}", state.word())).to_owned()
    }

    fn state(&self, state: State) -> Spans {
        vec![Span::State(state, self.state_label(state))]
    }

    fn number(&self, number: usize) -> Spans {
        vec![Span::Text(self.words.number(number))]
    }

    /// A number, or a dash that does not catch the eye where there is none.
    fn number_or_dash(&self, number: usize) -> Spans {
        if number == 0 { self.dash() } else { self.number(number) }
    }

    fn dash(&self) -> Spans {
        vec![Span::Muted("–".to_owned())]
    }

    fn length(&self, millis: Option<u64>) -> Spans {
        millis.map_or_else(|| self.dash(), |ms| vec![Span::Text(self.words.length(ms))])
    }

    fn time(&self, at: Option<Timestamp>) -> Spans {
        at.map_or_else(|| self.dash(), |at| vec![Span::Text(self.words.time(at))])
    }

    fn yes_no(&self, yes: bool) -> Spans {
        let key = if yes { "value.yes" } else { "value.no" };
        vec![Span::Text(self.words.get(key).to_owned())]
    }

    /// A step as people call it; its hop only where there are several.
    pub(in crate::report) fn step(&self, step: &StepId) -> String {
        of_hops(self.report.hops.iter().map(|hop| hop.name.as_str()), step)
    }

    fn failure(&self, failure: &Failure) -> String {
        failure.to_string()
    }

    /// Hosts, folded. Of many only the first stand there: the table of hosts and the JSON have them all.
    fn folded(&self, hosts: &[String]) -> String {
        let folded = fold_names(hosts.iter().map(String::as_str));
        shorten(&folded, FOLDED_COLUMNS_MAX).into_owned()
    }

    /// Hosts, folded, with their number where there are several.
    fn hosts_of(&self, hosts: &[String]) -> Spans {
        let folded = self.folded(hosts);
        if hosts.len() < 2 {
            return vec![Span::Text(folded)];
        }
        let number = self.words.number(hosts.len());
        let count = self.words.say("value.hosts", &[("n", &number)]);
        vec![Span::Text(count), Span::Muted(format!(" {folded}"))]
    }
}
