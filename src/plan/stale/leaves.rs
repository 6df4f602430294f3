//! The leaves in which two values differ, whatever keys they have: a key that a plan learns later is compared too.

use super::Shown;
use crate::base::{redact::is_secret_name, time::format_length};
use serde_json::Value as Json;
use std::{collections::BTreeSet, time::Duration};

/// A key that differs, and its values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leaf {
    pub key: String,
    pub old: Option<Shown>,
    pub new: Option<Shown>,
}

/// Every leaf in which the two differ, by key.
pub fn leaves(old: Option<&Json>, new: Option<&Json>) -> Vec<Leaf> {
    let mut found = Vec::new();
    walk(&mut Vec::new(), old, new, &mut found);
    found
}

fn walk(path: &mut Vec<String>, old: Option<&Json>, new: Option<&Json>, found: &mut Vec<Leaf>) {
    let there = |value: Option<&Json>| value.is_some_and(|value| !value.is_null());
    let (old, new) = (old.filter(|v| there(Some(v))), new.filter(|v| there(Some(v))));
    if old == new {
        return;
    }
    // What is new as a whole, or gone as a whole, is told by its parts too.
    let inner = |value: Option<&Json>| match value {
        None => true,
        Some(value) => value.is_object() && word_of_table(value).is_none(),
    };
    if inner(old) && inner(new) {
        let entries = |value: Option<&Json>| {
            value
                .and_then(Json::as_object)
                .into_iter()
                .flat_map(|table| table.keys().cloned())
                .collect()
        };
        let mut keys: BTreeSet<String> = entries(old);
        keys.append(&mut entries(new));
        for key in keys {
            path.push(key.clone());
            walk(path, old.and_then(|v| v.get(&key)), new.and_then(|v| v.get(&key)), found);
            path.pop();
        }
        return;
    }
    let key = name(path);
    let show = |value: Option<&Json>| value.map(|value| shown(path, value));
    found.push(Leaf { key, old: show(old), new: show(new) });
}

/// What operators call a key: as they write it in their files.
fn name(path: &[String]) -> String {
    let mut parts: Vec<&str> = path.iter().map(String::as_str).collect();
    if parts.first() == Some(&"task") {
        parts.remove(0);
        if parts.first() == Some(&"act") {
            parts.remove(0);
        }
    }
    match parts.as_slice() {
        ["variables" | "vars", name] => format!("variable {name}"),
        ["labels", name] => format!("label {name}"),
        ["addresses"] => "address".to_owned(),
        ["connection", "identities"] => "connection.identity".to_owned(),
        ["template", "text"] => "the template's text".to_owned(),
        ["upload", "content"] => "the uploaded file's content".to_owned(),
        ["look", "want", key] => format!("wanted system {key}"),
        ["limits", rest @ ..] => rest.join("."),
        [] => "all".to_owned(),
        parts => parts.join("."),
    }
}

/// Keys whose numbers are milliseconds in a plan.
const LENGTHS: [&str; 6] =
    ["timeout", "retry_delay", "estimate", "connect_timeout", "auth_timeout", "keepalive"];

fn shown(path: &[String], value: &Json) -> Shown {
    let last = path.last().map(String::as_str).unwrap_or_default();
    let secret = is_secret_name(last) && !matches!(word_of_table(value), Some(Word::Named(_)));
    match (word_of_table(value), value) {
        _ if secret => Shown::Hidden,
        (Some(Word::Hidden), _) => Shown::Hidden,
        (Some(Word::Named(word)), _) => Shown::Word(word),
        (Some(Word::Plain(inner)), _) => shown(path, inner),
        (None, Json::String(text)) if text.contains('\n') => Shown::Text(text.clone()),
        (None, Json::String(text)) if text.is_empty() => Shown::Word("\"\"".to_owned()),
        (None, Json::String(text)) => Shown::Word(text.clone()),
        (None, Json::Number(number)) if LENGTHS.contains(&last) => match number.as_u64() {
            Some(millis) => Shown::Word(format_length(Duration::from_millis(millis))),
            None => Shown::Word(number.to_string()),
        },
        (None, Json::Number(number)) if last == "mode" => match number.as_u64() {
            Some(mode) => Shown::Word(format!("{mode:04o}")),
            None => Shown::Word(number.to_string()),
        },
        (None, Json::Array(items)) if items.is_empty() => Shown::Word("none".to_owned()),
        (None, Json::Array(items)) => match items.iter().map(Json::as_str).collect() {
            Some::<Vec<&str>>(words) => Shown::Word(words.join(" ")),
            None => Shown::Word(value.to_string()),
        },
        (None, Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_)) => {
            Shown::Word(value.to_string())
        }
    }
}

/// What a table with one key stands for, where that is one value.
enum Word<'v> {
    Plain(&'v Json),
    Named(String),
    Hidden,
}

fn word_of_table(value: &Json) -> Option<Word<'_>> {
    let table = value.as_object().filter(|table| table.len() == 1)?;
    let (key, inner) = table.iter().next()?;
    match (key.as_str(), inner) {
        ("plain", inner) => Some(Word::Plain(inner)),
        ("hidden", Json::String(_)) => Some(Word::Hidden),
        ("secret", inner) => match word_of_table(inner) {
            Some(Word::Named(source)) => Some(Word::Named(format!("secret {source}"))),
            Some(Word::Plain(_) | Word::Hidden) | None => None,
        },
        ("env" | "file" | "command", Json::String(source)) => {
            Some(Word::Named(format!("{key}:{source}")))
        }
        ("percent", Json::Number(number)) => Some(Word::Named(format!("{number}%"))),
        ("hosts", Json::Number(number)) => Some(Word::Named(number.to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(old: Json, new: Json) -> Vec<(String, String, String)> {
        let say = |shown: Option<Shown>| match shown {
            None => "-".to_owned(),
            Some(Shown::Word(word)) => word,
            Some(Shown::Text(text)) => format!("|{text}"),
            Some(Shown::Hidden) => "***".to_owned(),
        };
        let leaves = leaves(Some(&old), Some(&new)).into_iter();
        leaves.map(|leaf| (leaf.key, say(leaf.old), say(leaf.new))).collect()
    }

    #[test]
    fn keys_are_called_as_operators_write_them() {
        for (old, new, key, was, is) in [
            (json!({"addresses": ["a"]}), json!({"addresses": ["a", "b"]}), "address", "a", "a b"),
            (
                json!({"timeout": 1_800_000}),
                json!({"timeout": 90_000}),
                "timeout",
                "30m 00s",
                "1m 30s",
            ),
            (
                json!({"connection": {"user": null}}),
                json!({"connection": {"user": "dba"}}),
                "connection.user",
                "-",
                "dba",
            ),
            (
                json!({"limits": {"budget": {"failures": {"percent": 10}}}}),
                json!({"limits": {"budget": {"failures": {"hosts": 2}}}}),
                "budget.failures",
                "10%",
                "2",
            ),
            (
                json!({"variables": {"n": {"plain": {"a": 1}}}}),
                json!({"variables": {"n": {"plain": {"a": 2}}}}),
                "variable n",
                "{\"a\":1}",
                "{\"a\":2}",
            ),
            (
                json!({"variables": {"p": {"hidden": "sha256:1"}}}),
                json!({"variables": {"p": {"secret": {"env": "P"}}}}),
                "variable p",
                "***",
                "secret env:P",
            ),
            (
                json!({"vars": {"password": {"plain": "x"}}}),
                json!({}),
                "variable password",
                "***",
                "-",
            ),
            (
                json!({"task": {"act": {"run": "a\nb"}}}),
                json!({"task": {"act": {"run": "a\nc"}}}),
                "run",
                "|a\nb",
                "|a\nc",
            ),
            (json!({"x": {"mode": 420}}), json!({"x": {"mode": 384}}), "x.mode", "0644", "0600"),
            (json!({"new": null}), json!({"new": {"inner": true}}), "new.inner", "-", "true"),
        ] {
            let expected = (key.to_owned(), was.to_owned(), is.to_owned());
            assert_eq!(told(old, new), [expected]);
        }
    }
}
