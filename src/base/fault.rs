//! Faults of the files that an operator writes: all of them at once, each with its place and a hint.

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

/// A file as it was read. Its faults point into it.
#[derive(Clone, Debug)]
pub struct Source {
    pub path: PathBuf,
    pub text: Arc<str>,
}

/// One thing that is wrong with one file.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What is wrong, as a sentence without a full stop.
    pub message: String,
    /// Where: a source and a byte range in it. Without one the fault is about the whole file.
    pub place: Option<(Source, Range<usize>)>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Every fault that was found, never empty when it is an error.
#[derive(Clone, Debug, Default)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.0 {
            writeln!(f, "{}", fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
