//! Writing a journal: the one thread that does it.
//!
//! It takes whatever waits, writes it in one transaction with one sync, and then answers: so a busy run pays for few syncs,
//! and a quiet one for no delay. Outputs alone wait a moment for a record to be written with.

use super::{Record, StepId, StoreError};
use crate::base::name::HostName;
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How many waiting requests one transaction takes at most, so that the first of them is not kept waiting.
const GROUP_MAX: usize = 8192;
/// How long outputs wait for a record: who follows a log sees them so much later.
const OUTPUT_DELAY: Duration = Duration::from_millis(100);
/// And how many bytes of them wait at most.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// So many bytes of outputs are held back where they cannot be written. Beyond them the journal counts as broken.
const OUTPUT_HELD_MAX: usize = 16 << 20;

/// Which output: of the step itself, or of a check beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Guard,
    Step,
    Verify,
    Probe,
    /// A question of our own: what the host is.
    Look,
    /// Which boot a host is in, which is asked beside any step, and is no output of the step's: it is not kept.
    Boot,
    /// A migrator's report is fetched. What it holds becomes findings; it is not kept as output.
    Report,
}

impl Part {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guard => "unless",
            Self::Step => "step",
            Self::Verify => "verify",
            Self::Probe => "probe",
            Self::Look => "look",
            Self::Boot => "boot",
            Self::Report => "report",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        match text {
            "unless" => Self::Guard,
            "verify" => Self::Verify,
            "probe" => Self::Probe,
            "look" => Self::Look,
            "boot" => Self::Boot,
            "report" => Self::Report,
            _ => Self::Step,
        }
    }

    /// Whether what it prints is kept as output.
    pub fn is_kept(self) -> bool {
        match self {
            Self::Guard | Self::Step | Self::Verify | Self::Probe | Self::Look => true,
            Self::Boot | Self::Report => false,
        }
    }
}

/// A piece of what an attempt printed, already redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputChunk {
    pub host: HostName,
    pub step: StepId,
    pub attempt: u32,
    pub part: Part,
    /// 1 is standard output, 2 is standard error.
    pub stream: u8,
    /// Its offset in the stream. A gap between two chunks was left out, since outputs are bounded.
    pub start: u64,
    pub bytes: Vec<u8>,
}

enum Request {
    Records(Waiting),
    /// Outputs wait where there were none, or many of them.
    Outputs,
}

/// Records, and who is answered once when they are durable.
struct Waiting {
    records: Arc<[Record]>,
    asked: oneshot::Sender<Result<(), String>>,
}

/// Outputs that were handed over and not taken yet. The writer is woken for the first of them and not for each: waking a
/// thread costs more than writing what a small step prints.
#[derive(Debug, Default)]
struct Outputs {
    chunks: Vec<OutputChunk>,
    bytes: usize,
    /// Hosts that were left after their end, and how often each had been taken up again then. Nobody is woken for them: they are
    /// written with whatever is written next.
    left: Vec<(HostName, u32)>,
}

type SharedOutputs = Arc<Mutex<Outputs>>;

impl Outputs {
    fn take(&mut self) -> Vec<OutputChunk> {
        self.bytes = 0;
        std::mem::take(&mut self.chunks)
    }
}

fn locked(outputs: &SharedOutputs) -> MutexGuard<'_, Outputs> {
    outputs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one writer of a run.
#[derive(Debug)]
pub struct Writer {
    requests: Option<mpsc::Sender<Request>>,
    outputs: SharedOutputs,
    thread: Option<thread::JoinHandle<()>>,
    _lock: File,
}

/// A way to hand outputs to the writer, from many tasks.
#[derive(Clone, Debug)]
pub struct OutputWriter {
    requests: mpsc::Sender<Request>,
    outputs: SharedOutputs,
}

impl OutputWriter {
    /// Hands over a chunk. It is written soon; a record that is appended later is never durable before it.
    pub fn write(&self, chunk: OutputChunk) {
        let mut outputs = locked(&self.outputs);
        let (first, before) = (outputs.chunks.is_empty(), outputs.bytes);
        outputs.bytes += chunk.bytes.len();
        outputs.chunks.push(chunk);
        let many = before < OUTPUT_BYTES_MAX && outputs.bytes >= OUTPUT_BYTES_MAX;
        drop(outputs);
        if first || many {
            // Without a writer the run has already ended with the writer's own error.
            let _ = self.requests.send(Request::Outputs);
        }
    }
}

impl Writer {
    pub(super) fn start(
        path: PathBuf,
        database: Connection,
        lock: File,
        last: String,
    ) -> Result<Self, StoreError> {
        let (requests, waiting) = mpsc::channel();
        let outputs = SharedOutputs::default();
        let of_thread = Arc::clone(&outputs);
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write_loop(&database, &waiting, &of_thread, last))
            .map_err(|source| StoreError::File { doing: "start the writer of", path, source })?;
        Ok(Self { requests: Some(requests), outputs, thread: Some(thread), _lock: lock })
    }

    /// Appends records, all or none. When this returns they are on disk.
    pub async fn append(&self, records: Arc<[Record]>) -> Result<(), StoreError> {
        let gone = |reason: &str| StoreError::WriterGone { reason: reason.to_owned() };
        let (asked, answered) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(|| gone("closed"))?;
        let waiting = Waiting { records, asked };
        requests.send(Request::Records(waiting)).map_err(|_| gone("closed"))?;
        match answered.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(StoreError::WriterGone { reason }),
            Err(_) => Err(gone("it did not answer")),
        }
    }

    /// Notes that a host was left after its end.
    pub fn left(&self, host: &HostName, reopened: u32) {
        locked(&self.outputs).left.push((host.clone(), reopened));
    }

    /// A handle for outputs.
    pub fn outputs(&self) -> Option<OutputWriter> {
        let requests = self.requests.clone()?;
        Some(OutputWriter { requests, outputs: Arc::clone(&self.outputs) })
    }
}

impl Drop for Writer {
    /// Everything that was handed over is on disk afterwards.
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Writes whatever waits, one transaction for all of it. Outputs that could not be written are tried again with what comes
/// next: a disk that was full for a moment costs no line.
fn write_loop(
    database: &Connection,
    waiting: &mpsc::Receiver<Request>,
    outputs: &SharedOutputs,
    mut last: String,
) {
    let (mut chunks, mut left) = (Vec::new(), Vec::new());
    let mut broken = None;
    while let Ok(first) = waiting.recv() {
        let group = gather(first, waiting, outputs);
        // Whatever was handed over before a record of the group is here by now.
        chunks.append(&mut locked(outputs).take());
        if group.is_empty() && chunks.is_empty() {
            continue;
        }
        left.append(&mut locked(outputs).left);
        let written = match &broken {
            None => write_group(database, &group, &chunks, &left, &last).map_err(|e| e.to_string()),
            Some(error) => Err(String::clone(error)),
        };
        let answer = written.map(|hash| {
            last = hash;
            chunks.clear();
            left.clear();
        });
        for Waiting { asked, .. } in group {
            // Whoever asked may have been cancelled; the records are written all the same.
            let _ = asked.send(answer.clone());
        }
        let held: usize = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        if let (Err(error), true) = (answer, held > OUTPUT_HELD_MAX) {
            chunks.clear();
            broken.get_or_insert(error);
        }
    }
    chunks.append(&mut locked(outputs).take());
    left.append(&mut locked(outputs).left);
    if !chunks.is_empty() || !left.is_empty() {
        // Nobody is left to tell; the records are written, and say what happened.
        let _ = write_group(database, &[], &chunks, &left, &last);
    }
}

/// Whatever records wait, and where there are outputs alone, what comes soon.
fn gather(
    first: Request,
    waiting: &mpsc::Receiver<Request>,
    outputs: &SharedOutputs,
) -> Vec<Waiting> {
    let until = Instant::now() + OUTPUT_DELAY;
    let mut group = Vec::new();
    let mut next = first;
    loop {
        if let Request::Records(waiting) = next {
            group.push(waiting);
        }
        if group.len() >= GROUP_MAX {
            return group;
        }
        let more = if !group.is_empty() || locked(outputs).bytes >= OUTPUT_BYTES_MAX {
            waiting.try_recv().ok()
        } else {
            waiting.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
        };
        match more {
            Some(more) => next = more,
            None => return group,
        }
    }
}

fn write_group(
    database: &Connection,
    group: &[Waiting],
    chunks: &[OutputChunk],
    left: &[(HostName, u32)],
    last: &str,
) -> rusqlite::Result<String> {
    let mut hash = last.to_owned();
    let transaction = database.unchecked_transaction()?;
    {
        let mut record_into = database.prepare_cached("insert into records values (?1, ?2, ?3)")?;
        let mut output_into = database.prepare_cached(
            "insert into outputs (host, hop, phase, step, attempt, part, stream, start, bytes)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        for chunk in chunks {
            output_into.execute(params![
                chunk.host.as_str(),
                chunk.step.hop,
                chunk.step.phase.as_str(),
                chunk.step.step.as_str(),
                chunk.attempt,
                chunk.part.as_str(),
                chunk.stream,
                chunk.start,
                chunk.bytes,
            ])?;
        }
        if !left.is_empty() {
            let mut left_into =
                database.prepare_cached("insert or ignore into farewells values (?1, ?2)")?;
            for (host, reopened) in left {
                left_into.execute(params![host.as_str(), reopened])?;
            }
        }
        for record in group.iter().flat_map(|waiting| waiting.records.iter()) {
            let json = serde_json::to_string(record)
                .map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
            hash = chain(&hash, &json);
            record_into.execute(params![record.seq, json, hash])?;
        }
    }
    transaction.commit()?;
    Ok(hash)
}

/// The next link of the hash chain: SHA-256 of the link before it and the record's JSON.
pub(super) fn chain(last: &str, json: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(last.as_bytes());
    hasher.update(b"\n");
    hasher.update(json.as_bytes());
    crate::base::text::hex(&hasher.finalize())
}
