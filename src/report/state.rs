//! The states of a host as people read them: their order, their words, and how good they are.

use crate::{journal::End, run::HostState};
use serde::Serialize;

/// A state of a host. The order of the variants is the order in which states are shown: the good ends, what is under
/// way, and then what asks for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Committed,
    Migrated,
    Already,
    Running,
    Armed,
    Dark,
    Pending,
    Held,
    Blocked,
    RolledBack,
    Failed,
    Unreachable,
    NeedsHands,
    NotStarted,
}

/// How a state is shown: by a sign and a colour, never by the colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    Good,
    Busy,
    Calm,
    Warn,
    Bad,
}

impl Tone {
    /// The name of the tone in style sheets.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Calm => "calm",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

impl State {
    pub const ALL: [Self; 14] = [
        Self::Committed,
        Self::Migrated,
        Self::Already,
        Self::Running,
        Self::Armed,
        Self::Dark,
        Self::Pending,
        Self::Held,
        Self::Blocked,
        Self::RolledBack,
        Self::Failed,
        Self::Unreachable,
        Self::NeedsHands,
        Self::NotStarted,
    ];

    /// The word of `status`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Migrated => "migrated",
            Self::Already => "already",
            Self::Running => "running",
            Self::Armed => "armed",
            Self::Dark => "dark",
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Blocked => "blocked",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::NeedsHands => "needs_hands",
            Self::NotStarted => "not_started",
        }
    }

    /// The state that `status` calls by this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// The state of a host, in a run that is `finished` or not.
    pub fn of(host: &HostState, finished: bool) -> Self {
        match Self::from_word(host.word()) {
            Some(Self::Pending) if finished => Self::NotStarted,
            Some(state) => state,
            // A test holds that every word of `status` is known here.
            None => Self::Running,
        }
    }

    /// The host is on the target system.
    pub fn is_good(self) -> bool {
        match self {
            Self::Committed | Self::Migrated | Self::Already => true,
            Self::Running
            | Self::Armed
            | Self::Dark
            | Self::Pending
            | Self::Held
            | Self::Blocked
            | Self::RolledBack
            | Self::Failed
            | Self::Unreachable
            | Self::NeedsHands
            | Self::NotStarted => false,
        }
    }

    /// Something goes on at the host.
    pub fn is_in_flight(self) -> bool {
        match self {
            Self::Running | Self::Armed | Self::Dark => true,
            Self::Committed
            | Self::Migrated
            | Self::Already
            | Self::Pending
            | Self::Held
            | Self::Blocked
            | Self::RolledBack
            | Self::Failed
            | Self::Unreachable
            | Self::NeedsHands
            | Self::NotStarted => false,
        }
    }

    pub fn tone(self) -> Tone {
        match self {
            Self::Committed | Self::Migrated | Self::Already => Tone::Good,
            Self::Running | Self::Armed | Self::Dark => Tone::Busy,
            Self::Pending | Self::Held | Self::NotStarted => Tone::Calm,
            Self::Blocked | Self::RolledBack => Tone::Warn,
            Self::Failed | Self::Unreachable | Self::NeedsHands => Tone::Bad,
        }
    }

    /// A sign of one column, told apart by shape.
    pub fn sign(self) -> char {
        match self {
            Self::Committed | Self::Migrated => '✓',
            Self::Already => '=',
            Self::Running => '▸',
            Self::Armed => '▲',
            Self::Dark => '◌',
            Self::Pending => '·',
            Self::Held => '‖',
            Self::Blocked => '■',
            Self::RolledBack => '↩',
            Self::Failed => '✗',
            Self::Unreachable => '?',
            Self::NeedsHands => '!',
            Self::NotStarted => '–',
        }
    }
}

impl From<End> for State {
    fn from(end: End) -> Self {
        match end {
            End::Migrated => Self::Migrated,
            End::Already => Self::Already,
            End::Blocked => Self::Blocked,
            End::Failed => Self::Failed,
            End::RolledBack => Self::RolledBack,
            End::NeedsHands => Self::NeedsHands,
            End::Unreachable => Self::Unreachable,
            End::Committed => Self::Committed,
        }
    }
}
