//! The engine's clock: it never runs back, whatever is done to the machine's.

use crate::{
    base::time::{Clock, Timestamp},
    plan::Plan,
    run::{HostPhase, RunState},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The time of day, while that goes on evenly or is set forth. Where it is set back, time goes on from where it was: a retry
/// must not wait for an hour that is lived through twice, and no record is older than the one before it.
pub(super) struct EvenClock {
    inner: Arc<dyn Clock>,
    /// The time at the steady clock's zero.
    zero: Mutex<Timestamp>,
    began: Duration,
}

impl EvenClock {
    /// It begins no earlier than an earlier controller's records, as far as anything waits on their time.
    pub(super) fn new(inner: Arc<dyn Clock>, plan: &Plan, state: &RunState) -> Self {
        let zero = Mutex::new(inner.now().max(reached(plan, state)));
        let began = inner.steady();
        Self { inner, zero, began }
    }
}

impl Clock for EvenClock {
    fn now(&self) -> Timestamp {
        let mut zero = self.zero.lock().unwrap_or_else(PoisonError::into_inner);
        let even = *zero + self.steady();
        let ahead = self.inner.now().since(even);
        *zero = *zero + ahead;
        even + ahead
    }

    fn steady(&self) -> Duration {
        self.inner.steady().saturating_sub(self.began)
    }
}

/// When the last of the waiting retries was written down. A controller whose clock is behind that would wait for longer than
/// the step's own delay.
fn reached(plan: &Plan, state: &RunState) -> Timestamp {
    let written =
        state.due.iter().filter_map(|(not_before, host)| match state.hosts[*host].phase {
            HostPhase::Waiting { step, .. } => {
                let delay =
                    i64::try_from(plan.steps[step].retry_delay.as_millis()).unwrap_or(i64::MAX);
                Some(Timestamp::from_millis(not_before.as_millis().saturating_sub(delay)))
            }
            HostPhase::Pending
            | HostPhase::Idle
            | HostPhase::Running { .. }
            | HostPhase::Resting { .. }
            | HostPhase::Ended(_) => None,
        });
    written.max().unwrap_or(Timestamp::from_millis(0))
}
