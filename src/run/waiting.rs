//! What a run waits on.

use crate::{
    base::{
        approval::Lack,
        name::{HostName, WaveName},
        time::Timestamp,
    },
    journal::{Domain, PauseReason, WatchId},
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
