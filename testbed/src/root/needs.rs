//! Which other files a program needs to run: its interpreter, and the libraries its loader would load.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// `p_type` of the program header that names the loader.
const PT_INTERP: u32 = 3;

/// A path in an ELF file or a `#!` line is never longer.
const LONGEST_PATH: usize = 4096;

/// What a program needs besides itself.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// What a script names in its first line; it has needs of its own.
    pub(super) interpreter: Option<PathBuf>,
    /// The loader and all libraries, also those that libraries need.
    pub(super) libraries: Vec<PathBuf>,
}

/// The files that `program` needs.
pub(super) fn needs(program: &Path) -> io::Result<Needs> {
    let mut file = File::open(program)?;
    let mut head = Vec::new();
    file.by_ref().take(LONGEST_PATH as u64).read_to_end(&mut head)?;
    if head.starts_with(b"#!") {
        return Ok(Needs { interpreter: script_interpreter(&head), ..Needs::default() });
    }
    let Some(loader) = elf_loader(&mut file, &head)? else {
        return Ok(Needs::default());
    };
    let mut libraries = libraries(&loader, program)?;
    libraries.push(loader);
    Ok(Needs { libraries, ..Needs::default() })
}

fn script_interpreter(head: &[u8]) -> Option<PathBuf> {
    let line = head.get(2..)?.split(|byte| *byte == b'\n').next()?;
    let word = line.split(|byte| byte.is_ascii_whitespace()).find(|word| !word.is_empty())?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(word.to_vec())))
}

/// The loader that an ELF file names; none for a static program, and for what is no ELF file.
fn elf_loader(file: &mut File, head: &[u8]) -> io::Result<Option<PathBuf>> {
    let (Some([0x7f, b'E', b'L', b'F', class, order, ..]), true) =
        (head.get(..16), head.len() >= 64)
    else {
        return Ok(None);
    };
    let header = Reader { bytes: head, wide: *class == 2, little: *order == 1 };
    // Where the table of program headers is, how long an entry is, and how many there are.
    let (table, size, count) = if header.wide {
        (header.number(32, 8), header.number(54, 2), header.number(56, 2))
    } else {
        (header.number(28, 4), header.number(42, 2), header.number(44, 2))
    };
    for index in 0..count {
        let entry = read_at(file, table + index * size, size as usize)?;
        let entry = Reader { bytes: &entry, ..header };
        if entry.number(0, 4) != u64::from(PT_INTERP) {
            continue;
        }
        let (at, length) = if header.wide {
            (entry.number(8, 8), entry.number(32, 8))
        } else {
            (entry.number(4, 4), entry.number(16, 4))
        };
        let mut path = read_at(file, at, (length as usize).min(LONGEST_PATH))?;
        path.retain(|byte| *byte != 0);
        return Ok(Some(PathBuf::from(std::ffi::OsString::from_vec(path))));
    }
    Ok(None)
}

fn read_at(file: &mut File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Numbers in an ELF file, by the file's own word size and byte order.
#[derive(Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    wide: bool,
    little: bool,
}

impl Reader<'_> {
    /// 0 where the file is too short, which no field here may be.
    fn number(&self, at: usize, length: usize) -> u64 {
        let bytes = self.bytes.get(at..at + length).unwrap_or_default();
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
    }
}

/// Asks the loader itself, which knows its own search path; those of glibc and of musl both can.
fn libraries(loader: &Path, program: &Path) -> io::Result<Vec<PathBuf>> {
    let output = Command::new(loader).arg("--list").arg(program).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(io::Error::other(format!("{} --list: {said}", loader.display())));
    }
    Ok(parse_list(&String::from_utf8_lossy(&output.stdout)))
}

/// Lines like `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`; `linux-vdso.so.1` has no path.
fn parse_list(text: &str) -> Vec<PathBuf> {
    text.lines()
        .filter_map(|line| {
            let line = line.split_once(" => ").map_or(line, |(_, path)| path).trim();
            let path = line.rsplit_once(" (").map_or(line, |(path, _)| path);
            path.starts_with('/').then(|| PathBuf::from(path))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_glibc_and_musl_are_read() {
        let glibc = "\tlinux-vdso.so.1 (0x7ffd)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f0)\n\t/lib64/ld.so (0x7f1)\n";
        assert_eq!(parse_list(glibc), ["/lib/x/libc.so.6", "/lib64/ld.so"].map(PathBuf::from));
        let musl = "\t/lib/ld-musl-x86_64.so.1 (0x7f)\n\tlibz.so.1 => /usr/lib/libz.so.1 (0x7f)\n";
        assert_eq!(
            parse_list(musl),
            ["/lib/ld-musl-x86_64.so.1", "/usr/lib/libz.so.1"].map(PathBuf::from)
        );
    }

    #[test]
    fn the_interpreter_of_a_script_is_its_need() {
        let path = |head: &[u8]| script_interpreter(head);
        assert_eq!(path(b"#!/bin/sh\nexit"), Some("/bin/sh".into()));
        assert_eq!(path(b"#! /usr/bin/coreutils --prog=cat\n"), Some("/usr/bin/coreutils".into()));
        assert_eq!(path(b"#!\n"), None);
    }

    #[test]
    fn the_shell_of_this_machine_has_what_it_needs() {
        for path in needs(Path::new("/bin/sh")).unwrap().libraries {
            assert!(path.exists(), "{}", path.display());
        }
    }
}
