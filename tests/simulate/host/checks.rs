//! What must be true of a host when a step begins on it.

use super::{Cause, Dir, Host, LATE_MS, Sentence, step_name};
use crate::scenario::{Kind, Spec};
use fleetlift::{base::phase::Phase, playbook::OnLost};

/// What a call takes at most on its way.
const TRIP_MS: u64 = 1000;

impl Host {
    /// What must be true of the host when a step begins.
    pub fn check_start(&mut self, spec: &Spec, cause: &Cause) {
        let name = &self.name;
        if spec.phase == Phase::Migrate && cause.step.contains(".migrate.") {
            for backup in self.scenario.specs.iter() {
                let wanted = backup.hop == spec.hop && backup.kind == Kind::Backup;
                if !wanted || backup.conditional {
                    continue;
                }
                let copy = step_name(backup.hop, backup.phase, &backup.name);
                if !self.copies.contains_key(&copy) {
                    self.wrong.push(format!("{name}: {} began without {copy}", cause.step));
                } else if backup.verified && !self.proven.contains(&copy) {
                    self.wrong.push(format!("{name}: {} began with {copy} unproven", cause.step));
                }
            }
        }
        self.check_alone(spec, cause);
    }

    /// Nothing that changes a host begins beside something else that does, but for a step that its author says to run again.
    fn check_alone(&mut self, spec: &Spec, cause: &Cause) {
        let changes = |step: &str| {
            [".migrate.", ".rollback.", ".commit."].iter().any(|phase| step.contains(phase))
        };
        let rerun = spec.on_lost == OnLost::Rerun;
        let busy = self.dirs.iter().find_map(|(dir, it)| match it {
            Dir::Begun(b) if b.runs() && b.is_work() && !dir.starts_with("local/") => {
                let again = rerun && b.cause.step == cause.step;
                (changes(&b.cause.step) && !again).then_some(dir)
            }
            Dir::Begun(_) | Dir::Never => None,
        });
        if let Some(dir) = busy.filter(|_| changes(&cause.step)) {
            self.wrong.push(format!("{}: {} began beside {dir}", self.name, cause.step));
        }
    }

    /// Nobody ends a step before its time is over. A script that came late has less of it, by the count of who sent it.
    pub(super) fn check_time(&mut self, dir: &str, now: u64) {
        let Some(Dir::Begun(begun)) = self.dirs.get(dir) else { return };
        let Sentence::Say { word, step } = &begun.sentence else { return };
        let Some(spec) = self.spec(step).filter(|_| word == "run" && begun.runs()) else { return };
        let had = now.saturating_sub(begun.began);
        if had + LATE_MS + TRIP_MS < spec.timeout_ms {
            let (name, limit) = (&self.name, spec.timeout_ms);
            self.wrong.push(format!("{name}: {dir} is ended after {had} ms of {limit}"));
        }
    }
}
