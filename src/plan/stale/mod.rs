//! What became stale: a plan compared with one that is made of the same files later, and its inputs with what is there now.
//! Pure: who asks reads the files.

mod leaves;
mod plans;
mod view;

pub use plans::differences;

use super::model::Input;
use crate::{
    base::name::{HostName, WaveName},
    journal::StepId,
};
use std::path::{Path, PathBuf};

/// What became of a plan's inputs, and what a plan would be now.
#[derive(Debug, Default)]
pub struct Stale {
    pub files: Vec<FileChange>,
    /// In what the plan of now differs; absent where none can be made.
    pub changes: Option<Vec<Change>>,
}

/// An input that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    pub path: PathBuf,
    pub what: FileState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    Changed,
    /// It says what it said: comments, white space and the order of keys are no part of that.
    SaysTheSame,
    /// It was not there, or nothing asked for it.
    New,
    /// It is as it was, but nothing asks for it now.
    Unasked,
    Gone,
    /// A folder stands in its place.
    Folder,
    Unreadable {
        reason: String,
    },
}

/// What stands at an input's path now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Read { digest: String, meaning: Option<String> },
    Gone,
    Folder,
    Unreadable { reason: String },
}

/// Compares inputs with what is there now. `now` are those of the plan that would be made, where one can be made; `find`
/// looks at the others.
pub fn compare_inputs(
    saved: &[Input],
    now: Option<&[Input]>,
    find: impl Fn(&Input) -> Found,
) -> Vec<FileChange> {
    let again = |path: &Path| now?.iter().find(|input| input.path == path);
    let mut changes: Vec<FileChange> = Vec::new();
    for input in saved {
        let what = match (again(&input.path), now) {
            (Some(new), _) => compare(input, &new.digest, new.meaning.as_deref()),
            (None, now) => match find(input) {
                Found::Gone => Some(FileState::Gone),
                Found::Folder => Some(FileState::Folder),
                Found::Unreadable { reason } => Some(FileState::Unreadable { reason }),
                Found::Read { digest, meaning } => {
                    let state = compare(input, &digest, meaning.as_deref());
                    state.or(now.map(|_| FileState::Unasked))
                }
            },
        };
        changes.extend(what.map(|what| FileChange { path: input.path.clone(), what }));
    }
    let new = now.unwrap_or_default().iter();
    let new = new.filter(|input| !saved.iter().any(|old| old.path == input.path));
    changes.extend(new.map(|input| FileChange { path: input.path.clone(), what: FileState::New }));
    changes
}

fn compare(old: &Input, digest: &str, meaning: Option<&str>) -> Option<FileState> {
    if old.digest == digest {
        return None;
    }
    let same = old.meaning.is_some() && old.meaning.as_deref() == meaning;
    Some(if same { FileState::SaysTheSame } else { FileState::Changed })
}

/// One way in which two plans differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub about: About,
    pub what: What,
}

/// What a change is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The plan as a whole: its limits, its title.
    Plan,
    Wave(WaveName),
    Hop(String),
    /// A step for all hosts alike; the name of its hop where there are several.
    Step(StepId, Option<String>),
    /// Hosts that changed alike.
    Hosts(Vec<HostName>),
    /// What a step is for these hosts; for all of them where there are none.
    StepOf(StepId, Option<String>, Vec<HostName>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Added,
    Removed,
    /// The same parts stand in another order.
    Order {
        of: &'static str,
        old: Vec<String>,
        new: Vec<String>,
    },
    /// A key has another value, as operators call it: `connection.user`, `variable backup_dir`, `timeout`.
    Key {
        key: String,
        old: Option<Shown>,
        new: Option<Shown>,
    },
}

/// A value as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    Word(String),
    /// A text of several lines.
    Text(String),
    /// It is, or may be, a secret.
    Hidden,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(path: &str, digest: &str, meaning: Option<&str>) -> Input {
        let meaning = meaning.map(str::to_owned);
        Input { path: path.into(), digest: digest.to_owned(), meaning }
    }

    #[test]
    fn each_fate_of_an_input_has_its_name() {
        let saved = [
            input("same", "1", Some("a")),
            input("comment", "1", Some("a")),
            input("changed", "1", Some("a")),
            input("bytes", "1", None),
            input("gone", "1", None),
            input("folder", "1", None),
            input("unasked", "1", None),
        ];
        let now = [
            input("same", "1", Some("a")),
            input("comment", "2", Some("a")),
            input("changed", "2", Some("b")),
            input("bytes", "2", None),
            input("new", "1", None),
        ];
        let find = |input: &Input| match input.path.to_str() {
            Some("gone") => Found::Gone,
            Some("folder") => Found::Folder,
            _ => Found::Read { digest: "1".to_owned(), meaning: None },
        };
        let found = compare_inputs(&saved, Some(&now), find);
        let found: Vec<(&str, FileState)> =
            found.iter().map(|f| (f.path.to_str().unwrap(), f.what.clone())).collect();
        assert_eq!(
            found,
            [
                ("comment", FileState::SaysTheSame),
                ("changed", FileState::Changed),
                ("bytes", FileState::Changed),
                ("gone", FileState::Gone),
                ("folder", FileState::Folder),
                ("unasked", FileState::Unasked),
                ("new", FileState::New),
            ]
        );
        // Without a plan of now it is only known what the files themselves are.
        let alone = compare_inputs(&saved, None, find);
        assert_eq!(alone.len(), 2, "{alone:?}");
    }
}
