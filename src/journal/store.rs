//! Where journals are kept: one SQLite database for each run, under the state directory.
//!
//! One thread writes. Readers of other processes see every committed record at once.

use super::{Inbox, OutputChunk, Part, Record, StepId, Writer, line, writer::chain};
use crate::base::{
    name::{HostName, RunId},
    phase::Phase,
};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long a reader or writer waits for another's lock on the database.
const BUSY: Duration = Duration::from_secs(10);
/// The version of the database's form.
const FORMAT: &str = "1";
const DATABASE: &str = "journal.db";
const LOCK: &str = "controller.lock";
/// Whoever asks whether a run is driven, and whoever writes one request down, has its lock for an instant: a controller
/// waits for them.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

const SCHEMA: &str = "
create table meta (key text primary key, value text not null) without rowid;
create table records (seq integer primary key, json text not null, hash text not null);
create table outputs (
    id integer primary key,
    host text not null, hop integer not null, phase text not null, step text not null,
    attempt integer not null, part text not null, stream integer not null,
    start integer not null, bytes blob not null
);
create index outputs_by_host on outputs (host);
";

/// Beside the records: what may be lost, and is done again then.
const FAREWELLS: &str = "
create table if not exists farewells (
    host text not null, reopened integer not null, primary key (host, reopened)
) without rowid;
";

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {doing} {}", path.display())]
    File { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{}", path.display())]
    Database { path: PathBuf, source: rusqlite::Error },
    #[error("there is no run {run} in {}", dir.display())]
    NoRun { run: RunId, dir: PathBuf },
    #[error("run {run} is driven by {holder}")]
    Locked { run: RunId, holder: String },
    #[error("{}: {what}", path.display())]
    Corrupt { path: PathBuf, what: String },
    #[error("the journal's writer has ended: {reason}")]
    WriterGone { reason: String },
}

/// A state directory.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// The store in this directory, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The state directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a run keeps what belongs to it.
    pub fn run_dir(&self, run: &RunId) -> PathBuf {
        self.dir.join("runs").join(run.as_str())
    }

    /// Where other processes put what they ask of the run's controller.
    pub fn inbox(&self, run: &RunId) -> Inbox {
        Inbox::new(&self.run_dir(run))
    }

    /// All runs, the oldest first.
    pub fn runs(&self) -> Result<Vec<RunId>, StoreError> {
        let dir = self.dir.join("runs");
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StoreError::File { doing: "read", path: dir, source }),
        };
        let mut runs: Vec<RunId> = entries
            .flatten()
            .filter(|entry| entry.path().join(DATABASE).exists())
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        runs.sort();
        Ok(runs)
    }

    /// Makes a run, with its plan as JSON.
    pub fn create(&self, run: &RunId, plan: &str, digest: &str) -> Result<Writer, StoreError> {
        let dir = self.run_dir(run);
        let failed = |source| StoreError::File { doing: "make", path: dir.clone(), source };
        // What hosts print is for the operator's eyes.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        let path = dir.join(DATABASE);
        let lock = lock(run, &dir)?;
        let database = open(&path, OpenFlags::default())?;
        let fail = |source| StoreError::Database { path: path.clone(), source };
        database.execute_batch(SCHEMA).map_err(fail)?;
        database.execute_batch(FAREWELLS).map_err(fail)?;
        for (key, value) in [("format", FORMAT), ("plan", plan), ("digest", digest)] {
            database
                .execute("insert into meta values (?1, ?2)", params![key, value])
                .map_err(fail)?;
        }
        Writer::start(path, database, lock, digest.to_owned())
    }

    /// Takes over a run as its only writer.
    pub fn take_over(&self, run: &RunId) -> Result<Writer, StoreError> {
        let dir = self.existing(run)?;
        let path = dir.join(DATABASE);
        let lock = lock(run, &dir)?;
        let database = open(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        database
            .execute_batch(FAREWELLS)
            .map_err(|source| StoreError::Database { path: path.clone(), source })?;
        let last: Option<String> = database
            .query_row("select hash from records order by seq desc limit 1", [], |row| row.get(0))
            .optional()
            .map_err(|source| StoreError::Database { path: path.clone(), source })?;
        let last = match last {
            Some(hash) => hash,
            None => meta(&database, &path, "digest")?,
        };
        Writer::start(path, database, lock, last)
    }

    /// Opens a run for reading, also while another process drives it.
    pub fn read(&self, run: &RunId) -> Result<Reader, StoreError> {
        let path = self.existing(run)?.join(DATABASE);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // A reader of a journal in WAL mode needs to write beside it; on a read-only medium it may do without.
        let database = open(&path, flags).or_else(|_| {
            open(&path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        })?;
        let reader = Reader { path, database };
        let format = reader.meta("format")?;
        if format != FORMAT {
            let what = format!("its form is {format}, this version reads {FORMAT}");
            return Err(StoreError::Corrupt { path: reader.path, what });
        }
        Ok(reader)
    }

    /// Whether a controller drives the run now.
    pub fn is_driven(&self, run: &RunId) -> bool {
        match File::open(self.run_dir(run).join(LOCK)) {
            Ok(file) => matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)),
            Err(_) => false,
        }
    }

    /// Who drives the run, as they said themselves.
    pub fn driver(&self, run: &RunId) -> String {
        holder(&self.run_dir(run).join(LOCK))
    }

    fn existing(&self, run: &RunId) -> Result<PathBuf, StoreError> {
        let dir = self.run_dir(run);
        if dir.join(DATABASE).exists() {
            return Ok(dir);
        }
        Err(StoreError::NoRun { run: run.clone(), dir: self.dir.clone() })
    }
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let fail = |source| StoreError::Database { path: path.to_owned(), source };
    let database = Connection::open_with_flags(path, flags).map_err(fail)?;
    database.busy_timeout(BUSY).map_err(fail)?;
    database
        .execute_batch("pragma journal_mode = wal; pragma synchronous = full;")
        .map_err(fail)?;
    Ok(database)
}

fn meta(database: &Connection, path: &Path, key: &str) -> Result<String, StoreError> {
    database
        .query_row("select value from meta where key = ?1", [key], |row| row.get(0))
        .map_err(|source| StoreError::Database { path: path.to_owned(), source })
}

/// Takes the run's lock, which the kernel gives back when this process ends, however it ends.
fn lock(run: &RunId, dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let fail = |source| StoreError::File { doing: "lock", path: path.clone(), source };
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(fail)?;
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(fs::TryLockError::WouldBlock) if Instant::now() < until => {
                thread::sleep(LOCK_PAUSE)
            }
            Err(fs::TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { run: run.clone(), holder: holder(&path) });
            }
            Err(fs::TryLockError::Error(source)) => return Err(fail(source)),
        }
    }
    let host = rustix::system::uname();
    let holder =
        format!("process {} on {}\n", std::process::id(), host.nodename().to_string_lossy());
    file.set_len(0).and_then(|()| fs::write(&path, holder)).map_err(fail)?;
    Ok(file)
}

/// What stands in a lock: who took it last.
fn holder(lock: &Path) -> String {
    let text = fs::read_to_string(lock).unwrap_or_default();
    match text.trim() {
        "" => "another process".to_owned(),
        holder => holder.to_owned(),
    }
}

/// Reads a run.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    pub(super) database: Connection,
}

impl Reader {
    fn meta(&self, key: &str) -> Result<String, StoreError> {
        meta(&self.database, &self.path, key)
    }

    pub(super) fn fail(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Database { path: self.path.clone(), source }
    }

    /// The run's plan, as JSON.
    pub fn plan(&self) -> Result<String, StoreError> {
        self.meta("plan")
    }

    /// `sha256:…` of the plan.
    pub fn digest(&self) -> Result<String, StoreError> {
        self.meta("digest")
    }

    /// The records from this one on, in order.
    pub fn records(&self, from: u64) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        self.each_record(from, |record| records.push(record))?;
        Ok(records)
    }

    /// The records from this one on, in order, one after the other.
    pub fn each_record(&self, from: u64, mut each: impl FnMut(Record)) -> Result<(), StoreError> {
        let mut seq = from;
        self.each_line(from, |json, _| {
            let record = line::read(json).map_err(|error| StoreError::Corrupt {
                path: self.path.clone(),
                what: format!("record {seq}: {error}"),
            })?;
            seq += 1;
            each(record);
            Ok(())
        })
    }

    /// The records from this one on as lines of JSON, each with its link of the hash chain.
    pub fn each_line(
        &self,
        from: u64,
        mut each: impl FnMut(&str, &str) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self
            .database
            .prepare_cached("select json, hash from records where seq >= ?1 order by seq")
            .map_err(|e| self.fail(e))?;
        let mut rows = statement.query([from]).map_err(|e| self.fail(e))?;
        while let Some(row) = rows.next().map_err(|e| self.fail(e))? {
            let text = |column| row.get_ref(column).and_then(|v| Ok(v.as_str()?));
            each(text(0).map_err(|e| self.fail(e))?, text(1).map_err(|e| self.fail(e))?)?;
        }
        Ok(())
    }

    /// Checks the hash chain. Returns its last link and how many records it holds.
    pub fn verify(&self) -> Result<(String, u64), StoreError> {
        let corrupt = |what: String| StoreError::Corrupt { path: self.path.clone(), what };
        let (mut last, mut seq) = (self.digest()?, 0);
        let found = crate::base::digest::digest(self.plan()?.as_bytes());
        if found != last {
            return Err(corrupt(format!("the plan's digest is {found}, written down is {last}")));
        }
        self.each_line(0, |json, hash| {
            last = chain(&last, json);
            if last != hash {
                return Err(corrupt(format!("record {seq} was changed: its hash does not follow")));
            }
            seq += 1;
            Ok(())
        })?;
        Ok((last, seq))
    }

    /// Hosts that were left after their end, and how often each had been taken up again then.
    pub fn left(&self) -> Result<BTreeSet<(HostName, u32)>, StoreError> {
        let mut statement = self
            .database
            .prepare("select host, reopened from farewells")
            .map_err(|e| self.fail(e))?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))
            .map_err(|e| self.fail(e))?;
        let mut left = BTreeSet::new();
        for row in rows {
            let (host, reopened) = row.map_err(|e| self.fail(e))?;
            left.extend(host.parse().ok().map(|host: HostName| (host, reopened)));
        }
        Ok(left)
    }

    /// What a host's attempts printed, in order: what was kept after the piece with this number.
    pub fn outputs(
        &self,
        host: &HostName,
        after: i64,
    ) -> Result<Vec<(i64, OutputChunk)>, StoreError> {
        let mut statement = self
            .database
            .prepare_cached(
                "select id, hop, phase, step, attempt, part, stream, start, bytes
                 from outputs where host = ?1 and id > ?2 order by id",
            )
            .map_err(|e| self.fail(e))?;
        let rows = statement
            .query_map(params![host.as_str(), after], |row| {
                let phase: String = row.get(2)?;
                let step: String = row.get(3)?;
                let part: String = row.get(5)?;
                let chunk = (row.get(0)?, row.get(1)?, phase, step, row.get(4)?, part);
                Ok((chunk, row.get(6)?, row.get(7)?, row.get(8)?))
            })
            .map_err(|e| self.fail(e))?;
        let mut chunks = Vec::new();
        for row in rows {
            let ((id, hop, phase, step, attempt, part), stream, start, bytes) =
                row.map_err(|e| self.fail(e))?;
            let Some(phase) = Phase::ALL.into_iter().find(|p| p.as_str() == phase) else {
                continue;
            };
            let Ok(step) = step.parse() else { continue };
            let step = StepId { hop, phase, step };
            let part = Part::parse(&part);
            let host = host.clone();
            chunks.push((id, OutputChunk { host, step, attempt, part, stream, start, bytes }));
        }
        Ok(chunks)
    }
}
