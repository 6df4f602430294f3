//! What must hold, whatever happens. It knows the rules from the plan and the truth from the hosts, and shares no code with
//! the fold, with deciding or with judging.

use crate::{
    host::{Cause, Host, Sentence},
    limits::Limits,
    scenario::{Kind, Scenario, Spec},
};
use fleetlift::{
    base::phase::Phase,
    journal::{End, Event, Failure, RebootVerdict, Record, Skip, Then},
    plan::Plan,
    plan::Task,
    playbook::{Action, OnLost},
    rollout::Allowance,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// An attempt that began and has not ended, by the journal.
#[derive(Clone, Debug)]
struct Open {
    step: String,
    attempt: u32,
    /// The intent to reboot is on the disk.
    dark: bool,
    returned: bool,
    /// The boot that the host was in when its reboot was decided.
    boot: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Pending,
    /// An operator holds it, or did: it has no slot, and nothing runs.
    Resting,
    InFlight,
    Ended(End),
}

/// A host, as the journal tells of it.
#[derive(Clone, Debug)]
struct Told {
    at: At,
    wave: usize,
    /// Taken up again by an operator: it has no slot.
    reopened: bool,
    open: Option<Open>,
    /// Steps that are over, in the phase that the host is in.
    settled: BTreeSet<String>,
    failed: Option<(String, u32, Failure, Then)>,
    /// The hop that is rolled back, or was last.
    back: Option<usize>,
    /// Where a rollback by hand ends.
    lowest: Option<usize>,
    armed: bool,
    held: bool,
    /// The hop that it is in.
    hop: usize,
    blocked: bool,
    /// Hops whose migration was begun since the host was last what it had been.
    begun: BTreeSet<usize>,
    /// It goes back as a rehearsal; and it has done so.
    rehearsing: bool,
    rehearsed: bool,
    /// Hops that it rested before.
    rested: BTreeSet<usize>,
    /// The last hop that it has finished.
    finished: Option<usize>,
    /// The last attempt of each step.
    last: BTreeMap<String, u32>,
}

/// A wave's own count.
#[derive(Clone, Debug, Default)]
struct WaveTold {
    in_flight: usize,
    good: usize,
    ended: usize,
    bad_canary: bool,
}

pub struct Oracle {
    plan: Arc<Plan>,
    specs: Arc<Vec<Spec>>,
    hosts: BTreeMap<String, Told>,
    waves: Vec<WaveTold>,
    running: bool,
    finished: bool,
    stopping: bool,
    only_reopened: bool,
    bad: usize,
    row: usize,
    records: u64,
    resumes: u64,
    at: i64,
    pub limits: Limits,
    /// Controllers have clocks that do not agree: what was counted across two of them is as wrong as they are.
    pub clocks: bool,
}

/// Between the decision to reboot a host and its command, where that is given at the first try; and between what happens
/// and its record.
const DARK_SLACK_MS: u64 = 60_000;

fn id(step: &fleetlift::journal::StepId) -> String {
    format!("{}.{}.{}", step.hop, step.phase.as_str(), step.step.as_str())
}

impl Oracle {
    pub fn new(scenario: &Scenario) -> Self {
        let plan = Arc::clone(&scenario.plan);
        let told = |wave| Told {
            at: At::Pending,
            wave,
            reopened: false,
            open: None,
            settled: BTreeSet::new(),
            failed: None,
            back: None,
            lowest: None,
            armed: false,
            held: false,
            hop: 0,
            blocked: false,
            begun: BTreeSet::new(),
            rehearsing: false,
            rehearsed: false,
            rested: BTreeSet::new(),
            finished: None,
            last: BTreeMap::new(),
        };
        let hosts = plan.hosts.iter().map(|h| (h.name.as_str().to_owned(), told(h.wave))).collect();
        let waves = vec![WaveTold::default(); plan.waves.len()];
        let limits = Limits::new(&plan);
        Self {
            limits,
            clocks: false,
            specs: Arc::clone(&scenario.specs),
            plan,
            hosts,
            waves,
            running: false,
            finished: false,
            stopping: false,
            only_reopened: false,
            bad: 0,
            row: 0,
            records: 0,
            resumes: 0,
            at: 0,
        }
    }

    /// Why a script may be sent to a host now.
    pub fn cause(&self, host: &str, sentence: &Sentence, dir: &str) -> Result<Cause, String> {
        let told = &self.hosts[host];
        let Some(open) = &told.open else {
            return Err(format!("{host}: {dir} was sent with no attempt in the journal"));
        };
        let cause = Cause { step: open.step.clone(), attempt: open.attempt };
        let Sentence::Say { word, step } = sentence else { return Ok(cause) };
        let wrong = |why: &str| Err(format!("{host}: {dir} was sent {why}: {open:?}"));
        match word.as_str() {
            "reboot" if !open.dark => wrong("before its intent was in the journal"),
            "reboot" if step.is_empty() => Ok(cause),
            "disarm" if open.step.contains(".rollback.disarm-") => Ok(cause),
            "run" | "local" | "reboot" | "guard" | "verify" | "probe" | "until" | "wait"
            | "file"
                if *step == open.step =>
            {
                Ok(cause)
            }
            _ => wrong("for another step"),
        }
    }

    /// The word for a host's state, by the journal.
    pub fn word(&self, host: &str) -> &'static str {
        let told = &self.hosts[host];
        let dark = told.open.as_ref().is_some_and(|open| open.dark && !open.returned);
        match told.at {
            At::Pending | At::Resting if told.held => "held",
            At::Pending | At::Resting => "pending",
            At::Ended(end) => end.word(),
            At::InFlight if dark => "dark",
            At::InFlight if told.armed => "armed",
            At::InFlight => "running",
        }
    }

    /// How many hosts are in each state, by the journal.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for host in self.hosts.keys() {
            let word = match self.word(host) {
                "pending" if self.finished => "not_started",
                word => word,
            };
            *counts.entry(word).or_default() += 1;
        }
        counts
    }

    /// How every host ended.
    pub fn ends(&self) -> BTreeMap<String, Option<End>> {
        let end = |told: &Told| match told.at {
            At::Ended(end) => Some(end),
            At::Pending | At::Resting | At::InFlight => None,
        };
        self.hosts.iter().map(|(name, told)| (name.clone(), end(told))).collect()
    }

    /// Takes in a record that is on the disk now.
    pub fn take(
        &mut self,
        record: &Record,
        truth: &BTreeMap<String, Host>,
        wrong: &mut Vec<String>,
    ) {
        let before = wrong.len();
        if record.seq != self.records {
            wrong.push(format!("{} records are there, now comes {}", self.records, record.seq));
        }
        self.records += 1;
        self.at = record.at.as_millis();
        let steps = self.plan.steps.len() as u64;
        let most = (self.plan.hosts.len() as u64 + 10) * (steps * 12 + 40) * (self.resumes + 1);
        if self.records > most {
            wrong.push(format!("{} records: the run turns in circles", self.records));
        }
        self.limits.take(record);
        wrong.append(&mut self.limits.wrong);
        match record.event.host().map(|name| name.as_str().to_owned()) {
            None => self.take_run(&record.event, wrong),
            Some(_) if !self.running => wrong.push("the run does not run".to_owned()),
            Some(name) => self.take_host(&name, &record.event, &truth[&name], wrong),
        }
        for said in &mut wrong[before..] {
            *said = format!("record {}: {said}", record.seq);
        }
    }

    fn take_run(&mut self, event: &Event, wrong: &mut Vec<String>) {
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
                if all != (*verdict == fleetlift::journal::Verdict::Completed) {
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

    fn hold(&mut self, hosts: &[fleetlift::base::name::HostName], held: bool) {
        for host in hosts {
            let told = self.told(host.as_str());
            // After its end nothing is left to hold.
            told.held = held && !matches!(told.at, At::Ended(_));
        }
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

    fn take_host(&mut self, name: &str, event: &Event, truth: &Host, wrong: &mut Vec<String>) {
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
            Event::HostDark { boot_id, .. } => {
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
            Event::HostReopened { .. } => {
                let back = self.lowest_hop(name);
                let told = self.told(name);
                if !matches!(told.at, At::Ended(_)) {
                    said.push("reopened, but it had not ended".to_owned());
                }
                let was_good =
                    matches!(told.at, At::Ended(End::Migrated | End::Already | End::Committed));
                (told.at, told.reopened) = (At::InFlight, true);
                told.failed = None;
                told.rehearsing = false;
                told.lowest = back;
                told.settled.retain(|step| !step.contains(".rollback."));
                let wave = told.wave;
                self.waves[wave].good -= usize::from(was_good);
            }
            Event::HopFinished { hop, .. } => {
                let told = self.told(name);
                (told.hop, told.finished) = (usize::from(*hop) + 1, Some(usize::from(*hop)));
            }
            Event::HostFacts { .. } | Event::HostFinding { .. } => {}
            _ => said.push("an event of the run with a host".to_owned()),
        }
        wrong.extend(said.into_iter().map(|said| format!("{name}: {said}")));
    }

    /// A host is dark from its command on, however long ago that was decided. One that went down by itself has none.
    fn was_dark(&self, dark_ms: u64, truth: &Host, said: &mut Vec<String>) {
        let Some(told) = truth.told_to_reboot.filter(|_| !self.clocks) else { return };
        let most = truth.now().saturating_sub(told) + DARK_SLACK_MS;
        if dark_ms > most {
            said.push(format!("was dark for {dark_ms} ms, and was told to reboot {most} ms ago"));
        }
    }

    /// A reboot is given up: has it had its time?
    fn gave_up(&self, failure: &Failure, truth: &Host, said: &mut Vec<String>) {
        let Failure::Reboot(
            RebootVerdict::NeverBack { limit_ms, .. } | RebootVerdict::NotOver { limit_ms, .. },
        ) = failure
        else {
            return;
        };
        let Some(told) = truth.told_to_reboot.filter(|_| !self.clocks) else { return };
        let had = truth.now().saturating_sub(told) + DARK_SLACK_MS;
        if had < *limit_ms {
            said.push(format!("is given up {had} ms after its command: {failure:?}"));
        }
    }

    fn told(&mut self, name: &str) -> &mut Told {
        self.hosts.get_mut(name).unwrap()
    }

    /// Whether the migration of a hop was begun on a host.
    fn has_begun(&self, name: &str, hop: usize) -> bool {
        self.hosts[name].begun.contains(&hop)
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
    }

    /// The first of the hops that a host can be brought back through.
    fn lowest_hop(&self, name: &str) -> Option<usize> {
        let hops = self.plan.hops.iter().enumerate();
        let mut back =
            hops.filter(|(index, hop)| !hop.rollback.is_empty() && self.has_begun(name, *index));
        back.next().map(|(index, _)| index)
    }

    /// A host takes a slot.
    fn started(&mut self, name: &str, said: &mut Vec<String>) {
        let wave = self.hosts[name].wave;
        let total: usize = self.waves.iter().map(|wave| wave.in_flight).sum();
        let (planned, told) = (&self.plan.waves[wave], &self.waves[wave]);
        if total >= self.plan.limits.parallel {
            said.push(format!("starts as one of {} in the fleet", total + 1));
        }
        if told.in_flight >= planned.parallel {
            said.push(format!("starts as one of {} in its wave", told.in_flight + 1));
        }
        if told.good < planned.canary && told.good + told.in_flight >= planned.canary {
            said.push("starts before the canaries are migrated".to_owned());
        }
        if told.bad_canary {
            said.push("starts after a bad canary".to_owned());
        }
        if planned.after.iter().any(|w| self.waves[*w].ended < self.plan.waves[*w].hosts.len()) {
            said.push("starts before the waves that its wave comes after".to_owned());
        }
        let hosts = self.plan.hosts.len();
        let allowed = match self.plan.limits.budget.failures {
            Allowance::Hosts(n) => n as usize,
            Allowance::Percent(percent) => hosts * percent as usize / 100,
        };
        if self.bad > allowed {
            said.push(format!("starts over the budget: {} of {allowed}", self.bad));
        }
        if self.plan.limits.budget.consecutive.is_some_and(|n| n > 0 && self.row >= n as usize) {
            said.push(format!("starts after {} bad ones in a row", self.row));
        }
        if self.stopping || self.only_reopened {
            said.push("starts although the run is to stop".to_owned());
        }
        if !matches!(self.hosts[name].at, At::Pending | At::Resting) {
            said.push("starts twice".to_owned());
        }
        if self.hosts[name].held {
            said.push("starts, but it is held".to_owned());
        }
        self.told(name).at = At::InFlight;
        self.waves[wave].in_flight += 1;
    }

    fn spec(&self, step: &str) -> Option<Spec> {
        let of = |s: &&Spec| crate::host::step_name(s.hop, s.phase, &s.name) == step;
        self.specs.iter().find(of).cloned()
    }

    /// The steps that a host passes before this one, in the same hop and direction.
    fn earlier(&self, step: &str) -> Vec<String> {
        let names: Vec<String> = self.plan.steps.iter().map(|planned| id(&planned.id)).collect();
        let at = names.iter().position(|name| name == step).unwrap();
        let side = |at: usize| {
            let id = &self.plan.steps[at].id;
            let side = match id.phase {
                Phase::Rollback => 1,
                Phase::Commit => 2,
                Phase::Backup | Phase::Precheck | Phase::Migrate | Phase::Verify => 0,
            };
            (id.hop, side)
        };
        (0..at).filter(|other| side(*other) == side(at)).map(|at| names[at].clone()).collect()
    }

    /// The intent of an attempt.
    fn attempt(
        &mut self,
        name: &str,
        step: &str,
        attempt: u32,
        truth: &Host,
        said: &mut Vec<String>,
    ) {
        let told = &self.hosts[name];
        if told.at != At::InFlight {
            said.push("an attempt, but it is not in flight".to_owned());
        }
        if let Some(open) = &told.open {
            said.push(format!("{step} is attempted while {open:?} is open"));
        }
        let missing: Vec<String> =
            self.earlier(step).into_iter().filter(|it| !told.settled.contains(it)).collect();
        if !missing.is_empty() && !told.reopened {
            said.push(format!("{step} is attempted before {missing:?}"));
        }
        if let Some((hop, _)) = step.split_once(".rollback.")
            && !self.has_begun(name, hop.parse().unwrap())
        {
            said.push(format!("{step} is attempted, but the hop has changed nothing"));
        }
        if told.settled.contains(step) {
            said.push(format!("{step} is attempted, but it is over"));
        }
        if told.blocked && !step.contains(".precheck.") && !told.reopened {
            said.push(format!("{step} is attempted on a blocked host"));
        }
        match &told.failed {
            Some((failed, last, failure, then)) => {
                self.retried(step, attempt, (failed, *last), (failure, then), truth, said);
            }
            None if attempt != told.last.get(step).map_or(1, |last| last + 1) => {
                said.push(format!("{step} is begun with attempt {attempt}"));
            }
            None => {}
        }
        let rests = self.plan.waves[self.hosts[name].wave].rest_between_hops;
        let told = self.told(name);
        let open =
            Open { step: step.to_owned(), attempt, dark: false, returned: false, boot: truth.boot };
        told.open = Some(open);
        told.hop = step.split('.').next().and_then(|hop| hop.parse().ok()).unwrap();
        let forward = ["backup", "precheck", "migrate", "verify"];
        let is_forward = step.split('.').nth(1).is_some_and(|phase| forward.contains(&phase));
        let enters = told.finished.is_some_and(|hop| hop + 1 == told.hop);
        if rests && is_forward && enters && !told.rested.contains(&told.hop) {
            said.push(format!("{step} is attempted without a rest before its hop"));
        }
        if step.contains(".migrate.") {
            told.begun.insert(told.hop);
        }
        told.last.insert(step.to_owned(), attempt);
    }

    /// Whether an attempt may follow a failed one.
    fn retried(
        &self,
        step: &str,
        attempt: u32,
        (failed, last): (&str, u32),
        (failure, then): (&Failure, &Then),
        truth: &Host,
        said: &mut Vec<String>,
    ) {
        if failed != step || attempt != last + 1 {
            said.push(format!("attempt {attempt} of {step} follows attempt {last} of {failed}"));
        }
        match then {
            Then::Retry { not_before } if not_before.as_millis() <= self.at => {}
            Then::Retry { .. } => said.push(format!("{step} is retried too early")),
            _ => said.push(format!("{step} is attempted after {then:?}")),
        }
        let Some(spec) = self.spec(step) else { return };
        let changes = matches!(spec.phase, Phase::Migrate | Phase::Rollback | Phase::Commit);
        let began = truth.attempts.get(&(step.to_owned(), last)).is_some_and(|n| *n > 0);
        let unknown = match failure {
            Failure::Lost { .. } => spec.on_lost != OnLost::Rerun,
            Failure::TimedOut { stopped, .. } => !stopped,
            Failure::Unreachable { .. } | Failure::Refused { .. } => began,
            // A reboot is never asked for twice.
            Failure::Reboot(_) => true,
            Failure::Exited { .. } | Failure::Killed { .. } | Failure::Unverified { .. } => false,
        };
        if changes && unknown {
            said.push(format!("{step} is attempted again after {failure:?}"));
        }
    }

    /// An attempt is over.
    fn close(
        &mut self,
        name: &str,
        step: &str,
        attempt: u32,
        said: &mut Vec<String>,
    ) -> Option<Open> {
        let open = self.told(name).open.take();
        if !open.as_ref().is_some_and(|open| open.step == step && open.attempt == attempt) {
            said.push(format!("attempt {attempt} of {step} ends, open is {open:?}"));
        }
        open
    }

    fn is_script(&self, step: &str) -> bool {
        let at = self.plan.steps.iter().position(|planned| id(&planned.id) == step).unwrap();
        let tasks = self.plan.rendered.iter().filter(|rendered| rendered.step == at);
        tasks.map(|rendered| &rendered.task).all(|task| matches!(task, Task::Act(Action::Run(_))))
    }

    fn passed(
        &mut self,
        name: &str,
        step: &str,
        attempt: u32,
        stdout: Option<&str>,
        truth: &Host,
        said: &mut Vec<String>,
    ) {
        let planned = self.plan.steps.iter().find(|it| id(&it.id) == step).unwrap().clone();
        let printed = truth.outputs.get(&(step.to_owned(), attempt));
        if let (Some(heard), Some(printed)) = (stdout, printed)
            && heard != printed
        {
            said.push(format!("{step} printed {printed:?}, heard was {heard:?}"));
        }
        if self.is_script(step) && !truth.attempts.contains_key(&(step.to_owned(), attempt)) {
            said.push(format!("attempt {attempt} of {step} passed, and never began"));
        }
        let told = self.told(name);
        told.armed = (told.armed || planned.arms) && !planned.disarms && !planned.reboots;
        told.settled.insert(step.to_owned());
        told.failed = None;
    }

    fn failed(
        &mut self,
        name: &str,
        (step, attempt): (&str, u32),
        failure: &Failure,
        then: &Then,
        truth: &Host,
        said: &mut Vec<String>,
    ) {
        self.gave_up(failure, truth, said);
        let untouched = matches!(failure, Failure::Unreachable { .. } | Failure::Refused { .. });
        let began = truth.attempts.contains_key(&(step.to_owned(), attempt));
        if untouched && began && self.is_script(step) {
            said.push(format!("attempt {attempt} of {step} began, but is told as {failure:?}"));
        }
        let arms = self.plan.steps.iter().any(|it| id(&it.id) == step && it.arms);
        let told = self.told(name);
        // Whether a step armed the host that did not pass is not known: it counts as armed.
        told.armed |= arms && !untouched;
        match then {
            Then::GoOn | Then::Block => {
                if !step.contains(".precheck.") {
                    said.push(format!("{step} failed, and the host goes on"));
                }
                told.blocked |= *then == Then::Block;
                told.settled.insert(step.to_owned());
                told.failed = None;
            }
            Then::Retry { .. } | Then::RollBack | Then::GiveUp => {
                told.failed = Some((step.to_owned(), attempt, failure.clone(), then.clone()));
            }
        }
    }

    fn skipped(&mut self, name: &str, step: &str, reason: &Skip, said: &mut Vec<String>) {
        let reboots = self.plan.steps.iter().any(|it| id(&it.id) == step && it.reboots);
        let spec = self.spec(step);
        let told = self.told(name);
        if let Some(open) = told.open.take()
            && open.step != step
        {
            said.push(format!("{step} is skipped while {open:?} is open"));
        }
        let proven = matches!(reason, Skip::Proven { .. } | Skip::Guard { .. });
        if proven && reboots {
            told.armed = false;
        }
        if proven && spec.is_some_and(|s| s.kind == Kind::Arm) {
            told.armed = true;
        }
        told.settled.insert(step.to_owned());
        told.failed = None;
    }

    /// A host's end: is it true?
    fn ended(&mut self, name: &str, end: End, touched: bool, truth: &Host, said: &mut Vec<String>) {
        let last = self.plan.hops.len();
        let told = &self.hosts[name];
        if let Some(open) = &told.open {
            said.push(format!("ends while {open:?} is open"));
        }
        if truth.changed && !touched {
            said.push("was changed, and ends as not touched".to_owned());
        }
        let place = truth.place;
        let back = if told.reopened { told.lowest } else { told.back };
        match end {
            End::Migrated | End::Already if place != Some(last) => {
                said.push(format!("ends {end:?} on system {place:?} of {last}"));
            }
            End::RolledBack if place != back => {
                said.push(format!("ends rolled back on {place:?}, not on {back:?}"));
            }
            End::Migrated
                if self.plan.waves[told.wave].rehearse_rollback
                    && self.waves[told.wave].good < self.plan.waves[told.wave].canary
                    && !told.rehearsed =>
            {
                said.push("is a canary, migrated without a rehearsal".to_owned());
            }
            End::RolledBack | End::Migrated if truth.armed.is_some() => {
                said.push(format!("ends {end:?} and is armed"));
            }
            _ => {}
        }
        let (wave, reopened) = (told.wave, told.reopened);
        let told = self.told(name);
        (told.at, told.reopened, told.failed) = (At::Ended(end), false, None);
        told.held = false;
        let canary = self.plan.waves[wave].canary;
        let wave = &mut self.waves[wave];
        if !reopened {
            wave.in_flight -= 1;
            wave.ended += 1;
        }
        let good = matches!(end, End::Migrated | End::Already | End::Committed);
        let bad = matches!(end, End::Failed | End::RolledBack | End::NeedsHands | End::Unreachable);
        if good {
            self.row = 0;
            wave.good += 1;
        }
        if bad {
            self.bad += 1;
            self.row += 1;
            wave.bad_canary |= wave.good < canary;
        }
    }
}

/// The number of a made-up boot, which is the end of its id.
fn boot_number(boot_id: &str) -> Option<u32> {
    boot_id.rsplit('-').next()?.parse().ok()
}
