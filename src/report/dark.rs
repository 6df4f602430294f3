//! What is told of a host that is dark, and of one whose reboot failed.

use super::{build::millis, words::Words};
use crate::{
    base::time::Timestamp,
    journal::RebootVerdict,
    plan::Plan,
    run::{HostState, Past, RunState},
};
use serde::Serialize;

/// What an operator does about a reboot that failed so.
pub(super) fn hint<'w>(words: &'w Words, verdict: &RebootVerdict) -> &'w str {
    words.get(match verdict {
        RebootVerdict::StayedUp { .. } => "reboot.stayed_up",
        RebootVerdict::OldSystem { .. } => "reboot.old_system",
        RebootVerdict::WrongSystem { .. } => "reboot.wrong_system",
        RebootVerdict::KeyChanged { revoked: false, .. } => "reboot.key_changed",
        RebootVerdict::KeyChanged { revoked: true, .. } => "reboot.key_revoked",
        RebootVerdict::OtherMachine { .. } => "reboot.other_machine",
        RebootVerdict::NeverBack { .. } => "reboot.never_back",
        RebootVerdict::NotOver { .. } => "reboot.not_over",
    })
}

/// A host without SSH, beside those that were through before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Dark {
    pub since: Timestamp,
    pub so_far_ms: u64,
    /// The deadline of the whole reboot.
    pub limit_ms: u64,
    /// What the step took on the hosts that are through.
    pub others: Option<Past>,
    /// Later than all of them.
    pub late: bool,
}

impl Dark {
    /// Nothing where the host is not dark.
    pub fn of(plan: &Plan, state: &RunState, host: &HostState, now: Timestamp) -> Option<Self> {
        let since = host.dark?;
        let step = host.step()?;
        let limit = plan.steps.get(step)?.timeout;
        Some(Self {
            since,
            so_far_ms: millis(since, now),
            limit_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            others: state.learned.of(step),
            late: host.late,
        })
    }

    /// `dark 6m of at most 4h`.
    pub fn so_far(&self, words: &Words) -> String {
        let (length, limit) = (words.length(self.so_far_ms), words.length(self.limit_ms));
        words.say("dark.so_far", &[("length", &length), ("limit", &limit)])
    }

    /// `8 hosts took 4m, at most 7m`; nothing for the first.
    pub fn others(&self, words: &Words) -> Option<String> {
        let past = self.others?;
        let (median, most) = (words.length(past.p50_ms), words.length(past.max_ms));
        let key = if median == most { "dark.others_alike" } else { "dark.others" };
        let n = words.number(past.hosts);
        Some(words.say(key, &[("n", &n), ("median", &median), ("most", &most)]))
    }

    /// All of it, without paint.
    pub fn say(&self, words: &Words) -> String {
        let mut said = self.so_far(words);
        if let Some(others) = self.others(words) {
            said.push_str(&format!("; {others}"));
        }
        if self.late {
            said.push_str(&format!("; {}", words.get("dark.late")));
        }
        said
    }
}
