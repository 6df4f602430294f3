//! Requests of other processes to the controller of a run: a folder beside the journal.
//!
//! A request is a file that appears whole, by a rename. The controller claims it by another rename, and records it; the
//! journal alone says that it was taken. Whoever asked may withdraw it as long as it is not claimed: of two renames one
//! is first. The journal's one writer and its hash chain know nothing of this folder.

use super::{Event, StoreError};
use crate::base::{
    approval::Approval,
    name::{HostName, RequestId},
    time::Timestamp,
};
use crate::rollout::Allowance;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What an operator asks of a controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub id: RequestId,
    pub at: Timestamp,
    /// Who asks: `alice@laptop`.
    pub by: String,
    /// How often the run had been taken over when this was asked. Stop and leave are said to that controller, and to no
    /// later one.
    pub epoch: u32,
    #[serde(flatten)]
    pub ask: Ask,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// No new host starts; those in flight go on to a safe point.
    Stop,
    /// Leave at once; what runs on hosts goes on.
    Leave,
    /// Take these hosts out of the run.
    Hold { hosts: Vec<HostName> },
    /// Take these hosts back in.
    Release { hosts: Vec<HostName> },
    /// Change limits of the run.
    Tune { parallel: Option<u32>, failures: Option<Allowance> },
    /// Record what somebody says about a wave.
    Decide { approval: Arc<Approval> },
}

impl Request {
    /// Whether a controller that took the run over so often is the one that is meant.
    pub fn is_for(&self, epoch: u32) -> bool {
        match self.ask {
            Ask::Stop | Ask::Leave => self.epoch == epoch,
            Ask::Hold { .. } | Ask::Release { .. } | Ask::Decide { .. } | Ask::Tune { .. } => true,
        }
    }

    /// The record's event that takes the request.
    pub fn event(self) -> Event {
        let Self { id: request, by, ask, .. } = self;
        match ask {
            Ask::Stop => Event::StopRequested { by, request: Some(request) },
            Ask::Leave => Event::LeaveRequested { by, request },
            Ask::Hold { hosts } => Event::HoldRequested { by, hosts, request },
            Ask::Release { hosts } => Event::ReleaseRequested { by, hosts, request },
            Ask::Tune { parallel, failures } => {
                Event::LimitsTuned { by, parallel, failures, request }
            }
            Ask::Decide { approval } => Event::GateDecided { approval, by, request: Some(request) },
        }
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// No controller has seen it.
    Waiting,
    /// A controller has seen it, and records it next.
    Claimed,
    /// Recorded, withdrawn, or said to a controller that is gone.
    Gone,
}

const WAITING: &str = "json";
const CLAIMED: &str = "claimed";
/// A request is a few hosts by name; ten thousand of the longest names fit.
const BYTES_MAX: u64 = 4 << 20;

/// The requests to one run.
#[derive(Clone, Debug)]
pub struct Inbox {
    dir: PathBuf,
}

impl Inbox {
    pub(super) fn new(run_dir: &Path) -> Self {
        Self { dir: run_dir.join("requests") }
    }

    fn path(&self, id: &RequestId, ending: &str) -> PathBuf {
        self.dir.join(format!("{id}.{ending}"))
    }

    /// Puts a request. When this returns it is on disk, and the controller will see it.
    pub fn put(&self, request: &Request) -> Result<(), StoreError> {
        let fail =
            |doing, path: &Path, source| StoreError::File { doing, path: path.to_owned(), source };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|e| fail("make", &self.dir, e))?;
        let (new, path) = (self.path(&request.id, "new"), self.path(&request.id, WAITING));
        let text = serde_json::to_vec(request).map_err(|e| fail("write", &new, e.into()))?;
        let mut file = File::create(&new).map_err(|e| fail("write", &new, e))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(|e| fail("write", &new, e))?;
        fs::rename(&new, &path).map_err(|e| fail("write", &path, e))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(|e| fail("write", &path, e))
    }

    /// The names of requests that wait, and of those that a controller has claimed, in the order of their names. Looking at
    /// an empty folder costs a few microseconds.
    pub fn list(&self) -> Vec<(RequestId, Place)> {
        // Without a folder nobody has ever asked. One that cannot be read is told to who asks, since nobody answers them.
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let mut found: Vec<(RequestId, Place)> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                let (id, ending) = name.to_str()?.rsplit_once('.')?;
                let place = match ending {
                    WAITING => Place::Waiting,
                    CLAIMED => Place::Claimed,
                    _ => return None,
                };
                Some((id.parse().ok()?, place))
            })
            .collect();
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    /// Claims a request for this controller, and reads it. Nothing where it was withdrawn, or is no request.
    pub fn claim(&self, id: &RequestId) -> Option<Request> {
        let claimed = self.path(id, CLAIMED);
        // An earlier controller may have claimed it, and died before it was recorded: then nothing is left to rename.
        if fs::rename(self.path(id, WAITING), &claimed).is_err() && !claimed.exists() {
            return None;
        }
        let size = fs::metadata(&claimed).ok()?.len();
        let text = (size <= BYTES_MAX).then(|| fs::read(&claimed).ok())??;
        serde_json::from_slice::<Request>(&text).ok().filter(|request| request.id == *id)
    }

    /// Takes back a request that no controller has claimed. Says whether it did: then it is never carried out.
    pub fn withdraw(&self, id: &RequestId) -> bool {
        fs::remove_file(self.path(id, WAITING)).is_ok()
    }

    /// Where a request stands, as far as this folder knows.
    pub fn place(&self, id: &RequestId) -> Place {
        // In the order in which it moves, so that none on its way is missed.
        if self.path(id, WAITING).exists() {
            return Place::Waiting;
        }
        if self.path(id, CLAIMED).exists() { Place::Claimed } else { Place::Gone }
    }

    /// Forgets a request: its record is on disk, or nobody is to carry it out.
    pub fn forget(&self, id: &RequestId) {
        for ending in [WAITING, CLAIMED] {
            // One that is not there is forgotten.
            match fs::remove_file(self.path(id, ending)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(%id, %error, "a request cannot be removed");
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str, ask: Ask) -> Request {
        let at = Timestamp::from_millis(0);
        Request { id: id.parse().unwrap(), at, by: "alice@laptop".into(), epoch: 0, ask }
    }

    fn inbox() -> (tempfile::TempDir, Inbox) {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Inbox::new(dir.path());
        (dir, inbox)
    }

    #[test]
    fn a_request_is_seen_claimed_and_forgotten() {
        let (_dir, inbox) = inbox();
        assert!(inbox.list().is_empty(), "without a folder nobody has asked");
        let hold = request("2-b", Ask::Hold { hosts: vec!["web-01".parse().unwrap()] });
        inbox.put(&hold).unwrap();
        inbox.put(&request("1-a", Ask::Stop)).unwrap();
        let names: Vec<String> = inbox.list().iter().map(|(id, _)| id.to_string()).collect();
        assert_eq!(names, ["1-a", "2-b"], "in the order in which they were asked");
        assert_eq!(inbox.claim(&hold.id), Some(hold.clone()));
        assert_eq!(inbox.place(&hold.id), Place::Claimed);
        assert!(!inbox.withdraw(&hold.id), "too late");
        assert_eq!(inbox.claim(&hold.id), Some(hold.clone()), "by the next controller");
        inbox.forget(&hold.id);
        assert_eq!(inbox.place(&hold.id), Place::Gone);
    }

    #[test]
    fn of_a_claim_and_a_withdrawal_one_is_first() {
        let (_dir, inbox) = inbox();
        for round in 0..200 {
            let stop = request(&format!("{round}"), Ask::Stop);
            inbox.put(&stop).unwrap();
            let (claimed, withdrawn) = std::thread::scope(|scope| {
                let claim = scope.spawn(|| inbox.claim(&stop.id).is_some());
                let withdraw = scope.spawn(|| inbox.withdraw(&stop.id));
                (claim.join().unwrap(), withdraw.join().unwrap())
            });
            assert!(claimed != withdrawn, "round {round}: {claimed} {withdrawn}");
            inbox.forget(&stop.id);
        }
    }

    #[test]
    fn what_is_no_request_is_left_alone() {
        let (_dir, inbox) = inbox();
        inbox.put(&request("1-a", Ask::Stop)).unwrap();
        let own = |name: &str| inbox.dir.join(name);
        fs::write(own("notes.txt"), "hello").unwrap();
        fs::write(own("half.json"), "{\"id\":").unwrap();
        fs::copy(own("1-a.json"), own("other.json")).unwrap();
        for (name, request) in [("half", false), ("other", false), ("1-a", true)] {
            assert_eq!(inbox.claim(&name.parse().unwrap()).is_some(), request, "{name}");
        }
    }
}
