//! The form of a file, written down once and used three times: to check a document and collect all of its faults, to
//! read it, and to print its JSON Schema.

mod check;
mod meaning;
mod schema;
mod tree;

pub use meaning::meaning;
pub use schema::json_schema;
pub use tree::{Entry, Node, Tree};

use super::fault::{Fault, Refusal, Source};
use std::{ops::Range, time::Duration};

/// The form of a value.
#[derive(Debug)]
pub enum Shape {
    /// Text that is not empty.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Text of a form that has a reader of its own.
    Form(&'static Form),
    /// A length of time between two limits.
    Length {
        min: Duration,
        max: Duration,
    },
    /// A whole number between two limits.
    Whole {
        min: i64,
        max: i64,
    },
    /// True or false.
    Flag,
    /// Whatever TOML can say.
    Any,
    List {
        of: &'static Shape,
        min: usize,
    },
    /// A table whose keys the operator chooses; the text says what they name.
    Map {
        of: &'static Shape,
        keys: &'static str,
    },
    Table(&'static Table),
    /// The first of these whose kind fits.
    OneOf(&'static [Shape]),
}

/// A table whose keys are known.
#[derive(Debug)]
pub struct Table {
    /// What it is, with an article: `a step`.
    pub what: &'static str,
    pub keys: &'static [Key],
    /// Exactly one of these keys must be there. Empty where that is not asked.
    pub one_of: &'static [&'static str],
}

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub need: Need,
    pub shape: &'static Shape,
    /// One sentence or two for the schema, and thus for editors.
    pub doc: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Required,
    Optional,
    /// A word of the files' design that this version does not understand. It is refused, never ignored.
    Later,
}

impl Key {
    pub const fn required(name: &'static str, shape: &'static Shape, doc: &'static str) -> Self {
        Self { name, need: Need::Required, shape, doc }
    }

    pub const fn optional(name: &'static str, shape: &'static Shape, doc: &'static str) -> Self {
        Self { name, need: Need::Optional, shape, doc }
    }

    pub const fn later(name: &'static str) -> Self {
        Self { name, need: Need::Later, shape: &Shape::Any, doc: "" }
    }
}

/// A form of text with a reader of its own.
#[derive(Debug)]
pub struct Form {
    /// What it is, with an article: `a host name`.
    pub what: &'static str,
    /// One that is right.
    pub example: &'static str,
    pub check: fn(&str) -> Result<(), Refusal>,
}

/// Collects the faults of one file.
#[derive(Debug)]
pub struct Collector<'a> {
    pub source: &'a Source,
    pub faults: Vec<Fault>,
}

impl<'a> Collector<'a> {
    pub fn new(source: &'a Source) -> Self {
        Self { source, faults: Vec::new() }
    }

    pub fn add(&mut self, range: &Range<usize>, message: impl Into<String>) {
        self.faults.push(Fault::at(self.source, range.clone(), message));
    }

    pub fn add_with_hint(
        &mut self,
        range: &Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.faults.push(Fault::at(self.source, range.clone(), message).hint(hint));
    }

    /// A refusal of a text that stands at this node, at its own place in the text where that can be told.
    pub fn refuse(&mut self, node: &Node, refusal: Refusal) {
        let range = match refusal.range {
            Some(inner) => node.place_of(&self.source.text, &inner),
            None => node.range.clone(),
        };
        let mut fault = Fault::at(self.source, range, refusal.message);
        fault.hint = refusal.hint;
        self.faults.push(fault);
    }

    /// A refusal of a table's key.
    pub fn refuse_key(&mut self, entry: &Entry, refusal: Refusal) {
        let mut fault = Fault::at(self.source, entry.key.clone(), refusal.message);
        fault.hint = refusal.hint;
        self.faults.push(fault);
    }

    /// Parses and checks the file. `None` where it is not TOML, so that nothing more can be said about it; otherwise what
    /// it says, with every value that does not fit its shape already reported.
    pub fn read(&mut self, shape: &Shape) -> Option<Node> {
        let (root, broken) = tree::parse(self);
        let sound = broken.is_empty();
        check::check(shape, &root, self, broken);
        sound.then_some(root)
    }
}
