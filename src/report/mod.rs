//! What people read: the report, made from the journal alone, and the live display.

mod build;
mod build_groups;
mod calendar_text;
mod content;
mod dark;
mod document;
mod findings;
mod gates_text;
mod history;
mod html;
mod json;
mod limits_text;
pub mod live;
mod markdown;
pub mod model;
mod naming;
mod paint;
mod plan_text;
mod stale_text;
mod state;
mod status;
mod summary;
mod survey;
mod survey_text;
mod watch_text;
mod why;
mod words;

pub use calendar_text::calendar_text;
pub use html::html;
pub use json::{json, schema};
pub use markdown::markdown;
pub use model::Report;
pub use plan_text::plan_text;
pub use stale_text::{stale_files, stale_text};
pub use state::{State, Tone};
pub use status::{Standing, status, status_json};
pub use summary::summary;
pub use survey::survey_json;
pub use survey_text::survey_text;
pub use why::why;

#[cfg(test)]
mod tests;
