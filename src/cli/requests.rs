//! Requests between processes: a controller hears them, and another process waits until one is taken.

use super::{
    common::{self, Seen},
    driving,
    error::CliError,
};
use crate::{
    base::{
        name::{RequestId, RunId},
        time::{Clock, SystemClock, Timestamp},
    },
    engine::Control,
    journal::{Ask, Inbox, Place, Record, Request, Store, StoreError},
    run::RunPhase,
};
use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, time::MissedTickBehavior};

/// How often a controller looks into its inbox: an operator waits for this, and it costs a few microseconds.
const LOOK: Duration = Duration::from_millis(250);
/// How long whoever asks waits for the controller. A healthy one answers within a second; a busy disk may take more.
const ANSWER: Duration = Duration::from_secs(10);
/// How often whoever asks looks for the answer.
const ASK: Duration = Duration::from_millis(50);

/// Hands requests to the engine as they come. Ends with the engine.
pub async fn hear(
    inbox: Inbox,
    epoch: u32,
    taken: BTreeSet<RequestId>,
    control: mpsc::Sender<Control>,
) {
    let mut heard = BTreeSet::new();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        for (id, _) in inbox.list() {
            if heard.contains(&id) {
                continue;
            }
            if taken.contains(&id) {
                inbox.forget(&id);
                continue;
            }
            let request = inbox.claim(&id);
            if request.as_ref().is_some_and(|request| !request.is_for(epoch)) {
                inbox.forget(&id);
                continue;
            }
            heard.insert(id);
            let Some(request) = request else { continue };
            if control.send(Control::Asked(request)).await.is_err() {
                return;
            }
        }
    }
}

/// What became of a request.
pub enum Answer {
    /// The controller has recorded it.
    Taken,
    /// Nobody drives the run: this process has recorded it itself.
    Noted,
    /// Nobody drives the run, and the request is nothing without a controller.
    Nobody,
}

/// Asks the controller of the run, or writes down what holds for the next one.
pub fn ask(store: &Store, run: &RunId, ask: &Ask) -> Result<Answer, CliError> {
    ask_for(store, run, ask, ANSWER)
}

fn ask_for(store: &Store, run: &RunId, ask: &Ask, limit: Duration) -> Result<Answer, CliError> {
    let until = Instant::now() + limit;
    let inbox = store.inbox(run);
    let at = SystemClock.now();
    // It keeps its name whoever takes it in the end, so that it is not carried out twice.
    let mut request =
        Request { id: new_id(at)?, at, by: common::operator(), epoch: 0, ask: ask.clone() };
    loop {
        if store.is_driven(run) {
            let seen = common::read(store, run.clone())?;
            if seen.state.requests.contains(&request.id) {
                // A controller that came in between had found it.
                return Ok(Answer::Taken);
            }
            request.epoch = seen.state.resumes;
            inbox.put(&request)?;
            match wait(store, &seen, &inbox, &request.id, until)? {
                Heard::Taken => return Ok(Answer::Taken),
                // Controllers come and go, or something takes requests away: not for ever. After the last one that went, it
                // can be written down.
                Heard::Never if Instant::now() < until || !store.is_driven(run) => continue,
                Heard::Never => {
                    return Err(CliError::refused(format!(
                        "controllers of run {run} came and went, and none has taken the request"
                    ))
                    .hint("it will not be carried out: say it again"));
                }
                Heard::Silence => return Err(silence(store, run, &inbox, &request.id)),
            }
        }
        match ask {
            Ask::Stop | Ask::Leave => return Ok(Answer::Nobody),
            Ask::Hold { .. } | Ask::Release { .. } | Ask::Decide { .. } | Ask::Tune { .. } => {}
        }
        match note(store, run, &request)? {
            Some(locked) if Instant::now() >= until => return Err(locked.into()),
            // A controller has come in between.
            Some(_) => {}
            None => return Ok(Answer::Noted),
        }
    }
}

fn new_id(at: Timestamp) -> Result<RequestId, CliError> {
    use std::hash::{BuildHasher, Hasher};
    // The standard library's hasher is seeded by the system, which is chance enough for a name.
    let chance = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{}-{:04x}", at.as_millis(), chance % 0x1_0000)
        .parse()
        .map_err(|error| CliError::usage("a request's name cannot be made").cause(&error))
}

enum Heard {
    Taken,
    /// The controller that it was said to is gone, and will never take it.
    Never,
    /// The controller is there and does not answer.
    Silence,
}

/// Waits until the journal says that the request was taken.
fn wait(
    store: &Store,
    seen: &Seen,
    inbox: &Inbox,
    id: &RequestId,
    until: Instant,
) -> Result<Heard, CliError> {
    let mut next = seen.state.next_seq;
    loop {
        // Asked before the journal is read: whatever was recorded before either is seen.
        let gone = inbox.place(id) == Place::Gone || !store.is_driven(&seen.run);
        let records = seen.reader.records(next)?;
        if records.iter().any(|record| record.event.request() == Some(id)) {
            inbox.forget(id);
            return Ok(Heard::Taken);
        }
        if gone {
            inbox.forget(id);
            return Ok(Heard::Never);
        }
        if Instant::now() >= until {
            return Ok(Heard::Silence);
        }
        next += records.len() as u64;
        thread::sleep(ASK);
    }
}

/// The controller has the run, and does not answer.
fn silence(store: &Store, run: &RunId, inbox: &Inbox, id: &RequestId) -> CliError {
    let driver = store.driver(run);
    let waited = ANSWER.as_secs();
    let said = CliError::refused(format!(
        "the controller of run {run} ({driver}) has not answered within {waited} s"
    ));
    if inbox.withdraw(id) {
        return said.hint(
            "is it stopped, as by Ctrl-Z? The request is withdrawn: say it again when it goes on",
        );
    }
    said.hint(
        "it has read the request and may still carry it out: `fleetlift status` shows what it does",
    )
}

/// Writes a request down without a controller, as the journal's only writer for that moment. Returns why not, where a
/// controller has the run.
fn note(store: &Store, run: &RunId, request: &Request) -> Result<Option<StoreError>, CliError> {
    let writer = match store.take_over(run) {
        Ok(writer) => writer,
        Err(locked @ StoreError::Locked { .. }) => return Ok(Some(locked)),
        Err(error) => return Err(error.into()),
    };
    let mut seen = common::read(store, run.clone())?;
    if seen.state.requests.contains(&request.id) {
        return Ok(None);
    }
    match seen.state.phase {
        RunPhase::Running | RunPhase::Paused(_) => {}
        RunPhase::New => {
            return Err(CliError::refused(format!("run {run} has not begun"))
                .hint(format!("`fleetlift resume {run}` begins it")));
        }
        RunPhase::Finished(_) => {
            return Err(CliError::refused(format!("run {run} is finished")));
        }
    }
    let event = request.clone().event();
    let record = Record { seq: seen.state.next_seq, at: SystemClock.now(), event };
    seen.state
        .apply(&seen.plan, &record)
        .map_err(|illegal| CliError::usage("the request cannot be recorded").cause(&illegal))?;
    driving::block_on(writer.append([record].into()))??;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Something takes every request away before the controller sees it.
    #[test]
    fn a_request_that_vanishes_again_and_again_is_not_said_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let run: RunId = "20261121-0900-test".parse().unwrap();
        let playbook = crate::playbook::read("debian12-to-debian13").unwrap();
        let mut rollout = crate::rollout::Rollout::default();
        rollout.waves.clear();
        let (nobody, none) = (crate::inventory::Inventory::default(), BTreeSet::new());
        let plan = crate::plan::build(&nobody, &playbook, &rollout, "@all", &none).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        let digest = crate::base::digest::digest(text.as_bytes());
        let _driven = store.create(&run, &text, &digest).unwrap();
        let (inbox, taken) = (store.inbox(&run), AtomicUsize::new(0));
        let said = thread::scope(|scope| {
            let asks = scope.spawn(|| ask_for(&store, &run, &Ask::Stop, Duration::from_secs(2)));
            while !asks.is_finished() {
                for (id, _) in inbox.list() {
                    inbox.withdraw(&id);
                    taken.fetch_add(1, Ordering::Relaxed);
                }
                thread::yield_now();
            }
            asks.join().unwrap()
        });
        assert!(said.is_err());
        assert!(taken.load(Ordering::Relaxed) > 1, "it was said once only");
    }
}
