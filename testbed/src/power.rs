//! A host's power switch: a FIFO in its root, on which its own commands write what they want.

use std::{io, path::Path};
use tokio::net::unix::pipe;

/// A word is far shorter; without an end of line by then it is noise.
const LONGEST_WORD: usize = 256;

/// What a host can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Reboot,
    PowerOff,
}

/// The server's end of the FIFO.
#[derive(Debug)]
pub(crate) struct Switch {
    pipe: pipe::Receiver,
    heard: Vec<u8>,
}

impl Switch {
    /// Opens it for both directions: a writer must never wait for a reader, and the last writer must not end it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let pipe = pipe::OpenOptions::new().read_write(true).open_receiver(path)?;
        Ok(Self { pipe, heard: Vec::new() })
    }

    /// The next wish. May be dropped at any time without loss.
    pub(crate) async fn wish(&mut self) -> io::Result<Wish> {
        loop {
            while let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
                let word: Vec<u8> = self.heard.drain(..=end).collect();
                match word.trim_ascii() {
                    b"reboot" => return Ok(Wish::Reboot),
                    b"poweroff" => return Ok(Wish::PowerOff),
                    other => tracing::warn!(word = %other.escape_ascii(), "not a wish of a host"),
                }
            }
            if self.heard.len() > LONGEST_WORD {
                self.heard.clear();
            }
            self.pipe.readable().await?;
            self.listen()?;
        }
    }

    /// Forgets what was wished before the power went.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        while self.listen()? {}
        self.heard.clear();
        Ok(())
    }

    fn listen(&mut self) -> io::Result<bool> {
        let mut bytes = [0; LONGEST_WORD];
        match self.pipe.try_read(&mut bytes) {
            Ok(length) => {
                self.heard.extend_from_slice(bytes.get(..length).unwrap_or_default());
                Ok(length > 0)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
