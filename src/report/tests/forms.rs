//! What must hold for every report, whatever is in it: HTML that balances, JSON that its schema knows, words that exist.

use super::{
    stories,
    story::{self, Story, centos, plan, rocky},
};
use crate::{
    base::approval::{Approval, Decision, Rule, Statement},
    journal::{Contact, End, Event, Failure, RebootVerdict, Sighting, Then, Verdict},
    report::{Report, dark::hint, html, json, markdown, schema, summary, words::Words},
};
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path};

fn reports() -> Vec<(&'static str, Report)> {
    let mut reports: Vec<(&str, Report)> =
        stories::all().into_iter().map(|(name, story)| (name, story.report())).collect();
    reports.push(("large", stories::large(700).report()));
    reports.push(("empty", stories::empty()));
    reports
}

/// The tags of a document in order; panics where one is not closed, or closes what is not open.
fn assert_balanced(name: &str, html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html.strip_prefix("<!DOCTYPE html>").expect("a doctype");
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let end = rest.find('>').expect("a tag ends");
        let tag = &rest[..end];
        assert!(!tag.contains('<'), "{name}: a tag in a tag: {tag}");
        rest = &rest[end + 1..];
        let word = tag.split([' ', '\n']).next().unwrap_or_default();
        if let Some(closed) = word.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{name}");
        } else if !matches!(word, "meta") {
            assert!(word.chars().all(|c| c.is_ascii_alphanumeric()), "{name}: {tag}");
            open.push(word);
        }
        // What is between these is not HTML.
        if matches!(word, "script" | "style") {
            let end = rest.find(&format!("</{word}>")).expect("its end");
            rest = &rest[end..];
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "{name}");
}

#[test]
fn html_is_balanced_and_alone() {
    for (name, report) in reports() {
        let html = html(&report);
        assert_balanced(name, &html);
        assert_eq!(html.matches("<script").count(), 1, "{name}: only our own script");
        for outside in ["http://", "https://", "src=", "@import", "url(//"] {
            let alone = html.replace("&lt;img src=x", "");
            assert!(!alone.contains(outside), "{name} asks the network: {outside}");
        }
        let steers =
            |c: &char| c.is_control() && *c != '\n' || matches!(c, '\u{202a}'..='\u{202e}');
        assert_eq!(html.chars().find(steers), None, "{name}");
    }
}

#[test]
fn markdown_holds_no_html_and_no_control_sequence() {
    for (name, report) in reports() {
        let text = markdown(&report);
        let steers =
            |c: &char| c.is_control() && *c != '\n' || matches!(c, '\u{202a}'..='\u{202e}');
        assert_eq!(text.chars().find(steers), None, "{name}");
        // Code, in a block or between back quotes, is not HTML whatever it looks like.
        for line in text.lines().filter(|line| !line.starts_with("    ")) {
            let outside: String = line.split('`').step_by(2).collect();
            assert!(!outside.contains('<') || name == "hostile", "{name}: {line}");
            assert!(!outside.contains("<script"), "{name}: {line}");
        }
    }
}

/// A validator of the few words of JSON Schema that ours uses; any other word is an error.
fn validate(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let fail = |why: String| Err(format!("{place}: {why}"));
    let Some(words) = schema.as_object() else { return fail("the schema is not an object".into()) };
    for (word, wanted) in words {
        match word.as_str() {
            "$schema" | "title" | "description" | "$defs" | "format" | "properties" => {}
            "$ref" => {
                let name = wanted.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                validate(root, &root["$defs"][name], value, place)?;
            }
            "anyOf" => {
                let any = wanted.as_array().unwrap();
                let results: Vec<_> = any.iter().map(|s| validate(root, s, value, place)).collect();
                if results.iter().all(Result::is_err) {
                    return fail(format!("{results:?}"));
                }
            }
            "type" => {
                let is = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(n) if n.is_f64() => "number",
                    Value::Number(_) => "integer",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                let meets = |w: &Value| *w == is || (*w == "number" && is == "integer");
                let met =
                    wanted.as_array().map_or_else(|| meets(wanted), |any| any.iter().any(meets));
                if !met {
                    return fail(format!("{is} is not {wanted}"));
                }
            }
            "const" if wanted == value => {}
            "enum" if wanted.as_array().unwrap().contains(value) => {}
            "minimum" if value.is_null() || value.as_f64() >= wanted.as_f64() => {}
            "maximum" if value.is_null() || value.as_f64() <= wanted.as_f64() => {}
            "required" => {
                for key in wanted.as_array().unwrap() {
                    if value.is_object() && value.get(key.as_str().unwrap()).is_none() {
                        return fail(format!("{key} is missing"));
                    }
                }
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    validate(root, wanted, item, &format!("{place}[{i}]"))?;
                }
            }
            "propertyNames" => {
                for key in value.as_object().unwrap().keys() {
                    validate(root, wanted, &Value::from(key.as_str()), place)?;
                }
            }
            "additionalProperties" => {
                for (key, item) in value.as_object().into_iter().flatten() {
                    let known = schema.get("properties").and_then(|known| known.get(key));
                    let inner = format!("{place}.{key}");
                    match known {
                        Some(known) => validate(root, known, item, &inner)?,
                        None if *wanted == Value::Bool(false) => {
                            return fail(format!("{key} is unknown"));
                        }
                        None => validate(root, wanted, item, &inner)?,
                    }
                }
            }
            word => return fail(format!("{word}: {wanted} does not hold for {value}")),
        }
    }
    Ok(())
}

#[test]
fn json_is_as_its_schema_says() {
    let schema = schema();
    for (name, report) in reports() {
        let value: Value = serde_json::from_str(&json(&report)).unwrap();
        assert_eq!(validate(&schema, &schema, &value, name), Ok(()));
    }
    let mut wrong: Value = serde_json::from_str(&json(&stories::some_failed().report())).unwrap();
    wrong["hosts"][0]["state"] = "lost".into();
    assert!(validate(&schema, &schema, &wrong, "wrong").is_err());
}

#[test]
fn who_approved_what_stands_in_every_form() {
    let mut story = stories::still_running();
    story.plan.waves[0].approval = Some(Rule {
        of: vec!["cto".parse().unwrap()],
        quorum: 1,
        expires: std::time::Duration::from_secs(3600),
        signers: None,
    });
    let wave = story.plan.waves[0].name.clone();
    let issued = crate::base::time::Timestamp::from_millis(story::START);
    for decision in [Decision::Approve, Decision::Reject] {
        let statement = Statement {
            plan: story::digest().to_owned(),
            run: Some(story::run_id()),
            wave: wave.clone(),
            decision,
            principal: "cto".parse().unwrap(),
            issued,
            expires: (decision == Decision::Approve).then_some(issued),
            reason: "CHG0042 \u{202e}".to_owned(),
        };
        let approval = Approval { statement, signature: None }.into();
        let event = Event::GateDecided { approval, by: "li.si@ops-01".into(), request: None };
        story.at(1, event);
    }
    let report = story.report();
    assert_eq!((report.run.fault.as_ref(), report.approvals.len()), (None, 2));
    let value: Value = serde_json::from_str(&json(&report)).unwrap();
    assert_eq!(validate(&schema(), &schema(), &value, "approvals"), Ok(()));
    let text = markdown(&report);
    assert!(text.contains("## Approvals") && text.contains("CHG0042"), "{text}");
    assert!(!text.contains('\u{202e}'), "nothing of it turns a line around");
}

#[test]
fn every_verdict_of_a_reboot_has_its_hint_and_its_place_in_the_schema() {
    let seen = vec![Sighting { contact: Contact::PortClosed, lasted_ms: 240_000 }];
    let verdicts = [
        RebootVerdict::StayedUp { waited_ms: 300_000 },
        RebootVerdict::OldSystem { system: centos() },
        RebootVerdict::WrongSystem { system: None, wanted: rocky() },
        RebootVerdict::KeyChanged { shown: "a".into(), expected: None, revoked: true },
        RebootVerdict::OtherMachine { was: "a".into(), is: "b".into() },
        RebootVerdict::NeverBack { limit_ms: 1, last: Contact::NoSsh, seen: seen.clone() },
        RebootVerdict::NotOver { limit_ms: 1, seen },
    ];
    for verdict in verdicts {
        let mut story = Story::new(plan(&[("all", vec!["a-01".into()])]));
        let mut part = story.host(0, 0);
        part.until(6);
        let failure = Failure::Reboot(verdict.clone());
        part.fail(6, 1, failure.clone(), "what was seen\n", Then::GiveUp);
        part.end(End::NeedsHands, true, Some(failure));
        story.finish(Verdict::Incomplete);
        let report = story.report();
        let value: Value = serde_json::from_str(&json(&report)).unwrap();
        assert_eq!(validate(&schema(), &schema(), &value, "reboot"), Ok(()));
        let hint = hint(Words::english(), &verdict).replace('`', "");
        let summary = summary(&report, "fleetlift", false);
        assert!(!hint.starts_with("reboot.") && summary.contains(&hint), "{hint}\n{summary}");
    }
}

/// The texts between quotes that look like keys, in the sources of this room.
fn keys_in_sources(folder: &Path, keys: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            keys_in_sources(&path, keys);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            // Quotes that do not begin or end a literal.
            let source = source.replace("\\\"", "").replace("'\"'", "");
            keys.extend(source.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
}

#[test]
fn every_word_exists_and_is_used() {
    let mut literals = BTreeSet::new();
    keys_in_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report"), &mut literals);
    let words = Words::english();
    let tables: BTreeSet<&str> = words.keys().filter_map(|key| key.split('.').next()).collect();
    for literal in &literals {
        let Some((table, key)) = literal.split_once('.') else { continue };
        let is_key =
            tables.contains(table) && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(!is_key || words.keys().any(|known| known == literal), "{literal} is not a word");
    }
    // A key is written whole, or its table is named and its last part comes from elsewhere.
    for known in words.keys() {
        let (table, key) = known.split_once('.').unwrap();
        let start = format!("{table}.{{");
        let made = literals.iter().any(|literal| literal.starts_with(&start));
        let used = literals.contains(known) || (made && literals.contains(key));
        assert!(used, "{known} is not used");
    }
}

/// Nothing that a reader sees is a key that has no word, or a blank that was not filled.
#[test]
fn no_blank_stays_empty() {
    for (name, report) in reports().into_iter().filter(|(name, _)| *name != "hostile") {
        let text = markdown(&report);
        for word in text.split_whitespace() {
            assert!(!word.contains('{') && !word.contains('}'), "{name}: {word}");
        }
    }
}
