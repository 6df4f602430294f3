//! What is simulated: a playbook, a rollout, a fleet, and how much goes wrong. All of it follows from the seed.

use crate::{
    chance::Chance,
    support::plans::{reboot, step},
};
use fleetlift::{
    base::{digest::digest, facts::System, phase::Phase},
    inventory::{Connection, Group, Host, Inventory},
    plan::{Plan, build},
    playbook::{Action, Compare, Hop, OnLost, Playbook, Reboot, Severity, Step, WaitFor},
    rollout::{
        Act, Allowance, AtMost, Budget, Interrupt, OnFailure, Question, Rollout, Watch, Wave,
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What a step of a made-up playbook does to a made-up host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Leaves only a trace of itself.
    Plain,
    /// Makes a backup.
    Backup,
    /// Only asks.
    Ask,
    /// Puts the hop's target system in place at once.
    Switch,
    /// From now on a boot puts the hop's target system in place.
    Arm,
    Reboot,
    /// Brings the hop's old system back: at once, or with the next boot.
    Restore {
        at_boot: bool,
    },
    /// Takes the hop's backups away.
    Clean,
}

/// A step as the world knows it.
#[derive(Clone, Debug)]
pub struct Spec {
    pub hop: usize,
    pub phase: Phase,
    pub name: String,
    pub kind: Kind,
    pub timeout_ms: u64,
    pub retries: u32,
    pub on_lost: OnLost,
    pub verified: bool,
    pub guarded: bool,
    /// It may be left out for hosts, so that others must not count on it.
    pub conditional: bool,
}

/// What may go wrong, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    /// Only what does not depend on time or order: so that two runs of one scenario must end alike.
    pub pure: bool,
    /// Of a hundred steps, so many do not do what they should.
    pub steps: u64,
    /// Of a hundred connections, so many break.
    pub network: u64,
    /// Of a hundred hosts, so many have a trouble of their own.
    pub hosts: u64,
    /// Of a hundred short whiles, so many have bad answers to a question.
    pub ill: u64,
}

/// One world to simulate.
#[derive(Clone)]
pub struct Scenario {
    pub seed: u64,
    pub trouble: Trouble,
    pub plan: Arc<Plan>,
    pub digest: String,
    pub specs: Arc<Vec<Spec>>,
}

/// Which of the scenarios of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Everything: size, troubles and limits by chance.
    Any,
    /// A few hosts without troubles of their own, whose waves go back again and again, in few slots and domains.
    Undone,
    /// At most three hosts, only troubles that do not depend on time, and limits that never stop the run.
    Pure,
}

impl Scenario {
    pub fn new(seed: u64, form: Form) -> Self {
        let mut chance = Chance::of(seed, "scenario");
        let pure = form == Form::Pure;
        let heavy = chance.pick(&[0, 3, 3, 8, 8, 25]);
        let trouble = Trouble {
            pure,
            steps: heavy,
            network: if pure { 0 } else { chance.pick(&[0, 0, 3, 10, 30]) },
            hosts: chance.pick(&[0, 5, 20, 40]),
            ill: 6,
        };
        let (trouble, hosts) = match form {
            Form::Any => (trouble, size(&mut chance)),
            Form::Pure => (trouble, chance.between(1, 3)),
            Form::Undone => {
                let steps = chance.pick(&[0, 0, 3]);
                let calm = Trouble { steps, network: 0, hosts: 0, ill: 30, ..trouble };
                (calm, chance.between(3, 10))
            }
        };
        let chance = Chance::of(seed, "playbook");
        let mut writer = Writer { chance, specs: Vec::new(), pure };
        let playbook = writer.playbook();
        let mut rollout = rollout(&mut Chance::of(seed, "rollout"), hosts, form != Form::Any);
        let all_back = playbook.hops.iter().all(|hop| hop.steps.contains_key(&Phase::Rollback));
        let mut chance = Chance::of(seed, "care");
        match form {
            Form::Any => care(&mut chance, &mut rollout, all_back),
            Form::Undone => undone(&mut chance, &mut rollout),
            Form::Pure => {}
        }
        let mut inventory = inventory(hosts, rollout.waves.len() as u64);
        for (index, host) in inventory.hosts.values_mut().enumerate() {
            host.labels.insert("pair".to_owned(), format!("p{}", index / 2));
            host.labels.insert("half".to_owned(), format!("h{}", index % 4 / 2));
            host.labels.insert("rack".to_owned(), format!("r{}", index % 7 % (hosts as usize)));
        }
        let all = inventory.hosts.keys().cloned().collect();
        let plan = build(&inventory, &playbook, &rollout, "@all", &all)
            .unwrap_or_else(|faults| panic!("seed {seed}: {faults:?}"));
        let text = serde_json::to_string(&plan).unwrap();
        let digest = digest(text.as_bytes());
        // As after `resume`: the plan is read back from its text.
        let plan = Arc::new(serde_json::from_str(&text).unwrap());
        Self { seed, trouble, plan, digest, specs: Arc::new(writer.specs) }
    }

    /// A stream of chance for something of this world.
    pub fn chance(&self, what: &str) -> Chance {
        Chance::of(self.seed, what)
    }
}

/// Mostly few hosts, now and then very many.
fn size(chance: &mut Chance) -> u64 {
    match chance.between(0, 999) {
        0 => chance.between(1000, 3000),
        1..400 => chance.between(1, 3),
        400..800 => chance.between(4, 12),
        _ => chance.between(13, 60),
    }
}

pub fn inventory(hosts: u64, groups: u64) -> Inventory {
    let connection = Arc::new(Connection::default());
    let mut inventory = Inventory::default();
    for index in 0..hosts {
        let name: fleetlift::base::name::HostName = format!("h{index:04}").parse().unwrap();
        let group: fleetlift::base::name::GroupName =
            format!("g{}", index % groups).parse().unwrap();
        let host = Host {
            name: name.clone(),
            groups: vec![group.clone()],
            vars: BTreeMap::new(),
            labels: BTreeMap::new(),
            connection: Arc::clone(&connection),
            addresses: vec![name.as_str().to_owned()],
        };
        inventory.groups.entry(group).or_insert_with(Group::default).hosts.push(name.clone());
        inventory.hosts.insert(name, host);
    }
    inventory
}

fn rollout(chance: &mut Chance, hosts: u64, pure: bool) -> Rollout {
    let number = chance.between(1, 3.min(hosts));
    let mut waves: Vec<Wave> = Vec::new();
    for index in 0..number {
        let after = waves.iter().map(|wave| wave.name.clone());
        let after = after.filter(|_| chance.percent(50)).collect();
        waves.push(Wave {
            after,
            canary: if pure { 0 } else { chance.pick(&[0, 0, 1, 1, 2, 3]) },
            parallel: chance.percent(40).then(|| chance.between(1, 6) as u32),
            ..Wave::new(format!("w{index}").parse().unwrap(), format!("@g{index}"))
        });
    }
    let failures = match (pure, chance.percent(50)) {
        (true, _) => Allowance::Percent(100),
        (false, true) => Allowance::Hosts(chance.between(0, hosts / 2 + 1) as u32),
        (false, false) => Allowance::Percent(chance.between(0, 60) as u32),
    };
    let consecutive = (!pure && chance.percent(25)).then(|| chance.between(1, 4) as u32);
    Rollout {
        parallel: chance.between(1, 20).max(hosts / 50) as u32,
        on_failure: if chance.percent(75) { OnFailure::Rollback } else { OnFailure::Hold },
        budget: Budget { consecutive, ..Budget::of(failures) },
        at_most: Vec::new(),
        waves,
        interrupts: Vec::new(),
        accepts: Vec::new(),
        sources: Vec::new(),
    }
}

/// Waves that go back when they are not well, with limits on how many go at once.
fn undone(chance: &mut Chance, rollout: &mut Rollout) {
    if chance.percent(70) {
        let per = chance.pick(&["pair", "rack", "half"]).to_owned();
        rollout.at_most = vec![AtMost { hosts: chance.between(1, 2) as u32, per }];
    }
    if chance.percent(30) {
        let watch = watch(chance, Question::Holds { run: "watch".to_owned() });
        let watch = Watch { act: Act::RollbackWave, ..watch };
        rollout.interrupts.push(Interrupt { name: "alarm".to_owned(), watch });
    }
    for wave in &mut rollout.waves {
        wave.soak = chance.percent(70).then(|| Duration::from_secs(chance.between(1, 600)));
        let ask = Question::IsWell { run: "watch".to_owned(), expect: None };
        wave.health = Some(Watch { act: Act::RollbackWave, ..watch(chance, ask) });
    }
}

/// With what care: failure domains, budgets of waves, batches, soaking, health, rehearsals.
fn care(chance: &mut Chance, rollout: &mut Rollout, all_back: bool) {
    let domains = |chance: &mut Chance| -> Vec<AtMost> {
        let labels = ["pair", "rack"].into_iter().filter(|_| chance.percent(50));
        let labels: Vec<&str> = labels.collect();
        let limit = |per: &str| AtMost { hosts: chance.between(1, 3) as u32, per: per.to_owned() };
        labels.into_iter().map(limit).collect()
    };
    if chance.percent(30) {
        rollout.at_most = domains(chance);
    }
    if chance.percent(20) {
        rollout.budget.per_hour = Some(chance.between(0, 5) as u32);
        rollout.budget.per.insert("rack".to_owned(), Allowance::Hosts(chance.between(0, 2) as u32));
    }
    if chance.percent(15) {
        let watch = watch(chance, Question::Holds { run: "watch".to_owned() });
        rollout.interrupts.push(Interrupt { name: "alarm".to_owned(), watch });
    }
    for wave in &mut rollout.waves {
        if chance.percent(20) {
            wave.at_most = domains(chance);
        }
        if chance.percent(20) {
            let failures = Allowance::Percent(chance.between(0, 80) as u32);
            let consecutive = chance.percent(40).then(|| chance.between(1, 4) as u32);
            wave.budget = Some(Budget { consecutive, ..Budget::of(failures) });
        }
        wave.barrier = chance.percent(20).then(|| chance.between(1, 8) as u32);
        wave.soak = chance.percent(20).then(|| Duration::from_secs(chance.between(1, 3000)));
        if chance.percent(25) {
            let ask = Question::IsWell { run: "watch".to_owned(), expect: None };
            wave.health = Some(watch(chance, ask));
        }
        wave.rehearse_rollback = all_back && wave.canary > 0 && chance.percent(40);
        wave.rest_between_hops = chance.percent(15);
    }
}

fn watch(chance: &mut Chance, ask: Question) -> Watch {
    Watch {
        ask,
        every: Duration::from_secs(chance.between(20, 300)),
        timeout: Duration::from_secs(chance.between(1, 30)),
        failures: chance.between(1, 3) as u32,
        act: chance.pick(&[Act::Pause, Act::Stop, Act::RollbackWave, Act::RollbackWave]),
        recovery: None,
    }
}

/// Writes a playbook, and what its steps do.
struct Writer {
    chance: Chance,
    specs: Vec<Spec>,
    /// Without what the death of a controller makes uncertain by itself.
    pure: bool,
}

/// How a hop changes the system.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    InPlace { reboots: bool },
    Armed,
}

impl Writer {
    fn playbook(&mut self) -> Playbook {
        let number = self.chance.pick(&[1, 1, 1, 2, 2, 3]);
        let hops = (0..number).map(|hop| self.hop(hop)).collect();
        Playbook {
            name: "simulated".to_owned(),
            title: "Simulated".to_owned(),
            support: None,
            hops,
            files: Vec::new(),
            sources: Vec::new(),
        }
    }

    fn hop(&mut self, hop: usize) -> Hop {
        let how = self.chance.pick(&[
            How::Armed,
            How::InPlace { reboots: true },
            How::InPlace { reboots: false },
        ]);
        let mut steps = BTreeMap::new();
        steps.insert(Phase::Backup, self.backup(hop));
        steps.insert(Phase::Precheck, self.precheck(hop));
        steps.insert(Phase::Migrate, self.migrate(hop, how));
        steps.insert(Phase::Verify, self.verify(hop));
        if self.chance.percent(70) {
            steps.insert(Phase::Rollback, self.rollback(hop));
        }
        if self.chance.percent(40) {
            steps.insert(Phase::Commit, vec![self.run(hop, Phase::Commit, "clean", Kind::Clean)]);
        }
        Hop {
            name: format!("hop{hop}"),
            title: format!("Hop {hop}"),
            from: Some(system(hop)),
            to: Some(system(hop + 1)),
            vars: BTreeMap::new(),
            steps,
        }
    }

    fn backup(&mut self, hop: usize) -> Vec<Step> {
        let number = self.chance.pick(&[0, 1, 1, 1, 2]);
        let mut steps: Vec<Step> = (0..number)
            .map(|n| {
                let name = format!("copy{n}");
                let mut step = self.run(hop, Phase::Backup, &name, Kind::Backup);
                if self.chance.percent(70) {
                    self.verified(&mut step, hop, Phase::Backup);
                }
                if self.chance.percent(25) {
                    self.guarded(&mut step, hop, Phase::Backup);
                }
                if self.chance.percent(15) && !self.pure {
                    step.action = Action::Local(text("local", hop, Phase::Backup, &name));
                }
                step
            })
            .collect();
        if self.chance.percent(15) {
            let mut step = self.run(hop, Phase::Backup, "fetch", Kind::Ask);
            step.action = Action::Download { from: format!("/sim/{hop}/backup/fetch") };
            steps.push(step);
        }
        steps
    }

    fn precheck(&mut self, hop: usize) -> Vec<Step> {
        let number = self.chance.between(0, 2);
        let mut steps: Vec<Step> = (0..number)
            .map(|n| {
                let mut step = self.run(hop, Phase::Precheck, &format!("ask{n}"), Kind::Ask);
                step.severity = self.chance.pick(&[Severity::Warning, Severity::Blocker]);
                self.conditional(&mut step);
                step
            })
            .collect();
        if self.chance.percent(10) {
            let mut step = self.run(hop, Phase::Precheck, "port", Kind::Ask);
            step.action = Action::Wait(WaitFor::Port(22));
            steps.push(step);
        }
        steps
    }

    fn migrate(&mut self, hop: usize, how: How) -> Vec<Step> {
        let phase = Phase::Migrate;
        let mut steps = Vec::new();
        if self.chance.percent(50) {
            let mut step = self.run(hop, phase, "prepare", Kind::Plain);
            if self.chance.percent(40) {
                self.guarded(&mut step, hop, phase);
            }
            self.conditional(&mut step);
            match self.chance.between(0, 9) {
                0 => {
                    let to = format!("/sim/{hop}/migrate/prepare");
                    let content: Arc<[u8]> = b"content".as_slice().into();
                    step.action = Action::Upload { from: "f".into(), to, mode: 0o644, content };
                }
                1 if !self.pure => {
                    step.action = Action::Local(text("local", hop, phase, "prepare"))
                }
                _ => {}
            }
            steps.push(step);
        }
        match how {
            How::Armed => {
                let mut arm = self.run(hop, phase, "arm", Kind::Arm);
                arm.arms = true;
                if self.chance.percent(30) {
                    self.guarded(&mut arm, hop, phase);
                }
                if self.chance.percent(85) {
                    arm.disarm = Some(text("disarm", hop, phase, "arm"));
                }
                steps.push(arm);
                steps.push(self.reboot(hop, phase, "boot"));
            }
            How::InPlace { reboots } => {
                let mut step = self.run(hop, phase, "switch", Kind::Switch);
                if self.chance.percent(30) {
                    self.verified(&mut step, hop, phase);
                }
                steps.push(step);
                if reboots {
                    steps.push(self.reboot(hop, phase, "boot"));
                }
            }
        }
        if self.chance.percent(25) {
            let mut step = self.run(hop, phase, "settle", Kind::Ask);
            step.action = Action::Wait(match self.chance.percent(50) {
                true => WaitFor::Path(format!("/sim/{hop}/migrate/settle")),
                false => WaitFor::Command(text("wait", hop, phase, "settle")),
            });
            steps.push(step);
        }
        steps
    }

    fn reboot(&mut self, hop: usize, phase: Phase, name: &str) -> Step {
        let mut step = self.run(hop, phase, name, Kind::Reboot);
        step.retries = 0;
        // Some take longer than a lock's lease.
        let (least, most) = if self.chance.percent(15) { (900, 1500) } else { (90, 240) };
        let timeout = Duration::from_secs(self.chance.between(least, most));
        self.specs.last_mut().unwrap().timeout_ms = timeout.as_millis() as u64;
        self.specs.last_mut().unwrap().retries = 0;
        step.action = Action::Reboot(Reboot {
            boots: self.chance.between(1, 2) as u32,
            command: self.chance.percent(60).then(|| text("reboot", hop, phase, name)),
            until: self.chance.percent(30).then(|| text("until", hop, phase, name)),
            ..reboot(timeout)
        });
        if phase == Phase::Migrate && self.chance.percent(20) {
            self.guarded(&mut step, hop, phase);
        }
        step
    }

    fn verify(&mut self, hop: usize) -> Vec<Step> {
        let number = self.chance.between(0, 2);
        let mut steps: Vec<Step> = (0..number)
            .map(|n| self.run(hop, Phase::Verify, &format!("fine{n}"), Kind::Ask))
            .collect();
        if self.chance.percent(30) {
            let mut step = self.run(hop, Phase::Verify, "services", Kind::Ask);
            step.action = Action::Compare { what: Compare::Services, ignore: Vec::new() };
            steps.push(step);
        }
        steps
    }

    fn rollback(&mut self, hop: usize) -> Vec<Step> {
        let at_boot = self.chance.percent(50);
        let mut steps = vec![self.run(hop, Phase::Rollback, "restore", Kind::Restore { at_boot })];
        if at_boot {
            steps.push(self.reboot(hop, Phase::Rollback, "boot-back"));
        }
        steps
    }

    /// A step that runs on the host, with limits by chance.
    fn run(&mut self, hop: usize, phase: Phase, name: &str, kind: Kind) -> Step {
        let chance = &mut self.chance;
        let timeout = Duration::from_secs(chance.between(20, 60));
        let retries = chance.pick(&[0, 0, 1, 2]);
        let retry_delay = Duration::from_millis(chance.pick(&[1, 1000, 15_000]));
        let on_lost = chance.pick(&[None, None, Some(OnLost::Rerun), Some(OnLost::Hold)]);
        let probe = chance.percent(40).then(|| text("probe", hop, phase, name));
        let mut run = text("run", hop, phase, name);
        if chance.percent(15) {
            // Rendered on the host's turn.
            run = format!("{run} for {{{{ facts.machine_id }}}}").into();
        }
        let register = chance.percent(30);
        let effective =
            on_lost.unwrap_or(if probe.is_some() { OnLost::Probe } else { OnLost::Hold });
        self.specs.push(Spec {
            hop,
            phase,
            name: name.to_owned(),
            kind,
            timeout_ms: timeout.as_millis() as u64,
            retries,
            on_lost: effective,
            verified: false,
            guarded: false,
            conditional: false,
        });
        Step { timeout, retries, retry_delay, register, on_lost, probe, ..step(name, &run) }
    }

    fn verified(&mut self, step: &mut Step, hop: usize, phase: Phase) {
        step.verify = Some(text("verify", hop, phase, step.name.as_str()));
        self.specs.last_mut().unwrap().verified = true;
    }

    fn guarded(&mut self, step: &mut Step, hop: usize, phase: Phase) {
        step.unless = Some(text("guard", hop, phase, step.name.as_str()));
        self.specs.last_mut().unwrap().guarded = true;
    }

    fn conditional(&mut self, step: &mut Step) {
        if self.chance.percent(15) {
            let when = self.chance.pick(&["false", "true", "facts.uid == 0", "facts.uid == 1"]);
            step.when = Some(when.into());
            self.specs.last_mut().unwrap().conditional = true;
        }
    }
}

/// The system at this place of the chain: `sys 0` is where the first hop begins.
pub fn system(place: usize) -> System {
    System { id: "sys".to_owned(), version: format!("{place}") }
}

/// The scripts of made-up playbooks are sentences that made-up hosts read.
fn text(what: &str, hop: usize, phase: Phase, step: &str) -> Arc<str> {
    format!("sim {what} {hop} {phase} {step}").into()
}
