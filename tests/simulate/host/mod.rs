//! A made-up host: what is true of it, whatever anybody believes. It keeps the promises of the real scripts for hosts: a
//! directory is begun once, an exit is there whole or not at all, nothing survives a boot.

mod answers;
mod checks;
mod effects;
mod locks;
mod scripts;
mod troubles;
mod work;

pub use scripts::{Begun, Cause, Dir, Sentence};
pub use troubles::Troubles;

use crate::{
    chance::Chance,
    scenario::{Scenario, Spec},
};
use fleetlift::base::phase::Phase;
use std::collections::{BTreeMap, BTreeSet};

/// `0.migrate.switch`, as journals write it.
pub fn step_name(hop: usize, phase: Phase, name: &str) -> String {
    format!("{hop}.{phase}.{name}")
}

/// What will happen on a host.
#[derive(Clone, Debug)]
enum Happening {
    /// A script that was sent over a connection that broke meanwhile.
    Arrives {
        dir: String,
        sentence: Sentence,
        cause: Cause,
        /// How often the run had been taken over, where whoever sent it holds the lock.
        epoch: Option<u32>,
    },
    Ends {
        dir: String,
    },
    Down {
        dark: Option<u64>,
        fate: Fate,
        why: &'static str,
    },
    Up {
        fate: Fate,
    },
}

/// What a boot comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    AsMeant,
    /// Whatever was prepared for this boot did not happen.
    OldSystem,
    /// Comes up, and boots once more.
    Twice,
}

/// A script that cannot be reached any more arrives within this time, or not at all.
pub const LATE_MS: u64 = 20_000;
const POWER_CUT: &str = "power cut";
/// So long after it was written a name may be lost with the power.
const UNWRITTEN_MS: u64 = 30_000;

/// What is true of a host.
pub struct Host {
    pub name: String,
    pub scenario: Scenario,
    pub machine: String,
    pub troubles: Troubles,
    pub boot: u32,
    pub up: bool,
    pub up_since: u64,
    /// Its place in the chain of systems; none of a strange host.
    pub place: Option<usize>,
    pub first_place: Option<usize>,
    pub changed: bool,
    pub armed: Option<usize>,
    restoring: Option<usize>,
    pub dirs: BTreeMap<String, Dir>,
    /// Which controller of the run has its lock, by how often the run was taken over.
    pub lock: Option<u32>,
    /// When the lock's lease last began anew.
    heard: u64,
    /// For the scripts of which folder it was taken last.
    lock_of: String,
    /// Folders in which nothing begins any more.
    pub ended: BTreeSet<String>,
    /// Steps whose work is in place.
    pub done: BTreeSet<String>,
    /// Backups that exist, and whether they are sound.
    pub copies: BTreeMap<String, bool>,
    /// Backups that were proven sound since they were made.
    pub proven: BTreeSet<String>,
    /// Hops whose migration has begun here.
    pub begun_hops: BTreeSet<usize>,
    /// How often the script of a step has begun; and of each of its attempts.
    pub starts: BTreeMap<String, u32>,
    pub attempts: BTreeMap<(String, u32), u32>,
    pub outputs: BTreeMap<(String, u32), String>,
    /// When it was last told to reboot.
    pub told_to_reboot: Option<u64>,
    /// The boot in which a hop's system was put in place.
    switched_in: BTreeMap<usize, u32>,
    first_asked: BTreeMap<String, u64>,
    happenings: BTreeMap<(u64, u64), Happening>,
    serial: u64,
    now: u64,
    /// What must never happen, and did.
    pub wrong: Vec<String>,
    /// What happened, for a reader; empty where nobody reads.
    pub told: Vec<(u64, String)>,
    pub traced: bool,
}

impl Host {
    pub fn new(scenario: &Scenario, name: &str, machine: String, traced: bool) -> Self {
        let mut host = Self {
            name: name.to_owned(),
            scenario: scenario.clone(),
            machine,
            troubles: Troubles::default(),
            boot: 1,
            up: true,
            up_since: 0,
            place: Some(0),
            first_place: Some(0),
            changed: false,
            armed: None,
            restoring: None,
            dirs: BTreeMap::new(),
            lock: None,
            heard: 0,
            lock_of: String::new(),
            ended: BTreeSet::new(),
            done: BTreeSet::new(),
            copies: BTreeMap::new(),
            proven: BTreeSet::new(),
            begun_hops: BTreeSet::new(),
            starts: BTreeMap::new(),
            attempts: BTreeMap::new(),
            outputs: BTreeMap::new(),
            told_to_reboot: None,
            switched_in: BTreeMap::new(),
            first_asked: BTreeMap::new(),
            happenings: BTreeMap::new(),
            serial: 0,
            now: 0,
            wrong: Vec::new(),
            told: Vec::new(),
            traced,
        };
        host.draw_troubles();
        host
    }

    fn chance(&self, what: &str) -> Chance {
        self.scenario.chance(&format!("{}/{what}", self.name))
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.traced {
            self.told.push((self.now, what()));
        }
    }

    fn will(&mut self, at: u64, what: Happening) {
        self.serial += 1;
        self.happenings.insert((at, self.serial), what);
    }

    /// When something happens next by itself.
    pub fn next_happening(&self) -> Option<u64> {
        self.happenings.keys().next().map(|(at, _)| *at)
    }

    /// Lets time pass here.
    pub fn advance(&mut self, now: u64) {
        while let Some(entry) = self.happenings.first_entry() {
            let at = entry.key().0;
            if at > now {
                break;
            }
            let what = entry.remove();
            self.now = at;
            self.happen(at, what);
        }
        self.now = now;
    }

    fn happen(&mut self, at: u64, what: Happening) {
        match what {
            Happening::Arrives { dir, sentence, cause, epoch } => {
                let free = !self.dirs.contains_key(&dir) && !self.disk_is_full(at);
                if self.up && free && self.take_lock(&dir, epoch, at).is_ok() {
                    self.tell(|| format!("{dir} arrives late"));
                    self.begin(&dir, sentence, cause, at);
                }
            }
            Happening::Ends { dir } => self.end(&dir),
            Happening::Down { dark, fate, why } if self.up => {
                self.tell(|| format!("goes down: {why}"));
                self.up = false;
                if why == POWER_CUT {
                    self.lose_names(at);
                }
                // What runs on the controller does not notice.
                let here = self.dirs.iter_mut().filter(|(name, _)| !name.starts_with("local/"));
                for (_, dir) in here {
                    if let Dir::Begun(begun) = dir
                        && begun.ended.is_none()
                    {
                        begun.gone = true;
                    }
                }
                if let Some(dark) = dark {
                    self.will(at + dark, Happening::Up { fate });
                }
            }
            Happening::Down { .. } => {}
            Happening::Up { fate } => self.come_up(at, fate),
        }
    }

    /// What was not on the disk yet is gone: directories of what was begun a moment ago, with all that stands in them.
    fn lose_names(&mut self, at: u64) {
        let mut chance = self.chance(&format!("power/{}", self.boot));
        let young = |dir: &Dir| matches!(dir, Dir::Begun(begun) if at < begun.began + UNWRITTEN_MS);
        self.dirs
            .retain(|name, dir| name.starts_with("local/") || !young(dir) || chance.percent(50));
    }

    fn come_up(&mut self, at: u64, fate: Fate) {
        self.up = true;
        self.up_since = at;
        // After a boot the lease begins again.
        self.heard = at;
        self.boot += 1;
        let (armed, restoring) = (self.armed.take(), self.restoring.take());
        if fate != Fate::OldSystem {
            match (armed, restoring) {
                (Some(hop), _) => self.put_in_place(hop),
                (None, Some(hop)) => self.bring_back(hop),
                (None, None) => {}
            }
        }
        let (boot, place) = (self.boot, self.place);
        self.tell(|| format!("is up: boot {boot}, system {place:?}"));
        if fate == Fate::Twice {
            let (fate, why) = (Fate::AsMeant, "it boots once more");
            self.will(at + 8000, Happening::Down { dark: Some(9000), fate, why });
        }
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    pub fn disk_is_full(&self, at: u64) -> bool {
        self.troubles.disk_full.is_some_and(|(from, to)| from <= at && at < to)
    }

    pub fn machine_id(&self, at: u64) -> String {
        match self.troubles.replaced_at {
            Some(from) if from <= at => format!("another-than-{}", self.machine),
            Some(_) | None => self.machine.clone(),
        }
    }

    pub fn spec(&self, step: &str) -> Option<Spec> {
        let specs = &self.scenario.specs;
        specs.iter().find(|s| step_name(s.hop, s.phase, &s.name) == step).cloned()
    }

    /// A script that will reach the host after its connection has broken.
    pub fn arrives_later(
        &mut self,
        at: u64,
        dir: &str,
        sentence: Sentence,
        cause: Cause,
        epoch: Option<u32>,
    ) {
        let dir = dir.to_owned();
        self.will(at, Happening::Arrives { dir, sentence, cause, epoch });
    }
}
