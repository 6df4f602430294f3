//! Where every host stands after the last record.

use super::state::State;
use crate::{
    journal::{Event, Record},
    plan::Plan,
};
use std::collections::HashMap;

/// Where one host stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub state: State,
    pub touched: bool,
    pub armed: bool,
}

/// By host of the plan.
pub(super) fn standings(plan: &Plan, records: &[Record]) -> Vec<Standing> {
    let index: HashMap<&str, usize> =
        plan.hosts.iter().enumerate().map(|(i, host)| (host.name.as_str(), i)).collect();
    let pending = Standing { state: State::Pending, touched: false, armed: false };
    let mut standings = vec![pending; plan.hosts.len()];
    let mut finished = false;
    for record in records {
        match &record.event {
            Event::RunFinished { .. } => finished = true,
            Event::RunResumed { .. } => finished = false,
            _ => {}
        }
        let Some(host) = record.event.host().and_then(|n| index.get(n.as_str())) else { continue };
        let host = &mut standings[*host];
        match &record.event {
            Event::HostStarted { .. } | Event::HostReopened { .. } => host.state = State::Running,
            Event::HostFinished { end, touched, .. } => {
                host.state = State::from(*end);
                host.touched = *touched;
                host.armed = false;
            }
            Event::HostDark { .. } => host.state = State::Dark,
            Event::HostReturned { .. } => {
                host.state = State::Running;
                host.armed = false;
            }
            Event::AttemptPassed { step, .. } => {
                host.touched |= step.phase > crate::base::phase::Phase::Precheck;
                if plan.step_index(step).is_some_and(|i| plan.steps[i].arms) {
                    host.armed = true;
                    host.state = State::Armed;
                }
            }
            _ => {}
        }
    }
    for host in &mut standings {
        if finished && host.state == State::Pending {
            host.state = State::NotStarted;
        }
    }
    standings
}
