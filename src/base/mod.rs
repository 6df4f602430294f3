//! What every other room speaks in: names, time, faults, text, templates, facts. No I/O.

pub mod anchor;
pub mod approval;
pub mod bytes;
pub mod digest;
pub mod facts;
pub mod fault;
pub mod name;
pub mod phase;
pub mod quantile;
pub mod range;
pub mod redact;
pub mod selection;
pub mod shape;
pub mod suggest;
pub mod template;
pub mod text;
pub mod text_set;
pub mod time;
mod utc;
pub mod value;
pub mod variables;
pub mod window;
