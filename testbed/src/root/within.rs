//! Places in a root, found without ever following a link out of it.

use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

/// More links than this in one path are a circle.
const MOST_LINKS: usize = 40;

/// The real place of `path` (as seen inside, with or without a leading slash) whose directories are made where they are missing.
/// The last component may be anything, also a link, and is not followed.
pub(crate) fn place(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut links = 0;
    let mut todo: Vec<_> = reversed(path);
    let mut inside = PathBuf::new();
    while let Some(name) = todo.pop() {
        if name == ".." {
            inside.pop();
            continue;
        }
        inside.push(&name);
        if todo.is_empty() {
            break;
        }
        let real = root.join(&inside);
        match fs::symlink_metadata(&real) {
            Ok(found) if found.file_type().is_symlink() => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(io::Error::other("too many links"));
                }
                let target = fs::read_link(&real)?;
                if target.is_absolute() {
                    inside.clear();
                } else {
                    inside.pop();
                }
                todo.extend(reversed(&target));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&real)?,
            Err(error) => return Err(error),
        }
    }
    Ok(root.join(inside))
}

fn reversed(path: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect();
    names.reverse();
    names
}

/// Writes a file of its own at `path`: what was there before, also a link to a shared file, is removed first.
pub(crate) fn write_file(root: &Path, path: &str, content: &[u8], mode: u32) -> io::Result<()> {
    let place = place(root, Path::new(path))?;
    absent(&place)?;
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(&place)?;
    io::Write::write_all(&mut file, content)?;
    // The process's own mask must not decide.
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// Makes a link at `path`.
pub(crate) fn write_link(root: &Path, path: &Path, target: &str) -> io::Result<()> {
    let place = place(root, path)?;
    absent(&place)?;
    std::os::unix::fs::symlink(target, place)
}

/// Makes a directory at `path`.
pub(crate) fn make_dir(root: &Path, path: &str, mode: u32) -> io::Result<()> {
    let place = place(root, &Path::new(path).join("."))?;
    fs::create_dir_all(&place)?;
    fs::set_permissions(place, fs::Permissions::from_mode(mode))
}

fn absent(place: &Path) -> io::Result<()> {
    match fs::remove_file(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes a directory with all that is in it, also where an ordinary user's host has taken away its own permissions.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_link_leads_out_of_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("usr")).unwrap();
        symlink("/usr/bin", root.join("bin")).unwrap();
        symlink("../../../usr", root.join("up")).unwrap();
        assert_eq!(place(&root, Path::new("/bin/sh")).unwrap(), root.join("usr/bin/sh"));
        assert!(root.join("usr/bin").is_dir());
        assert_eq!(place(&root, Path::new("up/x")).unwrap(), root.join("usr/x"));
        assert_eq!(place(&root, Path::new("../../etc/x")).unwrap(), root.join("etc/x"));
    }

    #[test]
    fn a_circle_of_links_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert!(place(dir.path(), Path::new("a/x")).is_err());
    }

    #[test]
    fn writing_replaces_a_shared_file_instead_of_changing_it() {
        let dir = tempfile::tempdir().unwrap();
        let (shared, root) = (dir.path().join("shared"), dir.path().join("root"));
        fs::create_dir(&root).unwrap();
        fs::write(&shared, "shared").unwrap();
        fs::hard_link(&shared, root.join("tool")).unwrap();
        write_file(&root, "/tool", b"own", 0o755).unwrap();
        assert_eq!(fs::read_to_string(&shared).unwrap(), "shared");
        assert_eq!(fs::read_to_string(root.join("tool")).unwrap(), "own");
    }
}
