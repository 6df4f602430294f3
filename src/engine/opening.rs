//! What a run begins or goes on with.

use crate::{
    base::{name::HostName, phase::Phase},
    journal::{End, Event},
    plan::Plan,
    run::{HostPhase, RunPhase, RunState},
};
use std::collections::BTreeSet;

/// Who drives a run, and from where.
#[derive(Clone, Debug)]
pub struct Driver {
    pub operator: String,
    /// Host name and process of the controller.
    pub controller: String,
}

/// The first event of a controller that takes this run: it begins, or goes on. `None` where it is finished.
pub fn opening(plan: &Plan, digest: &str, state: &RunState, driver: &Driver) -> Option<Event> {
    match state.phase {
        // Nothing was recorded yet, also where a controller died before its first record.
        RunPhase::New => Some(Event::RunStarted {
            plan: digest.to_owned(),
            playbook: plan.playbook.clone(),
            operator: driver.operator.clone(),
            controller: driver.controller.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hosts: plan.hosts.len(),
        }),
        RunPhase::Running | RunPhase::Paused(_) => Some(resumed(driver, false)),
        RunPhase::Finished(_) => None,
    }
}

/// The first events of a controller that takes up these hosts, which have ended, for a phase that no host enters by itself.
pub fn reopening(plan: &Plan, hosts: &[usize], phase: Phase, driver: &Driver) -> Vec<Event> {
    let mut events = vec![resumed(driver, true)];
    events.extend(hosts.iter().map(|host| Event::HostReopened {
        host: plan.hosts[*host].name.clone(),
        phase,
        operator: driver.operator.clone(),
    }));
    events
}

fn resumed(driver: &Driver, only_reopened: bool) -> Event {
    let (operator, controller) = (driver.operator.clone(), driver.controller.clone());
    Event::RunResumed { operator, controller, only_reopened }
}

/// The hosts that have ended and are not among those that were left, by name and by how often they had been taken up again.
/// They are still locked, until the lease runs out, and their scripts are still there.
pub fn not_left(plan: &Plan, state: &RunState, left: &BTreeSet<(HostName, u32)>) -> Vec<usize> {
    let hosts = plan.hosts.iter().zip(&state.hosts).enumerate();
    let ended = hosts.filter(|(_, (planned, at))| {
        matches!(at.phase, HostPhase::Ended(_))
            && !left.contains(&(planned.name.clone(), at.reopened))
    });
    ended.map(|(host, _)| host).collect()
}

/// Whether a host that has ended has something to undo, and steps to undo it.
pub fn can_roll_back(plan: &Plan, state: &RunState, host: usize) -> bool {
    let state = &state.hosts[host];
    let HostPhase::Ended(end) = state.phase else { return false };
    let ended = match end {
        End::Migrated | End::NeedsHands | End::Unreachable | End::Blocked | End::Failed => true,
        End::Already | End::RolledBack | End::Committed => false,
    };
    state.has_way_back(plan) && ended
}

/// Whether a host is migrated, and there are steps to commit it.
pub fn can_commit(plan: &Plan, state: &RunState, host: usize) -> bool {
    state.hosts[host].phase == HostPhase::Ended(End::Migrated)
        && plan.hops.iter().any(|hop| !hop.commit.is_empty())
}
