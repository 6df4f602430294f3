//! How hosts are left: after the record of their end is on disk, and once, whoever was there to do it.

use super::{
    drive::{Engine, WORDS_MAX},
    lane::{Lane, Order, Word},
};
use crate::{
    host::Leave,
    journal::{End, Event, Failure},
    run::HostPhase,
};
use std::sync::Arc;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinError,
};

/// How a lane is reached, and heard to be over: then this is closed.
pub(super) struct Reached {
    pub(super) words: mpsc::Sender<Word>,
    over: oneshot::Receiver<()>,
}

impl Engine {
    /// Has a host left whose end, or whose rest, is on disk: from here on nobody asks for what the scripts of a host that has
    /// ended left behind. A lane that waits for its next order has room for this one; it says goodbye to its host and ends. A
    /// host that goes on later gets another.
    pub(super) fn say_goodbye(&mut self, event: &Event) {
        let (host, how) = if let Event::HostFinished { host, end, failure, .. } = event {
            (host, leave(*end, failure.as_ref()))
        } else if let Event::HostHeld { host } | Event::HostRested { host, .. } = event {
            (host, Leave::Rests)
        } else {
            return;
        };
        let Some(host) = self.state.host(host) else { return };
        match self.lanes.remove(&host) {
            Some(Reached { words, over }) => {
                let _ = words.try_send(Word::Leave(how));
                self.leaving.insert(host, over);
            }
            // Its end follows from what an earlier controller has seen.
            None if how != Leave::Rests => self.not_left.push(host),
            None => {}
        }
    }

    /// Leaves the hosts whose end is on disk, and that nobody who was at work on them has left.
    pub(super) fn leave_the_rest(&mut self) {
        for host in std::mem::take(&mut self.not_left) {
            let at = &self.state.hosts[host];
            let HostPhase::Ended(end) = at.phase else { continue };
            if at.attempts.is_empty() || end == End::Unreachable {
                // Nothing of us is there; or its lock runs out, as it does where its own lane cannot reach it.
                self.journal.left(&self.shared.plan.hosts[host].name, at.reopened);
                continue;
            }
            let order = Order::new(&self.shared.run, at, 0, 0, true, self.state.resumes);
            let mut lane = self.lane_for(host);
            lane.remember(&order, at);
            let how = leave(end, at.failure.as_ref());
            let Reached { words, over } = self.send_out(lane);
            let _ = words.try_send(Word::Leave(how));
            self.leaving.insert(host, over);
        }
    }

    /// A lane for a host as it stands.
    pub(super) fn lane_for(&self, host: usize) -> Lane {
        let at = &self.state.hosts[host];
        let taken = at.host_key.as_ref().map(|(_, key)| Arc::clone(key));
        let shared = Arc::clone(&self.shared);
        Lane::new(shared, (host, at.reopened), taken, self.messages.0.clone())
    }

    /// Has a lane begin, once the one before it has said goodbye to the host: what that one gives back is the lock of both.
    pub(super) fn send_out(&mut self, lane: Lane) -> Reached {
        let (words, waiting) = mpsc::channel(WORDS_MAX);
        let (ends, over) = oneshot::channel();
        let before = self.leaving.remove(&lane.host);
        self.tasks.spawn(async move {
            if let Some(before) = before {
                // Nothing is ever sent: it is dropped with its lane, however that one ends.
                let _ = before.await;
            }
            let left = lane.run(waiting).await;
            drop(ends);
            left
        });
        Reached { words, over }
    }

    /// Notes which host a lane has left, and after which of its ends: it may have been taken up again meanwhile. One that panicked
    /// has nothing to say.
    pub(super) fn said_goodbye(&self, lane: Result<Option<(usize, u32)>, JoinError>) {
        if let Ok(Some((host, reopened))) = lane {
            self.journal.left(&self.shared.plan.hosts[host].name, reopened);
        }
    }

    /// Lets every lane close its connection. The journal's writer ends only after them: they hold a way to it.
    pub(super) async fn close_lanes(&mut self) {
        self.lanes.clear();
        while let Some(lane) = self.tasks.join_next().await {
            self.said_goodbye(lane);
        }
    }
}

/// How a host is left. Where a person must look, or something may still be at work, all that its scripts left behind stays.
fn leave(end: End, failure: Option<&Failure>) -> Leave {
    let unknown = match failure {
        Some(Failure::Lost { .. } | Failure::TimedOut { stopped: false, .. }) => true,
        Some(
            Failure::Unreachable { .. }
            | Failure::Exited { .. }
            | Failure::Killed { .. }
            | Failure::TimedOut { stopped: true, .. }
            | Failure::Unverified { .. }
            | Failure::Reboot(_)
            | Failure::Refused { .. },
        )
        | None => false,
    };
    match end {
        End::Migrated | End::Already | End::RolledBack | End::Committed => Leave::Clean,
        End::Blocked | End::Failed if unknown => Leave::Keeps,
        End::Blocked | End::Failed => Leave::Clean,
        End::NeedsHands | End::Unreachable => Leave::Keeps,
    }
}
