//! The base: the machine's own shell and tools, with what they need, at the paths where the machine has them.

use super::needs::Finder;
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Without these no host is worth anything.
const NEEDED: &str = "\
    awk cat chmod cp cut date env grep head id ln ls mkdir mv printf rm rmdir sed setsid sh \
    sleep sort tail tar touch tr uname wc";

/// Taken where the machine has them.
const WELCOME: &str = "\
    [ base64 basename bash busybox chgrp chown cksum cmp comm dd df diff dirname du echo egrep \
    expr false fgrep find fold getconf getent gunzip gzip install join kill less logger md5sum \
    mkfifo mktemp more nice nl nohup nproc od paste pwd readlink realpath rev seq sha1sum \
    sha256sum sha512sum shuf split stat stty sum sync tac tee test timeout true truncate tsort \
    tty uniq unlink uptime whoami who xargs yes zcat";

/// Looked through before `PATH`, in which a user may have put anything.
const SYSTEM_DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// Loaded by name at run time, so no loader lists it; it reads `/etc/passwd` where the C library does not do so itself.
const NAME_SERVICE: &str = "libnss_files.so.2";

/// More links than this in one path are a circle.
const MOST_LINKS: usize = 40;

/// One thing in the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Directory,
    Link(PathBuf),
    File,
}

/// A base root, laid once for a fleet.
#[derive(Debug)]
pub(crate) struct Base {
    pub(super) dir: PathBuf,
    /// By the path inside, without the leading slash; parents come before their children.
    pub(super) pieces: BTreeMap<PathBuf, Piece>,
    /// `PATH` inside.
    pub(crate) search_path: String,
    /// The `cat` inside.
    pub(crate) cat: PathBuf,
}

/// Why there is no base.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BaseError {
    #[error("this machine has no `{0}`, which every simulated host needs")]
    NoTool(&'static str),
    #[error("`{}` could not be copied into the simulated hosts' base", path.display())]
    Copy { path: PathBuf, source: io::Error },
}

/// What has been added while a base is laid.
#[derive(Default)]
struct Done {
    paths: BTreeSet<PathBuf>,
    finder: Finder,
}

impl Base {
    /// Copies what every host shares into `dir`, which must not exist yet.
    pub(crate) fn lay(dir: PathBuf) -> Result<Self, BaseError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| BaseError::Copy { path, source }
        };
        fs::create_dir_all(&dir).map_err(at(&dir))?;
        let cat = find("cat").ok_or(BaseError::NoTool("cat"))?;
        let mut base = Self { dir, pieces: BTreeMap::new(), search_path: String::new(), cat };
        // The machine's own top level comes first, so that `/bin` is a link wherever it is one there.
        for name in ["bin", "sbin", "lib", "lib64", "usr/bin", "usr/sbin", "usr/lib"] {
            let path = Path::new("/").join(name);
            if path.exists() {
                base.mirror(&path, 0).map_err(at(&path))?;
            }
        }
        let mut done = Done::default();
        let shell = Path::new("/bin/sh");
        base.add(shell, &mut done).map_err(at(shell))?;
        let mut directories = BTreeSet::new();
        let needed = NEEDED.split_whitespace().map(|name| (name, true));
        let welcome = WELCOME.split_whitespace().map(|name| (name, false));
        for (name, needed) in needed.chain(welcome) {
            let Some(path) = find(name) else {
                if needed {
                    return Err(BaseError::NoTool(name));
                }
                continue;
            };
            directories.extend(path.parent().and_then(Path::to_str).map(str::to_owned));
            base.add(&path, &mut done).map_err(at(&path))?;
        }
        let libraries: BTreeSet<_> = done.paths.iter().filter_map(|path| path.parent()).collect();
        for path in libraries.into_iter().map(|parent| parent.join(NAME_SERVICE)) {
            if path.exists() {
                base.mirror(&path, 0).map_err(at(&path))?;
            }
        }
        base.search_path = search_path(&directories);
        Ok(base)
    }

    /// A program and all that it needs.
    fn add(&mut self, program: &Path, done: &mut Done) -> io::Result<()> {
        if !done.paths.insert(program.to_owned()) {
            return Ok(());
        }
        self.mirror(program, 0)?;
        let needs = done.finder.needs(program)?;
        for library in needs.libraries {
            if done.paths.insert(library.clone()) {
                self.mirror(&library, 0)?;
            }
        }
        needs.interpreter.map_or(Ok(()), |interpreter| self.add(&interpreter, done))
    }

    /// Makes `path`, with every directory and link on the way to it, as the machine has it.
    fn mirror(&mut self, path: &Path, links: usize) -> io::Result<()> {
        if links > MOST_LINKS {
            return Err(io::Error::other("too many links"));
        }
        let mut at = PathBuf::from("/");
        let mut rest = path.components();
        while let Some(component) = rest.next() {
            match component {
                Component::Normal(name) => at.push(name),
                Component::ParentDir => drop(at.pop()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            }
            let kind = fs::symlink_metadata(&at)?.file_type();
            if kind.is_symlink() {
                let target = fs::read_link(&at)?;
                let next = at.parent().unwrap_or(&at).join(&target).join(rest.as_path());
                self.piece(&at, Piece::Link(target))?;
                return self.mirror(&next, links + 1);
            }
            self.piece(&at, if kind.is_dir() { Piece::Directory } else { Piece::File })?;
        }
        Ok(())
    }

    fn piece(&mut self, of_machine: &Path, piece: Piece) -> io::Result<()> {
        let inside = of_machine.strip_prefix("/").unwrap_or(of_machine);
        if inside.as_os_str().is_empty() {
            return Ok(());
        }
        let Entry::Vacant(entry) = self.pieces.entry(inside.to_owned()) else {
            return Ok(());
        };
        let here = self.dir.join(inside);
        match &piece {
            Piece::Directory => fs::create_dir(&here)?,
            Piece::Link(target) => std::os::unix::fs::symlink(target, &here)?,
            // Always a copy: a link would let a host's root write into the machine's own programs.
            Piece::File => drop(fs::copy(of_machine, &here)?),
        }
        entry.insert(piece);
        Ok(())
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    SYSTEM_DIRECTORIES
        .iter()
        .map(PathBuf::from)
        .chain(std::env::split_paths(&path).filter(|directory| directory.is_absolute()))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// The usual places, and then those where this machine keeps its tools.
fn search_path(found: &BTreeSet<String>) -> String {
    let usual = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let mut all: Vec<&str> = usual.to_vec();
    all.extend(found.iter().map(String::as_str).filter(|path| !usual.contains(path)));
    all.join(":")
}
