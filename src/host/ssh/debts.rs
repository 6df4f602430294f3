//! What a host's sshd holds against us, kept here as it keeps it there: so that it never locks us out.
//!
//! From 9.8 on sshd adds up penalties for connections from one address that end without a login, takes a second of them away
//! in every second, and turns the address away for as long as they last once they are more than 15 s. Every connection that
//! may end so is counted here before it is opened, and the next one waits until enough of the sum is over.

use crate::base::name::HostName;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// For who leaves before a login was tried: `noauth`.
const NO_LOGIN: Duration = Duration::from_secs(1);
/// For who leaves after one that failed: `authfail`. That of an account which PAM does not let in yet counts as one.
const FAILED_LOGIN: Duration = Duration::from_secs(5);
/// For who is there for too long: `grace-exceeded`. It comes after at least as long a time.
const TOO_SLOW: Duration = Duration::from_secs(10);
/// With more than this outstanding nobody knocks: the next failure makes it 10 s at most. The third that is left belongs to
/// others behind our address: a monitoring that looks at the port, an operator who mistypes, another controller.
const OUTSTANDING_MAX: Duration = Duration::from_secs(5);

/// Whose book it is in. Several addresses may lead to one sshd, and several names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Door {
    Host(HostName),
    At(SocketAddr),
}

/// When the penalties of each are over. Who never had one is not in it.
#[derive(Debug, Default)]
pub(super) struct Debts(Mutex<BTreeMap<Door, Instant>>);

impl Debts {
    /// Waits until one more failure would not be too many.
    pub(super) async fn knock(self: &Arc<Self>, host: &HostName, at: SocketAddr) -> Knock {
        let doors = [Door::Host(host.clone()), Door::At(at)];
        while let Some(until) = self.too_much(&doors) {
            sleep_until(until).await;
        }
        Knock { debts: Arc::clone(self), doors, met: None, cost: Duration::ZERO }
    }

    /// When little enough is left; nothing where that is so now.
    fn too_much(&self, doors: &[Door]) -> Option<Instant> {
        let debts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let over = doors.iter().filter_map(|door| debts.get(door)).max()?;
        over.checked_sub(OUTSTANDING_MAX).filter(|until| *until > now)
    }

    fn charge(&self, doors: &[Door], cost: Duration) {
        let mut debts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        for door in doors {
            let over = debts.entry(door.clone()).or_insert(now);
            *over = now.max(*over) + cost;
        }
    }
}

/// One connection until it is logged in. However it ends before that, also by being dropped, it is charged for.
#[derive(Debug)]
pub(super) struct Knock {
    debts: Arc<Debts>,
    doors: [Door; 2],
    /// When sshd took the connection.
    met: Option<Instant>,
    cost: Duration,
}

impl Knock {
    /// sshd has taken the connection. One that is refused costs nothing.
    pub(super) fn meets(&mut self) {
        (self.met, self.cost) = (Some(Instant::now()), NO_LOGIN);
    }

    /// A login is tried from now on.
    pub(super) fn tries(&mut self) {
        self.cost = FAILED_LOGIN;
    }

    /// Whoever is logged in has done nothing wrong.
    pub(super) fn let_in(mut self) {
        self.cost = Duration::ZERO;
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        let slow = self.met.is_some_and(|met| met.elapsed() >= TOO_SLOW);
        if !self.cost.is_zero() {
            self.debts.charge(&self.doors, if slow { TOO_SLOW } else { self.cost });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// sshd's own book, as `srclimit.c` of 10.0 keeps it: whole seconds, and locked out above 15 of them.
    #[derive(Default)]
    struct Book {
        over: u64,
        most: u64,
    }

    impl Book {
        fn charge(&mut self, now: u64, seconds: u64) {
            self.over = self.over.max(now) + seconds;
            self.most = self.most.max(self.over - now);
        }
    }

    /// How a connection ends.
    #[derive(Clone, Copy, Debug)]
    enum End {
        Refused,
        NoLogin,
        Failed,
        Slow,
        LetIn,
        Dropped,
    }

    fn ends() -> impl Strategy<Value = Vec<(u64, End)>> {
        let end = prop_oneof![
            Just(End::Refused),
            Just(End::NoLogin),
            Just(End::Failed),
            Just(End::Failed),
            Just(End::Slow),
            Just(End::LetIn),
            Just(End::Dropped),
        ];
        prop::collection::vec((0..4000_u64, end), 1..60)
    }

    async fn play(course: &[(u64, End)]) -> (u64, Duration) {
        let (debts, mut book) = (Arc::new(Debts::default()), Book::default());
        let host: HostName = "web-01".parse().unwrap();
        let began = Instant::now();
        let mut waited = Duration::ZERO;
        for (pause, end) in course {
            tokio::time::sleep(Duration::from_millis(*pause)).await;
            let came = Instant::now();
            // One host, at two addresses.
            let at = SocketAddr::from(([192, 0, 2, (pause % 2) as u8], 22));
            let mut knock = debts.knock(&host, at).await;
            waited = waited.max(came.elapsed());
            let now = || began.elapsed().as_secs();
            match end {
                End::Refused => continue,
                End::NoLogin | End::Dropped => {
                    knock.meets();
                    drop(knock);
                    book.charge(now(), 1);
                }
                End::Failed => {
                    knock.meets();
                    knock.tries();
                    drop(knock);
                    book.charge(now(), 5);
                }
                End::Slow => {
                    knock.meets();
                    tokio::time::sleep(Duration::from_secs(12)).await;
                    drop(knock);
                    book.charge(now(), 10);
                }
                End::LetIn => {
                    knock.meets();
                    knock.tries();
                    knock.let_in();
                }
            }
        }
        (book.most, waited)
    }

    fn paused() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    }

    proptest! {
        #[test]
        fn whatever_happens_sshd_never_locks_us_out(course in ends()) {
            let (most, waited) = paused().block_on(play(&course));
            prop_assert!(most <= 11, "{most} s are outstanding");
            prop_assert!(waited <= Duration::from_secs(6), "waited {waited:?}");
        }
    }

    #[test]
    fn who_is_let_in_never_waits() {
        let course = [(0, End::LetIn); 200];
        assert_eq!(paused().block_on(play(&course)), (0, Duration::ZERO));
    }

    #[test]
    fn a_night_of_knocking_is_one_knock_in_five_seconds() {
        let course = [(0, End::Failed); 1000];
        let (most, _) = paused().block_on(play(&course));
        assert!((5..=11).contains(&most), "{most}");
    }
}
