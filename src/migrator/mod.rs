//! What migrators say of a host in reports of their own, read into findings by key. Pure, and never sure of the form: whatever
//! cannot be read is said, and counts as the careful answer would.

mod apt;
mod convert2rhel;
mod item;
mod leapp;
mod leapp_text;
mod results;
mod upgrader;
mod weigh;

pub use item::{Item, clean};
pub use weigh::{Age, Content, ReportFile, Said, age, is_needed, paths, told, weigh};
