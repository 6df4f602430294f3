//! The report as JSON, and its schema.

use super::model::Report;
use crate::base::text::safe_json;
use serde_json::Value;

/// The report as JSON. Its form is versioned by `format`.
pub fn json(report: &Report) -> String {
    match serde_json::to_string_pretty(report) {
        Ok(text) => format!("{}\n", safe_json(&text)),
        // The report holds texts, numbers and lists only, and no key that is not a text.
        Err(error) => unreachable!("a report is always JSON: {error}"),
    }
}

/// The JSON Schema of the report.
pub fn schema() -> Value {
    serde_json::from_str(include_str!("schema.json"))
        .expect("the schema is a constant, and a test reads it")
}
