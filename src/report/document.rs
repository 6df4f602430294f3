//! A document as sections of blocks. What is said is decided once; Markdown and HTML only write it down.

use super::state::{State, Tone};
use crate::base::time::Timestamp;

pub(super) struct Document {
    pub title: String,
    /// Which run, and when.
    pub subtitle: String,
    /// One word, and how good it is.
    pub verdict: (String, Tone),
    /// What happened, in one sentence.
    pub lead: String,
    /// What is still to do; may be empty.
    pub todo_title: String,
    pub todo: Vec<Spans>,
    pub figures: Vec<Figure>,
    pub counts: Chart,
    pub contents_title: String,
    pub sections: Vec<Section>,
    pub footer: Vec<Spans>,
}

/// A number that one should see first.
pub(super) struct Figure {
    pub label: String,
    pub value: String,
    pub note: String,
}

pub(super) struct Section {
    pub id: &'static str,
    pub title: String,
    pub blocks: Vec<Block>,
}

pub(super) type Spans = Vec<Span>;

/// A stretch of text with one meaning.
#[derive(Clone, Debug)]
pub(super) enum Span {
    Text(String),
    Strong(String),
    Code(String),
    /// Small print.
    Muted(String),
    /// A state's sign and label.
    State(State, String),
    /// A word that carries a tone.
    Tone(Tone, String),
}

pub(super) enum Block {
    Paragraph(Spans),
    /// Small print about what stands before it.
    Note(String),
    Facts(Vec<(String, Spans)>),
    Table(Table),
    Heading(Spans),
    /// Output of a host.
    Output(Vec<String>),
    Fold {
        summary: Spans,
        open: bool,
        blocks: Vec<Block>,
    },
    Chart(Chart),
}

#[derive(Default)]
pub(super) struct Table {
    pub head: Vec<Column>,
    pub rows: Vec<Row>,
    /// Long enough that a reader may want to filter it.
    pub long: bool,
}

pub(super) struct Column {
    pub title: String,
    pub kind: ColumnKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Text,
    /// May be long, and may break anywhere.
    Wide,
    Number,
}

pub(super) struct Row {
    pub cells: Vec<Spans>,
    pub total: bool,
}

/// A picture of numbers that stand in words beside it, and the words it needs.
pub(super) enum Chart {
    Counts { label: String, counts: Vec<CountBar> },
    Batches { label: String, batches: Vec<BatchBar>, legend: Vec<(State, String)> },
    Timeline(Timeline),
    Load(Load),
}

/// A state's share of all hosts.
pub(super) struct CountBar {
    pub state: State,
    pub label: String,
    pub hosts: usize,
    /// The number as the language writes it.
    pub number: String,
}

/// A batch's hosts by state.
pub(super) struct BatchBar {
    pub name: String,
    pub counts: Vec<(State, usize)>,
    /// `7 / 8`.
    pub amount: String,
}

/// Hosts over time.
pub(super) struct Timeline {
    pub label: String,
    pub from: Timestamp,
    pub to: Timestamp,
    pub rows: Vec<TimelineRow>,
    /// Round points in time, and what stands under them.
    pub ticks: Vec<(Timestamp, String)>,
    pub legend: Vec<(&'static str, String)>,
}

pub(super) struct TimelineRow {
    pub host: String,
    pub state: State,
    pub state_label: String,
    pub bars: Vec<Bar>,
    /// From first to last bar.
    pub length: String,
}

pub(super) struct Bar {
    pub kind: &'static str,
    pub from: Timestamp,
    pub to: Timestamp,
    /// `migrate, 3m 05s`.
    pub title: String,
}

/// How many hosts were in what, over time: the timeline of a fleet too large for a row each.
pub(super) struct Load {
    pub label: String,
    pub from: Timestamp,
    pub to: Timestamp,
    /// For each slice of time, hosts by kind, in the order of the legend.
    pub slices: Vec<Vec<usize>>,
    /// What the chart's height stands for.
    pub highest: String,
    pub ticks: Vec<(Timestamp, String)>,
    pub legend: Vec<(&'static str, String)>,
}

impl Table {
    pub fn new(head: Vec<Column>) -> Self {
        Self { head, ..Self::default() }
    }

    pub fn push(&mut self, cells: Vec<Spans>) {
        self.rows.push(Row { cells, total: false });
    }
}

pub(super) fn text(text: impl Into<String>) -> Spans {
    vec![Span::Text(text.into())]
}

pub(super) fn code(text: impl Into<String>) -> Spans {
    vec![Span::Code(text.into())]
}

pub(super) fn muted(text: impl Into<String>) -> Spans {
    vec![Span::Muted(text.into())]
}

/// A sentence with `code` between back quotes.
pub(super) fn sentence(text: &str) -> Spans {
    let piece = |(i, piece): (usize, &str)| {
        if i % 2 == 0 { Span::Text(piece.to_owned()) } else { Span::Code(piece.to_owned()) }
    };
    text.split('`').enumerate().filter(|(_, piece)| !piece.is_empty()).map(piece).collect()
}
