//! What this run has learned: how long the reboots of each step took on the hosts that are through.

use std::{collections::BTreeMap, time::Duration};

/// From so many hosts on, a later one can be told to be late.
const HOSTS_MIN: usize = 3;
/// A host that is late by less than this is not: a fleet that reboots in seconds would be full of late ones.
const MARGIN_MIN: Duration = Duration::from_secs(30);

/// How long reboots took, by the step's index in the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// In milliseconds, sorted.
    took: BTreeMap<usize, Vec<u64>>,
}

/// How long a step's reboot took on the hosts that are through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Past {
    pub hosts: usize,
    pub p50_ms: u64,
    pub p95_ms: u64,
    pub max_ms: u64,
}

impl Learned {
    /// A host is through: it was told to reboot this long ago.
    pub fn add(&mut self, step: usize, took_ms: u64) {
        let took = self.took.entry(step).or_default();
        took.insert(took.partition_point(|known| *known <= took_ms), took_ms);
    }

    /// What is known of a step's reboot, if any host is through.
    pub fn of(&self, step: usize) -> Option<Past> {
        past(self.took.get(&step)?)
    }

    /// The shortest time after which a host is late in any step.
    pub fn soonest(&self) -> Option<Duration> {
        self.took.values().filter_map(|took| past(took)?.late_after()).min()
    }
}

impl Past {
    /// When a host is later than all before it: past the longest of them, and well past what 95 of 100 stayed within.
    /// Nothing while too few are through to say so.
    pub fn late_after(&self) -> Option<Duration> {
        let p95 = Duration::from_millis(self.p95_ms);
        // In whole milliseconds, as time is kept: a host that is due by a fraction of one would be waited for without end.
        let half_more = Duration::from_millis(self.p95_ms + self.p95_ms.div_ceil(2));
        let late = half_more.max(p95 + MARGIN_MIN).max(Duration::from_millis(self.max_ms));
        (self.hosts >= HOSTS_MIN).then_some(late)
    }
}

fn past(took: &[u64]) -> Option<Past> {
    Some(Past {
        hosts: took.len(),
        p50_ms: quantile(took, 50)?,
        p95_ms: quantile(took, 95)?,
        max_ms: *took.last()?,
    })
}

/// The smallest value that at least so many percent of the values do not exceed. The values are sorted.
pub fn quantile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(minutes: &[u64]) -> Past {
        let mut learned = Learned::default();
        for minutes in minutes {
            learned.add(7, minutes * 60_000);
        }
        learned.of(7).unwrap()
    }

    #[test]
    fn a_host_is_late_only_when_it_is_past_all_before_it_and_well_past_the_most() {
        let minutes = |n: u64| Some(Duration::from_secs(n * 60));
        // Whoever comes third knows too little.
        assert_eq!(learned(&[4, 5]).late_after(), None);
        assert_eq!(learned(&[5, 4, 6]).late_after(), minutes(9));
        // One straggler among many: 95 of 100 are quicker, and the straggler still counts as before.
        let many: Vec<u64> = std::iter::repeat_n(4, 39).chain([30]).collect();
        assert_eq!(learned(&many).late_after(), minutes(30));
        // Hosts that reboot in a moment are not late by a moment.
        let past = Past { hosts: 9, p50_ms: 2_000, p95_ms: 2_100, max_ms: 2_100 };
        assert_eq!(past.late_after(), Some(Duration::from_millis(32_100)));
        assert_eq!(Learned::default().soonest(), None);
        let odd = Past { hosts: 9, p50_ms: 1, p95_ms: 90_001, max_ms: 90_001 };
        assert_eq!(odd.late_after(), Some(Duration::from_millis(135_002)));
    }
}
