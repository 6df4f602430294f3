//! What limits and operators ask of a host: whether it has a slot, may rest, is away, can go back.

use super::host::{HostPhase, HostState, Way};
use crate::{journal::End, plan::Plan};

impl HostState {
    /// The last hop that has changed the host, where one has.
    pub fn last_changed_hop(&self) -> Option<usize> {
        let last = if self.changing { Some(self.hop) } else { self.hop.checked_sub(1) };
        last.filter(|hop| *hop >= self.entry)
    }

    /// Whether the host has a slot.
    pub fn is_in_flight(&self) -> bool {
        match self.phase {
            HostPhase::Idle | HostPhase::Running { .. } | HostPhase::Waiting { .. } => true,
            HostPhase::Pending | HostPhase::Resting { .. } | HostPhase::Ended(_) => false,
        }
    }

    /// Whether what was done to the host can be undone, at least in part.
    pub fn has_way_back(&self, plan: &Plan) -> bool {
        let hops = self.last_changed_hop().map_or(&[][..], |last| &plan.hops[self.entry..=last]);
        self.touched && hops.iter().any(|hop| !hop.rollback.is_empty())
    }

    /// Whether the host is away from its failure domains, or may be: it is in flight, or ended badly. One that rests is at a
    /// safe point, on a system that it was proven to run.
    pub fn is_away(&self) -> bool {
        match self.phase {
            HostPhase::Idle | HostPhase::Running { .. } | HostPhase::Waiting { .. } => true,
            HostPhase::Pending | HostPhase::Resting { .. } => false,
            HostPhase::Ended(end) => end.is_bad() && !self.accepted,
        }
    }

    /// Whether the host may be down now. One that failed untouched, or is proven to be rolled back, stands, whatever befell it.
    pub(super) fn may_be_down(&self) -> bool {
        match self.phase {
            HostPhase::Idle
            | HostPhase::Running { .. }
            | HostPhase::Waiting { .. }
            | HostPhase::Ended(End::NeedsHands | End::Unreachable) => true,
            HostPhase::Pending
            | HostPhase::Resting { .. }
            | HostPhase::Ended(
                End::Migrated
                | End::Already
                | End::Blocked
                | End::Failed
                | End::RolledBack
                | End::Committed,
            ) => false,
        }
    }

    /// A person has seen how the host ended. Returns whether it is known to stand.
    pub(super) fn accept(&mut self) -> bool {
        let stands = match self.phase {
            HostPhase::Ended(End::Failed | End::RolledBack) => true,
            HostPhase::Ended(
                End::Migrated
                | End::Already
                | End::Blocked
                | End::NeedsHands
                | End::Unreachable
                | End::Committed,
            )
            | HostPhase::Pending
            | HostPhase::Idle
            | HostPhase::Running { .. }
            | HostPhase::Waiting { .. }
            | HostPhase::Resting { .. } => false,
        };
        self.accepted |= stands;
        stands
    }

    /// Whether the host would take a slot if there were one.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.phase, HostPhase::Pending | HostPhase::Resting { .. })
            && self.held_by.is_none()
            && !self.between
    }

    /// Whether the host may rest where it is: nothing of the present hop has begun to change it.
    pub fn is_safe(&self) -> bool {
        match self.way {
            Way::Forward => !self.changing,
            Way::Back { .. } | Way::Commit { .. } => false,
        }
    }
}
