//! A full disk: a directory of a host that is a small file system of its own, holds what it held before, and has no room.

use crate::root::HostRoot;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Room for the names of files and for what a page leaves over; it is filled like the rest.
const SLACK: u64 = 128 * 1024;

/// A directory to be put on a full disk.
#[derive(Debug)]
pub(crate) struct FullDisk {
    /// Its place inside, without the leading slash.
    inside: &'static str,
    /// Where it is, seen from outside.
    pub(crate) directory: PathBuf,
    /// The size of the disk, in bytes.
    pub(crate) size: u64,
}

impl FullDisk {
    /// A disk that is just large enough.
    pub(crate) fn of(root: &HostRoot, inside: &'static str) -> io::Result<Self> {
        let directory = root.path.join(inside);
        let size = size_of(&directory)? + SLACK;
        Ok(Self { inside, directory, size })
    }

    /// Copies what was there before onto the disk, and fills it. `root` is the host's root as the host sees it.
    pub(crate) fn fill(&self, root: &Path) -> io::Result<()> {
        let disk = root.join(self.inside);
        copy_tree(&self.directory, &disk)?;
        fill(&disk)
    }
}

/// How much room a directory's files take in a file system of pages.
fn size_of(directory: &Path) -> io::Result<u64> {
    const PAGE: u64 = 4096;
    let mut size = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            size += PAGE + size_of(&entry.path())?;
        } else if kind.is_file() {
            size += entry.metadata()?.len().next_multiple_of(PAGE);
        }
    }
    Ok(size)
}

/// Fills what is left of a file system.
fn fill(to: &Path) -> io::Result<()> {
    let mut filler = fs::File::create(to.join(".filler"))?;
    loop {
        match io::Write::write_all(&mut filler, &[0; 4096]) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            fs::create_dir(&target)?;
            fs::set_permissions(&target, entry.metadata()?.permissions())?;
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
