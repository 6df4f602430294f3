//! What a plan remembers of what it was made from: its files, and what the inventory says of each host.

use super::model::{Input, Told};
use crate::{
    base::{digest::digest, redact::is_secret_name, shape::meaning, value::Value},
    inventory::Inventory,
    playbook::Playbook,
    rollout::Rollout,
};
use std::collections::{BTreeMap, HashMap};

/// Every file that was read, once each, in the order in which they were read.
pub fn inputs(inventory: &Inventory, playbook: &Playbook, rollout: &Rollout) -> Vec<Input> {
    let sources = [&inventory.sources, &playbook.sources, &rollout.sources];
    let said = sources.into_iter().flatten().map(|source| Input {
        path: source.path.clone(),
        digest: digest(source.text.as_bytes()),
        meaning: meaning(source),
    });
    let files = playbook.files.iter().map(|file| Input {
        path: file.path.clone(),
        digest: digest(&file.content),
        meaning: None,
    });
    let mut inputs: Vec<Input> = Vec::new();
    for input in said.chain(files) {
        // A template that is rendered by two steps, a hop that a chain has twice.
        if !inputs.contains(&input) {
            inputs.push(input);
        }
    }
    inputs
}

/// Sets of variables, each once.
#[derive(Debug, Default)]
pub struct Variables {
    pub sets: Vec<BTreeMap<String, Told>>,
    /// By the set's JSON. Only looked up, never walked.
    known: HashMap<String, usize>,
}

impl Variables {
    /// Where this set stands.
    pub fn place(&mut self, vars: &BTreeMap<String, Value>) -> usize {
        let set: BTreeMap<String, Told> =
            vars.iter().map(|(name, value)| (name.clone(), told(name, value))).collect();
        // A map with texts as keys is always JSON.
        let key = serde_json::to_string(&set).unwrap_or_default();
        *self.known.entry(key).or_insert_with(|| {
            self.sets.push(set);
            self.sets.len() - 1
        })
    }
}

fn told(name: &str, value: &Value) -> Told {
    match value {
        Value::Secret(source) => Told::Secret(source.clone()),
        Value::Plain(json) if is_secret_name(name) || names_a_secret(json) => {
            Told::Hidden(digest(json.to_string().as_bytes()))
        }
        Value::Plain(json) => Told::Plain(json.clone()),
    }
}

/// Whether a key inside says that its value had better not be shown.
fn names_a_secret(json: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
        Json::Array(items) => items.iter().any(names_a_secret),
        Json::Object(entries) => {
            entries.iter().any(|(key, inner)| is_secret_name(key) || names_a_secret(inner))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_with_a_secrets_name_is_kept_as_its_digest() {
        let kept = |name: &str, value: serde_json::Value| told(name, &Value::Plain(value));
        assert_eq!(kept("port", json!(22)), Told::Plain(json!(22)));
        for (name, value) in [
            ("db_password", json!("hunter22")),
            ("db", json!({ "user": "x", "password": "hunter22" })),
            ("dbs", json!([{ "token": "hunter22" }])),
        ] {
            let kept = kept(name, value);
            assert!(matches!(kept, Told::Hidden(_)), "{name}: {kept:?}");
        }
    }

    #[test]
    fn hosts_that_are_told_the_same_share_it() {
        let mut variables = Variables::default();
        let set = |n: i32| BTreeMap::from([("n".to_owned(), Value::Plain(json!(n)))]);
        let places: Vec<usize> = [1, 2, 1, 2].map(|n| variables.place(&set(n))).into();
        assert_eq!(places, [0, 1, 0, 1]);
        assert_eq!(variables.sets.len(), 2);
    }
}
