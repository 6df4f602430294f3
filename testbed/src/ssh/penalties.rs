//! What becomes of who connects again and again without logging in, as OpenSSH does it from 9.8 on when nobody says otherwise.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Who leaves without having tried to log in.
const NO_LOGIN: Duration = Duration::from_secs(1);
/// Who leaves after a login that failed.
const FAILED_LOGIN: Duration = Duration::from_secs(5);
/// With more than this an address is turned away, until all of it is over.
const TOLERATED: Duration = Duration::from_secs(15);
/// Nobody is turned away for longer.
const LONGEST: Duration = Duration::from_secs(600);

/// What is said to those who are turned away.
pub(crate) const TURNED_AWAY: &[u8] = b"Not allowed at this time\r\n";

/// The penalties of all addresses.
#[derive(Debug, Default)]
pub(crate) struct Penalties(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    addresses: BTreeMap<IpAddr, Penalty>,
    turned_away: u64,
}

#[derive(Debug)]
struct Penalty {
    over: Instant,
    enforced: bool,
}

impl Penalties {
    /// Somebody connects; nobody where the address is turned away.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Visit> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        book.addresses.retain(|_, penalty| penalty.over > now);
        if book.addresses.get(&peer).is_some_and(|penalty| penalty.enforced) {
            book.turned_away += 1;
            return None;
        }
        Some(Visit { penalties: Arc::clone(self), peer, cost: NO_LOGIN })
    }

    /// How many connections were turned away since the host was made.
    pub(crate) fn turned_away(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).turned_away
    }

    /// A new sshd knows of no penalties.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).addresses.clear();
    }

    fn charge(&self, peer: IpAddr, cost: Duration) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let penalty = book.addresses.entry(peer).or_insert(Penalty { over: now, enforced: false });
        penalty.over = (penalty.over.max(now) + cost).min(now + LONGEST);
        penalty.enforced |= penalty.over - now > TOLERATED;
    }
}

/// One connection, until it is logged in or ends.
#[derive(Debug)]
pub(crate) struct Visit {
    penalties: Arc<Penalties>,
    peer: IpAddr,
    cost: Duration,
}

impl Visit {
    /// A login was tried: with success or without.
    pub(crate) fn tried(&mut self, let_in: bool) {
        self.cost = if let_in { Duration::ZERO } else { FAILED_LOGIN };
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.cost.is_zero() {
            self.penalties.charge(self.peer, self.cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn knock(penalties: &Arc<Penalties>, tries: bool) -> bool {
        let visit = penalties.admit(PEER);
        visit.is_some_and(|mut visit| {
            if tries {
                visit.tried(false);
            }
            true
        })
    }

    /// As seen of OpenSSH 10.0.
    #[tokio::test(start_paused = true)]
    async fn who_knocks_too_often_is_turned_away_for_a_while() {
        let penalties = Arc::<Penalties>::default();
        let let_in = (0..40).take_while(|_| knock(&penalties, false)).count();
        assert_eq!(let_in, 16, "fifteen are tolerated, and the next locks the door");
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert!(!knock(&penalties, false), "a second is left");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(knock(&penalties, false));
        assert_eq!(penalties.turned_away(), 2);
        penalties.forget();
        let let_in = (0..40).take_while(|_| knock(&penalties, true)).count();
        assert_eq!(let_in, 4, "a failed login counts five times");
    }

    #[tokio::test(start_paused = true)]
    async fn who_logs_in_or_comes_rarely_is_welcome() {
        let penalties = Arc::<Penalties>::default();
        for _ in 0..100 {
            penalties.admit(PEER).unwrap().tried(true);
        }
        for _ in 0..100 {
            assert!(knock(&penalties, false));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
