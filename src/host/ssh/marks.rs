//! The two output streams of a command, and the marks in them that the program on the host sets.
//!
//! A login shell may print before the program starts, and a process left behind may print after it ended. What lies
//! between `go` and `end` is the command's own output, and nothing else is.

use crate::host::Stream;
use memchr::memmem::Finder;

/// How much of what came before the marks is kept, to explain a failure with.
const PRELUDE_BYTES_MAX: usize = 16 * 1024;

/// What the streams say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Sudo asks for the password.
    Asks,
    /// The program reads its text.
    Ready,
    /// It refuses, and has changed nothing.
    No(String),
    /// The launcher is kept below this directory of the host.
    At(String),
    /// The host's lock was taken from another, who did not give it back.
    Took(String),
    /// This stream is the command's from here on.
    Go(Stream),
    /// This stream has ended; the text says how.
    End(Stream, String),
}

/// Splits one stream into output and marks.
struct Splitter {
    stream: Stream,
    mark: Finder<'static>,
    phase: Phase,
    /// Not decided yet: noise before `go`, or bytes that may be the beginning of a mark.
    held: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Before,
    During,
    After,
}

impl Splitter {
    fn new(stream: Stream, mark: &str) -> Self {
        let mark = Finder::new(mark.as_bytes()).into_owned();
        Self { stream, mark, phase: Phase::Before, held: Vec::new() }
    }

    fn take(
        &mut self,
        mut bytes: &[u8],
        said: &mut Vec<Said>,
        output: &mut dyn FnMut(Stream, &[u8]),
    ) {
        if self.phase == Phase::During && self.held.is_empty() {
            // The common case, without a copy.
            let keep = match self.mark.find(bytes) {
                Some(at) => at,
                None => bytes.len() - self.half_mark(bytes),
            };
            if keep > 0 {
                output(self.stream, &bytes[..keep]);
            }
            bytes = &bytes[keep..];
        }
        self.held.extend_from_slice(bytes);
        while self.step(said, output) {}
    }

    /// Decides about the beginning of `held`. False where more bytes are needed.
    fn step(&mut self, said: &mut Vec<Said>, output: &mut dyn FnMut(Stream, &[u8])) -> bool {
        if self.phase == Phase::After {
            self.held.clear();
            return false;
        }
        let Some(at) = self.mark.find(&self.held) else {
            let keep = self.held.len() - self.half_mark(&self.held);
            match self.phase {
                Phase::During => {
                    if keep > 0 {
                        output(self.stream, &self.held[..keep]);
                        self.held.drain(..keep);
                    }
                }
                Phase::Before => {
                    if self.held.len() > PRELUDE_BYTES_MAX {
                        self.held.drain(..self.held.len() - PRELUDE_BYTES_MAX / 2);
                    }
                }
                Phase::After => {}
            }
            return false;
        };
        let start = at + self.mark.needle().len();
        let Some((word, length)) = self.word(start) else { return false };
        let before: Vec<u8> = self.held.drain(..start + length).take(at).collect();
        match (self.phase, word) {
            (Phase::During, word) => {
                if !before.is_empty() {
                    output(self.stream, &before);
                }
                match word {
                    Word::End(how) => {
                        self.phase = Phase::After;
                        said.push(Said::End(self.stream, how));
                    }
                    // What was to run the script could not begin it.
                    Word::No(why) => said.push(Said::No(why)),
                    Word::Ask
                    | Word::Ready
                    | Word::At(_)
                    | Word::Took(_)
                    | Word::Go
                    | Word::Other => {}
                }
            }
            (Phase::Before, word) => {
                // What was said before a question or a refusal explains it.
                let keep = |held: &mut Vec<u8>| drop(held.splice(..0, before));
                match word {
                    Word::Ask => {
                        keep(&mut self.held);
                        said.push(Said::Asks);
                    }
                    Word::Ready => said.push(Said::Ready),
                    Word::At(root) => said.push(Said::At(root)),
                    Word::Took(note) => said.push(Said::Took(note)),
                    Word::No(why) => said.push(Said::No(why)),
                    Word::Go => {
                        self.phase = Phase::During;
                        said.push(Said::Go(self.stream));
                    }
                    Word::End(_) | Word::Other => {}
                }
            }
            (Phase::After, _) => {}
        }
        true
    }

    /// The word behind a mark that ends at `start`, and its length. None where it is not whole yet.
    fn word(&self, start: usize) -> Option<(Word, usize)> {
        const ASK: &[u8] = b"-ask:";
        const NO: &[u8] = b"-no ";
        let rest = &self.held[start..];
        if rest.starts_with(ASK) {
            return Some((Word::Ask, ASK.len()));
        }
        if rest.starts_with(NO) {
            let end = self.mark.find(rest)?;
            let tail = self.mark.needle().len() + b"-on\n".len();
            let why = String::from_utf8_lossy(&rest[NO.len()..end]).trim_end().to_owned();
            return (rest.len() >= end + tail).then_some((Word::No(why), end + tail));
        }
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = String::from_utf8_lossy(&rest[..end]);
        let word = match line.trim_end() {
            "-ready" => Word::Ready,
            "-go" => Word::Go,
            line => match line.split_once(' ') {
                Some(("-end", how)) => Word::End(how.to_owned()),
                Some(("-at", root)) => Word::At(root.to_owned()),
                Some(("-took", note)) => Word::Took(note.to_owned()),
                Some((_, _)) | None => Word::Other,
            },
        };
        Some((word, end + 1))
    }

    /// The length of the longest end of `bytes` that may be the beginning of a mark.
    fn half_mark(&self, bytes: &[u8]) -> usize {
        let needle = self.mark.needle();
        let longest = bytes.len().min(needle.len() - 1);
        (1..=longest)
            .rev()
            .find(|length| bytes[bytes.len() - length..] == needle[..*length])
            .unwrap_or(0)
    }
}

enum Word {
    Ask,
    Ready,
    No(String),
    At(String),
    Took(String),
    Go,
    End(String),
    Other,
}

/// Both streams of a command.
pub(super) struct Streams {
    out: Splitter,
    err: Splitter,
}

impl Streams {
    pub(super) fn new(mark: &str) -> Self {
        Self { out: Splitter::new(Stream::Out, mark), err: Splitter::new(Stream::Err, mark) }
    }

    /// Takes bytes of a stream, passes on what is the command's output, and returns what the marks say.
    pub(super) fn take(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        output: &mut dyn FnMut(Stream, &[u8]),
    ) -> Vec<Said> {
        let mut said = Vec::new();
        match stream {
            Stream::Out => self.out.take(bytes, &mut said, output),
            Stream::Err => self.err.take(bytes, &mut said, output),
        }
        said
    }

    /// The connection ended: bytes that were held because they could begin a mark are output after all.
    pub(super) fn finish(&mut self, output: &mut dyn FnMut(Stream, &[u8])) {
        for splitter in [&mut self.out, &mut self.err] {
            if splitter.phase == Phase::During && !splitter.held.is_empty() {
                output(splitter.stream, &splitter.held);
                splitter.held.clear();
            }
        }
    }

    /// What was printed where no command's output was expected: the words of a login shell, of sudo, of a gatekeeper.
    pub(super) fn prelude(&self) -> String {
        let mut text = String::new();
        for splitter in [&self.err, &self.out] {
            if splitter.phase == Phase::Before {
                for line in crate::base::text::safe_lines(&splitter.held) {
                    let line = line.trim();
                    if !line.is_empty() {
                        if !text.is_empty() {
                            text.push_str("; ");
                        }
                        text.push_str(line);
                    }
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(mark: &str, chunks: &[(Stream, &[u8])]) -> (Vec<Said>, Vec<u8>, Vec<u8>) {
        let mut streams = Streams::new(mark);
        let (mut said, mut out, mut err) = (Vec::new(), Vec::new(), Vec::new());
        let mut sink = |stream: Stream, bytes: &[u8]| match stream {
            Stream::Out => out.extend_from_slice(bytes),
            Stream::Err => err.extend_from_slice(bytes),
        };
        for (stream, bytes) in chunks {
            said.extend(streams.take(*stream, bytes, &mut sink));
        }
        streams.finish(&mut sink);
        (said, out, err)
    }

    #[test]
    fn noise_before_and_after_is_not_output() {
        let (said, out, err) = split(
            "MARK",
            &[
                (Stream::Err, b"lecture\nMARK-ask:"),
                (Stream::Err, b"\nMARK-ready\n"),
                (Stream::Out, b"motd\nMARK-go\nout"),
                (Stream::Err, b"MARK-go\nerr\n"),
                (Stream::Out, b"MARK-end 3\nlater"),
                (Stream::Err, b"MARK-end 3\nlater"),
            ],
        );
        let end = |stream| Said::End(stream, "3".to_owned());
        assert_eq!(
            said,
            [
                Said::Asks,
                Said::Ready,
                Said::Go(Stream::Out),
                Said::Go(Stream::Err),
                end(Stream::Out),
                end(Stream::Err)
            ]
        );
        assert_eq!((out.as_slice(), err.as_slice()), (&b"out"[..], &b"err\n"[..]));
    }

    #[test]
    fn a_refusal_may_have_several_lines() {
        let (said, out, _) = split("MARK", &[(Stream::Err, b"xMARK-no a\nb\nMARK-on\n")]);
        assert_eq!(said, [Said::No("a\nb".to_owned())]);
        assert!(out.is_empty());
    }

    #[test]
    fn a_mark_cut_short_is_output() {
        let (_, out, _) = split("MARK", &[(Stream::Out, b"MARK-go\nx MAR")]);
        assert_eq!(out, b"x MAR");
    }

    proptest! {
        /// However the bytes are cut into chunks, output and marks are the same.
        #[test]
        fn chunks_do_not_matter(
            body in proptest::collection::vec(prop_oneof![Just(b'M'), Just(b'A'), Just(b'-'), Just(b'\n'), any::<u8>()], 0..64),
            cuts in proptest::collection::vec(1_usize..7, 1..64),
        ) {
            let whole = [b"noise MARK-ready\nMARK-go\n".as_slice(), &body, b"MARK-end KILL\nrest"].concat();
            prop_assume!(memchr::memmem::find(&[body.as_slice(), b"MAR"].concat(), b"MARK").is_none());
            let mut chunks = Vec::new();
            let mut rest = whole.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (head, tail) = rest.split_at((*cut).min(rest.len()));
                chunks.push((Stream::Out, head));
                rest = tail;
            }
            let (said, out, _) = split("MARK", &chunks);
            prop_assert_eq!(out, body);
            prop_assert_eq!(said.len(), 3);
            prop_assert_eq!(&said[2], &Said::End(Stream::Out, "KILL".to_owned()));
        }
    }
}
