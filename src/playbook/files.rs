//! Files that a playbook asks for: beside it on disk, or embedded beside a shipped one.

use super::shipped;
use crate::base::{
    anchor::{Anchor, absolute, folder_of},
    fault::Source,
    suggest::did_you_mean,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The largest file that a playbook may upload, in bytes. It is held in memory.
pub(super) const UPLOAD_BYTES_MAX: usize = 64 << 20;

/// Whether a text names a shipped playbook, and not a file.
pub fn is_name(text: &str) -> bool {
    !text.contains('/') && !text.ends_with(".toml")
}

/// Where a playbook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Embedded, by its name.
    Shipped(String),
    File(PathBuf),
}

impl Origin {
    /// What the operator named: a path where it looks like one, and otherwise a shipped playbook. A path is relative to
    /// the file that names it.
    pub(super) fn named(text: &str, by: Option<&Self>) -> Self {
        if is_name(text) {
            return Self::Shipped(text.to_owned());
        }
        match by {
            Some(Self::File(file)) => Self::File(beside(file).path(text)),
            Some(Self::Shipped(_)) => {
                let text = text.strip_prefix("./").unwrap_or(text);
                Self::Shipped(text.strip_suffix(".toml").unwrap_or(text).to_owned())
            }
            None => Self::File(PathBuf::from(text)),
        }
    }

    /// The playbook's name: the shipped one, or the stem of its file.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Shipped(name) => name.clone(),
            Self::File(file) => file
                .file_stem()
                .map_or_else(|| "playbook".to_owned(), |s| s.to_string_lossy().into_owned()),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::Shipped(name) => shipped::path(&format!("{name}.toml")),
            Self::File(file) => file.clone(),
        }
    }

    /// Reads the playbook itself.
    pub(super) fn source(&self) -> Result<Source, crate::base::fault::Fault> {
        let path = self.path();
        let read = match self {
            Self::Shipped(name) => shipped::bytes(&format!("{name}.toml")),
            Self::File(file) => fs::read(file),
        };
        Source::from_read(&path, read)
    }

    /// Reads a file beside the playbook: the path it is called by, and what came of it.
    pub(super) fn beside(&self, text: &str) -> (PathBuf, io::Result<Vec<u8>>) {
        match self {
            Self::Shipped(_) => {
                let text = text.strip_prefix("./").unwrap_or(text);
                (shipped::path(text), shipped::bytes(text))
            }
            Self::File(file) => {
                let path = beside(file).path(text);
                let read = fs::read(&path);
                (path, read)
            }
        }
    }

    /// Where paths begin that are used later, perhaps from another folder.
    pub(super) fn anchor(&self) -> Anchor {
        let folder = match self {
            Self::Shipped(_) => Path::new("."),
            Self::File(file) => folder_of(file),
        };
        Anchor { folder: absolute(folder), home: home() }
    }
}

/// Where paths begin that are read at once. It is not made absolute, so that messages call files as the operator does.
fn beside(file: &Path) -> Anchor {
    Anchor { folder: file.parent().map(Path::to_owned).unwrap_or_default(), home: home() }
}

fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

/// What to do about a shipped playbook that does not exist.
pub(super) fn hint_for(name: &str) -> String {
    let known = shipped::shipped();
    did_you_mean(name, known.iter().map(|(name, _)| *name)).unwrap_or_else(|| {
        if Path::new(name).is_file() {
            format!("for the file of this name write `./{name}`")
        } else {
            "`fleetlift playbooks` lists those that are shipped; a file's name ends with `.toml`"
                .to_owned()
        }
    })
}
