//! What a script prints, on its way to the journal: redacted, bounded, with head and tail kept.

use crate::{
    base::{name::HostName, redact::Redactor},
    host::{OutputSink, Stream},
    journal::{OutputChunk, OutputWriter, Part, StepId},
};
use std::collections::VecDeque;

/// So much of each stream's beginning is kept, in bytes.
pub const HEAD_BYTES: usize = 512 * 1024;
/// So much of each stream's end is kept where the stream is longer than its head, in bytes.
pub const TAIL_BYTES: usize = 512 * 1024;
/// So much of standard output is kept for `expect` and for later templates, in bytes.
pub const CAPTURE_BYTES: usize = 64 * 1024;
/// So many last lines go into the record of a failure.
const EVIDENCE_LINES: usize = 12;
/// And so many bytes of them.
const EVIDENCE_BYTES: usize = 2048;
/// So much of each stream's end is kept where a migrator's words are read from it, in bytes. They come last.
const END_BYTES: usize = 128 * 1024;

/// Whose output it is.
#[derive(Clone, Debug)]
pub struct Origin {
    pub host: HostName,
    pub step: StepId,
    pub attempt: u32,
    pub part: Part,
}

/// One stream: what is held back, what of it is kept, how much went by.
#[derive(Debug, Default)]
struct Kept {
    /// The end of the last line, until the line is whole: a secret may be cut in two by a packet.
    open: Vec<u8>,
    /// Bytes taken from the host, as they were there.
    taken: u64,
    /// Bytes kept or counted, after redaction.
    seen: u64,
    tail: VecDeque<u8>,
}

/// Takes a script's output.
#[derive(Debug)]
pub struct Output {
    origin: Origin,
    writer: Option<OutputWriter>,
    redactor: Redactor,
    streams: [Kept; 2],
    captured: Vec<u8>,
    captured_err: Vec<u8>,
    /// The last bytes of both streams as they came, for evidence.
    recent: VecDeque<u8>,
    /// So much of each stream's beginning is captured, in bytes.
    room: usize,
    /// The ends of both streams, where they are asked for.
    ends: Option<[VecDeque<u8>; 2]>,
}

impl Output {
    pub fn new(origin: Origin, writer: Option<OutputWriter>, redactor: Redactor) -> Self {
        Self {
            origin,
            writer,
            redactor,
            streams: Default::default(),
            captured: Vec::new(),
            captured_err: Vec::new(),
            recent: VecDeque::new(),
            room: CAPTURE_BYTES,
            ends: None,
        }
    }

    /// Captures more than is usual of each stream.
    pub fn of_up_to(self, room: usize) -> Self {
        Self { room, ..self }
    }

    /// Keeps the ends of both streams too.
    pub fn with_ends(self) -> Self {
        Self { ends: Some(Default::default()), ..self }
    }

    /// The ends of both streams as text, each from the beginning of a line on.
    pub fn ends(&self) -> [String; 2] {
        let Some(ends) = &self.ends else { return Default::default() };
        [&ends[0], &ends[1]].map(|end| {
            let bytes: Vec<u8> = end.iter().copied().collect();
            let whole = match (bytes.len() < END_BYTES, bytes.iter().position(|b| *b == b'\n')) {
                (false, Some(newline)) => &bytes[newline + 1..],
                (true, _) | (false, None) => &bytes[..],
            };
            String::from_utf8_lossy(whole).into_owned()
        })
    }

    /// How many bytes of standard output and standard error have come: where to go on after a broken connection.
    pub fn taken(&self) -> [u64; 2] {
        [self.streams[0].taken, self.streams[1].taken]
    }

    /// Ends the streams: what was held back is written, and the tails of long streams.
    pub fn finish(&mut self) {
        for stream in [Stream::Out, Stream::Err] {
            let open = std::mem::take(&mut self.stream(stream).open);
            if !open.is_empty() {
                self.keep(stream, &open);
            }
            let kept = self.stream(stream);
            let tail: Vec<u8> = std::mem::take(&mut kept.tail).into();
            if !tail.is_empty() {
                let start = kept.seen - tail.len() as u64;
                self.write(stream, start, tail);
            }
        }
    }

    /// Standard output as text, without white space at its end, as `$(…)` gives it.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.captured).trim_end().to_owned()
    }

    /// Standard error likewise.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.captured_err).trim_end().to_owned()
    }

    /// The last lines of both streams, for the record of a failure.
    pub fn evidence(&self) -> String {
        let bytes: Vec<u8> = self.recent.iter().copied().collect();
        let lines = crate::base::text::safe_lines(&bytes);
        let from = lines.len().saturating_sub(EVIDENCE_LINES);
        lines[from..].join("\n").trim().to_owned()
    }

    fn stream(&mut self, stream: Stream) -> &mut Kept {
        match stream {
            Stream::Out => &mut self.streams[0],
            Stream::Err => &mut self.streams[1],
        }
    }

    /// Keeps bytes that hold no open line, or all that is left of one.
    fn keep(&mut self, stream: Stream, bytes: &[u8]) {
        let bytes = self.redactor.redact_bytes(bytes);
        self.recent.extend(&bytes);
        let over = self.recent.len().saturating_sub(EVIDENCE_BYTES);
        self.recent.drain(..over);
        let captured = match stream {
            Stream::Out => &mut self.captured,
            Stream::Err => &mut self.captured_err,
        };
        let room = self.room.saturating_sub(captured.len()).min(bytes.len());
        captured.extend_from_slice(&bytes[..room]);
        if let Some([out, err]) = &mut self.ends {
            let end = match stream {
                Stream::Out => out,
                Stream::Err => err,
            };
            end.extend(&bytes);
            let over = end.len().saturating_sub(END_BYTES);
            end.drain(..over);
        }
        let kept = self.stream(stream);
        let start = kept.seen;
        kept.seen += bytes.len() as u64;
        let room = (HEAD_BYTES as u64).saturating_sub(start).min(bytes.len() as u64) as usize;
        let (head, rest) = bytes.split_at(room);
        let rest = &rest[rest.len().saturating_sub(TAIL_BYTES)..];
        kept.tail.extend(rest);
        let over = kept.tail.len().saturating_sub(TAIL_BYTES);
        kept.tail.drain(..over);
        if !head.is_empty() {
            self.write(stream, start, head.to_vec());
        }
    }

    fn write(&self, stream: Stream, start: u64, bytes: Vec<u8>) {
        let Some(writer) = &self.writer else { return };
        let Origin { host, step, attempt, part } = self.origin.clone();
        let stream = match stream {
            Stream::Out => 1,
            Stream::Err => 2,
        };
        writer.write(OutputChunk { host, step, attempt, part, stream, start, bytes });
    }
}

impl OutputSink for Output {
    /// What it takes goes to memory and to a channel without bounds.
    fn may_block(&self) -> bool {
        false
    }

    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        self.stream(stream).taken += bytes.len() as u64;
        if self.redactor.is_empty() {
            return self.keep(stream, bytes);
        }
        let redactor = self.redactor.clone();
        let open = &mut self.stream(stream).open;
        open.extend_from_slice(bytes);
        // A line longer than this is not waited for: memory has its limit too.
        let whole = match open.iter().rposition(|b| *b == b'\n') {
            Some(newline) => newline + 1,
            None if open.len() > CAPTURE_BYTES => redactor.settled(open),
            None => return,
        };
        let lines: Vec<u8> = open.drain(..whole).collect();
        self.keep(stream, &lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::phase::Phase;

    fn output(redactor: Redactor) -> Output {
        let step = StepId { hop: 0, phase: Phase::Migrate, step: "s".parse().unwrap() };
        let host = "h".parse().unwrap();
        Output::new(Origin { host, step, attempt: 1, part: Part::Step }, None, redactor)
    }

    #[test]
    fn a_secret_cut_in_two_is_redacted() {
        let mut output = output(Redactor::new(["hunter22"]));
        output.take(Stream::Out, b"pw hunt");
        output.take(Stream::Out, b"er22 ok\nnext hunter2");
        output.take(Stream::Out, b"2");
        output.finish();
        assert_eq!(output.stdout(), "pw [redacted] ok\nnext [redacted]");
    }

    #[test]
    fn a_secret_across_the_limit_of_a_line_is_redacted() {
        let mut output = output(Redactor::new(["hunter22"]));
        output.take(Stream::Out, &vec![b'x'; CAPTURE_BYTES - 3]);
        output.take(Stream::Out, b"hunt");
        output.take(Stream::Out, b"er22");
        output.finish();
        assert!(output.evidence().ends_with("x[redacted]"), "{}", output.evidence());
    }

    #[test]
    fn a_long_stream_keeps_a_bounded_tail() {
        let mut output = output(Redactor::default());
        for _ in 0..100 {
            output.take(Stream::Out, &[b'x'; 100_000]);
        }
        output.take(Stream::Out, b"\nthe end");
        assert_eq!(output.streams[0].tail.len(), TAIL_BYTES);
        assert!(output.recent.len() <= EVIDENCE_BYTES);
        assert!(output.evidence().ends_with("the end"));
        assert_eq!(output.captured.len(), CAPTURE_BYTES);
    }
}
