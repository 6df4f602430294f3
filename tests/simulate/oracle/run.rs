//! Records of the run itself: it starts, pauses and ends, its waves in their order, and what operators ask for.

use super::{At, Oracle, Told};
use fleetlift::{
    base::name::HostName,
    journal::{End, Event, Verdict},
};

impl Oracle {
    pub(super) fn take_run(&mut self, event: &Event, wrong: &mut Vec<String>) {
        match event {
            Event::RunStarted { .. } => self.running = true,
            Event::RunResumed { only_reopened, .. } => {
                (self.running, self.finished, self.stopping) = (true, false, false);
                self.only_reopened = *only_reopened;
                (self.bad, self.row) = (0, 0);
                self.resumes += 1;
                for wave in &mut self.waves {
                    wave.bad_canary = false;
                }
            }
            Event::StopRequested { .. } => self.stopping = true,
            Event::LeaveRequested { .. } | Event::WatchTold { .. } => {}
            Event::HoldRequested { hosts, .. } => self.hold(hosts, true),
            Event::ReleaseRequested { hosts, .. } => self.hold(hosts, false),
            Event::RunPaused { .. } => {
                self.running = false;
                let busy = self.hosts.values().filter(|told| told.open.is_some()).count();
                if busy > 0 {
                    wrong.push(format!("paused while {busy} attempts are open"));
                }
            }
            Event::RunFinished { verdict } => {
                (self.running, self.finished) = (false, true);
                let open: Vec<&String> = self
                    .hosts
                    .iter()
                    .filter(|(_, told)| !matches!(told.at, At::Ended(_)))
                    .map(|(name, _)| name)
                    .collect();
                if !open.is_empty() {
                    wrong.push(format!("finished, but {open:?} have not ended"));
                }
                let good = |told: &Told| {
                    matches!(told.at, At::Ended(End::Migrated | End::Already | End::Committed))
                };
                let all = self.hosts.values().all(good);
                if all != (*verdict == Verdict::Completed) {
                    wrong.push(format!("the verdict is {verdict:?}"));
                }
            }
            Event::WaveStarted { wave } => {
                let index = self.plan.waves.iter().position(|w| w.name == *wave).unwrap();
                for other in &self.plan.waves[index].after {
                    if self.waves[*other].ended < self.plan.waves[*other].hosts.len() {
                        wrong.push(format!("wave {index} starts before wave {other} has ended"));
                    }
                }
            }
            Event::WaveFinished { .. } => {}
            _ => wrong.push("an event of a host without a host".to_owned()),
        }
    }

    pub(super) fn hold(&mut self, hosts: &[HostName], held: bool) {
        for host in hosts {
            let told = self.told(host.as_str());
            // After its end nothing is left to hold.
            told.held = held && !matches!(told.at, At::Ended(_));
        }
    }
}
