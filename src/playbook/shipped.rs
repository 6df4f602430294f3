//! The playbooks that come with the program. They are the files of `playbooks/`, embedded as they are.

use include_dir::{Dir, include_dir};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

static PLAYBOOKS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/playbooks");

/// Stands before the paths of embedded files, so that they are not taken for files on disk.
const PREFIX: &str = "shipped:";

/// Every shipped playbook: its name, and its text as on disk. Sorted by name.
pub fn shipped() -> Vec<(&'static str, &'static str)> {
    let mut playbooks: Vec<(&str, &str)> = PLAYBOOKS
        .files()
        .filter_map(|file| {
            let name = file.path().to_str()?.strip_suffix(".toml")?;
            Some((name, file.contents_utf8()?))
        })
        .collect();
    playbooks.sort_unstable();
    playbooks
}

/// The path by which an embedded file is called in messages, and in a plan's inputs.
pub(super) fn path(name: &str) -> PathBuf {
    PathBuf::from(format!("{PREFIX}{name}"))
}

/// The content of an embedded file.
pub(super) fn bytes(name: &str) -> io::Result<Vec<u8>> {
    let file = PLAYBOOKS.get_file(name).ok_or(io::ErrorKind::NotFound)?;
    Ok(file.contents().to_vec())
}

/// Whether a path is that of an embedded file.
pub fn is_shipped(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.starts_with(PREFIX))
}

/// The present content of a playbook's source, be it embedded or on disk: a plan compares it with what it was made from.
pub fn input_bytes(path: &Path) -> io::Result<Vec<u8>> {
    match path.to_str().and_then(|text| text.strip_prefix(PREFIX)) {
        Some(name) => bytes(name),
        None => fs::read(path),
    }
}
