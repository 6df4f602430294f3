//! What is remembered of a host.

use super::{HostPhase, Way};
use crate::{
    base::{facts::Facts, time::Timestamp},
    journal::{End, Failure, Notice},
};
use std::{collections::BTreeMap, sync::Arc};

#[derive(Clone, Debug, PartialEq)]
pub struct HostState {
    pub phase: HostPhase,
    /// Who holds it. One in flight goes on to its next safe point first.
    pub held_by: Option<String>,
    pub way: Way,
    /// The next step to consider; an index into the plan's steps.
    pub cursor: usize,
    /// The last attempt whose end nobody has seen: it may run on the host still.
    pub unseen: Option<Unseen>,
    /// The hop that the host entered the way by.
    pub entry: usize,
    /// The last attempt of every step that was begun: also a host that is taken up again has no attempt twice.
    pub attempts: BTreeMap<usize, u32>,
    /// Attempts of the present step that are no retries: those before the host was taken up again, and those that never began.
    pub uncounted: u32,
    /// Attempts of the present step that never began, as far as the present controller has seen.
    pub nevers: u32,
    /// The hop that the host is in, and how many it has finished in this run or before it.
    pub hop: usize,
    /// Was on the target system when we came: there is nothing to do.
    pub already: bool,
    /// A blocker was found.
    pub blocked: bool,
    /// Something on the host was changed.
    pub touched: bool,
    /// A step that changes the host has begun in the present hop: it is no place to rest.
    pub changing: bool,
    /// Any reboot now migrates the host.
    pub armed: bool,
    /// Since when no SSH is expected.
    pub dark: Option<Timestamp>,
    /// The boot that a reboot under way leaves behind, and since when.
    pub left_boot: Option<LeftBoot>,
    /// The boot that the host was on when it was last looked at, or came back.
    pub boot_id: Option<String>,
    /// The latest boot that no step asked for and that a finding tells of.
    pub unasked_boot: Option<String>,
    /// Told to be later than all hosts before it, in the reboot under way.
    pub late: bool,
    /// A host key that was announced and taken, as OpenSSH writes it, and the step that announced it.
    pub host_key: Option<(usize, Arc<str>)>,
    /// Since when the host is in its present state or step.
    pub since: Timestamp,
    pub started: Option<Timestamp>,
    pub fate: Option<Fate>,
    /// The failure that decided the host's end.
    pub failure: Option<Failure>,
    /// Facts before anything was changed.
    pub before: Option<Arc<Facts>>,
    /// The latest facts.
    pub latest: Option<Arc<Facts>>,
    /// How often it was taken up again after its end.
    pub reopened: u32,
    /// The end that it was taken up from, until something was done on it since.
    pub reopened_from: Option<End>,
    /// It ended badly, on its old system and proven so, and a person has resumed the run since.
    pub accepted: bool,
    /// It goes back as a rehearsal; and it has done so, and shown that it can.
    pub rehearsing: bool,
    pub rehearsed: bool,
    /// It rests between two hops until somebody resumes the run; and the hop that it rested before.
    pub between: bool,
    pub rested_before: Option<usize>,
    /// What registered steps printed, by step name.
    pub registered: BTreeMap<String, Registered>,
}

/// What was decided about a host's last failure, where it ends the way that the host was on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Index of the step that failed.
    pub step: usize,
    pub failure: Failure,
    /// Whether the host goes back now; else it ends.
    pub roll_back: bool,
}

/// An attempt whose end nobody has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// Index of its step.
    pub step: usize,
    pub attempt: u32,
    /// How often the host had been taken up again when it was made.
    pub reopened: u32,
}

/// The boot that a reboot under way leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBoot {
    pub boot_id: String,
    /// When the intent to reboot was recorded.
    pub at: Timestamp,
}

/// What a registered step left for later templates.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Registered {
    pub stdout: String,
    pub exit: Option<i32>,
}

impl HostState {
    pub(in crate::run) fn new() -> Self {
        Self {
            phase: HostPhase::Pending,
            held_by: None,
            way: Way::Forward,
            cursor: 0,
            unseen: None,
            entry: 0,
            attempts: BTreeMap::new(),
            uncounted: 0,
            nevers: 0,
            hop: 0,
            already: false,
            blocked: false,
            touched: false,
            changing: false,
            armed: false,
            dark: None,
            left_boot: None,
            boot_id: None,
            unasked_boot: None,
            late: false,
            host_key: None,
            since: Timestamp::from_millis(0),
            started: None,
            fate: None,
            failure: None,
            before: None,
            latest: None,
            reopened: 0,
            reopened_from: None,
            accepted: false,
            rehearsing: false,
            rehearsed: false,
            between: false,
            rested_before: None,
            registered: BTreeMap::new(),
        }
    }

    /// Whether a finding has told this already.
    pub fn knows(&self, notice: &Notice) -> bool {
        match notice {
            Notice::UnaskedBoot { is, .. } => self.unasked_boot.as_ref() == Some(is),
            Notice::Late { .. } => self.late,
            Notice::ExtraBoots { .. } | Notice::NewHostKey { .. } | Notice::LockTaken { .. } => {
                false
            }
        }
    }

    /// The number of the next attempt of a step.
    pub fn next_attempt(&self, step: usize) -> u32 {
        self.attempts.get(&step).map_or(1, |last| last + 1)
    }

    /// Remembers what findings have told, so that they tell it once.
    pub(super) fn told(&mut self, notice: Option<&Notice>) {
        match notice {
            Some(Notice::Late { .. }) => self.late = true,
            Some(Notice::UnaskedBoot { is, .. }) => self.unasked_boot = Some(is.clone()),
            Some(
                Notice::ExtraBoots { .. } | Notice::NewHostKey { .. } | Notice::LockTaken { .. },
            )
            | None => {}
        }
    }
}
