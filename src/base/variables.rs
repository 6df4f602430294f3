//! Variables as operators write them, in inventories and in playbooks.

use super::{
    anchor::Anchor,
    fault::Refusal,
    shape::{Collector, Node, Shape, Tree},
    value::Value,
};
use std::collections::BTreeMap;

/// A table of variables.
pub static VARIABLES: Shape = Shape::Map { of: &Shape::Any, keys: "variables" };

/// Names that templates have already.
const TAKEN: [&str; 7] = ["host", "facts", "run", "steps", "stdout", "stderr", "exit"];

/// Words of the template language.
const WORDS: [&str; 15] = [
    "and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None",
    "loop", "self",
];

/// Reads a table of variables. A table with the one key `secret` names where a secret is read from.
pub fn read_variables(
    table: &Node,
    anchor: &Anchor,
    out: &mut Collector<'_>,
) -> BTreeMap<String, Value> {
    let mut variables = BTreeMap::new();
    for (name, entry) in table.entries() {
        if let Err(refusal) = check_name(name) {
            out.refuse_key(entry, refusal);
        }
        if let Some(value) = read_value(&entry.node, anchor, out) {
            variables.insert(name.to_owned(), value);
        }
    }
    variables
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let refuse = |message: String, hint: String| Err(Refusal::new(message).hint(hint));
    let starts = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let mut better: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if !better.starts_with(|c: char| c.is_ascii_alphabetic()) {
            better.insert_str(0, "my_");
        }
        return refuse(
            format!("`{name}` cannot be a variable's name, since templates could not say it"),
            format!("letters, digits and underscores, such as `{better}`"),
        );
    }
    if TAKEN.contains(&name) || WORDS.contains(&name) {
        return refuse(
            format!("`{name}` means something else in templates"),
            format!("give it another name: `my_{}`", name.to_ascii_lowercase()),
        );
    }
    Ok(())
}

fn read_value(node: &Node, anchor: &Anchor, out: &mut Collector<'_>) -> Option<Value> {
    let Some(entry) = node.entry("secret") else {
        return read_plain(node, out).map(Value::Plain);
    };
    if node.entries().count() > 1 {
        out.add_with_hint(
            &node.range,
            "a secret has no other keys beside `secret`",
            "a variable that is no secret may be a table, but without the key `secret`",
        );
        return None;
    }
    let Some(text) = entry.node.text() else {
        out.add_with_hint(
            &entry.node.range,
            "the source of a secret is text",
            "such as \"env:NAME\", \"file:PATH\" or \"command:COMMAND LINE\"",
        );
        return None;
    };
    match anchor.secret(text) {
        Ok(source) => Some(Value::Secret(source)),
        Err(refusal) => {
            out.refuse(&entry.node, refusal);
            None
        }
    }
}

fn read_plain(node: &Node, out: &mut Collector<'_>) -> Option<serde_json::Value> {
    use serde_json::Value as Json;
    match &node.tree {
        Tree::Text(text) | Tree::Moment(text) => Some(Json::String(text.clone())),
        Tree::Whole(number) => Some(Json::from(*number)),
        Tree::Flag(flag) => Some(Json::Bool(*flag)),
        Tree::Real(number) => {
            let json = serde_json::Number::from_f64(*number);
            if json.is_none() {
                out.add(&node.range, "a variable cannot be infinite, or not a number");
            }
            json.map(Json::Number)
        }
        Tree::Huge(text) => {
            out.add_with_hint(
                &node.range,
                "this number is too large",
                format!("as text: \"{text}\""),
            );
            None
        }
        Tree::List(items) => {
            let values: Vec<Option<Json>> =
                items.iter().map(|item| read_plain(item, out)).collect();
            values.into_iter().collect::<Option<Vec<_>>>().map(Json::Array)
        }
        Tree::Table(entries) => {
            if let Some(secret) = entries.get("secret") {
                out.add_with_hint(
                    &secret.key,
                    "a secret is a variable of its own, not a part of another",
                    "give it a name of its own under `vars`",
                );
                return None;
            }
            let pairs: Vec<Option<(String, Json)>> = entries
                .iter()
                .map(|(key, entry)| Some((key.clone(), read_plain(&entry.node, out)?)))
                .collect();
            pairs.into_iter().collect::<Option<_>>().map(Json::Object)
        }
    }
}
