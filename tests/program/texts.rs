//! Texts about the program itself, and how it behaves where its reader goes away.

use crate::desk::Desk;
use serde_json::Value;
use std::{collections::BTreeSet, process::Stdio};

#[test]
fn every_schema_is_json_and_says_what_it_is_of() {
    let desk = Desk::new();
    for of in ["inventory", "playbook", "rollout", "events", "report"] {
        let schema = desk.say(&["schema", of]).exits(0).json();
        assert!(
            schema["$schema"].as_str().is_some_and(|s| s.starts_with("https://json-schema.org/")),
            "{of}"
        );
        assert!(schema["title"].is_string(), "{of}");
    }
    // An example from the other direction: what is wrong is not accepted.
    let schema = desk.say(&["schema", "events"]).exits(0).json();
    let right: Value = serde_json::from_str(
        r#"{"seq":0,"at":"2026-11-21T09:15:02Z","event":"wave_started","wave":"web"}"#,
    )
    .unwrap();
    accepts(&schema, &schema, &right).unwrap();
    for (key, wrong) in [("seq", "\"0\""), ("event", "\"wave_strated\""), ("wave", "7")] {
        let mut record = right.clone();
        record[key] = serde_json::from_str(wrong).unwrap();
        assert!(accepts(&schema, &schema, &record).is_err(), "{record}");
    }
}

#[test]
fn completions_and_the_manual_name_every_verb() {
    let desk = Desk::new();
    let help = desk.say(&["--help"]).exits(0).out;
    let verbs: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    assert!(verbs.len() >= 15, "{help}");
    for shell in ["bash", "zsh", "fish"] {
        let text = desk.say(&["completions", shell]).exits(0).out;
        for verb in &verbs {
            assert!(text.contains(verb), "{shell} does not know {verb}");
        }
    }
    let man = desk.say(&["man"]).exits(0).out;
    assert!(man.contains(".TH") && man.contains("fleetlift"), "{man}");
    let version = desk.say(&["--version"]).exits(0).out;
    assert_eq!(version, format!("fleetlift {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn bad_usage_is_two_and_asked_for_help_is_not() {
    let desk = Desk::new();
    for args in
        [&["plan"][..], &["nonsense"], &["runs", "--nonsense"], &[], &["demo", "--hosts", "3"]]
    {
        let said = desk.say(args).exits(2);
        assert!(said.out.is_empty() && !said.err.is_empty(), "{args:?}");
    }
    for args in [&["--help"][..], &["run", "--help"], &["help", "plan"]] {
        let said = desk.say(args).exits(0);
        assert!(said.err.is_empty() && !said.out.is_empty(), "{args:?}");
    }
    // Without any run, verbs about runs say how one begins.
    for args in
        [&["status"][..], &["why", "last", "web-01"], &["report"], &["resume"], &["log", "last"]]
    {
        let said = desk.say(args).exits(2);
        assert!(said.err.contains("hint: `fleetlift run"), "{args:?}: {}", said.err);
    }
    let said = desk.say(&["runs"]).exits(0);
    assert!(said.out.is_empty(), "{said:?}");
    assert_eq!(desk.say(&["runs", "--json"]).exits(0).json(), serde_json::json!([]));
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let desk = Desk::new();
    desk.say(&["init", "fleet2"]).exits(0);
    let plan = ["plan", "-i", "fleet2", "-p", "debian12-to-debian13", "--json"];
    for args in [&["schema", "report"][..], &["--help"], &["completions", "zsh"], &["man"], &plan] {
        let mut child =
            desk.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(!err.contains("panicked"), "{args:?}: {err}");
        assert_eq!(output.status.code(), Some(0), "{args:?}: {err}");
    }
}

/// Whether a JSON Schema accepts a value: as much of JSON Schema as our own schemas use, and a panic where they use more.
pub fn accepts(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let schema = match schema {
        Value::Bool(true) => return Ok(()),
        Value::Bool(false) => return Err(format!("nothing is allowed here: {value}")),
        Value::Object(schema) => schema,
        other => panic!("no schema: {other}"),
    };
    for (key, said) in schema {
        match key.as_str() {
            "$ref" => {
                let path = said.as_str().unwrap().strip_prefix('#').unwrap();
                accepts(root, root.pointer(path).unwrap(), value)?;
            }
            "type" => {
                let names = match said {
                    Value::Array(names) => names.iter().map(|n| n.as_str().unwrap()).collect(),
                    name => vec![name.as_str().unwrap()],
                };
                if !names.iter().any(|name| is_a(name, value)) {
                    return Err(format!("{value} is not {names:?}"));
                }
            }
            "const" if said != value => return Err(format!("{value} is not {said}")),
            "enum" if !said.as_array().unwrap().contains(value) => {
                return Err(format!("{value} is none of {said}"));
            }
            "minLength" => {
                if value
                    .as_str()
                    .is_some_and(|s| (s.chars().count() as u64) < said.as_u64().unwrap())
                {
                    return Err(format!("{value} is shorter than {said}"));
                }
            }
            "minimum" if value.is_number() && value.as_f64() < said.as_f64() => {
                return Err(format!("{value} < {said}"));
            }
            "maximum" if value.is_number() && value.as_f64() > said.as_f64() => {
                return Err(format!("{value} > {said}"));
            }
            "oneOf" | "anyOf" => {
                let tried: Vec<Result<(), String>> =
                    said.as_array().unwrap().iter().map(|s| accepts(root, s, value)).collect();
                let fits = tried.iter().filter(|tried| tried.is_ok()).count();
                if fits == 0 || (key == "oneOf" && fits > 1) {
                    return Err(format!("{fits} of {key} fit {value}: {tried:?}"));
                }
            }
            "allOf" => {
                for part in said.as_array().unwrap() {
                    accepts(root, part, value)?;
                }
            }
            "required" => {
                let missing = |name: &&Value| value.get(name.as_str().unwrap()).is_none();
                if let (true, Some(name)) =
                    (value.is_object(), said.as_array().unwrap().iter().find(missing))
                {
                    return Err(format!("no {name}"));
                }
            }
            "properties" => {
                for (name, schema) in said.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        accepts(root, schema, value).map_err(|e| format!("{name}: {e}"))?;
                    }
                }
            }
            "additionalProperties" if value.is_object() => {
                let known: BTreeSet<&String> = schema
                    .get("properties")
                    .and_then(Value::as_object)
                    .map(|known| known.keys().collect())
                    .unwrap_or_default();
                for (name, value) in value.as_object().unwrap() {
                    if !known.contains(name) {
                        accepts(root, said, value).map_err(|e| format!("{name}: {e}"))?;
                    }
                }
            }
            "propertyNames" if value.is_object() => {
                for name in value.as_object().unwrap().keys() {
                    accepts(root, said, &Value::from(name.as_str()))?;
                }
            }
            "items" if value.is_array() => {
                for value in value.as_array().unwrap() {
                    accepts(root, said, value)?;
                }
            }
            "uniqueItems"
            | "const"
            | "enum"
            | "minimum"
            | "maximum"
            | "items"
            | "additionalProperties"
            | "$schema"
            | "$id"
            | "$defs"
            | "title"
            | "description"
            | "format"
            | "default"
            | "examples" => {}
            other => panic!("the schema uses {other}, which this check does not know"),
        }
    }
    Ok(())
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    }
}
