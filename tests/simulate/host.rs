//! A made-up host: what is true of it, whatever anybody believes. It keeps the promises of the real scripts for hosts: a
//! directory is begun once, an exit is there whole or not at all, nothing survives a boot.

use crate::{
    chance::Chance,
    scenario::{Kind, Scenario, Spec},
};
use fleetlift::{
    base::phase::Phase,
    host::{Exit, LEASE, Leave},
    playbook::OnLost,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a script or a file asks a host to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sentence {
    Facts,
    /// One of the words `run`, `guard`, `verify`, `probe`, `disarm`, `reboot`, `until`, `wait`, `local`, and a step.
    Say {
        word: String,
        step: String,
    },
}

/// `0.migrate.switch`, as journals write it.
pub fn step_name(hop: usize, phase: Phase, name: &str) -> String {
    format!("{hop}.{phase}.{name}")
}

/// Why a script is begun: the attempt that was open in the journal when it was sent.
#[derive(Clone, Debug)]
pub struct Cause {
    pub step: String,
    pub attempt: u32,
}

/// A script's directory on a host.
#[derive(Clone, Debug)]
pub enum Dir {
    /// Its name was taken by somebody who asked for it before it began.
    Never,
    Begun(Begun),
}

#[derive(Clone, Debug)]
pub struct Begun {
    pub boot: u32,
    pub began: u64,
    /// When it will end, if it is let.
    pub ends: u64,
    pub exit: Exit,
    pub killable: bool,
    pub ended: Option<Exit>,
    /// Its process has gone without a result.
    pub gone: bool,
    pub out: String,
    sentence: Sentence,
    cause: Cause,
    /// Whether its work is in place at its end.
    works: bool,
}

impl Begun {
    /// What stands in its output file.
    pub fn printed(&self, now: u64) -> &str {
        if self.ended.is_some() || now >= self.ends {
            return &self.out;
        }
        let (part, whole) = (now.saturating_sub(self.began), (self.ends - self.began).max(1));
        // All that is printed is ASCII.
        &self.out[..(self.out.len() as u64 * part / whole) as usize]
    }

    pub fn runs(&self) -> bool {
        self.ended.is_none() && !self.gone
    }
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

/// Troubles that a host has from the beginning, or from some time on.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    pub unreachable: bool,
    pub sudo_refused: bool,
    /// From this boot on its key is another one.
    pub key_changes_at_boot: Option<u32>,
    /// From, to.
    pub disk_full: Option<(u64, u64)>,
    pub partitions: Vec<(u64, u64)>,
    /// From this time on its address leads to another machine.
    pub replaced_at: Option<u64>,
    /// Its service does not come back on another system.
    pub service_breaks: bool,
    /// Until then another run has its lock.
    pub locked_until: u64,
}

const POWER_CUT: &str = "power cut";
/// Another run may take a lock of which nothing was heard for longer than its lease.
const LEASE_MS: u64 = LEASE.as_millis() as u64;
/// A script that cannot be reached any more arrives within this time, or not at all.
pub const LATE_MS: u64 = 20_000;
/// What a call takes at most on its way.
const TRIP_MS: u64 = 1000;
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

    fn draw_troubles(&mut self) {
        let mut chance = self.chance("troubles");
        let trouble = self.scenario.trouble;
        let hops = self.scenario.plan.hops.len();
        for spec in self.scenario.specs.clone().iter().filter(|spec| spec.guarded) {
            // Some of the work was done before we came.
            let step = step_name(spec.hop, spec.phase, &spec.name);
            let there = self.chance(&format!("before/{step}")).percent(15);
            if there && spec.kind == Kind::Plain {
                self.done.insert(step);
            } else if there && spec.kind == Kind::Backup {
                let sound = self.chance(&format!("sound/{step}")).percent(60);
                self.copies.insert(step, sound);
            }
        }
        self.troubles.service_breaks = chance.percent(trouble.steps);
        let mut lock = self.chance("lock");
        if !trouble.pure && trouble.hosts > 0 && lock.percent(4) {
            self.troubles.locked_until = lock.between(1000, 240_000);
        }
        if !chance.percent(trouble.hosts) {
            return;
        }
        let last = if trouble.pure { 7 } else { 12 };
        let at = chance.between(1000, 240_000);
        let troubles = &mut self.troubles;
        match chance.between(0, last) {
            0 => troubles.unreachable = true,
            1 => troubles.sudo_refused = true,
            2 => troubles.key_changes_at_boot = Some(chance.between(1, 2) as u32),
            3 => troubles.disk_full = Some((0, u64::MAX)),
            4 => self.place = None,
            5 => self.place = Some(hops),
            6 | 7 => self.place = Some(chance.between(0, hops as u64) as usize),
            8 => troubles.disk_full = Some((at, at + chance.between(1000, 100_000))),
            9 | 10 => {
                for _ in 0..chance.between(1, 2) {
                    let from = chance.between(0, 300_000);
                    let length = chance.pick(&[5_000, 30_000, 100_000, 400_000, 1_500_000]);
                    troubles.partitions.push((from, from + length));
                }
            }
            11 => troubles.replaced_at = Some(at),
            _ => {
                for _ in 0..chance.between(1, 3) {
                    let at = chance.between(0, 200_000);
                    let dark = Some(chance.between(20_000, 90_000));
                    let fate = Fate::AsMeant;
                    self.will(at, Happening::Down { dark, fate, why: POWER_CUT });
                }
            }
        }
        self.first_place = self.place;
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

    fn put_in_place(&mut self, hop: usize) {
        self.place = Some(hop + 1);
        self.switched_in.insert(hop, self.boot);
    }

    fn bring_back(&mut self, hop: usize) {
        self.place = Some(hop);
        let migrated = format!("{hop}.migrate.");
        self.done.retain(|step| !step.starts_with(&migrated));
        self.switched_in.remove(&hop);
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

    /// Takes or renews the host's lock for a script in this directory, or says why not.
    pub fn take_lock(&mut self, dir: &str, epoch: Option<u32>, at: u64) -> Result<(), String> {
        let Some(epoch) = epoch else { return Ok(()) };
        let (folder, _) = dir.rsplit_once('/').unwrap_or((dir, ""));
        if self.ended.contains(folder) {
            return Err("the run has ended with this host".to_owned());
        }
        if at < self.troubles.locked_until {
            return Err("locked by run another of 1@there since before".to_owned());
        }
        if self.lock.is_some_and(|taken| taken > epoch) {
            return Err(
                "locked by run ours of a later one, which has taken this run over".to_owned()
            );
        }
        self.hear(epoch, at);
        self.lock = Some(epoch);
        self.heard = at;
        Ok(())
    }

    /// Its controller is heard of, and renews what it has. Where nothing keeps the two apart the lease has not run out.
    pub fn hear(&mut self, epoch: u32, at: u64) {
        if self.lock != Some(epoch) {
            return;
        }
        let silent = at.saturating_sub(self.heard);
        let runs = |dir: &Dir| matches!(dir, Dir::Begun(begun) if begun.runs());
        let free = silent > LEASE_MS && !self.dirs.values().any(runs);
        if free && self.scenario.trouble.network == 0 && self.troubles.partitions.is_empty() {
            let name = &self.name;
            self.wrong.push(format!("{name}: nothing was heard for {silent} ms of its lock"));
        }
        self.heard = at;
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    /// What a question of which nothing is left is answered.
    pub fn asked(&mut self, sentence: &Sentence, at: u64) -> (Exit, String) {
        match sentence {
            Sentence::Facts => (Exit::Code(0), self.facts(at)),
            Sentence::Say { word, step } => (self.answer(word, step, at), String::new()),
        }
    }

    /// Gives the lock back; after its end the folder is closed, and emptied where nothing of it is needed any more.
    pub fn leave(&mut self, folder: &str, epoch: u32, how: Leave) {
        if how != Leave::Rests {
            self.ended.insert(folder.to_owned());
        }
        let inside = |dir: &str| dir.rsplit_once('/').is_some_and(|(of, _)| of == folder);
        let runs = |(name, dir): (&String, &Dir)| {
            inside(name) && matches!(dir, Dir::Begun(begun) if begun.runs())
        };
        if how == Leave::Clean && !self.dirs.iter().any(runs) {
            self.dirs.retain(|name, _| !inside(name));
        }
        if self.lock.is_some_and(|taken| taken <= epoch) {
            self.lock = None;
        }
        self.tell(|| format!("is left: {how:?}"));
    }

    /// Folders of scripts in which something may still begin.
    pub fn open_folders(&self) -> impl Iterator<Item = &str> {
        let folders = self.dirs.keys().filter_map(|dir| dir.rsplit_once('/'));
        let folders: BTreeSet<&str> = folders.map(|(folder, _)| folder).collect();
        folders.into_iter().filter(|folder| *folder != "local" && !self.ended.contains(*folder))
    }

    /// Whether nothing keeps a controller from its door, for good or now and then.
    pub fn can_be_left(&self) -> bool {
        let troubles = &self.troubles;
        !troubles.unreachable
            && troubles.key_changes_at_boot.is_none()
            && troubles.partitions.is_empty()
            && troubles.replaced_at.is_none()
            && self.up
    }

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

    /// What a question is answered.
    fn answer(&mut self, word: &str, step: &str, at: u64) -> Exit {
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

    fn end(&mut self, dir: &str) {
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

    /// Nobody ends a step before its time is over. A script that came late has less of it, by the count of who sent it.
    fn check_time(&mut self, dir: &str, now: u64) {
        let Some(Dir::Begun(begun)) = self.dirs.get(dir) else { return };
        let Sentence::Say { word, step } = &begun.sentence else { return };
        let Some(spec) = self.spec(step).filter(|_| word == "run" && begun.runs()) else { return };
        let had = now.saturating_sub(begun.began);
        if had + LATE_MS + TRIP_MS < spec.timeout_ms {
            let (name, limit) = (&self.name, spec.timeout_ms);
            self.wrong.push(format!("{name}: {dir} is ended after {had} ms of {limit}"));
        }
    }

    fn facts(&self, at: u64) -> String {
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
}

impl Begun {
    /// Whether it is the script of a step, not a question beside it.
    fn is_work(&self) -> bool {
        matches!(&self.sentence, Sentence::Say { word, .. } if ["run", "local", "disarm"].contains(&word.as_str()))
    }
}
