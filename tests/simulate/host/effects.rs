//! Scripts that end, by themselves or from outside, and what they leave behind.

use super::{Dir, Host, Sentence};
use crate::scenario::Kind;
use fleetlift::host::Exit;

impl Host {
    pub(super) fn end(&mut self, dir: &str) {
        let Some(Dir::Begun(begun)) = self.dirs.get_mut(dir) else { return };
        if !begun.runs() {
            return;
        }
        begun.ended = Some(begun.exit.clone());
        // While a script was at work nobody could take the lock.
        self.heard = begun.ends;
        let (sentence, works, exit) = (begun.sentence.clone(), begun.works, begun.exit.clone());
        let attempt = begun.cause.attempt;
        self.tell(|| {
            format!("ends {dir}: {exit:?}{}", if works { "" } else { ", its work not done" })
        });
        if let Sentence::Say { word, step } = sentence {
            match word.as_str() {
                // What a dead controller left running, or a host that was cut off, ends after the backup was made again:
                // that the two do not harm each other is their author's to see to.
                "run" | "local" if self.is_overtaken(&step, attempt) => {}
                "run" | "local" => self.take_effect(&step, works),
                "disarm" if works => self.armed = None,
                _ => {}
            }
        }
    }

    fn is_overtaken(&self, step: &str, attempt: u32) -> bool {
        let later = (step.to_owned(), attempt + 1);
        step.contains(".backup.") && self.attempts.contains_key(&later)
    }

    /// What a step leaves behind. A backup without its work is there, and is not sound.
    pub fn take_effect(&mut self, step: &str, works: bool) {
        let Some(spec) = self.spec(step) else { return };
        if spec.kind == Kind::Backup {
            self.proven.remove(step);
            self.copies.insert(step.to_owned(), works);
        }
        if !works {
            return;
        }
        self.done.insert(step.to_owned());
        match spec.kind {
            Kind::Plain | Kind::Ask | Kind::Reboot | Kind::Backup => {}
            Kind::Switch => self.put_in_place(spec.hop),
            Kind::Arm => self.armed = Some(spec.hop),
            Kind::Restore { at_boot: true } => self.restoring = Some(spec.hop),
            Kind::Restore { at_boot: false } => self.bring_back(spec.hop),
            Kind::Clean => {
                let of_hop = format!("{}.", spec.hop);
                self.copies.retain(|copy, _| !copy.starts_with(&of_hop));
            }
        }
    }

    pub(super) fn put_in_place(&mut self, hop: usize) {
        self.place = Some(hop + 1);
        self.switched_in.insert(hop, self.boot);
    }

    pub(super) fn bring_back(&mut self, hop: usize) {
        self.place = Some(hop);
        let migrated = format!("{hop}.migrate.");
        self.done.retain(|step| !step.starts_with(&migrated));
        self.switched_in.remove(&hop);
    }

    /// Ends a script from outside. Returns whether it is gone.
    pub fn kill(&mut self, dir: &str) -> bool {
        let now = self.now;
        self.tell(|| format!("is told to end {dir}"));
        self.check_time(dir, now);
        match self.dirs.get_mut(dir) {
            Some(Dir::Begun(begun)) if begun.runs() && begun.killable => {
                begun.ended = Some(Exit::Signal("TERM".to_owned()));
                begun.ends = now;
                true
            }
            Some(Dir::Begun(begun)) => !begun.runs(),
            Some(Dir::Never) | None => true,
        }
    }
}
