//! New connections, paced: a thousand hosts that were lost at once do not come back in one burst.

use crate::{
    base::name::HostName,
    host::{BoxFuture, ConnectError, Session, Target, Transport},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// Between two connections to hosts that were reached for the first time: a thousand in a second, more than a controller's
/// cryptography does. How many there are at once is the rollout's to say.
const FIRST: Duration = Duration::from_millis(1);
/// Between two connections to hosts that had one before: a hundred in a second. What took their connections away took many,
/// and what comes back, be it a switch, a firewall or a jump host, must not be overrun.
const AGAIN: Duration = Duration::from_millis(10);

/// A transport whose connections wait for their turn.
pub(super) struct Paced {
    inner: Arc<dyn Transport>,
    turns: Mutex<Turns>,
}

#[derive(Default)]
struct Turns {
    /// Hosts that were tried before, by this controller or by one before it.
    known: BTreeSet<HostName>,
    first: Option<Instant>,
    again: Option<Instant>,
}

impl Paced {
    /// `known` are hosts that an earlier controller was connected with.
    pub(super) fn new(
        inner: Arc<dyn Transport>,
        known: impl IntoIterator<Item = HostName>,
    ) -> Self {
        let turns = Turns { known: known.into_iter().collect(), ..Turns::default() };
        Self { inner, turns: Mutex::new(turns) }
    }

    /// When this host may connect. A turn that nobody takes any more is lost.
    fn turn(&self, host: &HostName, now: Instant) -> Instant {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let first = turns.known.insert(host.clone());
        let (last, gap) = if first { (&mut turns.first, FIRST) } else { (&mut turns.again, AGAIN) };
        let turn = last.map_or(now, |last| now.max(last + gap));
        *last = Some(turn);
        turn
    }
}

impl Transport for Paced {
    fn connect<'a>(
        &'a self,
        target: &'a Target,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, ConnectError>> {
        Box::pin(async move {
            sleep_until(self.turn(&target.host, Instant::now())).await;
            self.inner.connect(target).await
        })
    }
}

/// Between two logins to a host that lets nobody in yet: whole logins, spaced, since sshd punishes those who only knock.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Each pause is longer than the one before by this factor: fast machines are found soon, slow ones are not pestered.
const GROWTH: f64 = 1.2;
/// The longest pause where SSH answers and refuses the login: who fails often is locked out by sshd and its guards.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// The pauses of who waits for a host by logging in.
pub(super) struct Spaced(Duration);

impl Spaced {
    pub(super) fn new() -> Self {
        Self(PAUSE.0)
    }

    /// The pause before the next login.
    pub(super) fn pause(&self) -> Duration {
        self.0
    }

    /// One more login came to nothing, and to a refusal or not.
    pub(super) fn failed(&mut self, refused: bool) {
        let longest = if refused { REFUSED_PAUSE } else { PAUSE.1 };
        self.0 = self.0.mul_f64(GROWTH).min(longest);
    }
}

/// A pause before the next try: up to a third shorter, by the host's name and the number of the try, so that hosts which
/// were lost together do not knock together. The same host draws the same pauses in every run.
pub(super) fn jittered(pause: Duration, host: &HostName, tries: u32) -> Duration {
    // FNV-1a: any spread will do, and it must be the same everywhere.
    let bytes = host.as_str().bytes().chain(tries.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let thousandth = u32::try_from((hash >> 32) % 334).unwrap_or(0);
    pause * (1000 - thousandth) / 1000
}
