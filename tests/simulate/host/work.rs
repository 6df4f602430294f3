//! Scripts that begin: how long they will take, how they will end, and what is true of the host from then on.

use super::{Begun, Cause, Dir, Fate, Happening, Host, Sentence, step_name};
use crate::scenario::Kind;
use fleetlift::{base::phase::Phase, host::Exit};

impl Host {
    /// Begins a script in a directory that is not there yet.
    pub fn begin(&mut self, dir: &str, sentence: Sentence, cause: Cause, at: u64) {
        self.tell(|| format!("begins {dir}: {sentence:?}"));
        let mut begun = Begun {
            boot: self.boot,
            began: at,
            ends: at + self.chance(dir).between(10, 200),
            exit: Exit::Code(0),
            killable: true,
            ended: None,
            gone: false,
            out: String::new(),
            sentence: sentence.clone(),
            cause: cause.clone(),
            works: true,
        };
        match &sentence {
            Sentence::Facts => begun.out = self.facts(at),
            Sentence::Say { word, step } => match word.as_str() {
                "run" | "local" | "disarm" => self.begin_step(step, &cause, &mut begun, dir),
                "reboot" => self.begin_reboot(step, &cause, &mut begun, at),
                _ => begun.exit = self.answer(word, step, at),
            },
        }
        self.will(begun.ends, Happening::Ends { dir: dir.to_owned() });
        self.dirs.insert(dir.to_owned(), Dir::Begun(begun));
    }

    /// The script of a step itself.
    fn begin_step(&mut self, step: &str, cause: &Cause, begun: &mut Begun, dir: &str) {
        let Some(spec) = self.spec(step) else { return };
        // The step that disarms is not in the playbook: it is counted under its own name.
        let nth = self.count_start(cause);
        self.check_start(&spec, cause);
        let mut chance = self.chance(&format!("run/{}/{nth}", cause.step));
        begun.ends = begun.began + chance.between(50, spec.timeout_ms * 2 / 5);
        for line in 0..chance.between(0, 5) {
            begun.out.push_str(&format!("line {line} of {dir}\n"));
        }
        let trouble = self.scenario.trouble;
        if chance.percent(trouble.steps) {
            match chance.between(0, if trouble.pure { 4 } else { 6 }) {
                0 | 1 => (begun.exit, begun.works) = (Exit::Code(1), false),
                2 => (begun.exit, begun.works) = (Exit::Signal("SEGV".to_owned()), false),
                // A host cannot know of a step without a check that it lies; that is for its author.
                3 => begun.works = cause.step.contains(".rollback.disarm-"),
                4 => begun.exit = Exit::Code(7),
                more => {
                    begun.ends = begun.began + spec.timeout_ms * chance.between(11, 30) / 10;
                    begun.killable = more == 5 || chance.percent(50);
                }
            }
        }
        if matches!(spec.kind, Kind::Restore { .. }) && !self.can_restore(spec.hop) {
            (begun.exit, begun.works) = (Exit::Code(3), false);
        }
        let key = (cause.step.clone(), cause.attempt);
        self.outputs.insert(key, begun.out.trim_end().to_owned());
        if spec.phase == Phase::Migrate && cause.step == step {
            self.changed |= spec.kind != Kind::Ask;
            self.begun_hops.insert(spec.hop);
        }
    }

    fn begin_reboot(&mut self, step: &str, cause: &Cause, begun: &mut Begun, at: u64) {
        let Some(spec) = self.spec(step) else { return };
        let nth = self.count_start(cause);
        self.check_start(&spec, cause);
        let mut chance = self.chance(&format!("reboot/{}/{nth}", cause.step));
        self.told_to_reboot = Some(at);
        if spec.phase == Phase::Migrate {
            self.changed = true;
            self.begun_hops.insert(spec.hop);
        }
        let trouble = self.scenario.trouble;
        let mut dark = Some(chance.between(5000, 60_000));
        let mut fate = Fate::AsMeant;
        if chance.percent(trouble.steps) {
            match chance.between(0, if trouble.pure { 4 } else { 5 }) {
                0 => dark = None,
                1 => fate = Fate::OldSystem,
                2 => fate = Fate::Twice,
                3 => {
                    begun.exit = Exit::Code(1);
                    return;
                }
                // It says yes, and does nothing.
                4 => return,
                _ => dark = Some(spec.timeout_ms + chance.between(1000, 400_000)),
            }
        }
        let at = at + chance.between(1000, 3000);
        self.will(at, Happening::Down { dark, fate, why: "reboot" });
    }

    /// Whether every backup of the hop is there, and sound.
    fn can_restore(&self, hop: usize) -> bool {
        let mut backups =
            self.scenario.specs.iter().filter(|s| s.hop == hop && s.kind == Kind::Backup);
        backups.all(|s| self.copies.get(&step_name(hop, s.phase, &s.name)) == Some(&true))
    }

    fn count_start(&mut self, cause: &Cause) -> u32 {
        let nth = self.starts.entry(cause.step.clone()).or_default();
        *nth += 1;
        let nth = *nth;
        let of_attempt = self.attempts.entry((cause.step.clone(), cause.attempt)).or_default();
        *of_attempt += 1;
        if *of_attempt > 1 {
            let Cause { step, attempt } = cause;
            self.wrong.push(format!("{}: attempt {attempt} of {step} began twice", self.name));
        }
        nth
    }
}
