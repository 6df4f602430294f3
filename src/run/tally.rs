//! What counts against budgets: how hosts end, since a person last looked.

use super::domains::Index;
use crate::{
    base::time::Timestamp,
    journal::{End, PauseReason, Scope},
    rollout::Budget,
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// What `per_hour` means by an hour: bad ends that lie less than this apart.
const HOUR: Duration = Duration::from_secs(3600);

/// Ends of hosts since the run was last started or resumed: of all, or of one wave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub bad: usize,
    pub bad_in_a_row: usize,
    /// When the bad ends of the last hour were.
    recent: VecDeque<Timestamp>,
    /// The most bad ends that lay within an hour.
    pub worst_hour: usize,
    /// Bad ends by failure domain.
    by_domain: BTreeMap<usize, usize>,
}

impl Tally {
    /// Takes in the end of a host of these domains.
    pub(super) fn take(&mut self, end: End, at: Timestamp, domains: &[usize]) {
        if end.is_good() {
            self.bad_in_a_row = 0;
        }
        if !end.is_bad() {
            return;
        }
        self.bad += 1;
        self.bad_in_a_row += 1;
        while self.recent.front().is_some_and(|old| at.since(*old) >= HOUR) {
            self.recent.pop_front();
        }
        self.recent.push_back(at);
        self.worst_hour = self.worst_hour.max(self.recent.len());
        for domain in domains {
            *self.by_domain.entry(*domain).or_default() += 1;
        }
    }

    /// Why no host may start any more by this budget, which allows so many; of this wave, or of the fleet.
    pub(super) fn over(
        &self,
        budget: &Budget,
        allowed: usize,
        (wave, scope): (Option<usize>, Scope),
        index: &Index,
    ) -> Option<PauseReason> {
        if self.bad > allowed {
            return Some(PauseReason::OverBudget { failures: self.bad, allowed, of: scope });
        }
        if let Some(limit) = budget.consecutive.map(|n| n as usize).filter(|n| *n > 0)
            && self.bad_in_a_row >= limit
        {
            let (failures, allowed) = (self.bad_in_a_row, limit - 1);
            return Some(PauseReason::Consecutive { failures, allowed, of: scope });
        }
        if let Some(allowed) = budget.per_hour.map(|n| n as usize)
            && self.worst_hour > allowed
        {
            return Some(PauseReason::Rate { failures: self.worst_hour, allowed, of: scope });
        }
        if budget.per.is_empty() {
            return None;
        }
        self.by_domain.iter().find_map(|(number, failures)| {
            let domain = index.domain(*number);
            let allowed = budget.per.get(&domain.label)?.of(index.size(*number, wave));
            let of = Scope { domain: Some(domain.clone()), ..scope.clone() };
            let failures = *failures;
            (failures > allowed).then_some(PauseReason::OverBudget { failures, allowed, of })
        })
    }
}
