//! Reports of convert2rhel, of the formats 1.0, 1.1 and 1.2, plain or as a service wraps them.

use super::{
    item::{ITEMS_MAX, Item, field},
    leapp,
};
use crate::playbook::Severity;
use serde_json::Value as Json;

/// The items of a report; nothing where it is none.
pub(super) fn read(text: &str) -> Option<Vec<Item>> {
    let report: Json = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()?;
    let Some(actions) = report.get("actions").and_then(Json::as_object) else {
        // A service gives the findings the form of leapp's entries.
        return leapp::entries(text);
    };
    let mut items = Vec::new();
    for (name, action) in actions {
        let messages = action.get("messages").and_then(Json::as_array);
        let result = action.get("result").filter(|result| result.is_object());
        let said = messages.into_iter().flatten().chain(result);
        let left = (ITEMS_MAX + 1).saturating_sub(items.len());
        items.extend(said.filter_map(|said| item(name, said)).take(left));
    }
    let status = field(&report, "status").to_uppercase();
    if blocks(&status) && !items.iter().any(Item::blocks) {
        let summary = "none of its actions has this level";
        items.push(Item::doubt("status", &format!("its report ends with {status}"), summary));
    }
    Some(items)
}

/// A success says nothing.
fn item(action: &str, said: &Json) -> Option<Item> {
    let level = field(said, "level").to_uppercase();
    let severity = match level.as_str() {
        "" | "SUCCESS" => return None,
        "INFO" => Severity::Info,
        "WARNING" => Severity::Warning,
        // SKIP is the shadow of another action that did not pass, and a level that is not known may be worse than any.
        _ => Severity::Blocker,
    };
    let id = field(said, "id");
    let texts = [field(said, "description"), field(said, "diagnosis")];
    let summary = texts.iter().filter(|t| !t.is_empty()).cloned().collect::<Vec<_>>().join(" ");
    let title = match field(said, "title") {
        title if title.trim().is_empty() => format!("{action} {id}"),
        title => title,
    };
    // The first format has another name for it.
    let remedy = ["remediations", "remediation"].map(|key| field(said, key)).concat();
    let key = format!("{action}::{id}");
    Some(Item::new(&key, severity, &title, &summary).with_remedy(Some(&remedy)))
}

fn blocks(status: &str) -> bool {
    matches!(status, "SKIP" | "OVERRIDABLE" | "ERROR")
}
