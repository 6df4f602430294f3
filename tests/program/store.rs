//! The store at its worst: cut off at any byte, held by another, out of room for a moment.

use crate::support::wait_until;
use fleetlift::base::{name::RunId, phase::Phase, time::Timestamp};
use fleetlift::journal::{Event, OutputChunk, Part, Record, StepId, Store, StoreError, Writer};
use std::{fs, path::Path, sync::Arc};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Records that say their number, long enough that a page holds few of them.
fn record(seq: u64) -> Record {
    let by = format!("record {seq} {}", "x".repeat(300));
    Record { seq, at: Timestamp::from_millis(0), event: Event::StopRequested { by, request: None } }
}

fn append(writer: &Writer, from: u64, to: u64) -> Result<(), StoreError> {
    let records: Arc<[Record]> = (from..to).map(record).collect::<Vec<_>>().into();
    runtime().block_on(writer.append(records))
}

fn run() -> RunId {
    "20261121-0900-cuts".parse().unwrap()
}

fn digest() -> String {
    fleetlift::base::digest::digest(b"{}")
}

/// A copy of the run's files as they are on disk, in another store.
fn copy(from: &Store, to: &Path) -> Store {
    let store = Store::new(to);
    let dir = store.run_dir(&run());
    fs::create_dir_all(&dir).unwrap();
    for name in ["journal.db", "journal.db-wal"] {
        let file = from.run_dir(&run()).join(name);
        if file.exists() {
            fs::copy(file, dir.join(name)).unwrap();
        }
    }
    store
}

/// What the store gives is a beginning of what was written, whole and proven, or an error.
fn prefix(store: &Store, written: u64) -> Result<u64, String> {
    let reader = store.read(&run()).map_err(|e| e.to_string())?;
    let records = reader.records(0).map_err(|e| e.to_string())?;
    let (_, proven) = reader.verify().map_err(|e| e.to_string())?;
    assert_eq!(proven, records.len() as u64);
    assert!(proven <= written, "{proven} of {written}");
    for (n, found) in records.iter().enumerate() {
        assert_eq!(*found, record(n as u64));
    }
    Ok(proven)
}

/// A small generator, so that a failure can be had again.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn a_journal_cut_at_any_byte_opens_as_a_beginning_of_itself_or_says_that_it_is_broken() {
    let seed = std::env::var("FLEETLIFT_SEED").ok().and_then(|n| n.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    let mut draw = seed;
    let dir = tempfile::tempdir().unwrap();
    let whole = Store::new(dir.path().join("whole"));
    let writer = whole.create(&run(), "{}", &digest()).unwrap();
    let written = 240;
    for from in (0..written).step_by(4) {
        append(&writer, from, from + 4).unwrap();
    }
    // Power goes while the newest records are in the write-ahead log only; then again with all of them in the database.
    let with_log = copy(&whole, &dir.path().join("with-log"));
    drop(writer);
    let closed = copy(&whole, &dir.path().join("closed"));
    for whole in [&with_log, &closed] {
        // Whoever opens it tidies the log away, so a copy is opened.
        let place = dir.path().join("opened");
        assert_eq!(prefix(&copy(whole, &place), written), Ok(written));
        fs::remove_dir_all(place).unwrap();
    }
    let (mut shorter, mut broken) = (0, 0);
    for round in 0..120 {
        let (from, file) = match round % 3 {
            0 | 1 => (&with_log, "journal.db-wal"),
            _ => (&closed, "journal.db"),
        };
        let place = dir.path().join(format!("cut-{round}"));
        let cut = copy(from, &place);
        let path = cut.run_dir(&run()).join(file);
        let size = fs::metadata(&path).unwrap().len();
        let at = next(&mut draw) % size;
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_len(at).unwrap();
        if round % 2 == 1 {
            // The file's length was on disk already, its last blocks were not.
            file.set_len(size).unwrap();
        }
        match prefix(&cut, written) {
            Ok(found) if found < written => shorter += 1,
            Ok(_) => {}
            Err(said) => {
                assert!(!said.is_empty(), "seed {seed}, round {round}");
                broken += 1;
            }
        }
        fs::remove_dir_all(&place).unwrap();
    }
    assert!(shorter > 10 && broken > 5, "seed {seed}: {shorter} shorter, {broken} broken");
}

#[test]
fn a_reader_that_stays_long_holds_nobody_up_and_a_writer_that_stays_long_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let writer = store.create(&run(), "{}", &digest()).unwrap();
    append(&writer, 0, 10).unwrap();
    let other = rusqlite::Connection::open(store.run_dir(&run()).join("journal.db")).unwrap();
    other.execute_batch("begin; select count(*) from records;").unwrap();
    append(&writer, 10, 200).unwrap();
    other.execute_batch("commit; begin immediate;").unwrap();
    let error = append(&writer, 200, 201).unwrap_err();
    assert!(error.to_string().contains("locked"), "{error}");
    // What was refused is not there, and the next records follow on what is.
    other.execute_batch("rollback").unwrap();
    assert_eq!(prefix(&store, 200), Ok(200));
    append(&writer, 200, 201).unwrap();
    assert_eq!(prefix(&store, 201), Ok(201));
}

#[test]
fn outputs_that_could_not_be_written_are_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let writer = store.create(&run(), "{}", &digest()).unwrap();
    let other = rusqlite::Connection::open(store.run_dir(&run()).join("journal.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let step = StepId { hop: 0, phase: Phase::Migrate, step: "s".parse().unwrap() };
    let chunk = OutputChunk {
        host: "h".parse().unwrap(),
        step,
        attempt: 1,
        part: Part::Step,
        stream: 1,
        start: 0,
        bytes: b"a line\n".to_vec(),
    };
    writer.outputs().unwrap().write(chunk.clone());
    // Records that come while the database is locked are refused, the output beside them is not lost.
    assert!(append(&writer, 0, 1).is_err());
    other.execute_batch("rollback").unwrap();
    append(&writer, 0, 1).unwrap();
    let found = store.read(&run()).unwrap().outputs(&chunk.host, 0).unwrap();
    assert_eq!(found.into_iter().map(|(_, found)| found).collect::<Vec<_>>(), [chunk]);
    drop(writer);
}

/// However many lanes print at once, and however their pieces are gathered: what was handed over before a record is there
/// when the record is.
#[test]
fn no_record_is_durable_before_the_outputs_that_came_before_it() {
    const LANES: u32 = 4;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let writer = store.create(&run(), "{}", &digest()).unwrap();
    let chunk = |lane: u32, round: u64, n: u64| OutputChunk {
        host: format!("h{lane}").parse().unwrap(),
        step: StepId { hop: 0, phase: Phase::Migrate, step: "s".parse().unwrap() },
        attempt: 1,
        part: Part::Step,
        stream: 1,
        start: round * 100 + n,
        // Some rounds are more than a writer lets wait.
        bytes: vec![b'x'; if round.is_multiple_of(5) { 60_000 } else { 10 }],
    };
    for round in 0..20 {
        std::thread::scope(|scope| {
            for lane in 0..LANES {
                let outputs = writer.outputs().unwrap();
                scope.spawn(move || (0..20).for_each(|n| outputs.write(chunk(lane, round, n))));
            }
        });
        append(&writer, round, round + 1).unwrap();
        let reader = store.read(&run()).unwrap();
        for lane in 0..LANES {
            let host = format!("h{lane}").parse().unwrap();
            let found = reader.outputs(&host, 0).unwrap();
            let found = found.into_iter().map(|(_, found)| found.start);
            let wanted = (0..=round).flat_map(|round| (0..20).map(move |n| round * 100 + n));
            assert!(found.eq(wanted), "lane {lane}, round {round}");
        }
    }
    // Without a record they are written soon, all the same.
    writer.outputs().unwrap().write(chunk(9, 0, 0));
    let reader = store.read(&run()).unwrap();
    let host = "h9".parse().unwrap();
    wait_until("the output is there", || reader.outputs(&host, 0).unwrap().len() == 1);
}
