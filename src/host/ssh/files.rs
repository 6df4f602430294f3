//! Files through the same channel as scripts, so that sudo works for them and no other subsystem is needed.

use super::{
    exchange::{Ending, Job, patiently},
    session::SshSession,
    shell::{Program, Text},
};
use crate::{
    base::text,
    host::{SessionError, Stream},
};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs,
    io::{self, Write},
    path::Path,
};
use tempfile::NamedTempFile;

/// A program that sends a file says little beside it.
const WORDS_BYTES_MAX: usize = 4096;

impl SshSession {
    pub(super) async fn put_file(
        &mut self,
        content: &[u8],
        path: &str,
        mode: u32,
        sudo: bool,
    ) -> Result<(), SessionError> {
        self.alive()?;
        check_path(path)?;
        let mut sums = Sums::default();
        sums.update(content);
        let (sha256, cksum, size) = sums.finish();
        let (size, mode) = (size.to_string(), format!("{:o}", mode & 0o7777));
        let mut values = self.lock_values();
        values.extend([
            ("path", path),
            ("size", &size),
            ("sha256", &sha256),
            ("cksum", &cksum),
            ("mode", &mode),
        ]);
        let text = Text::new(&values).program(Program::Upload);
        let job = Job { text, body: content, sudo };
        let (ending, aside) = self.link.exchange_aside(job, &mut |_, _| ()).await;
        self.note(aside, sudo);
        self.settle(ending).map(drop)
    }

    pub(super) async fn get_file(
        &mut self,
        path: &str,
        to: &Path,
        sudo: bool,
    ) -> Result<u64, SessionError> {
        self.alive()?;
        check_path(path)?;
        let local = |error: io::Error| SessionError::Refused {
            reason: format!("cannot write {}: {error}", to.display()),
        };
        let folder = to.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = NamedTempFile::new_in(folder).map_err(local)?;
        let mut sums = Sums::default();
        let mut words = Vec::new();
        let mut trouble = None;
        let mut take = |stream: Stream, bytes: &[u8]| match stream {
            Stream::Out => {
                sums.update(bytes);
                if trouble.is_none() {
                    trouble = patiently(|| file.write_all(bytes)).err();
                }
            }
            Stream::Err => {
                let room = WORDS_BYTES_MAX - words.len();
                words.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        };
        let text = Text::new(&[("path", path)]).program(Program::Download);
        let ending = self.link.exchange(Job { text, body: &[], sudo }, &mut take).await;
        let how = match ending {
            // The host's file is as it was, however the connection ended: nothing is lost.
            Ending::Gone { why, .. } => self.settle(Ending::Gone { handed: false, why })?,
            ending => self.settle(ending)?,
        };
        if let Some(error) = trouble {
            return Err(local(error));
        }
        let (sha256, cksum, size) = sums.finish();
        let words = text::safe_lines(&words).join("; ");
        let expected = [format!("sha256 {sha256} "), format!("cksum {cksum} ")];
        if how != "0" || !expected.iter().any(|sum| words.contains(sum.as_str())) {
            let reason = format!("{path} did not arrive as it is there ({words})");
            return Err(SessionError::Refused { reason });
        }
        patiently(|| {
            file.as_file().sync_all()?;
            file.persist(to).map_err(|error| error.error)?;
            if let Ok(folder) = fs::File::open(folder) {
                // So that the name outlives a power cut, where the file system lets folders be synced.
                let _ = folder.sync_all();
            }
            Ok(())
        })
        .map_err(local)?;
        Ok(size)
    }
}

fn check_path(path: &str) -> Result<(), SessionError> {
    if path.is_empty() || path.contains('\0') || path.ends_with('/') {
        let reason = format!("`{}` is not a file's path", text::one_line(path));
        return Err(SessionError::Refused { reason });
    }
    Ok(())
}

/// The two checksums that a host may be able to compute.
#[derive(Default)]
struct Sums {
    sha256: Sha256,
    crc: u32,
    size: u64,
}

impl Sums {
    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.size += bytes.len() as u64;
        // Eight bytes in one step: each of them goes through the table for its distance from the end.
        let mut eights = bytes.chunks_exact(8);
        for eight in &mut eights {
            let [a, b, c, d] = self.crc.to_be_bytes();
            let mixed = [eight[0] ^ a, eight[1] ^ b, eight[2] ^ c, eight[3] ^ d];
            let far = mixed.iter().zip(CRC_TABLES[4..].iter().rev());
            let near = eight[4..].iter().zip(CRC_TABLES[..4].iter().rev());
            self.crc =
                far.chain(near).fold(0, |crc, (byte, table)| crc ^ table[usize::from(*byte)]);
        }
        for byte in eights.remainder() {
            self.crc = crc_step(self.crc, *byte);
        }
    }

    fn finish(self) -> (String, String, u64) {
        let mut sha256 = String::with_capacity(64);
        for byte in self.sha256.finalize() {
            let _ = write!(sha256, "{byte:02x}");
        }
        // POSIX's cksum takes the length in as well, without leading zero bytes.
        let (mut crc, mut length) = (self.crc, self.size);
        while length > 0 {
            crc = crc_step(crc, length.to_le_bytes()[0]);
            length >>= 8;
        }
        (sha256, (!crc).to_string(), self.size)
    }
}

fn crc_step(crc: u32, byte: u8) -> u32 {
    (crc << 8) ^ CRC_TABLES[0][usize::from(crc.to_be_bytes()[0] ^ byte)]
}

/// The polynomial of ISO 8802-3, one entry per byte; then the same for a byte that so many zero bytes follow.
static CRC_TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0_u32; 256]; 8];
    let mut index: u32 = 0;
    while index < 256 {
        let mut crc = index << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x04c1_1db7 };
            bit += 1;
        }
        tables[0][index as usize] = crc;
        index += 1;
    }
    let mut distance = 1;
    while distance < 8 {
        let mut index = 0;
        while index < 256 {
            let before = tables[distance - 1][index];
            tables[distance][index] = (before << 8) ^ tables[0][(before >> 24) as usize];
            index += 1;
        }
        distance += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_tools() {
        let mut sums = Sums::default();
        sums.update(b"hello\n");
        let (sha256, cksum, size) = sums.finish();
        assert_eq!(sha256, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        assert_eq!((cksum.as_str(), size), ("3015617425", 6));
        assert_eq!(Sums::default().finish().1, "4294967295");
        // However it comes in pieces, as `cksum` says of 1000 bytes that count up.
        let bytes: Vec<u8> = (0..1000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for piece in [1, 7, 8, 9, 1000] {
            let mut sums = Sums::default();
            bytes.chunks(piece).for_each(|piece| sums.update(piece));
            assert_eq!(sums.finish().1, "1520827854", "pieces of {piece}");
        }
    }
}
