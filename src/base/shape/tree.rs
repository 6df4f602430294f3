//! A document as a tree of values, each with its place.

use super::Collector;
use crate::base::fault::Lines;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};
use toml::de::{DeTable, DeValue};

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node {
    pub range: Range<usize>,
    pub tree: Tree,
}

#[derive(Clone, Debug)]
pub enum Tree {
    Text(String),
    Whole(i64),
    Real(f64),
    Flag(bool),
    /// A date or time, as written.
    Moment(String),
    List(Vec<Node>),
    Table(BTreeMap<String, Entry>),
    /// A number too large for us.
    Huge(String),
}

/// A value of a table, and the place of its key.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Range<usize>,
    pub node: Node,
}

/// Lines of a file that are not TOML.
#[derive(Debug)]
pub(super) struct Broken<'t> {
    text: &'t str,
    lines: Lines,
    broken: BTreeSet<usize>,
}

impl<'t> Broken<'t> {
    fn of(text: &'t str) -> Self {
        Self { text, lines: Lines::of(text), broken: BTreeSet::new() }
    }

    /// Notes that the line of this byte is broken; false where that is known.
    fn insert(&mut self, offset: usize) -> bool {
        self.broken.insert(self.lines.line_at(offset).0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.broken.is_empty()
    }

    /// Whether what stands here can only be guessed: its line is broken, or the heading above it.
    pub(super) fn at(&self, offset: usize) -> bool {
        if self.broken.is_empty() {
            return false;
        }
        let (line, _) = self.lines.line_at(offset);
        let mut lines = self.lines.back_from(line);
        let heading = lines.find(|(_, start)| self.text[*start..].trim_start().starts_with('['));
        self.broken.contains(&line) || heading.is_some_and(|(line, _)| self.broken.contains(&line))
    }
}

/// Parses the source. Its syntax errors are collected, one for a line.
pub(super) fn parse<'s>(out: &mut Collector<'s>) -> (Node, Broken<'s>) {
    let text: &'s str = &out.source.text;
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut broken = Broken::of(text);
    for error in errors {
        let range = error.span().unwrap_or(0..0);
        // The first error of a line is its cause; those after it are often only its consequences.
        if broken.insert(range.start) {
            out.add(&range, format!("this is not TOML: {}", error.message()));
        }
    }
    // What is missing from the whole file is missing at its beginning.
    (Node { range: 0..0, tree: convert_table(document.into_inner(), text) }, broken)
}

fn convert_table(table: DeTable<'_>, text: &str) -> Tree {
    let entries = table.into_iter().map(|(key, value)| {
        let range = key.span();
        (key.into_inner().into_owned(), Entry { key: range, node: convert(value, text) })
    });
    Tree::Table(entries.collect())
}

fn convert(value: toml::Spanned<DeValue<'_>>, text: &str) -> Node {
    let range = value.span();
    let tree = match value.into_inner() {
        DeValue::String(value) => {
            // Line ends of a file that was saved on Windows must not become a part of what it says.
            let raw = text.get(range.clone()).unwrap_or_default();
            Tree::Text(if raw.contains('\r') {
                value.replace("\r\n", "\n")
            } else {
                value.into_owned()
            })
        }
        DeValue::Integer(value) => match i64::from_str_radix(value.as_str(), value.radix()) {
            Ok(number) => Tree::Whole(number),
            Err(_) => Tree::Huge(value.to_string()),
        },
        DeValue::Float(value) => match value.as_str().parse() {
            Ok(number) => Tree::Real(number),
            Err(_) => Tree::Huge(value.to_string()),
        },
        DeValue::Boolean(value) => Tree::Flag(value),
        DeValue::Datetime(value) => Tree::Moment(value.to_string()),
        DeValue::Array(values) => {
            Tree::List(values.into_iter().map(|value| convert(value, text)).collect())
        }
        DeValue::Table(table) => convert_table(table, text),
    };
    Node { range, tree }
}

impl Tree {
    /// What kind of value it is, with an article.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Whole(_) => "a whole number",
            Self::Real(_) => "a number with a fraction",
            Self::Flag(_) => "true or false",
            Self::Moment(_) => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Huge(_) => "a number that is too large",
        }
    }
}

/// Values that do not have the asked kind are `None`, or empty: the check has reported them.
impl Node {
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node)
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        if let Tree::Table(entries) = &self.tree { entries.get(key) } else { None }
    }

    /// The entries of a table, by key.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        let entries = if let Tree::Table(entries) = &self.tree { Some(entries) } else { None };
        entries.into_iter().flatten().map(|(key, entry)| (key.as_str(), entry))
    }

    pub fn items(&self) -> &[Self] {
        if let Tree::List(items) = &self.tree { items } else { &[] }
    }

    /// A list's items, or the value by itself where a list of one may be written without its brackets.
    pub fn one_or_many(&self) -> &[Self] {
        if let Tree::List(items) = &self.tree { items } else { std::slice::from_ref(self) }
    }

    pub fn text(&self) -> Option<&str> {
        if let Tree::Text(text) = &self.tree { Some(text) } else { None }
    }

    pub fn whole<T: TryFrom<i64>>(&self) -> Option<T> {
        if let Tree::Whole(number) = self.tree { T::try_from(number).ok() } else { None }
    }

    pub fn flag(&self) -> Option<bool> {
        if let Tree::Flag(flag) = self.tree { Some(flag) } else { None }
    }

    /// What a reader makes of the text.
    pub fn parse<T, E>(&self, reader: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        reader(self.text()?).ok()
    }

    /// The length of time that is written here.
    pub fn length(&self) -> Option<std::time::Duration> {
        self.parse(crate::base::time::parse_length)
    }

    /// The place in the file of a byte range of this node's text. Where the text is written with escapes, all of it.
    pub fn place_of(&self, file: &str, inner: &Range<usize>) -> Range<usize> {
        let raw = file.get(self.range.clone()).unwrap_or_default();
        let start = self.text().filter(|text| !text.is_empty()).and_then(|text| raw.find(text));
        match start {
            Some(start) => {
                let start = self.range.start + start;
                start + inner.start..(start + inner.end).min(self.range.end)
            }
            None => self.range.clone(),
        }
    }
}
