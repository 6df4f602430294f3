//! Faults of the files that an operator writes: all of them at once, each with its place and a hint.

mod render;
mod source;

pub use source::{Position, Source};

pub(super) use source::Lines;
use source::Positions;

use crate::base::text::one_line;
use std::{fmt, ops::Range, path::Path};

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

impl Fault {
    /// A fault at a byte range of a file.
    pub fn at(source: &Source, range: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), place: Some((source.clone(), range)), hint: None }
    }

    /// A fault about a whole file, or a file that could not be read.
    pub fn of_file(path: &Path, message: impl Into<String>) -> Self {
        Self::at(&Source::nameless(path), 0..0, message)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The line and column of its beginning, unless it is about a whole file.
    pub fn position(&self) -> Option<Position> {
        self.position_by(&mut Positions::default())
    }

    fn position_by(&self, positions: &mut Positions) -> Option<Position> {
        let (source, range) = self.place.as_ref()?;
        positions.find(source, range.start)
    }

    /// One line: `fleet/hosts.toml:3:5: message`.
    fn line(&self, positions: &mut Positions) -> String {
        let message = one_line(&self.message);
        let Some((source, _)) = &self.place else { return message.into_owned() };
        let path = source.path.to_string_lossy();
        let path = one_line(&path);
        match self.position_by(positions) {
            Some(Position { line, column }) => format!("{path}:{line}:{column}: {message}"),
            None => format!("{path}: {message}"),
        }
    }
}

/// Why a text is not what it should be, before anyone knows which file it stands in: a name, a range, a selection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub message: String,
    /// Where in the text, in bytes; without it, all of it.
    pub range: Option<Range<usize>>,
    pub hint: Option<String>,
}

impl Refusal {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), range: None, hint: None }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    #[must_use]
    pub fn at(self, range: Range<usize>) -> Self {
        Self { range: Some(range), ..self }
    }

    /// The same, of a text that stands `offset` bytes into another one.
    #[must_use]
    pub fn shifted(self, offset: usize, len: usize) -> Self {
        let inner = self.range.clone().unwrap_or(0..len);
        self.at(offset + inner.start..offset + inner.end)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(&mut Positions::default()))
    }
}

/// Every fault that was found, never empty when it is an error.
#[derive(Clone, Debug, Default)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// The value where nothing is wrong, else every fault. A reader that gives up has said why before.
    pub fn unless_any<T>(mut self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            Some(_) | None => {
                debug_assert!(!self.0.is_empty(), "a reader gave up without a fault");
                self.sort();
                Err(self)
            }
        }
    }

    /// In the order of the files as they were read first, and of the places in each.
    fn sort(&mut self) {
        let mut files: Vec<std::path::PathBuf> = Vec::new();
        for (source, _) in self.0.iter().filter_map(|fault| fault.place.as_ref()) {
            if !files.contains(&source.path) {
                files.push(source.path.clone());
            }
        }
        self.0.sort_by_key(|fault| {
            fault.place.as_ref().map(|(source, range)| {
                (files.iter().position(|path| *path == source.path), range.start, range.end)
            })
        });
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl fmt::Display for Faults {
    /// One line for every fault.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut positions = Positions::default();
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&fault.line(&mut positions))?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
