//! As much of the ELF format as tells what a program needs: its loader, and the libraries that it names itself.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::ffi::OsStringExt,
    path::PathBuf,
};

/// Kinds of program headers.
const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;

/// Kinds of entries of the dynamic section.
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// A path or a library's name is never longer.
const LONGEST_NAME: u64 = 4096;

/// The dynamic section of a program has a few dozen entries; this is room for thousands.
const LONGEST_SECTION: u64 = 65_536;

/// What a dynamic program says about itself.
#[derive(Debug)]
pub(super) struct Dynamic {
    pub(super) loader: PathBuf,
    /// The names of the libraries that it needs; none where it has a search path of its own, by which equal names may mean
    /// other files than for other programs.
    pub(super) needed: Option<Vec<OsString>>,
}

/// One program header: what of the file goes where in memory.
struct Header {
    kind: u64,
    offset: u64,
    address: u64,
    size: u64,
}

/// Reads a dynamic program; None for a static one, and for what is no ELF file.
pub(super) fn read(file: &mut File) -> io::Result<Option<Dynamic>> {
    let head = read_at(file, 0, 64)?;
    let (true, Some([0x7f, b'E', b'L', b'F', class, order, ..])) =
        (head.len() == 64, head.get(..16))
    else {
        return Ok(None);
    };
    let format = Format { wide: *class == 2, little: *order == 1 };
    let headers = headers(file, &head, format)?;
    let Some(interpreter) = headers.iter().find(|header| header.kind == PT_INTERP) else {
        return Ok(None);
    };
    let mut loader = read_at(file, interpreter.offset, interpreter.size.min(LONGEST_NAME))?;
    loader.retain(|byte| *byte != 0);
    let loader = PathBuf::from(OsString::from_vec(loader));
    Ok(Some(Dynamic { loader, needed: needed(file, &headers, format)? }))
}

fn headers(file: &mut File, head: &[u8], format: Format) -> io::Result<Vec<Header>> {
    // Where the table of program headers is, how long an entry is, and how many there are.
    let (table, size, count) = if format.wide {
        (format.number(head, 32, 8), format.number(head, 54, 2), format.number(head, 56, 2))
    } else {
        (format.number(head, 28, 4), format.number(head, 42, 2), format.number(head, 44, 2))
    };
    let mut headers = Vec::new();
    for index in 0..count {
        let entry = read_at(file, table + index * size, size)?;
        let field = |wide: usize, narrow: usize| {
            if format.wide {
                format.number(&entry, wide, 8)
            } else {
                format.number(&entry, narrow, 4)
            }
        };
        let kind = format.number(&entry, 0, 4);
        let (offset, address, size) = (field(8, 4), field(16, 8), field(32, 16));
        headers.push(Header { kind, offset, address, size });
    }
    Ok(headers)
}

fn needed(
    file: &mut File,
    headers: &[Header],
    format: Format,
) -> io::Result<Option<Vec<OsString>>> {
    let Some(dynamic) = headers.iter().find(|header| header.kind == PT_DYNAMIC) else {
        return Ok(None);
    };
    let section = read_at(file, dynamic.offset, dynamic.size.min(LONGEST_SECTION))?;
    let word = if format.wide { 8 } else { 4 };
    let (mut names, mut strings) = (Vec::new(), None);
    for entry in section.chunks_exact(2 * word) {
        let value = format.number(entry, word, word);
        match format.number(entry, 0, word) {
            DT_NEEDED => names.push(value),
            DT_STRTAB => strings = Some(value),
            DT_RPATH | DT_RUNPATH => return Ok(None),
            _ => {}
        }
    }
    // The table's place is told as an address in memory.
    let place = strings.and_then(|address| {
        let holds = |header: &&Header| {
            (header.address..header.address.saturating_add(header.size)).contains(&address)
        };
        let load = headers.iter().filter(|header| header.kind == PT_LOAD).find(holds)?;
        Some(address - load.address + load.offset)
    });
    let Some(place) = place else { return Ok(None) };
    let name = |offset: u64| {
        let bytes = read_at(file, place + offset, LONGEST_NAME)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        Ok(OsString::from_vec(bytes.into_iter().take(end).collect()))
    };
    names.into_iter().map(name).collect::<io::Result<_>>().map(Some)
}

/// So much of a file as there is.
fn read_at(file: &mut File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file's own word size and byte order.
#[derive(Clone, Copy)]
struct Format {
    wide: bool,
    little: bool,
}

impl Format {
    /// A number in a file; 0 where the file is too short, which nothing here may be.
    fn number(self, bytes: &[u8], at: usize, length: usize) -> u64 {
        let bytes = bytes.get(at..at + length).unwrap_or_default();
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn this_test_program_is_read_as_its_loader_reads_it() {
        let program = std::env::current_exe().unwrap();
        let mut file = File::open(&program).unwrap();
        let Some(dynamic) = read(&mut file).unwrap() else { return };
        assert!(dynamic.loader.exists(), "{dynamic:?}");
        let output =
            std::process::Command::new(&dynamic.loader).arg("--list").arg(&program).output();
        let listed = String::from_utf8(output.unwrap().stdout).unwrap();
        for name in dynamic.needed.unwrap_or_default() {
            assert!(listed.contains(name.to_str().unwrap()), "{name:?} is not in {listed}");
        }
    }

    #[test]
    fn what_is_no_program_has_no_loader() {
        let mut file =
            File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
        assert!(read(&mut file).unwrap().is_none());
    }
}
