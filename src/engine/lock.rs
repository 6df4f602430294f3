//! The host's own lock, as a lane tends it: taken with the first script, renewed with each, given back at the end.

use super::lane::{Lane, Order};
use crate::{
    host::{Holder, LEASE, Leave},
    run::HostState,
};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// A host that nothing is asked of hears of us so often.
pub(super) const RENEW_EVERY: Duration = LEASE.checked_div(3).expect("three is not zero");
/// Tending a lock must not hold a host up.
const TEND_LIMIT: Duration = Duration::from_secs(20);

impl Lane {
    /// Whose the lock is, from this order on.
    pub(super) fn take_holder(&mut self, order: &Order) {
        self.is_root = order.known.facts.as_ref().is_some_and(|facts| facts.uid == Some(0));
        let folder = self.folder(order);
        if self.holder.as_ref().is_some_and(|holder| holder.folder == folder) {
            return;
        }
        let machine = rustix::system::uname();
        let controller = format!("{}@{}", std::process::id(), machine.nodename().to_string_lossy());
        let controller: String =
            controller.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
        let holder = |folder| {
            let (run, epoch) = (self.shared.run.to_string(), order.epoch);
            Arc::new(Holder { run, epoch, controller: controller.clone(), folder })
        };
        let earlier = |reopened| self.folder(&Order { reopened, ..order.clone() });
        let before = (0..order.reopened).map(|reopened| holder(earlier(reopened))).collect();
        (self.holder, self.before) = (Some(holder(folder)), before);
    }

    /// Remembers what an earlier controller's lane of this host knew: as whom its scripts ran there.
    pub(super) fn remember(&mut self, order: &Order, at: &HostState) {
        self.take_holder(order);
        let steps = at.attempts.keys().map(|step| Order { step: *step, ..order.clone() });
        self.held_as = steps.map(|order| self.sudo(&order)).collect();
        // Our own questions need no root.
        self.held_as.insert(false);
    }

    /// As whom to look for the host's locks: the login user and root share one where they share the folder.
    fn places(&self) -> Vec<bool> {
        let given = self.target.connection.remote_dir.as_deref();
        let shared = self.is_root || given.is_some_and(|dir| dir.starts_with('/'));
        match (shared, self.held_as.contains(&true)) {
            // Root may touch what the login user has made, and not the other way round.
            (true, by_sudo) => vec![by_sudo && !self.is_root],
            (false, _) => self.held_as.iter().copied().collect(),
        }
    }

    /// Renews the lock from time to time, for as long as the attempt waits for something that is not the host.
    pub(super) async fn keep_lock(&mut self) -> Infallible {
        loop {
            sleep(RENEW_EVERY).await;
            self.renew().await;
        }
    }

    /// Renews the lock. Without a connection it does nothing: whoever opens one renews it.
    pub(super) async fn renew(&mut self) {
        for sudo in self.places() {
            let Some(session) = &mut self.session else { return };
            // A connection that died is found dead by the next script, which opens another.
            let _ = timeout(TEND_LIMIT, session.renew(sudo)).await;
        }
    }

    /// Gives the lock back, and removes what is not needed any more. Whatever comes of it, the host's end stands: a lock that
    /// is not given back runs out.
    pub(super) async fn leave(&mut self, how: Leave) {
        if self.held_as.is_empty() {
            return;
        }
        let left = timeout(TEND_LIMIT, self.leave_as_all(how)).await;
        if left.is_err() {
            // A channel without an answer would hold up the goodbye, too.
            self.session = None;
        }
    }

    async fn leave_as_all(&mut self, how: Leave) {
        for sudo in self.places() {
            let session = match &mut self.session {
                Some(session) => session,
                // What could not be reached just now is not worth the wait.
                None if how == Leave::Keeps && self.tried => return,
                None => {
                    let Ok(session) = self.shared.transport.connect(&self.target).await else {
                        return;
                    };
                    self.session.insert(session)
                }
            };
            // Its end before it was taken up again is one, too, and perhaps nobody came to leave what was there then.
            let before = self.before.iter().filter(|_| how != Leave::Rests);
            let mut left = Ok(());
            for holder in self.holder.iter().chain(before) {
                session.hold(holder);
                left = left.and(session.leave(how, sudo).await);
            }
            if left.is_err() {
                self.session = None;
            }
        }
    }
}
