//! One thing that a migrator has found.

use crate::{
    base::text::{one_line, shorten},
    playbook::Severity,
};
use serde_json::Value as Json;

/// Of a title, in characters: it names the finding in every table.
const TITLE_MAX: usize = 160;
/// Of what is said about it, and of what to do: a journal is read whole, and a fleet has thousands of these.
const TEXT_MAX: usize = 400;
/// Of a key; the longest that a migrator makes itself has 80.
const KEY_MAX: usize = 120;

/// More findings than this are no report of any migrator: what lies behind them is not read, and that is a doubt.
pub(super) const ITEMS_MAX: usize = 1000;

/// One thing that a migrator has found, under its own key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The migrator's name for this kind of finding; `title:…` where its report has none.
    pub key: String,
    pub severity: Severity,
    pub title: String,
    /// What else it says about it; may be empty.
    pub summary: String,
    pub remedy: Option<String>,
    /// Whether somebody can take it upon himself. That nothing is known is nothing to be accepted.
    pub acceptable: bool,
}

impl Item {
    /// Texts are cleaned and shortened. What has no key is known by its title.
    pub fn new(key: &str, severity: Severity, title: &str, summary: &str) -> Self {
        let title = match clean(title, TITLE_MAX) {
            title if title.is_empty() => clean(summary, TITLE_MAX),
            title => title,
        };
        let title = if title.is_empty() { "a finding without a title".to_owned() } else { title };
        let key = match clean(key, KEY_MAX) {
            key if key.is_empty() => clean(&format!("title:{title}"), KEY_MAX),
            key => key,
        };
        let summary = match clean(summary, TEXT_MAX) {
            summary if summary == title => String::new(),
            summary => summary,
        };
        Self { key, severity, title, summary, remedy: None, acceptable: true }
    }

    /// What the report does not say, so that nobody can know whether it is harmless.
    pub fn doubt(key: &str, title: &str, summary: &str) -> Self {
        Self { acceptable: false, ..Self::new(key, Severity::Blocker, title, summary) }
    }

    pub fn with_remedy(self, remedy: Option<&str>) -> Self {
        let remedy = remedy.map(|text| clean(text, TEXT_MAX)).filter(|text| !text.is_empty());
        Self { remedy, ..self }
    }

    pub fn blocks(&self) -> bool {
        self.severity == Severity::Blocker
    }
}

/// A text in one line of single spaces that cannot steer a terminal, at most so many characters long.
pub fn clean(text: &str, width: usize) -> String {
    let mut line = String::with_capacity(text.len().min(width * 4));
    for (number, word) in text.split_whitespace().enumerate() {
        // Each character has at most four bytes: what lies behind is cut off below in any case.
        if line.len() > width * 4 {
            break;
        }
        if number > 0 {
            line.push(' ');
        }
        line.push_str(word);
    }
    let line = one_line(&line);
    shorten(&line, width).into_owned()
}

/// The text of a field, whatever stands in it: nothing for what is missing or `null`.
pub(super) fn field(table: &Json, key: &str) -> String {
    match table.get(key) {
        None | Some(Json::Null) => String::new(),
        Some(value) => text_of(value),
    }
}

/// Any value as text: lists by their items.
pub(super) fn text_of(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        Json::Bool(_) | Json::Number(_) => value.to_string(),
        Json::Array(items) => {
            items.iter().map(text_of).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
        }
        Json::Object(table) => table
            .values()
            .map(text_of)
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("; "),
    }
}

/// The words of a list; of a single text that word.
pub(super) fn words<'j>(table: &'j Json, key: &str) -> Vec<&'j str> {
    match table.get(key) {
        Some(Json::Array(items)) => items.iter().filter_map(Json::as_str).collect(),
        Some(Json::String(text)) => vec![text],
        Some(Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_)) | None => Vec::new(),
    }
}
