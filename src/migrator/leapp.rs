//! leapp's reports: JSON of the schemas 1.0.0, 1.1.0 and 1.2.0, made whole by the text beside it and by what leapp printed.

use super::{
    item::{ITEMS_MAX, Item, field, text_of, words},
    leapp_text::{self, Console, Marked},
};
use crate::playbook::Severity;
use serde_json::Value as Json;

/// All that leapp has left of one of its runs.
#[derive(Debug, Default)]
pub(super) struct Left<'a> {
    pub json: Option<&'a str>,
    pub text: Option<&'a str>,
    pub out: &'a str,
}

/// The items of a run, and whether any report could be read. The JSON is the fullest of the three, but its older schemas hide
/// errors of actors: the text and the console name them.
pub(super) fn read(left: &Left<'_>) -> (Vec<Item>, bool) {
    let json = left.json.and_then(entries);
    let by_json = json.is_some();
    let mut items = json.unwrap_or_default();
    // A text without a single entry proves nothing: leapp writes one also where it stopped before it could report.
    let marked = left.text.map(leapp_text::report).unwrap_or_default();
    let by_text = !marked.is_empty();
    for block in marked {
        merge(&mut items, block, by_json);
    }
    let Console { errors, inhibitors, counted } = leapp_text::console(left.out);
    for said in errors.into_iter().chain(inhibitors) {
        merge(&mut items, said, true);
    }
    let found = items.iter().filter(|item| item.blocks()).count();
    if counted > found {
        items.push(Item::doubt(
            "incomplete",
            "leapp counts more inhibitors and errors than its report has",
            &format!("it printed {counted}, and its report has {found}"),
        ));
    }
    (items, by_json || by_text)
}

/// Takes in what another source says: what blocks there blocks, also where the JSON does not say so. Anything else is new only
/// where there is no JSON.
fn merge(items: &mut Vec<Item>, said: Marked, whole: bool) {
    // One key may stand for several entries: the title decides where it can.
    let by_title = items.iter().position(|item| item.title == said.item.title);
    let by_key = || items.iter().position(|item| said.keyed && item.key == said.item.key);
    match by_title.or_else(by_key).map(|at| &mut items[at]) {
        Some(item) if said.item.blocks() => {
            item.severity = Severity::Blocker;
            if item.remedy.is_none() {
                item.remedy = said.item.remedy;
            }
        }
        Some(_) => {}
        None if said.item.blocks() || !whole => items.push(said.item),
        None => {}
    }
}

/// The entries of a report in JSON; nothing where it is none.
pub(super) fn entries(text: &str) -> Option<Vec<Item>> {
    let report: Json = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()?;
    let entries = match &report {
        Json::Array(entries) => entries,
        Json::Object(table) => table.get("entries")?.as_array()?,
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => return None,
    };
    let entries = entries.iter().filter(|entry| entry.is_object());
    Some(entries.take(ITEMS_MAX + 1).map(entry).collect())
}

fn entry(entry: &Json) -> Item {
    let summary = field(entry, "summary");
    let failed = actor_failed(&summary);
    let (summary, hint) = match failed {
        true => details(&summary),
        false => (summary, String::new()),
    };
    let severity = if failed { Severity::Blocker } else { severity(entry) };
    let mut remedies = remedies(entry);
    if !hint.is_empty() {
        remedies.push(hint);
    }
    let item = Item::new(&field(entry, "key"), severity, &field(entry, "title"), &summary);
    item.with_remedy(Some(&joined(&remedies)))
}

/// Groups, flags and tags are one: schemas call them differently. A few services write the severity anew.
fn severity(entry: &Json) -> Severity {
    let risk = field(entry, "severity").to_lowercase();
    let marks = ["groups", "flags", "tags"].iter().flat_map(|key| words(entry, key));
    let marks: Vec<String> = marks.chain([risk.as_str()]).map(str::to_lowercase).collect();
    let marked = |wanted: &[&str]| marks.iter().any(|mark| wanted.contains(&mark.as_str()));
    if marked(&["inhibitor", "error", "overridable", "skip"]) {
        return Severity::Blocker;
    }
    if marked(&["failure"]) {
        return Severity::Warning;
    }
    severity_of_risk(&risk)
}

/// The risk factor of an entry that does not block. A word that is not known is not taken for harmless.
pub(super) fn severity_of_risk(risk: &str) -> Severity {
    match risk {
        "low" | "info" => Severity::Info,
        _ => Severity::Warning,
    }
}

/// An actor that failed is reported with its details, which are JSON in the summary. The older schemas take its mark away, and
/// leave this.
fn actor_failed(summary: &str) -> bool {
    let summary = summary.trim_start();
    summary.starts_with("{\"") && summary.contains("\"details\"")
}

/// What an actor says of its failure, and its hint. The text is often cut, so it is no JSON any more.
fn details(summary: &str) -> (String, String) {
    let Ok(table) = serde_json::from_str::<Json>(summary) else {
        let text = summary.trim_start_matches(['{', ' ']).trim_end_matches(['}', ' ']);
        return (text.replace(['"', '\\'], ""), String::new());
    };
    let said = |key: &str| field(&table, key);
    let texts = ["details", "stderr", "Details"].map(said);
    let text = texts.iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>().join("; ");
    let text = if text.is_empty() { text_of(&table) } else { text };
    (text, said("hint"))
}

/// Sentences stay sentences, and what has no full stop is told apart.
pub(super) fn joined(texts: &[String]) -> String {
    let mut all = String::new();
    for text in texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        if !all.is_empty() {
            all.push_str(if all.ends_with(['.', '!', '?', ':']) { " " } else { "; " });
        }
        all.push_str(text);
    }
    all
}

/// What to do, in leapp's words: hints as they are, commands as one would type them.
fn remedies(entry: &Json) -> Vec<String> {
    let detail = entry.get("detail").filter(|detail| detail.is_object()).unwrap_or(entry);
    let list = match detail.get("remediations") {
        Some(Json::Array(items)) => items.iter().collect(),
        // Some services keep one object in place of the list.
        Some(one @ (Json::Object(_) | Json::String(_))) => vec![one],
        Some(Json::Null | Json::Bool(_) | Json::Number(_)) | None => Vec::new(),
    };
    list.into_iter().filter_map(remedy).collect()
}

fn remedy(one: &Json) -> Option<String> {
    let kind = field(one, "type");
    let context = match one {
        Json::Object(table) => table.get("context").unwrap_or(one),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => one,
    };
    let text = match (kind.as_str(), context) {
        ("command", Json::Array(argv)) => {
            let argv: Vec<String> = argv.iter().map(text_of).collect();
            let typed = shlex::try_join(argv.iter().map(String::as_str));
            format!("Run: {}", typed.unwrap_or_else(|_| argv.join(" ")))
        }
        ("command", other) => format!("Run: {}", text_of(other)),
        ("playbook", other) => format!("Playbook: {}", text_of(other)),
        (_, other) => text_of(other),
    };
    (!text.trim().is_empty()).then_some(text)
}
