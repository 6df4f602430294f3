//! What a run waits on.

use super::{
    gate::{Forecast, Gates, Pass},
    host::HostPhase,
    state::{RunPhase, RunState},
};
use crate::{
    base::{
        approval::Lack,
        name::{HostName, WaveName},
        time::Timestamp,
    },
    journal::{Domain, PauseReason, WatchId},
    plan::{Plan, PlanWave},
};
use serde::Serialize;

/// Why nothing more happens now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WaitingOn {
    /// Steps run on hosts.
    Attempts { running: usize },
    /// A retry is due later.
    Retry { host: HostName, until: Timestamp },
    /// A wave waits for others to end.
    Wave { wave: WaveName, after: Vec<WaveName> },
    /// The rest of a wave waits for its canary.
    Canary { wave: WaveName },
    /// The window of a wave is closed, or too little of it is left. It opens then, for long enough; without that no window
    /// does any more.
    Window { wave: WaveName, opens: Option<Timestamp>, zone: String },
    /// The gate of a wave is closed: approvals are missing, or somebody has rejected it.
    Approval {
        gate: WaveName,
        #[serde(flatten)]
        lack: Lack,
    },
    /// Hosts of a wave wait, since so many of their failure domain are away.
    Domain { wave: WaveName, domain: Domain, hosts: Vec<HostName> },
    /// The next batch of a wave waits for the hosts of this one.
    Barrier { wave: WaveName },
    /// A wave is watched after its last end.
    Soak { wave: WaveName, until: Timestamp },
    /// A question that is put again and again has no good answer yet, or no more.
    Watch { watch: WatchId },
    /// Operators hold these hosts; they go on when they are released.
    Held { hosts: Vec<HostName> },
    /// These hosts rest between two hops; they go on when somebody resumes the run.
    Hop { hosts: Vec<HostName> },
    /// No new host starts, for this reason; hosts in flight go on to their end or to a safe point.
    Draining { reason: PauseReason },
}

impl WaitingOn {
    /// Whether something goes on by itself meanwhile.
    pub(super) fn is_busy(&self) -> bool {
        match self {
            Self::Attempts { .. }
            | Self::Retry { .. }
            | Self::Watch { .. }
            | Self::Draining { .. } => true,
            Self::Wave { .. }
            | Self::Canary { .. }
            | Self::Window { .. }
            | Self::Approval { .. }
            | Self::Domain { .. }
            | Self::Barrier { .. }
            | Self::Soak { .. }
            | Self::Held { .. }
            | Self::Hop { .. } => false,
        }
    }

    /// Whether it concerns the hosts of this wave that have not started.
    fn is_of(&self, of: &PlanWave) -> bool {
        match self {
            Self::Wave { wave, .. }
            | Self::Canary { wave }
            | Self::Window { wave, .. }
            | Self::Domain { wave, .. }
            | Self::Barrier { wave }
            | Self::Soak { wave, .. } => *wave == of.name,
            Self::Approval { gate, .. } => *gate == of.name,
            Self::Draining { .. } | Self::Watch { .. } => true,
            // Those at rest between two hops have.
            Self::Attempts { .. } | Self::Retry { .. } | Self::Held { .. } | Self::Hop { .. } => {
                false
            }
        }
    }

    /// Why a run pauses that waits for this, and for nothing else.
    pub(super) fn as_pause(&self) -> Option<PauseReason> {
        match self.clone() {
            Self::Window { wave, opens, zone } => Some(PauseReason::Window { wave, opens, zone }),
            Self::Approval { gate, lack } => Some(PauseReason::Approval { gate, lack }),
            Self::Soak { wave, until } => Some(PauseReason::Soak { wave, until }),
            Self::Domain { wave, domain, hosts } => {
                Some(PauseReason::Domain { wave, domain, hosts })
            }
            Self::Held { hosts } => Some(PauseReason::Held { hosts }),
            Self::Hop { hosts } => Some(PauseReason::Hop { hosts }),
            Self::Attempts { .. }
            | Self::Retry { .. }
            | Self::Wave { .. }
            | Self::Canary { .. }
            | Self::Watch { .. }
            | Self::Barrier { .. }
            // It has paused already, as far as it can.
            | Self::Draining { .. } => None,
        }
    }
}

/// What a single host waits for that is in no slot, and that nobody holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum HostWaits {
    Own(OwnWait),
    /// As its wave, or the run.
    For(WaitingOn),
}

/// What only a host waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OwnWait {
    /// It rests between two hops, until somebody resumes the run.
    Resume,
    /// It may start as soon as another gives its slot back.
    Slot,
}

/// What each host of a run waits for, at one instant.
pub struct Waits<'a> {
    plan: &'a Plan,
    state: &'a RunState,
    waiting_on: &'a [WaitingOn],
    gates: Gates<'a>,
}

impl<'a> Waits<'a> {
    /// `waiting_on` is what was decided at this instant.
    pub fn new(forecast: &'a Forecast<'a>, waiting_on: &'a [WaitingOn]) -> Self {
        let Forecast { plan, state, now } = *forecast;
        Self { plan, state, waiting_on, gates: Gates::new(forecast, now, now) }
    }

    /// What this host waits for; nothing where it is at work, held, or has ended, and while the run is paused: then it
    /// waits as the run does, but for who rests between two hops.
    pub fn of(&self, index: usize) -> Option<HostWaits> {
        let host = &self.state.hosts[index];
        let waits = matches!(host.phase, HostPhase::Pending | HostPhase::Resting { .. });
        if !waits || host.held_by.is_some() {
            return None;
        }
        if host.between {
            return Some(HostWaits::Own(OwnWait::Resume));
        }
        if self.state.phase != RunPhase::Running {
            return None;
        }
        let number = self.plan.hosts[index].wave;
        let wave = &self.plan.waves[number];
        let first = |fits: fn(&WaitingOn) -> bool| {
            self.waiting_on
                .iter()
                .find(|on| fits(on) && on.is_of(wave))
                .cloned()
                .map(HostWaits::For)
        };
        if let Some(before) = first(|on| {
            matches!(
                on,
                WaitingOn::Draining { .. } | WaitingOn::Wave { .. } | WaitingOn::Approval { .. }
            )
        }) {
            return Some(before);
        }
        let opens = match self.gates.may_start(wave, number, index) {
            Pass::Now => None,
            Pass::At(opens) => Some(Some(opens)),
            Pass::Never => Some(None),
        };
        if let Some(opens) = opens {
            let zone = wave.windows.as_ref().map_or_else(String::new, |w| w.zone().to_string());
            let wave = wave.name.clone();
            return Some(HostWaits::For(WaitingOn::Window { wave, opens, zone }));
        }
        let rest = first(|on| {
            matches!(
                on,
                WaitingOn::Watch { .. }
                    | WaitingOn::Barrier { .. }
                    | WaitingOn::Canary { .. }
                    | WaitingOn::Domain { .. }
            )
        });
        Some(rest.unwrap_or(HostWaits::Own(OwnWait::Slot)))
    }
}
