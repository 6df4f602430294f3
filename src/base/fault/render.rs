//! Faults for people, in the manner of compilers, and for programs.

use super::{Fault, Faults, Positions, Source};
use crate::base::{
    redact::is_secret_name,
    text::{is_unsafe, one_line, shorten},
};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::{borrow::Cow, ops::Range, path::Path};

/// More than this nobody reads; the rest is counted.
const SHOWN_MAX: usize = 50;

/// A message may quote what the file says; what is longer than this is cut.
const MESSAGE_CHARS_MAX: usize = 400;

impl Faults {
    /// Every fault with its line, underlined, and its hint.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for fault in self.0.iter().take(SHOWN_MAX) {
            text.push_str(&renderer.render(&[fault.report()]));
            text.push_str("\n\n");
        }
        if let Some(more @ 1..) = self.0.len().checked_sub(SHOWN_MAX) {
            text.push_str(&format!("… and {more} more\n\n"));
        }
        let count = self.0.len();
        text.push_str(&format!("{count} {}\n", if count == 1 { "fault" } else { "faults" }));
        text
    }

    /// A list of `{path, line, column, message, hint}`. Programs get every fault.
    pub fn json(&self) -> serde_json::Value {
        let mut positions = Positions::default();
        self.0.iter().map(|fault| fault.json(&mut positions)).collect()
    }
}

impl Fault {
    /// `{path, line, column, message, hint}`; what is not known is null.
    fn json(&self, positions: &mut Positions) -> serde_json::Value {
        let position = self.position_by(positions);
        serde_json::json!({
            "path": self.place.as_ref().map(|(source, _)| source.path.to_string_lossy()),
            "line": position.map(|p| p.line),
            "column": position.map(|p| p.column),
            "message": self.message,
            "hint": self.hint,
        })
    }

    fn report(&self) -> Group<'_> {
        let title = one_line(&self.message).into_owned();
        let title = shorten(&title, MESSAGE_CHARS_MAX).into_owned();
        let mut group = Group::with_title(Level::ERROR.primary_title(title));
        group = match &self.place {
            None => group,
            Some((source, _)) if source.text.is_empty() => {
                group.element(Origin::path(shown_path(&source.path)))
            }
            Some((source, range)) => group.element(snippet(source, range)),
        };
        match &self.hint {
            None => group,
            Some(hint) => group.element(Level::HELP.message(one_line(hint).into_owned())),
        }
    }
}

fn shown_path(path: &Path) -> String {
    one_line(&path.to_string_lossy()).into_owned()
}

/// The line of the fault's beginning, and in it what is wrong.
fn snippet<'a>(
    source: &Source,
    range: &Range<usize>,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let (number, start, line) = source.line_at(range.start);
    let line = veil(line);
    // A fault at a line's end is shown there, and one over many lines as far as the first of them goes.
    let from = range.start.saturating_sub(start).min(line.len());
    let to = range.end.saturating_sub(start).clamp(from, line.len());
    let (head, rest) = line.split_at(from);
    let (middle, tail) = rest.split_at(to - from);
    let [head, middle, tail] = [head, middle, tail].map(harmless);
    let span = head.len()..head.len() + middle.len();
    Snippet::source(head + &middle + &tail)
        .path(shown_path(&source.path))
        .line_start(number)
        .annotation(AnnotationKind::Primary.span(span))
}

/// Where a secret may be read from; such a text is not the secret itself.
const SECRET_KINDS: [&str; 4] = ["env:", "file:", "command:", "age:"];

/// The line with `*` for what may be a secret that somebody wrote down: the text after a key whose name says so. As many
/// bytes as before.
fn veil(line: &str) -> Cow<'_, str> {
    let mut veiled = Cow::Borrowed(line);
    for (equals, _) in line.match_indices('=') {
        let key = line[..equals].trim_end();
        let key =
            key.rsplit([' ', '\t', '.', '{', ',', '[', '"', '\'']).find(|word| !word.is_empty());
        let value = line[equals + 1..].trim_start();
        let start = line.len() - value.len();
        let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            continue;
        };
        let inner = value[1..].split(quote).next().unwrap_or_default();
        if key.is_some_and(is_secret_name) && !SECRET_KINDS.iter().any(|k| inner.starts_with(k)) {
            let range = start + 1..start + 1 + inner.len();
            veiled.to_mut().replace_range(range, &"*".repeat(inner.len()));
        }
    }
    veiled
}

/// The text with as many characters, so that columns stay true, and none that could steer a terminal.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c != '\t' && is_unsafe(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { path: "fleet/\u{1b}hosts.toml".into(), text: text.into() }
    }

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        let source = source("a = \"\u{1b}[2J\u{202e}\"\nb = 1\n");
        let fault = Fault::at(&source, 4..12, "bad \u{7}value\nhere").hint("say \u{1b}[0m");
        let text = Faults::from(fault).render(false);
        assert!(!text.contains(|c: char| c != '\n' && is_unsafe(c)), "{text:?}");
        assert!(text.contains(":1:5"), "{text}");
    }

    #[test]
    fn a_line_of_a_megabyte_is_cut_around_its_fault() {
        let long = format!("x = [{}oops{}]", "1, ".repeat(300_000), ", 2".repeat(300_000));
        let at = long.find("oops").expect("it is there");
        let text =
            Faults::from(Fault::at(&source(&long), at..at + 4, "what is this")).render(false);
        assert!(text.len() < 1000, "{}", text.len());
        assert!(text.contains("oops") && text.contains("^^^^"), "{text}");
        assert!(text.contains(&format!(":1:{}", at + 1)), "{text}");
    }

    #[test]
    fn a_secret_that_stands_in_a_file_is_not_repeated() {
        let cases = [
            ("password = \"hunter22\"", "password = \"********\""),
            ("x = { secret = 'a=b', y = 1 }", "x = { secret = '***', y = 1 }"),
            ("vars.db_password=\"日\"", "vars.db_password=\"***\""),
            ("secret = \"env:NAME\"", "secret = \"env:NAME\""),
            ("user = \"admin\"", "user = \"admin\""),
            ("password = \"open", "password = \"****"),
            ("= \"x\"", "= \"x\""),
        ];
        for (line, shown) in cases {
            assert_eq!(veil(line), shown);
        }
    }

    #[test]
    fn five_hundred_faults_are_counted_and_fifty_shown() {
        let source = source("a = 1\n");
        let faults =
            Faults((0..500).map(|i| Fault::at(&source, 0..1, format!("no {i}"))).collect());
        let text = faults.render(false);
        assert_eq!(text.matches("error:").count(), SHOWN_MAX);
        assert!(text.contains("… and 450 more") && text.ends_with("500 faults\n"), "{text}");
        assert_eq!(faults.json().as_array().map(Vec::len), Some(500));
    }

    #[test]
    fn places_hold_with_a_byte_order_mark_and_carriage_returns() {
        let source = source("\u{feff}ä = 1\r\nb = 2\r\n");
        let at = |offset| source.position(offset).map(|p| (p.line, p.column));
        assert_eq!(at(3), Some((1, 1)));
        assert_eq!(at(6), Some((1, 3)));
        assert_eq!(at(source.text.find('b').unwrap_or(0)), Some((2, 1)));
        assert_eq!(at(usize::MAX), Some((3, 1)));
        let text = Faults::from(Fault::at(&source, 10..99, "x")).render(false);
        assert!(text.contains(":1:6") && text.contains("1 | ä = 1\n"), "{text}");
    }
}
