//! What people read: the report, made from the journal alone, and the live display.

mod build;
mod build_groups;
mod content;
mod document;
mod history;
mod markdown;
pub mod model;
mod standing;
mod state;
mod words;

pub use markdown::markdown;
pub use model::Report;
pub use state::{State, Tone};
