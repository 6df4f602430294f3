//! Who may take a slot, and when.

use super::{At, Oracle};
use fleetlift::rollout::Allowance;

impl Oracle {
    /// A host takes a slot.
    pub(super) fn started(&mut self, name: &str, said: &mut Vec<String>) {
        let wave = self.hosts[name].wave;
        let total: usize = self.waves.iter().map(|wave| wave.in_flight).sum();
        let (planned, told) = (&self.plan.waves[wave], &self.waves[wave]);
        if total >= self.plan.limits.parallel {
            said.push(format!("starts as one of {} in the fleet", total + 1));
        }
        if told.in_flight >= planned.parallel {
            said.push(format!("starts as one of {} in its wave", told.in_flight + 1));
        }
        if told.good < planned.canary && told.good + told.in_flight >= planned.canary {
            said.push("starts before the canaries are migrated".to_owned());
        }
        if told.bad_canary {
            said.push("starts after a bad canary".to_owned());
        }
        if planned.after.iter().any(|w| self.waves[*w].ended < self.plan.waves[*w].hosts.len()) {
            said.push("starts before the waves that its wave comes after".to_owned());
        }
        let hosts = self.plan.hosts.len();
        let allowed = match self.plan.limits.budget.failures {
            Allowance::Hosts(n) => n as usize,
            Allowance::Percent(percent) => hosts * percent as usize / 100,
        };
        if self.bad > allowed {
            said.push(format!("starts over the budget: {} of {allowed}", self.bad));
        }
        if self.plan.limits.budget.consecutive.is_some_and(|n| n > 0 && self.row >= n as usize) {
            said.push(format!("starts after {} bad ones in a row", self.row));
        }
        if self.stopping || self.only_reopened {
            said.push("starts although the run is to stop".to_owned());
        }
        if !matches!(self.hosts[name].at, At::Pending | At::Resting) {
            said.push("starts twice".to_owned());
        }
        if self.hosts[name].held {
            said.push("starts, but it is held".to_owned());
        }
        self.told(name).at = At::InFlight;
        self.waves[wave].in_flight += 1;
    }
}
