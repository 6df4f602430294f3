//! `/etc/migration-results`: the history of migrations that leapp and convert2rhel write. Its last entry decides.

use super::item::{Item, field, text_of};
use crate::{base::facts::System, playbook::Severity};
use serde_json::Value as Json;

/// The items of a history; nothing where it is none. `to` is the system that the migration should have led to.
pub(super) fn read(text: &str, to: Option<&System>) -> Option<Vec<Item>> {
    let history: Json = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()?;
    let activities = history.get("activities")?.as_array()?;
    let Some(last) = activities.iter().rfind(|one| one.is_object()) else {
        return Some(vec![Item::doubt("empty", "the history of migrations is empty", "")]);
    };
    let activity = field(last, "activity");
    let phase = last.get("env").map(|env| field(env, "LEAPP_CURRENT_PHASE")).unwrap_or_default();
    let at = match phase.as_str() {
        "" => activity.clone(),
        phase => format!("{activity}, phase {phase}"),
    };
    let ended = field(last, "activity_ended");
    let said = match ended.as_str() {
        "" => String::new(),
        ended => format!("it ended {ended}"),
    };
    let mut items = Vec::new();
    if last.get("success").and_then(Json::as_bool) != Some(true) {
        let title = format!("the last activity was no success: {at}");
        items.push(Item::new("no-success", Severity::Blocker, &title, &said));
    }
    match activity.as_str() {
        "upgrade" if phase == "FirstBoot" => {}
        "conversion" => {}
        "upgrade" => {
            let title = format!("the upgrade has not come to its end: {at}");
            items.push(Item::new("unfinished", Severity::Blocker, &title, &said));
        }
        "preupgrade" | "analysis" => {
            let title = format!("nothing was migrated: the last activity is {at}");
            items.push(Item::new("not-begun", Severity::Blocker, &title, &said));
        }
        _ => items.push(Item::doubt("unknown", &format!("the last activity is {at}"), &said)),
    }
    items.extend(other_target(last, to));
    Some(items)
}

/// Names of systems differ between tools and rebuilds: only versions are compared, and only where both are there.
fn other_target(last: &Json, to: Option<&System>) -> Option<Item> {
    let (target, to) = (system_text(last.get("target_os")?), to?);
    let version =
        target.split_whitespace().rfind(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let is = System { id: to.id.clone(), version: version.to_owned() };
    if to.version.is_empty() || is.meets(to) {
        return None;
    }
    let title = format!("it led to {target}, and not to {to}");
    Some(Item::new(
        "other-target",
        Severity::Blocker,
        &title,
        "the entry may be that of an earlier hop",
    ))
}

/// A text with leapp, an object with convert2rhel, and sometimes the text `null`.
fn system_text(value: &Json) -> String {
    match value {
        Json::Object(_) => {
            let parts = ["name", "version"].map(|key| field(value, key));
            parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ")
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
            text_of(value)
        }
    }
}
