//! Made-up plans and journals. A story is told host by host, each with its own clock, and then put in order; the fold
//! refuses one that could not have happened.

use crate::{
    base::{
        facts::{Facts, System},
        name::{HostName, RunId},
        phase::Phase,
        time::Timestamp,
    },
    inventory::Connection,
    journal::{
        End, Event, Failure, Finding, Moment, Outcome, PauseReason, Record, Skip, Then, Verdict,
    },
    plan::{Limits, PLAN_FORMAT, Plan, PlanHop, PlanHost, PlanStep, PlanWave, Rendered, Task},
    playbook::{Action, OnLost, Severity},
    report::Report,
    rollout::{Allowance, Budget, OnFailure},
    run::RunState,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// 2026-11-21 09:15:02 UTC.
pub const START: i64 = 1_795_252_502_000;

pub fn name(text: &str) -> HostName {
    text.parse().unwrap()
}

pub fn run_id() -> RunId {
    "20261121-0915-kx3f".parse().unwrap()
}

pub fn centos() -> System {
    System { id: "centos".into(), version: "7.9".into() }
}

pub fn rocky() -> System {
    System { id: "rocky".into(), version: "9.6".into() }
}

/// The steps of the one hop that stories walk: phase, name, what it is, and how long it takes in milliseconds.
pub const WAY: [(Phase, &str, u64); 13] = [
    (Phase::Precheck, "identity", 400),
    (Phase::Backup, "archive-etc", 9_000),
    (Phase::Precheck, "boot-space", 300),
    (Phase::Precheck, "leapp-preupgrade", 48_000),
    (Phase::Migrate, "stage-packages", 240_000),
    (Phase::Migrate, "leapp-upgrade", 1_260_000),
    (Phase::Migrate, "boot-upgrade", 540_000),
    (Phase::Verify, "services-as-before", 700),
    (Phase::Verify, "system", 400),
    (Phase::Rollback, "disarm", 900),
    (Phase::Rollback, "restore-snapshot", 95_000),
    (Phase::Rollback, "rolled-back", 400),
    (Phase::Commit, "drop-snapshot", 2_000),
];

pub fn step_id(index: usize) -> crate::journal::StepId {
    let (phase, step, _) = WAY[index % WAY.len()];
    crate::journal::StepId { hop: (index / WAY.len()) as u16, phase, step: step.parse().unwrap() }
}

fn plan_step(index: usize) -> PlanStep {
    let (_, step, length) = WAY[index % WAY.len()];
    PlanStep {
        id: step_id(index),
        timeout: Duration::from_secs(7200),
        retries: 2,
        retry_delay: Duration::from_secs(30),
        ok_exit: vec![0],
        sudo: None,
        register: false,
        on_lost: OnLost::Hold,
        arms: step == "leapp-upgrade",
        already: false,
        disarms: step == "disarm",
        reboots: step == "boot-upgrade",
        severity: if step == "boot-space" { Severity::Blocker } else { Severity::Warning },
        remedy: (step == "boot-space")
            .then(|| "Remove old kernels: package-cleanup --oldkernels".into()),
        reads: None,
        estimate: Duration::from_millis(length),
        measured: None,
    }
}

fn rendered(index: usize) -> Rendered {
    let look = |moment| Task::Look { moment, want: None };
    let task = match WAY[index % WAY.len()].1 {
        "identity" => look(Moment::Before),
        "system" => look(Moment::After),
        "rolled-back" => look(Moment::RolledBack),
        _ => Task::Act(Action::Run("true".into())),
    };
    Rendered::new(index, task)
}

/// A wave of these hosts that asks for nothing.
fn wave(name: &str, hosts: Vec<usize>) -> PlanWave {
    PlanWave {
        name: name.parse().unwrap(),
        hosts,
        after: Vec::new(),
        canary: 0,
        parallel: 10,
        windows: None,
        approval: None,
        budget: None,
        at_most: Vec::new(),
        barrier: None,
        soak: None,
        health: None,
        rehearse_rollback: false,
        rest_between_hops: false,
    }
}

/// A plan over these waves of hosts, from CentOS 7 to Rocky Linux 9 in one hop.
pub fn plan(waves: &[(&str, Vec<String>)]) -> Plan {
    let mut hosts = Vec::new();
    let mut planned = Vec::new();
    for (index, (wave, names)) in waves.iter().enumerate() {
        let first = hosts.len();
        hosts.extend(names.iter().map(|host| PlanHost {
            name: name(host),
            groups: vec![wave.parse().unwrap()],
            labels: BTreeMap::new(),
            wave: index,
            addresses: vec![host.clone()],
            connection: 0,
            steps: (0..WAY.len() as u32).collect(),
            vars: BTreeMap::new(),
            variables: 0,
        }));
        planned.push(self::wave(wave, (first..hosts.len()).collect()));
    }
    Plan {
        format: PLAN_FORMAT,
        playbook: "centos7-to-rocky9".into(),
        title: "CentOS 7 to Rocky Linux 9".into(),
        support: Some(
            "Supported by the distributions hop by hop; the chain as a whole is tested here."
                .into(),
        ),
        selection: "@all".into(),
        hops: vec![PlanHop {
            name: "centos7-to-rocky9".into(),
            title: "CentOS 7 to Rocky Linux 9".into(),
            from: Some(System { id: "centos".into(), version: "7".into() }),
            to: Some(System { id: "rocky".into(), version: "9".into() }),
            forward: 0..9,
            rollback: 9..12,
            commit: 12..13,
            vars: BTreeMap::new(),
        }],
        steps: (0..WAY.len()).map(plan_step).collect(),
        waves: planned,
        hosts,
        rendered: (0..WAY.len()).map(rendered).collect(),
        connections: vec![Arc::new(Connection::default())],
        limits: Limits {
            parallel: 10,
            on_failure: OnFailure::Rollback,
            budget: Budget::of(Allowance::Percent(10)),
            at_most: Vec::new(),
        },
        interrupts: Vec::new(),
        variables: vec![BTreeMap::new()],
        accepts: Vec::new(),
        inputs: Vec::new(),
        origin: None,
    }
}

/// The same way in two hops, the first of which leads to Rocky Linux 8.
pub fn two_hops(waves: &[(&str, Vec<String>)]) -> Plan {
    let mut plan = plan(waves);
    let way = WAY.len();
    let between = System { id: "rocky".into(), version: "8".into() };
    let mut second = plan.hops[0].clone();
    plan.hops[0].name = "centos7-to-rocky8".into();
    plan.hops[0].title = "CentOS 7 to Rocky Linux 8".into();
    plan.hops[0].to = Some(between.clone());
    second.name = "rocky8-to-rocky9".into();
    second.title = "Rocky Linux 8 to 9".into();
    second.from = Some(between);
    // Who the host is, is asked once.
    second.forward = way + 1..way + 9;
    second.rollback = way + 9..way + 12;
    second.commit = way + 12..way + 13;
    plan.hops.push(second);
    plan.steps = (0..way * 2).map(plan_step).collect();
    plan.rendered = (0..way * 2).map(rendered).collect();
    for host in &mut plan.hosts {
        host.steps = (0..2 * way as u32).collect();
    }
    plan
}

pub fn numbered(head: &str, count: usize) -> Vec<String> {
    (1..=count).map(|i| format!("{head}-{i:02}")).collect()
}

/// The fleet of the reference report: monitoring 1, cache 2, web 8, db 4.
pub fn reference_plan() -> Plan {
    plan(&[
        ("monitoring", numbered("mon", 1)),
        ("cache", numbered("cache", 2)),
        ("web", numbered("web", 8)),
        ("db", numbered("db", 4)),
    ])
}

pub fn facts(host: usize, boot: u32, after: bool) -> Facts {
    let services = ["sshd", "crond", if after { "chronyd" } else { "ntpd" }];
    Facts {
        machine_id: format!("{host:032x}"),
        boot_id: boot_id(host, boot),
        hostname: format!("host-{host}"),
        system: Some(if after { rocky() } else { centos() }),
        pretty_name: if after {
            "Rocky Linux 9.6 (Blue Onyx)".into()
        } else {
            "CentOS Linux 7 (Core)".into()
        },
        kernel: if after {
            "5.14.0-570.el9.x86_64".into()
        } else {
            "3.10.0-1160.el7.x86_64".into()
        },
        arch: "x86_64".into(),
        cpus: Some(4),
        memory_mib: Some(8192),
        openssl: if after { "3.2.2".into() } else { "1.0.2k-fips".into() },
        uid: Some(0),
        services: services.iter().map(|s| (*s).to_owned()).collect(),
        failed_units: Default::default(),
        ports: if host == 5 && !after {
            ["tcp/22", "tcp/8443"].iter().map(|s| (*s).to_owned()).collect()
        } else {
            ["tcp/22"].iter().map(|s| (*s).to_owned()).collect()
        },
        mounts: ["/", "/boot"].iter().map(|s| (*s).to_owned()).collect(),
    }
}

pub fn boot_id(host: usize, boot: u32) -> String {
    format!(
        "{:08x}-0000-4000-8000-{host:012x}",
        (host as u32).wrapping_mul(0x0101_0101).wrapping_add(boot * 0x1111)
    )
}

pub struct Story {
    pub plan: Plan,
    /// Sorted by time at the end; what is said at one time keeps its order.
    events: Vec<(i64, Event)>,
}

/// One host's part of a story, with its own clock.
pub struct Part<'s> {
    story: &'s mut Story,
    host: usize,
    boot: u32,
    pub now: i64,
}

impl Story {
    pub fn new(plan: Plan) -> Self {
        let hosts = plan.hosts.len();
        let started = Event::RunStarted {
            plan: digest().into(),
            playbook: plan.playbook.clone(),
            operator: "li.si".into(),
            controller: "ops-01:4711".into(),
            version: "0.1.0".into(),
            hosts,
        };
        let mut story = Self { plan, events: Vec::new() };
        story.at(0, started);
        for wave in 0..story.plan.waves.len() {
            let wave = story.plan.waves[wave].name.clone();
            story.at(0, Event::WaveStarted { wave });
        }
        story
    }

    pub fn at(&mut self, millis: i64, event: Event) {
        self.events.push((millis, event));
    }

    /// The part of a host, from this minute on.
    pub fn host(&mut self, host: usize, minute: i64) -> Part<'_> {
        let now = minute * 60_000;
        let wave = self.plan.waves[self.plan.hosts[host].wave].name.clone();
        let mut part = Part { story: self, host, boot: 1, now };
        let host = part.name();
        part.say(Event::HostStarted { host, wave });
        part
    }

    /// A moment after its last record.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(START + self.last() + 12_000)
    }

    pub fn last(&self) -> i64 {
        self.events.iter().map(|(at, _)| *at).max().unwrap_or(0)
    }

    pub fn finish(&mut self, verdict: Verdict) {
        let at = self.last() + 1000;
        for wave in 0..self.plan.waves.len() {
            let wave = self.plan.waves[wave].name.clone();
            self.at(at, Event::WaveFinished { wave });
        }
        self.at(at, Event::RunFinished { verdict });
    }

    pub fn pause(&mut self, reason: PauseReason) {
        let at = self.last() + 1000;
        self.at(at, Event::RunPaused { reason });
    }

    /// The records in order, which the fold finds legal.
    pub fn records(&self) -> Vec<Record> {
        let mut events = self.events.clone();
        events.sort_by_key(|(at, _)| *at);
        let records: Vec<Record> = events
            .into_iter()
            .zip(0..)
            .map(|((at, event), seq)| Record { seq, at: Timestamp::from_millis(START + at), event })
            .collect();
        if let Err(illegal) = RunState::replay(&self.plan, &records) {
            panic!("a story that could not have happened: {illegal}");
        }
        records
    }

    pub fn state(&self) -> RunState {
        RunState::replay(&self.plan, &self.records()).unwrap()
    }

    pub fn report(&self) -> Report {
        Report::build(&self.plan, digest(), &run_id(), &self.records())
    }
}

pub fn digest() -> &'static str {
    "sha256:6f1ed002ab5595859014ebf0951522d9a1b6d3c04c1f3d2b8f1a5e7c9d0b2a44"
}

impl Part<'_> {
    pub fn name(&self) -> HostName {
        self.story.plan.hosts[self.host].name.clone()
    }

    pub fn say(&mut self, event: Event) {
        let now = self.now;
        self.story.at(now, event);
    }

    pub fn wait(&mut self, millis: u64) -> &mut Self {
        self.now += i64::try_from(millis).unwrap();
        self
    }

    fn length(&self, step: usize) -> u64 {
        // Hosts differ a little, and always by the same.
        WAY[step % WAY.len()].2 * (90 + (self.host as u64 * 37) % 31) / 100
    }

    pub fn start(&mut self, step: usize, attempt: u32) -> &mut Self {
        let host = self.name();
        self.say(Event::AttemptStarted { host, step: step_id(step), attempt });
        self
    }

    pub fn dark(&mut self) -> &mut Self {
        let (host, boot_id) = (self.name(), boot_id(self.host, self.boot));
        self.say(Event::HostDark { host, boot_id });
        self
    }

    pub fn back(&mut self, dark_ms: u64, system: System) -> &mut Self {
        self.wait(dark_ms);
        self.boot += 1;
        let (host, boot_id) = (self.name(), boot_id(self.host, self.boot));
        self.say(Event::HostReturned { host, boot_id, dark_ms, system: Some(system) });
        self
    }

    pub fn pass(&mut self, step: usize, attempt: u32) -> &mut Self {
        let length = self.length(step);
        self.start(step, attempt);
        let host = self.name();
        match WAY[step % WAY.len()].1 {
            "boot-upgrade" => {
                self.dark();
                self.back(length, rocky());
            }
            look @ ("identity" | "system" | "rolled-back") => {
                self.wait(length);
                let moment = match look {
                    "identity" => Moment::Before,
                    "system" => Moment::After,
                    _ => Moment::RolledBack,
                };
                let mut facts = facts(self.host, self.boot, look == "system");
                // Between two hops a host runs what the first one leads to.
                if let (true, Some(hop)) = (step != 0, self.story.plan.hops.get(1)) {
                    let rests = (step < WAY.len()) == (look == "system");
                    if rests {
                        facts.system = hop.from.clone();
                        facts.pretty_name = "Rocky Linux 8.10 (Green Obsidian)".into();
                        facts.kernel = "4.18.0-553.el8_10.x86_64".into();
                    }
                }
                self.say(Event::HostFacts { host: host.clone(), moment, facts: Arc::new(facts) });
            }
            _ => drop(self.wait(length)),
        }
        self.say(Event::AttemptPassed {
            host,
            step: step_id(step),
            attempt,
            exit: Some(0),
            duration_ms: length,
            outcome: if WAY[step % WAY.len()].0 == Phase::Migrate {
                Outcome::Changed
            } else {
                Outcome::Unchanged
            },
            stdout: None,
        });
        self
    }

    /// Passes the steps before this one.
    pub fn until(&mut self, step: usize) -> &mut Self {
        for before in 0..step {
            self.pass(before, 1);
        }
        self
    }

    pub fn fail(
        &mut self,
        step: usize,
        attempt: u32,
        failure: Failure,
        tail: &str,
        then: Then,
    ) -> &mut Self {
        self.start(step, attempt);
        let length = self.length(step) / 2;
        self.wait(length);
        let host = self.name();
        self.say(Event::AttemptFailed {
            host,
            step: step_id(step),
            attempt,
            failure,
            duration_ms: length,
            tail: tail.into(),
            never: false,
            then,
        });
        self
    }

    pub fn skip(&mut self, step: usize, reason: Skip) -> &mut Self {
        let host = self.name();
        self.say(Event::StepSkipped { host, step: step_id(step), reason });
        self
    }

    pub fn find(
        &mut self,
        step: usize,
        severity: Severity,
        message: &str,
        remedy: Option<&str>,
    ) -> &mut Self {
        let finding = Finding {
            step: step_id(step),
            severity,
            message: message.into(),
            remedy: remedy.map(str::to_owned),
            accepted: None,
            notice: None,
            reported: None,
        };
        let host = self.name();
        self.say(Event::HostFinding { host, finding });
        self
    }

    pub fn end(&mut self, end: End, touched: bool, failure: Option<Failure>) {
        let host = self.name();
        self.say(Event::HostFinished { host, end, touched, failure });
    }

    pub fn migrate(&mut self) {
        self.until(9);
        let host = self.name();
        self.say(Event::HopFinished { host, hop: 0 });
        self.end(End::Migrated, true, None);
    }

    /// Fails in the upgrade, and goes back.
    pub fn roll_back(&mut self, failure: Failure, tail: &str) {
        self.until(5).fail(5, 1, failure.clone(), tail, Then::RollBack);
        self.go_back(0, failure.clone());
        for step in 9..12 {
            self.pass(step, 1);
        }
        self.end(End::RolledBack, true, Some(failure));
    }

    pub fn go_back(&mut self, hop: u16, because: Failure) -> &mut Self {
        let host = self.name();
        self.say(Event::RollbackStarted { host, hop, because: Some(because) });
        self
    }

    /// A precheck says no.
    pub fn block(&mut self, message: &str) {
        let failure =
            Failure::Unverified { check: "stdout | int >= 200".into(), reason: message.into() };
        self.until(2).fail(2, 1, failure.clone(), "118\n", Then::Block);
        let remedy = self.story.plan.steps[2].remedy.clone();
        self.find(2, Severity::Blocker, message, remedy.as_deref());
        self.pass(3, 1);
        self.end(End::Blocked, false, Some(failure));
    }
}
