//! The sentences of the report and of the display, apart from the code, so that another language is another file.
//!
//! A text may hold `{name}`, and `{name|one|many}` which says `one` where the value of `name` is 1.

use crate::base::time::{Timestamp, format_length};
use std::{collections::BTreeMap, fmt::Display, sync::LazyLock, time::Duration};

/// The sentences of one language.
#[derive(Debug)]
pub struct Words {
    texts: BTreeMap<String, String>,
}

static ENGLISH: LazyLock<Words> = LazyLock::new(|| Words::read(include_str!("en.toml")));

impl Words {
    /// The sentences in English.
    pub fn english() -> &'static Self {
        &ENGLISH
    }

    fn read(file: &str) -> Self {
        let tables: BTreeMap<String, BTreeMap<String, String>> =
            toml::from_str(file).expect("the words are a constant, and a test reads them");
        let texts = tables
            .into_iter()
            .flat_map(|(table, texts)| {
                texts.into_iter().map(move |(key, text)| (format!("{table}.{key}"), text))
            })
            .collect();
        Self { texts }
    }

    #[cfg(test)]
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }

    /// The text with this key; the key itself where there is none.
    pub fn get<'a>(&'a self, key: &'a str) -> &'a str {
        self.texts.get(key).map_or(key, String::as_str)
    }

    /// The sentence with this key, with its blanks filled.
    pub fn say(&self, key: &str, values: &[(&str, &dyn Display)]) -> String {
        let mut said = String::new();
        let mut rest = self.get(key);
        while let Some((before, after)) = rest.split_once('{') {
            said.push_str(before);
            let Some((blank, after)) = after.split_once('}') else {
                said.push('{');
                rest = after;
                continue;
            };
            said.push_str(&fill(blank, values));
            rest = after;
        }
        said.push_str(rest);
        said
    }

    /// A whole number as the language writes it.
    pub fn number(&self, number: impl TryInto<u64>) -> String {
        let digits = number.try_into().unwrap_or(u64::MAX).to_string();
        let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        grouped
    }

    /// A percentage with at most one decimal.
    pub fn percent(&self, percent: f64) -> String {
        if percent.fract() == 0.0 { format!("{percent:.0}%") } else { format!("{percent:.1}%") }
    }

    /// A length of time.
    pub fn length(&self, millis: u64) -> String {
        format_length(Duration::from_millis(millis))
    }

    /// A point in time, to the second, UTC.
    pub fn time(&self, at: Timestamp) -> String {
        strftime(at, "%Y-%m-%d %H:%M:%S")
    }

    /// A point in time under a chart whose ticks are this many milliseconds apart.
    pub fn tick(&self, at: Timestamp, step: i64) -> String {
        let form = match step {
            ..60_000 => "%H:%M:%S",
            60_000..86_400_000 => "%H:%M",
            86_400_000.. => "%m-%d",
        };
        strftime(at, form)
    }

    /// A point in time without its day.
    pub fn clock(&self, at: Timestamp) -> String {
        strftime(at, "%H:%M:%S")
    }
}

fn strftime(at: Timestamp, form: &str) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(time) => time.strftime(form).to_string(),
        Err(_) => at.to_string(),
    }
}

fn fill(blank: &str, values: &[(&str, &dyn Display)]) -> String {
    let mut parts = blank.split('|');
    let name = parts.next().unwrap_or_default();
    let value = values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
    match (value, parts.next(), parts.next()) {
        (Some(value), Some(one), Some(many)) => if value == "1" { one } else { many }.to_owned(),
        (Some(value), _, _) => value,
        (None, _, _) => format!("{{{blank}}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_filled_and_numbers_agree() {
        let words = Words::read("[t]\na = '{n} {n|host is|hosts are} on {target}'");
        let say = |n: &str| words.say("t.a", &[("n", &n), ("target", &"rocky 9")]);
        assert_eq!(say("1"), "1 host is on rocky 9");
        assert_eq!(say("2,000"), "2,000 hosts are on rocky 9");
    }

    #[test]
    fn a_value_with_braces_is_not_a_blank() {
        let words = Words::read("[t]\na = '{n}!'");
        assert_eq!(words.say("t.a", &[("n", &"{n}{x|y|z}")]), "{n}{x|y|z}!");
    }

    #[test]
    fn numbers_and_percentages() {
        let words = Words::english();
        assert_eq!(words.number(7u64), "7");
        assert_eq!(words.number(10_000usize), "10,000");
        assert_eq!(words.number(1_234_567u64), "1,234,567");
        assert_eq!(words.percent(86.6), "86.6%");
        assert_eq!(words.percent(100.0), "100%");
    }
}
