//! What every other room speaks in: names, time, faults, text, templates, facts. No I/O.

pub mod facts;
pub mod fault;
pub mod name;
pub mod phase;
pub mod redact;
pub mod template;
pub mod text;
pub mod time;
pub mod value;
