//! What questions are answered.

use super::{Host, Sentence, locks::LEASE_MS, step_name};
use crate::scenario::Kind;
use fleetlift::{base::phase::Phase, host::Exit};

impl Host {
    /// What a question of which nothing is left is answered.
    pub fn asked(&mut self, sentence: &Sentence, at: u64) -> (Exit, String) {
        match sentence {
            Sentence::Facts => (Exit::Code(0), self.facts(at)),
            Sentence::Say { word, step } => (self.answer(word, step, at), String::new()),
        }
    }

    /// What a question is answered.
    pub(super) fn answer(&mut self, word: &str, step: &str, at: u64) -> Exit {
        let nth = self.starts.get(step).copied().unwrap_or_default();
        let mut chance = self.chance(&format!("{word}/{step}/{nth}"));
        let steps = self.scenario.trouble.steps;
        let yes = match word {
            "guard" | "probe" => self.is_done(step),
            "verify" => {
                let sound = self.copies.get(step).copied().unwrap_or(true);
                let fine = sound && !chance.percent(steps / 2);
                if fine && self.copies.contains_key(step) {
                    self.proven.insert(step.to_owned());
                }
                fine
            }
            "until" => {
                let timeout = self.spec(step).map_or(0, |spec| spec.timeout_ms);
                let slow = chance.percent(30) && timeout > 2 * LEASE_MS;
                let takes = if slow { timeout / 2 } else { 20_000 };
                at.saturating_sub(self.up_since) >= chance.between(takes / 2, takes)
            }
            _ => {
                let first = *self.first_asked.entry(step.to_owned()).or_insert(at);
                let never = chance.percent(steps / 2);
                !never && at.saturating_sub(first) >= chance.between(0, 5000)
            }
        };
        Exit::Code(i32::from(!yes))
    }

    pub(super) fn facts(&self, at: u64) -> String {
        let machine = self.machine_id(at);
        let system = match self.place {
            Some(place) => format!("ID=sys\nVERSION_ID={place}"),
            None => "ID=strange\nVERSION_ID=1".to_owned(),
        };
        let healthy = !self.troubles.service_breaks || self.place == self.first_place;
        let app = if healthy { "app.service loaded active running\n" } else { "" };
        format!(
            "machine_id={machine}\nboot_id=00000000-0000-4000-8000-{:012}\nuid=0\n[os-release\n{system}\n]\n[services\nsshd.service loaded active running\n{app}]\n",
            self.boot
        )
    }

    /// Whether the work of a step is in place.
    fn is_done(&self, step: &str) -> bool {
        let Some(spec) = self.spec(step) else { return false };
        match spec.kind {
            Kind::Backup => self.copies.contains_key(step),
            Kind::Arm => self.armed == Some(spec.hop),
            Kind::Reboot if spec.phase == Phase::Migrate => {
                let armed = self.spec(&step_name(spec.hop, spec.phase, "arm")).is_some();
                let switched = self.switched_in.get(&spec.hop);
                self.place == Some(spec.hop + 1)
                    && switched.is_some_and(|boot| armed || *boot < self.boot)
            }
            Kind::Plain | Kind::Ask | Kind::Switch | Kind::Reboot | Kind::Restore { .. } => {
                self.done.contains(step)
            }
            Kind::Clean => {
                !self.copies.keys().any(|copy| copy.starts_with(&format!("{}.", spec.hop)))
            }
        }
    }
}
