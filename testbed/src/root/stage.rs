//! The stages: trees of files that dress a root as an operating system. They are embedded, so the program stands alone.

use super::within::{write_file, write_link};
use include_dir::{Dir, DirEntry, File, include_dir};
use std::{ffi::OsStr, io, path::Path};

static STAGES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/stage");

/// What every stage has.
const COMMON: &str = "common";

/// A file whose name ends so holds the target of a link.
const LINK: &str = ".symlink";

/// A stage: the files that all have in common, and then its own.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    layers: Vec<&'static Dir<'static>>,
}

/// There is no such stage.
#[derive(Debug, thiserror::Error)]
#[error("there is no stage `{name}`; there are: {}", have.join(", "))]
pub(crate) struct UnknownStage {
    name: String,
    have: Vec<String>,
}

impl Stage {
    /// Finds a stage by its name.
    pub(crate) fn named(name: &str) -> Result<Self, UnknownStage> {
        let named = |wanted: &str| STAGES.dirs().find(|dir| dir.path() == Path::new(wanted));
        match named(name) {
            Some(own) if name != COMMON => {
                Ok(Self { layers: named(COMMON).into_iter().chain([own]).collect() })
            }
            _ => {
                let names = STAGES.dirs().filter_map(|dir| dir.path().to_str());
                let have = names.filter(|name| *name != COMMON).map(str::to_owned).collect();
                Err(UnknownStage { name: name.to_owned(), have })
            }
        }
    }

    /// Writes the stage's files over a root.
    pub(crate) fn dress(&self, root: &Path) -> io::Result<()> {
        self.layers.iter().try_for_each(|layer| dress(root, layer, layer.path()))
    }
}

fn dress(root: &Path, dir: &Dir<'static>, layer: &Path) -> io::Result<()> {
    dir.entries().iter().try_for_each(|entry| match entry {
        DirEntry::Dir(dir) => dress(root, dir, layer),
        DirEntry::File(file) => put(root, file, layer),
    })
}

fn put(root: &Path, file: &File<'static>, layer: &Path) -> io::Result<()> {
    let path = file.path().strip_prefix(layer).map_err(io::Error::other)?;
    let text = path.to_str().ok_or_else(|| io::Error::other("a stage's file has no plain name"))?;
    if let Some(link) = text.strip_suffix(LINK) {
        let target = String::from_utf8_lossy(file.contents());
        return write_link(root, Path::new(link), target.trim());
    }
    write_file(root, text, file.contents(), if is_program(path) { 0o755 } else { 0o644 })
}

/// A macro cannot see a file's mode, so its place decides.
fn is_program(path: &Path) -> bool {
    let programs = ["bin", "sbin", "libexec"].map(OsStr::new);
    path.starts_with("usr/lib/testbed")
        || path.parent().is_some_and(|parent| parent.iter().any(|name| programs.contains(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_their_place() {
        for (path, program) in [
            ("usr/bin/rpm", true),
            ("sbin/reboot", true),
            ("usr/lib/testbed/boot", true),
            ("usr/libexec/x/y", true),
            ("etc/os-release", false),
            ("usr/share/bin.txt", false),
            ("bin", false),
        ] {
            assert_eq!(is_program(Path::new(path)), program, "{path}");
        }
    }

    #[test]
    fn an_unknown_stage_says_which_there_are() {
        let error = Stage::named("beos").unwrap_err().to_string();
        assert!(error.contains("`beos`") && error.contains("plain"), "{error}");
        assert!(Stage::named(COMMON).is_err());
    }
}
