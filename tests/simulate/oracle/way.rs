//! Records of a host: where its way leads it, forward, to a rest, back, and once more.

use super::{At, Oracle, id};
use crate::host::Host;
use fleetlift::journal::{End, Event};

impl Oracle {
    pub(super) fn take_host(
        &mut self,
        name: &str,
        event: &Event,
        truth: &Host,
        wrong: &mut Vec<String>,
    ) {
        let mut said = Vec::new();
        match event {
            Event::HostStarted { .. } => self.started(name, &mut said),
            Event::HostHeld { .. } => {
                if !self.hosts[name].held {
                    said.push("rests, but nobody holds it".to_owned());
                }
                self.rests(name, &mut said);
            }
            Event::HostRested { hop, .. } => {
                let told = self.told(name);
                if hop.map(usize::from) != told.finished {
                    said.push(format!("rests after {hop:?}, having finished {:?}", told.finished));
                }
                told.rested.insert(told.hop);
                if !self.plan.waves[self.hosts[name].wave].rest_between_hops {
                    said.push("rests between hops, and nobody asked for it".to_owned());
                }
                self.rests(name, &mut said);
            }
            Event::RehearsalStarted { hop, .. } => self.rehearses(name, *hop, &mut said),
            Event::RehearsalPassed { .. } => self.has_rehearsed(name, truth, &mut said),
            Event::AttemptStarted { step, attempt, .. } => {
                self.attempt(name, &id(step), *attempt, truth, &mut said);
            }
            Event::AttemptPassed { step, attempt, stdout, .. } => {
                let open = self.close(name, &id(step), *attempt, &mut said);
                let rebooted = open.is_none_or(|open| !open.dark || open.boot < truth.boot);
                if !rebooted {
                    said.push(format!("{} passed without a new boot", id(step)));
                }
                self.passed(name, &id(step), *attempt, stdout.as_deref(), truth, &mut said);
            }
            Event::AttemptFailed { step, attempt, failure, then, .. } => {
                self.close(name, &id(step), *attempt, &mut said);
                self.failed(name, (&id(step), *attempt), failure, then, truth, &mut said);
            }
            Event::StepSkipped { step, reason, .. } => {
                self.skipped(name, &id(step), reason, &mut said);
            }
            Event::HostDark { boot_id, .. } => self.goes_dark(name, boot_id, &mut said),
            Event::HostReturned { dark_ms, .. } => {
                self.was_dark(*dark_ms, truth, &mut said);
                match &mut self.told(name).open {
                    Some(open) => open.returned = true,
                    None => said.push("returned without an attempt".to_owned()),
                }
            }
            Event::RollbackStarted { hop, .. } => {
                let told = self.told(name);
                told.back = Some(usize::from(*hop));
                told.failed = None;
                let of_hop = format!("{hop}.rollback.");
                told.settled.retain(|step| !step.starts_with(&of_hop));
            }
            Event::HostFinished { end, touched, .. } => {
                self.ended(name, *end, *touched, truth, &mut said);
            }
            Event::HostReopened { .. } => self.reopened(name, &mut said),
            Event::HopFinished { hop, .. } => {
                let told = self.told(name);
                (told.hop, told.finished) = (usize::from(*hop) + 1, Some(usize::from(*hop)));
            }
            Event::HostFacts { .. } | Event::HostFinding { .. } => {}
            _ => said.push("an event of the run with a host".to_owned()),
        }
        wrong.extend(said.into_iter().map(|said| format!("{name}: {said}")));
    }

    /// The intent to reboot is on the disk.
    fn goes_dark(&mut self, name: &str, boot_id: &str, said: &mut Vec<String>) {
        let told = self.told(name);
        match &mut told.open {
            Some(open) => {
                (open.dark, open.returned) = (true, false);
                // What counts is the boot that is left: a host may have been started anew before its step.
                open.boot = boot_number(boot_id).unwrap_or(open.boot);
            }
            None => said.push("dark without an attempt".to_owned()),
        }
        if boot_id.is_empty() {
            said.push("dark without a boot id".to_owned());
        }
    }

    /// An operator takes it up again.
    fn reopened(&mut self, name: &str, said: &mut Vec<String>) {
        let back = self.lowest_hop(name);
        let told = self.told(name);
        if !matches!(told.at, At::Ended(_)) {
            said.push("reopened, but it had not ended".to_owned());
        }
        let was_good = matches!(told.at, At::Ended(End::Migrated | End::Already | End::Committed));
        (told.at, told.reopened) = (At::InFlight, true);
        told.lives += 1;
        told.failed = None;
        told.rehearsing = false;
        told.lowest = back;
        told.settled.retain(|step| !step.contains(".rollback."));
        let wave = told.wave;
        self.waves[wave].good -= usize::from(was_good);
    }

    /// A host gives its slot back, and rests.
    fn rests(&mut self, name: &str, said: &mut Vec<String>) {
        let told = &self.hosts[name];
        if told.at != At::InFlight || told.open.is_some() {
            said.push(format!("rests, but it is {told:?}"));
        }
        if self.has_begun(name, told.hop) || told.back.is_some() {
            said.push("rests in the middle of a change".to_owned());
        }
        let (wave, reopened) = (told.wave, told.reopened);
        self.told(name).at = At::Resting;
        self.waves[wave].in_flight -= usize::from(!reopened);
    }

    /// A canary goes back to show that it can.
    fn rehearses(&mut self, name: &str, hop: u16, said: &mut Vec<String>) {
        let wave = self.hosts[name].wave;
        let (planned, good) = (&self.plan.waves[wave], self.waves[wave].good);
        if !planned.rehearse_rollback || good >= planned.canary {
            said.push("rehearses, and is no canary that should".to_owned());
        }
        let told = self.told(name);
        if told.rehearsed {
            said.push("rehearses twice".to_owned());
        }
        (told.rehearsing, told.back) = (true, Some(usize::from(hop)));
    }

    /// Back where it was: it goes its way from the beginning.
    fn has_rehearsed(&mut self, name: &str, truth: &Host, said: &mut Vec<String>) {
        let lowest = self.lowest_hop(name);
        let told = self.told(name);
        if !told.rehearsing || truth.place != told.back || told.back != lowest {
            said.push(format!("passes its rehearsal on {:?}, not on {lowest:?}", truth.place));
        }
        if truth.armed.is_some() {
            said.push("passes its rehearsal and is armed".to_owned());
        }
        (told.rehearsing, told.rehearsed, told.back) = (false, true, None);
        (told.hop, told.finished) = (0, None);
        told.settled.clear();
        told.begun.clear();
        // The second way has its own rests.
        told.rested.clear();
        told.rehearsed_on = truth.place;
    }

    /// The first of the hops that a host can be brought back through.
    fn lowest_hop(&self, name: &str) -> Option<usize> {
        let hops = self.plan.hops.iter().enumerate();
        let mut back =
            hops.filter(|(index, hop)| !hop.rollback.is_empty() && self.has_begun(name, *index));
        back.next().map(|(index, _)| index)
    }
}

/// The number of a made-up boot, which is the end of its id.
fn boot_number(boot_id: &str) -> Option<u32> {
    boot_id.rsplit('-').next()?.parse().ok()
}
