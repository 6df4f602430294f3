//! The JSON Schemas know what the readers know: a small walk, that looks at keys and kinds.

use fleetlift::{inventory, playbook, rollout};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Walks a document along a schema and names every key that the schema does not know, or misses.
fn against_schema(value: &serde_json::Value, schema: &serde_json::Value, at: &str) -> Vec<String> {
    use serde_json::Value as Json;
    if let Some(any_of) = schema["anyOf"].as_array() {
        let wrong: Vec<Vec<String>> =
            any_of.iter().map(|schema| against_schema(value, schema, at)).collect();
        return wrong.into_iter().min_by_key(Vec::len).unwrap_or_default();
    }
    let kind = match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(number) if number.is_i64() => "integer",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    if schema["type"].as_str().is_some_and(|wanted| wanted != kind) {
        return vec![format!("{at}: {kind} is not {}", schema["type"])];
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return vec![format!("{at}: {value} is not one of {}", schema["enum"])];
    }
    let mut wrong = Vec::new();
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        wrong.extend(against_schema(item, &schema["items"], &format!("{at}[{i}]")));
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{key}");
        let known = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
        match known {
            Json::Bool(false) => wrong.push(format!("{at}: unknown")),
            known => wrong.extend(against_schema(inner, known, &at)),
        }
    }
    for key in schema["required"].as_array().into_iter().flatten() {
        if value.get(key.as_str().unwrap()).is_none() {
            wrong.push(format!("{at}: {key} is missing"));
        }
    }
    if let Some(one_of) = schema["oneOf"].as_array() {
        let met = one_of.iter().filter(|one| against_schema(value, one, at).is_empty()).count();
        if met != 1 {
            wrong.push(format!("{at}: {met} of the alternatives"));
        }
    }
    wrong
}

#[test]
fn schemas_know_what_readers_know() {
    let wrong = |file: &Path, schema: &serde_json::Value| {
        let text = fs::read_to_string(file).unwrap();
        let value: serde_json::Value = toml::from_str(&text).unwrap();
        against_schema(&value, schema, "")
    };
    let folder = Path::new("tests/cases");
    let none: Vec<String> = Vec::new();
    let mut good: Vec<(PathBuf, serde_json::Value)> = vec![
        ("inventories/example/hosts.toml".into(), inventory::schema()),
        (folder.join("inventory/good.toml"), inventory::schema()),
        (folder.join("inventory/strange-values.toml"), inventory::schema()),
        ("inventories/example/rollout.toml".into(), rollout::schema()),
        (folder.join("rollout/good.toml"), rollout::schema()),
        (folder.join("rollout/windows.toml"), rollout::schema()),
        (folder.join("rollout/approvals.toml"), rollout::schema()),
        (folder.join("playbook/good.toml"), playbook::schema()),
        (folder.join("playbook/files/playbook.toml"), playbook::schema()),
        (folder.join("playbook/chain/playbook.toml"), playbook::schema()),
    ];
    for (name, _) in playbook::shipped() {
        good.push((Path::new("playbooks").join(format!("{name}.toml")), playbook::schema()));
    }
    for (file, schema) in good {
        assert_eq!(wrong(&file, &schema), none, "{}", file.display());
    }
    let bad = [
        ("inventory/unknown-key.toml", inventory::schema(), 5),
        ("inventory/later.toml", inventory::schema(), 2),
        ("playbook/kinds.toml", playbook::schema(), 6),
    ];
    for (file, schema, count) in bad {
        let wrong = wrong(&folder.join(file), &schema);
        assert_eq!(wrong.len(), count, "{file}: {wrong:#?}");
    }
    let schema = inventory::schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["properties"]["connection"]["description"].is_string());
}
