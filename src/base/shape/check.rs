//! A document checked against its shape: every fault at once.

use super::{Collector, Form, Key, Need, Node, Shape, Table, Tree, tree::Broken};
use crate::base::{
    redact::is_secret_name,
    suggest::{did_you_mean, nearest},
    text::{one_line, shorten},
    time::{format_length, parse_length},
};
use std::{collections::BTreeMap, ops::Range, time::Duration};

/// How much of a wrong value is quoted.
const QUOTED_CHARS_MAX: usize = 60;

/// Checks a document. Where its syntax is broken, only what does not follow from that is reported.
pub(super) fn check<'s>(shape: &Shape, root: &Node, out: &mut Collector<'s>, broken: Broken<'s>) {
    Check { out, broken }.value(shape, root, "the file");
}

struct Check<'c, 's> {
    out: &'c mut Collector<'s>,
    /// Lines that are not TOML: what stands there is unknown, and what is missing may have stood there.
    broken: Broken<'s>,
}

impl Check<'_, '_> {
    fn add(&mut self, range: &Range<usize>, message: String, hint: Option<String>) {
        if self.broken.at(range.start) {
            return;
        }
        match hint {
            Some(hint) => self.out.add_with_hint(range, message, hint),
            None => self.out.add(range, message),
        }
    }

    fn value(&mut self, shape: &Shape, node: &Node, name: &str) {
        match (shape, &node.tree) {
            (Shape::Any, _) | (Shape::Flag, Tree::Flag(_)) => {}
            (Shape::Text, Tree::Text(text)) => self.text(text, node, name),
            (Shape::Word(words), Tree::Text(text)) => self.word(words, text, node, name),
            (Shape::Form(form), Tree::Text(text)) => self.form(form, text, node),
            (Shape::Length { min, max }, Tree::Text(text)) => {
                self.length(*min..=*max, text, node, name);
            }
            (Shape::Whole { min, max }, Tree::Whole(number)) => {
                if number < min || number > max {
                    let message = format!("`{name}` is between {min} and {max}, not {number}");
                    self.add(&node.range, message, None);
                }
            }
            (Shape::List { of, min }, Tree::List(items)) => {
                if items.len() < *min {
                    self.add(&node.range, format!("`{name}` must not be an empty list"), None);
                }
                for item in items {
                    self.value(of, item, name);
                }
            }
            (Shape::Map { of, keys: _ }, Tree::Table(entries)) => {
                for (key, entry) in entries {
                    self.value(of, &entry.node, key);
                }
            }
            (Shape::Table(table), Tree::Table(_)) => self.table(table, node),
            (Shape::OneOf(shapes), tree) => match shapes.iter().find(|s| s.fits(tree)) {
                Some(fitting) => self.value(fitting, node, name),
                None => self.wrong_kind(shape, node, name),
            },
            _ => self.wrong_kind(shape, node, name),
        }
    }

    fn text(&mut self, text: &str, node: &Node, name: &str) {
        if text.trim().is_empty() {
            self.add(&node.range, format!("`{name}` must not be empty"), None);
        } else if text.contains('\0') {
            self.add(&node.range, format!("`{name}` must not contain a NUL character"), None);
        }
    }

    fn word(&mut self, words: &[&str], text: &str, node: &Node, name: &str) {
        if !words.contains(&text) {
            let message = format!("`{name}` is {}, not `{}`", either(words), quoted(text));
            let hint = did_you_mean(text, words.iter().copied());
            self.add(&node.range, message, hint);
        }
    }

    fn form(&mut self, form: &Form, text: &str, node: &Node) {
        if let Err(refusal) = (form.check)(text)
            && !self.broken.at(node.range.start)
        {
            self.out.refuse(node, refusal);
        }
    }

    fn length(
        &mut self,
        limits: std::ops::RangeInclusive<Duration>,
        text: &str,
        node: &Node,
        name: &str,
    ) {
        match parse_length(text) {
            Err(_) => {
                let message = format!("`{}` is not a length of time", quoted(text));
                let hint = if text.parse::<f64>().is_ok() {
                    format!("a unit is missing: `{text}s` or `{text}m`?")
                } else {
                    "such as \"90s\", \"15m\", \"2h 30m\", \"1d\"".to_owned()
                };
                self.add(&node.range, message, Some(hint));
            }
            Ok(length) if !limits.contains(&length) => {
                let [min, max] = [limits.start(), limits.end()].map(|l| format_length(*l));
                self.add(&node.range, format!("`{name}` is between {min} and {max}"), None);
            }
            Ok(_) => {}
        }
    }

    fn wrong_kind(&mut self, shape: &Shape, node: &Node, name: &str) {
        let message = format!("`{name}` is {}, not {}", shape.kind(), node.tree.kind());
        let written = self.out.source.text.get(node.range.clone()).unwrap_or_default();
        let hint = instead(shape, &node.tree, name, &quoted(written));
        self.add(&node.range, message, hint);
    }

    fn table(&mut self, table: &Table, node: &Node) {
        let Tree::Table(entries) = &node.tree else { return };
        // Keys that a slip seems to stand for: they are not missing.
        let mut meant = Vec::new();
        for (name, entry) in entries {
            match table.keys.iter().find(|key| key.name == name) {
                None => {
                    meant.extend(nearest(name, table.known().map(|key| key.name)));
                    self.unknown(table, name, &entry.key);
                }
                Some(Key { need: Need::Later, .. }) => {
                    let message = format!("`{name}` is not in this version yet");
                    let hint = format!("remove it: this version cannot do what `{name}` asks for");
                    self.add(&entry.key, message, Some(hint));
                }
                Some(key) => self.value(key.shape, &entry.node, name),
            }
        }
        if self.broken.is_empty() {
            self.missing(table, entries, &meant, &node.range);
        }
    }

    fn unknown(&mut self, table: &Table, name: &str, place: &Range<usize>) {
        let message = format!("{} has no key `{}`", table.what, quoted(name));
        let hint = did_you_mean(name, table.known().map(|key| key.name)).unwrap_or_else(|| {
            let keys: Vec<&str> = table.known().map(|key| key.name).collect();
            format!("its keys are {}", keys.join(", "))
        });
        self.add(place, message, Some(hint));
    }

    fn missing(
        &mut self,
        table: &Table,
        entries: &BTreeMap<String, super::Entry>,
        meant: &[&str],
        place: &Range<usize>,
    ) {
        for key in table.keys {
            let absent = !entries.contains_key(key.name) && !meant.contains(&key.name);
            if key.need == Need::Required && absent {
                let message = format!("{} needs the key `{}`", table.what, key.name);
                self.add(
                    place,
                    message,
                    key.shape.example().map(|e| format!("{} = {e}", key.name)),
                );
            }
        }
        let found: Vec<(&str, &super::Entry)> = table
            .one_of
            .iter()
            .filter_map(|name| entries.get(*name).map(|entry| (*name, entry)))
            .collect();
        match found.as_slice() {
            _ if table.one_of.is_empty() => {}
            [_] => {}
            [] => {
                // A word for later, or a slip, stands for the one that is missing: it has been reported.
                let explained =
                    entries.keys().any(|name| !table.known().any(|key| key.name == name.as_str()));
                if !explained {
                    let message =
                        format!("{} needs one of {}", table.what, table.one_of.join(", "));
                    self.add(place, message, None);
                }
            }
            [(first, _), rest @ ..] => {
                for (name, entry) in rest {
                    let message =
                        format!("{} has either `{first}` or `{name}`, not both", table.what);
                    self.add(&entry.key, message, Some("make two of it".to_owned()));
                }
            }
        }
    }
}

/// What to write instead of a value of the wrong kind.
fn instead(shape: &Shape, found: &Tree, name: &str, written: &str) -> Option<String> {
    match (shape, found) {
        (_, _) if is_secret_name(name) => None,
        (Shape::Length { .. }, Tree::Whole(_) | Tree::Real(_)) => {
            Some(format!("with its unit, as text: {name} = \"{written}s\""))
        }
        (Shape::Form(form), _) if (form.check)(written).is_err() => {
            Some(format!("such as \"{}\"", form.example))
        }
        (_, Tree::Whole(_) | Tree::Real(_) | Tree::Flag(_) | Tree::Moment(_)) => {
            shape.wants_text().then(|| format!("text stands in quotes: {name} = \"{written}\""))
        }
        (Shape::Flag, Tree::Text(text)) => matches!(text.as_str(), "true" | "false")
            .then(|| format!("without quotes: {name} = {text}")),
        (Shape::Whole { .. }, Tree::Text(text)) => {
            text.parse::<i64>().is_ok().then(|| format!("without quotes: {name} = {text}"))
        }
        (Shape::List { of: Shape::Table(_), .. }, Tree::Table(_)) => {
            Some(format!("double brackets make a list of tables: [[{name}]]"))
        }
        (Shape::List { .. }, Tree::Text(_)) => {
            Some(format!("a list stands in brackets: {name} = [{written}]"))
        }
        (Shape::Table(table), _) => {
            let keys: Vec<&str> = table.known().map(|key| key.name).collect();
            Some(format!("with the keys {}", keys.join(", ")))
        }
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    shorten(&one_line(text), QUOTED_CHARS_MAX).into_owned()
}

/// `"a"`, `"b"` or `"c"`.
fn either(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match words.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}

impl Table {
    /// The keys that this version understands.
    pub(super) fn known(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().filter(|key| key.need != Need::Later)
    }
}

impl Shape {
    /// Whether a value is of this shape's kind, right or wrong in itself.
    fn fits(&self, tree: &Tree) -> bool {
        match self {
            Self::Any => true,
            Self::Text | Self::Word(_) | Self::Form(_) | Self::Length { .. } => {
                matches!(tree, Tree::Text(_))
            }
            Self::Whole { .. } => matches!(tree, Tree::Whole(_)),
            Self::Flag => matches!(tree, Tree::Flag(_)),
            Self::List { .. } => matches!(tree, Tree::List(_)),
            Self::Map { .. } | Self::Table(_) => matches!(tree, Tree::Table(_)),
            Self::OneOf(shapes) => shapes.iter().any(|shape| shape.fits(tree)),
        }
    }

    fn wants_text(&self) -> bool {
        match self {
            Self::Text | Self::Word(_) | Self::Form(_) | Self::Length { .. } => true,
            Self::OneOf(shapes) => shapes.iter().any(Self::wants_text),
            Self::Whole { .. }
            | Self::Flag
            | Self::Any
            | Self::List { .. }
            | Self::Map { .. }
            | Self::Table(_) => false,
        }
    }

    /// What kind of value it is, with an article.
    fn kind(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Word(words) => either(words),
            Self::Form(form) => form.what.to_owned(),
            Self::Length { .. } => "a length of time".to_owned(),
            Self::Whole { .. } => "a whole number".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Any => "a value".to_owned(),
            Self::List { .. } => "a list".to_owned(),
            Self::Map { keys, .. } => format!("a table of {keys}"),
            Self::Table(_) => "a table".to_owned(),
            Self::OneOf(shapes) => {
                let kinds: Vec<String> = shapes.iter().map(Self::kind).collect();
                kinds.join(" or ")
            }
        }
    }

    /// A value that would be right, for a hint.
    fn example(&self) -> Option<String> {
        match self {
            Self::Text => Some("\"…\"".to_owned()),
            Self::Word(words) => words.first().map(|word| format!("\"{word}\"")),
            Self::Form(form) => Some(format!("\"{}\"", form.example)),
            Self::Length { .. } => Some("\"15m\"".to_owned()),
            Self::Whole { min, .. } => Some(min.to_string()),
            Self::Flag => Some("true".to_owned()),
            Self::List { of, .. } => of.example().map(|one| format!("[{one}]")),
            Self::OneOf(shapes) => shapes.first().and_then(Self::example),
            Self::Any | Self::Map { .. } | Self::Table(_) => None,
        }
    }
}
