//! A file as it was read, and places in it.

use super::Fault;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The largest file that an operator writes by hand, or lets a program write: 60,000 hosts, one by one, are 6 MB.
const FILE_BYTES_MAX: usize = 64 << 20;

/// A file as it was read, byte for byte. Its faults point into it.
#[derive(Clone, Debug)]
pub struct Source {
    pub path: PathBuf,
    pub text: Arc<str>,
}

/// A place for people: both count from one, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl Source {
    /// What came of reading a file: its text, or why it cannot be used.
    pub fn from_read(path: &Path, read: io::Result<Vec<u8>>) -> Result<Self, Fault> {
        let bytes = read.map_err(|error| unreadable(path, &error))?;
        if bytes.len() > FILE_BYTES_MAX {
            let message = format!("the file has {} MiB, more than 64", bytes.len() >> 20);
            return Err(Fault::of_file(path, message).hint("is this the file that you meant?"));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { path: path.to_owned(), text: text.into() }),
            Err(error) => Err(not_utf8(path, &error)),
        }
    }

    /// A stand-in for a file that has no text to point at.
    pub(super) fn nameless(path: &Path) -> Self {
        Self { path: path.to_owned(), text: "".into() }
    }

    /// The line and column of a byte; `None` in a file without text.
    pub fn position(&self, offset: usize) -> Option<Position> {
        Positions::default().find(self, offset)
    }

    /// The line around a byte: its number, where it begins, and its text without the line end.
    pub(super) fn line_at(&self, offset: usize) -> (usize, usize, &str) {
        let (line, start) = Lines::of(&self.text).line_at(floor(&self.text, offset));
        (line + 1, start, line_from(&self.text, start))
    }
}

/// Where lines begin.
#[derive(Debug, Default)]
pub(in crate::base) struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    pub(in crate::base) fn of(text: &str) -> Self {
        // A mark at the beginning of the file is not a part of its first line.
        let first = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        Self { starts: std::iter::once(first).chain(ends).collect() }
    }

    /// The line that holds a byte, counted from zero, and where it begins.
    pub(in crate::base) fn line_at(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        (line, self.starts.get(line).copied().unwrap_or(0))
    }

    /// Where the lines up to this one begin, backwards.
    pub(in crate::base) fn back_from(&self, line: usize) -> impl Iterator<Item = (usize, usize)> {
        self.starts.iter().copied().enumerate().take(line + 1).rev()
    }
}

/// Finds many places, and looks for the lines of a file only once while the file stays the same.
#[derive(Debug, Default)]
pub(super) struct Positions {
    text: Option<Arc<str>>,
    lines: Lines,
}

impl Positions {
    pub(super) fn find(&mut self, source: &Source, offset: usize) -> Option<Position> {
        if source.text.is_empty() {
            return None;
        }
        if !self.text.as_ref().is_some_and(|text| Arc::ptr_eq(text, &source.text)) {
            self.lines = Lines::of(&source.text);
            self.text = Some(Arc::clone(&source.text));
        }
        let (line, start) = self.lines.line_at(floor(&source.text, offset));
        let text = line_from(&source.text, start);
        let column = text[..floor(text, offset.saturating_sub(start))].chars().count() + 1;
        Some(Position { line: line + 1, column })
    }
}

/// The line that begins here, without its end.
fn line_from(text: &str, start: usize) -> &str {
    let line = text[start..].split('\n').next().unwrap_or_default();
    line.strip_suffix('\r').unwrap_or(line)
}

/// The nearest place at or before `offset` that is between characters and within the text.
fn floor(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound => Fault::of_file(path, "there is no such file"),
        io::ErrorKind::IsADirectory => Fault::of_file(path, "this is a folder, not a file"),
        io::ErrorKind::PermissionDenied => {
            Fault::of_file(path, "the file may not be read").hint("check its owner and mode")
        }
        _ => Fault::of_file(path, format!("the file cannot be read: {error}")),
    }
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Fault {
    let bytes = error.as_bytes();
    let at = error.utf8_error().valid_up_to();
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Fault::of_file(path, "the file is UTF-16, not UTF-8")
            .hint(format!("iconv -f UTF-16 -t UTF-8 {}", shell_word(path)));
    }
    // The text before and after the byte is shown with a mark in its place.
    let text: Arc<str> = String::from_utf8_lossy(bytes).into();
    let source = Source { path: path.to_owned(), text };
    let message = format!("the file is not UTF-8: byte 0x{:02x} has no meaning here", bytes[at]);
    Fault::at(&source, at..at + '\u{fffd}'.len_utf8(), message)
        .hint("save it as UTF-8; `iconv` converts from other encodings")
}

fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), std::borrow::Cow::into_owned)
}
