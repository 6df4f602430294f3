//! Which other files a program needs to run: its interpreter, and the libraries its loader would load.

use super::elf;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The first line of a script is never longer.
const LONGEST_LINE: u64 = 4096;

/// What a program needs besides itself.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// What a script names in its first line; it has needs of its own.
    pub(super) interpreter: Option<PathBuf>,
    /// The loader and all libraries, also those that libraries need.
    pub(super) libraries: Vec<PathBuf>,
}

/// Finds the needs of many programs, most of which need the same.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// The libraries that a loader has listed before, with everything that these need.
    known: BTreeMap<PathBuf, BTreeSet<OsString>>,
}

impl Finder {
    /// The files that `program` needs, as far as no program before it needed them.
    pub(super) fn needs(&mut self, program: &Path) -> io::Result<Needs> {
        let mut file = File::open(program)?;
        let mut head = Vec::new();
        file.by_ref().take(LONGEST_LINE).read_to_end(&mut head)?;
        if head.starts_with(b"#!") {
            return Ok(Needs { interpreter: interpreter(&head), ..Needs::default() });
        }
        let Some(elf::Dynamic { loader, needed }) = elf::read(&mut file)? else {
            return Ok(Needs::default());
        };
        let known = self.known.entry(loader.clone()).or_default();
        if needed.is_some_and(|names| names.iter().all(|name| known.contains(name))) {
            return Ok(Needs::default());
        }
        let mut libraries = vec![loader.clone()];
        for (name, path) in list(&loader, program)? {
            known.extend(name);
            libraries.push(path);
        }
        Ok(Needs { libraries, ..Needs::default() })
    }
}

fn interpreter(head: &[u8]) -> Option<PathBuf> {
    let line = head.get(2..)?.split(|byte| *byte == b'\n').next()?;
    let word = line.split(|byte| byte.is_ascii_whitespace()).find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsString::from_vec(word.to_vec())))
}

/// Asks the loader itself, which knows its own search path; those of glibc and of musl both can.
fn list(loader: &Path, program: &Path) -> io::Result<Vec<(Option<OsString>, PathBuf)>> {
    let output = Command::new(loader).arg("--list").arg(program).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(io::Error::other(format!("{} --list: {said}", loader.display())));
    }
    Ok(parse_list(&String::from_utf8_lossy(&output.stdout)))
}

/// Lines like `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`; `linux-vdso.so.1` has no path.
fn parse_list(text: &str) -> Vec<(Option<OsString>, PathBuf)> {
    let parse = |line: &str| {
        let line = line.trim();
        let (name, path) = match line.split_once(" => ") {
            Some((name, path)) => (Some(OsString::from(name)), path),
            None => (None, line),
        };
        let path = path.rsplit_once(" (").map_or(path, |(path, _)| path);
        path.starts_with('/').then(|| (name, PathBuf::from(path)))
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_glibc_and_musl_are_read() {
        let listed =
            |name: Option<&str>, path: &str| (name.map(OsString::from), PathBuf::from(path));
        let glibc = "\tlinux-vdso.so.1 (0x7ffd)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f0)\n\t/lib64/ld.so (0x7f1)\n";
        assert_eq!(
            parse_list(glibc),
            [listed(Some("libc.so.6"), "/lib/x/libc.so.6"), listed(None, "/lib64/ld.so")]
        );
        let musl = "\t/lib/ld-musl-x86_64.so.1 (0x7f)\n\tlibz.so.1 => /usr/lib/libz.so.1 (0x7f)\n";
        assert_eq!(
            parse_list(musl),
            [
                listed(None, "/lib/ld-musl-x86_64.so.1"),
                listed(Some("libz.so.1"), "/usr/lib/libz.so.1")
            ]
        );
    }

    #[test]
    fn the_interpreter_of_a_script_is_its_need() {
        assert_eq!(interpreter(b"#!/bin/sh\nexit"), Some("/bin/sh".into()));
        let line = b"#! /usr/bin/coreutils --prog=cat\n";
        assert_eq!(interpreter(line), Some("/usr/bin/coreutils".into()));
        assert_eq!(interpreter(b"#!\n"), None);
    }

    #[test]
    fn what_was_needed_before_is_not_listed_again() {
        let (mut finder, shell) = (Finder::default(), Path::new("/bin/sh"));
        for path in finder.needs(shell).unwrap().libraries {
            assert!(path.exists(), "{}", path.display());
        }
        assert!(finder.needs(shell).unwrap().libraries.is_empty());
    }
}
