//! The state of a run: a fold of its records. The table of a host's transitions is beside it.

use super::{
    approvals::{self, GateState},
    domains::Domains,
    host::{HostPhase, HostState},
    learned::Learned,
    pace::Pace,
    tally::Tally,
    watching::Watches,
};
use crate::{
    base::{
        approval::{Approval, Known, Unfit},
        name::{HostName, RequestId, WaveName},
        time::Timestamp,
    },
    journal::{End, Event, PauseReason, Record, Verdict},
    plan::{Plan, PlanWave},
    rollout::Allowance,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Where the run as a whole stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunPhase {
    New,
    Running,
    Paused(PauseReason),
    Finished(Verdict),
}

/// A record that cannot follow those before it: a bug when writing, corrupt data when reading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {seq}: {message}")]
pub struct Illegal {
    pub seq: u64,
    pub message: String,
}

/// A wave, as far as the run has come with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaveState {
    pub started: bool,
    pub finished: bool,
    /// Hosts that would take a slot now, in the plan's order: neither held nor in flight nor ended.
    pub ready: BTreeSet<usize>,
    pub in_flight: usize,
    /// How many of the wave's hosts have not ended.
    pub open: usize,
    /// When one of its hosts ended last.
    pub ended: Option<Timestamp>,
    /// How many hosts have begun since nothing of the wave was in flight: the batch of a barrier.
    pub batch: usize,
    /// How its hosts ended.
    pub tally: Tally,
    /// Hosts that are migrated and could be brought back.
    pub migrated: BTreeSet<usize>,
    /// Ends on the target system; as many as the wave has canaries open it for the others.
    pub good: usize,
    /// The first host of the canary that ended badly and was not accepted by a resume since.
    pub bad_canary: Option<HostName>,
    /// What people have said about it.
    pub gate: GateState,
}

/// Limits that operators have changed while the run went on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuned {
    pub parallel: Option<u32>,
    pub failures: Option<Allowance>,
}

impl Tuned {
    /// Hosts in flight at once, over all waves.
    pub fn parallel(&self, plan: &Plan) -> usize {
        self.parallel.map_or(plan.limits.parallel, |n| n as usize)
    }

    /// Hosts of a wave in flight at once. A wave without a smaller limit of its own has that of the fleet.
    pub fn parallel_of(&self, plan: &Plan, wave: &PlanWave) -> usize {
        match wave.parallel < plan.limits.parallel {
            true => wave.parallel,
            false => self.parallel(plan),
        }
    }

    /// How many hosts of the plan may end badly.
    pub fn failures(&self, plan: &Plan) -> Allowance {
        self.failures.unwrap_or(plan.limits.budget.failures)
    }
}

impl WaveState {
    /// Until when the wave is watched, once its last host has ended. One none of whose hosts is on the target system has
    /// nothing to watch.
    pub fn soaks_until(&self, wave: &PlanWave) -> Option<Timestamp> {
        let ended = self.ended.filter(|_| self.open == 0 && self.good > 0)?;
        wave.soak.map(|soak| ended + soak)
    }
}

/// The whole run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    pub phase: RunPhase,
    /// One for each of the plan's hosts, in the plan's order.
    pub hosts: Vec<HostState>,
    /// One for each of the plan's waves.
    pub waves: Vec<WaveState>,
    /// How many hosts are in each state, by the word of `status`. They always add up to the number of hosts.
    pub counts: BTreeMap<&'static str, usize>,
    pub started: Option<Timestamp>,
    /// The plan's digest, as the first record has it.
    pub digest: String,
    pub next_seq: u64,
    /// Requests of other processes that were taken: none is taken twice.
    pub requests: BTreeSet<RequestId>,
    /// Who said stop, until a resume.
    pub stopping: Option<String>,
    /// How often a controller took over.
    pub resumes: u32,
    /// What is asked again and again, and was answered.
    pub watches: Watches,
    /// What operators have changed of the plan's limits.
    pub tuned: Tuned,
    /// Who took up only some hosts again: the others stay where they are.
    pub only_reopened: Option<String>,
    /// How hosts ended since the run was last started or resumed.
    pub tally: Tally,
    /// Who is away in which failure domain, and who may start.
    pub domains: Domains,
    /// In flight with nothing running, so that something must be decided.
    pub idle: BTreeSet<usize>,
    /// Held, and at rest.
    pub held: BTreeSet<usize>,
    /// At rest between two hops, until somebody resumes the run.
    pub between: BTreeSet<usize>,
    /// Held, and still in flight: they rest at their next safe point.
    pub holding: BTreeSet<usize>,
    /// Waiting for a retry, by when it is due.
    pub due: BTreeSet<(Timestamp, usize)>,
    /// How many attempts run.
    pub running: usize,
    /// How long attempts took.
    pub pace: Pace,
    /// Reboots under way that nobody has been told to be late, by when they began.
    pub rebooting: BTreeSet<(Timestamp, usize)>,
    /// How long reboots took.
    pub learned: Learned,
    /// Which host has which machine id.
    pub machines: BTreeMap<String, usize>,
    names: Arc<BTreeMap<HostName, usize>>,
    wave_names: Arc<BTreeMap<WaveName, usize>>,
}

impl RunState {
    pub fn new(plan: &Plan) -> Self {
        let hosts = vec![HostState::new(); plan.hosts.len()];
        let names = plan.hosts.iter().enumerate().map(|(i, host)| (host.name.clone(), i)).collect();
        let waves = plan.waves.iter().enumerate().map(|(i, wave)| (wave.name.clone(), i)).collect();
        let in_wave = |wave: &PlanWave| WaveState {
            ready: wave.hosts.iter().copied().collect(),
            open: wave.hosts.len(),
            ..WaveState::default()
        };
        Self {
            phase: RunPhase::New,
            counts: [("pending", hosts.len())].into(),
            hosts,
            waves: plan.waves.iter().map(in_wave).collect(),
            started: None,
            digest: String::new(),
            next_seq: 0,
            requests: BTreeSet::new(),
            stopping: None,
            resumes: 0,
            watches: Watches::default(),
            tuned: Tuned::default(),
            only_reopened: None,
            tally: Tally::default(),
            domains: Domains::new(plan),
            idle: BTreeSet::new(),
            held: BTreeSet::new(),
            between: BTreeSet::new(),
            holding: BTreeSet::new(),
            due: BTreeSet::new(),
            running: 0,
            pace: Pace::default(),
            rebooting: BTreeSet::new(),
            learned: Learned::default(),
            machines: BTreeMap::new(),
            names: Arc::new(names),
            wave_names: Arc::new(waves),
        }
    }

    /// The state after these records.
    pub fn replay<'r>(
        plan: &Plan,
        records: impl IntoIterator<Item = &'r Record>,
    ) -> Result<Self, Illegal> {
        let mut state = Self::new(plan);
        for record in records {
            state.apply(plan, record)?;
        }
        Ok(state)
    }

    /// Hosts that have a slot, over all waves.
    pub(super) fn in_flight(&self) -> usize {
        self.waves.iter().map(|wave| wave.in_flight).sum()
    }

    /// How many canaries a wave needs beside those that are good, or on their way: in flight, or at rest between two hops.
    pub(super) fn canaries_left(&self, plan: &Plan, number: usize) -> usize {
        let at = &self.waves[number];
        let own = |host: &&usize| plan.hosts[**host].wave == number;
        let between = self.between.iter().filter(own).count();
        plan.waves[number].canary.saturating_sub(at.good + at.in_flight + between)
    }

    /// The index of a host of the plan.
    pub fn host(&self, name: &HostName) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Takes in one record. The writer calls it before it appends, the reader as it loads.
    pub fn apply(&mut self, plan: &Plan, record: &Record) -> Result<(), Illegal> {
        let illegal = |message: String| Illegal { seq: record.seq, message };
        if record.seq != self.next_seq {
            return Err(illegal(format!("expected record {}", self.next_seq)));
        }
        if let Some(request) = record.event.request()
            && !self.requests.insert(request.clone())
        {
            return Err(illegal(format!("the request {request} was taken before")));
        }
        self.apply_run(plan, &record.event, record.at).map_err(illegal)?;
        if let Event::GateDecided { approval, .. } = &record.event {
            self.take_word(plan, approval).map_err(|unfit| {
                let principal = &approval.statement.principal;
                illegal(format!("the word of {principal} does not count: {unfit}"))
            })?;
        }
        for name in record.event.host().into_iter().chain(record.event.named()) {
            let host = self
                .host(name)
                .ok_or_else(|| illegal(format!("{name:?} is not a host of the plan")))?;
            self.apply_host(plan, host, &record.event, record.at).map_err(illegal)?;
        }
        self.next_seq += 1;
        Ok(())
    }

    /// Whether a statement is one that this run's records may hold: of who may, of this plan, with a signature where one is
    /// asked for. Its time is no matter here.
    pub fn check(&self, plan: &Plan, approval: &Approval) -> Result<(usize, Known), Unfit> {
        let wave = &approval.statement.wave;
        let (number, rule) = approvals::rule(plan, wave)?;
        Ok((number, rule.check(approval, &self.digest, wave)?))
    }

    /// Takes in a statement that fits.
    pub fn take_word(&mut self, plan: &Plan, approval: &Approval) -> Result<(), Unfit> {
        let (number, known) = self.check(plan, approval)?;
        self.waves[number].gate.take(approval, known);
        Ok(())
    }

    /// The run's own transitions.
    fn apply_run(&mut self, plan: &Plan, event: &Event, at: Timestamp) -> Result<(), String> {
        use RunPhase::{Finished, New, Paused, Running};
        match (&self.phase, event) {
            (New, Event::RunStarted { plan, .. }) => {
                self.phase = Running;
                self.digest.clone_from(plan);
                self.started = Some(at);
            }
            (
                Running | Paused(_) | Finished(_),
                Event::RunResumed { only_reopened, operator, .. },
            ) => {
                self.phase = Running;
                self.only_reopened = only_reopened.then(|| operator.clone());
                if let Some(unborn) = self.counts.remove("not_started") {
                    self.counts.insert("pending", unborn);
                }
                self.stopping = None;
                self.hosts.iter_mut().for_each(|host| host.nevers = 0);
                self.resumes += 1;
                self.tally = Tally::default();
                self.watches = Watches::default();
                for wave in &mut self.waves {
                    wave.bad_canary = None;
                    wave.tally = Tally::default();
                }
                if !only_reopened {
                    self.accept_those_that_stand();
                    self.take_on_those_between(plan);
                }
            }
            (Running, Event::StopRequested { by, .. }) => {
                self.stopping.get_or_insert_with(|| by.clone());
            }
            (Running, Event::LeaveRequested { .. }) => {}
            (Running, Event::WatchTold { watch, told, in_a_row }) => {
                self.watches.take(plan, watch, (told, *in_a_row), at)?;
            }
            (Running | Paused(_), Event::LimitsTuned { parallel, failures, .. }) => {
                self.tuned.parallel = parallel.or(self.tuned.parallel);
                self.tuned.failures = failures.or(self.tuned.failures);
            }
            (
                Running | Paused(_),
                Event::HoldRequested { .. }
                | Event::ReleaseRequested { .. }
                | Event::GateDecided { .. },
            ) => {}
            (Running, Event::RunPaused { reason }) => self.phase = Paused(reason.clone()),
            (Running, Event::RunFinished { verdict }) => {
                self.phase = Finished(*verdict);
                let unborn = self.counts.remove("pending").unwrap_or(0);
                if unborn > 0 {
                    self.counts.insert("not_started", unborn);
                }
            }
            (Running, Event::WaveStarted { wave }) => self.wave_mut(wave)?.started = true,
            (Running, Event::WaveFinished { wave }) => self.wave_mut(wave)?.finished = true,
            (Running, event) if event.host().is_some() => {}
            (phase, event) => return Err(format!("{event:?} is not legal in {phase:?}")),
        }
        Ok(())
    }

    /// Who resumes a run knows how its hosts have ended. Those that are proven to stand make room in their domains; of the
    /// others nobody knows that they are up.
    fn accept_those_that_stand(&mut self) {
        for index in 0..self.hosts.len() {
            if self.hosts[index].accept() {
                self.domains.set_away(index, false);
            }
        }
    }

    /// Who resumes a run lets hosts that rest between two hops go on.
    fn take_on_those_between(&mut self, plan: &Plan) {
        for index in std::mem::take(&mut self.between) {
            self.hosts[index].between = false;
            self.sort(plan, index);
        }
    }

    fn wave_mut(&mut self, name: &WaveName) -> Result<&mut WaveState, String> {
        let wave = self.wave_names.get(name).ok_or_else(|| format!("no wave {name}"))?;
        self.waves.get_mut(*wave).ok_or_else(|| format!("no wave {name}"))
    }

    /// A host's transition, and what the run keeps in step with it.
    fn apply_host(
        &mut self,
        plan: &Plan,
        index: usize,
        event: &Event,
        at: Timestamp,
    ) -> Result<(), String> {
        let host = &mut self.hosts[index];
        let (word, phase) = (host.word(), host.phase.clone());
        let reboot = host.left_boot.as_ref().map(|left| (left.at, host.step()));
        host.next(plan, index, event, at)
            .map_err(|e| format!("{}: {e}", plan.hosts[index].name))?;
        if let Some((began, step)) = reboot {
            self.rebooting.remove(&(began, index));
            if let (Some(step), Event::AttemptPassed { .. }) = (step, event) {
                let took = u64::try_from(at.since(began).as_millis()).unwrap_or(u64::MAX);
                self.learned.add(step, took);
            }
        }
        self.sort(plan, index);
        let host = &self.hosts[index];
        if let Some(left) = host.left_boot.as_ref().filter(|_| !host.late) {
            self.rebooting.insert((left.at, index));
        }
        if host.phase != phase {
            self.leave(index, &phase);
            self.enter(plan, index, &phase, at);
        }
        let now = self.hosts[index].word();
        if now != word {
            match self.counts.get_mut(word) {
                Some(1) | None => drop(self.counts.remove(word)),
                Some(n) => *n -= 1,
            }
            *self.counts.entry(now).or_default() += 1;
        }
        if let Event::AttemptPassed { step, duration_ms, .. } = event
            && let Some(step) = plan.step_index(step)
        {
            self.pace.take(step, *duration_ms);
        }
        if let Event::HostFacts { facts, .. } = event
            && !facts.machine_id.is_empty()
        {
            self.machines.entry(facts.machine_id.clone()).or_insert(index);
        }
        Ok(())
    }

    /// Keeps the lists of who is held and who is ready.
    fn sort(&mut self, plan: &Plan, index: usize) {
        let wave = plan.hosts[index].wave;
        fn keep(list: &mut BTreeSet<usize>, index: usize, belongs: bool) {
            match belongs {
                true => list.insert(index),
                false => list.remove(&index),
            };
        }
        let host = &self.hosts[index];
        let (held, flies) = (host.held_by.is_some(), host.is_in_flight());
        keep(&mut self.held, index, held && !flies);
        keep(&mut self.between, index, host.between);
        keep(&mut self.holding, index, held && flies);
        let back = host.phase == HostPhase::Ended(End::Migrated) && host.has_way_back(plan);
        keep(&mut self.waves[wave].migrated, index, back);
        keep(&mut self.waves[wave].ready, index, host.is_ready());
        self.domains.set_ready(index, host.is_ready());
        self.domains.set_away(index, host.is_away());
        self.domains.set_down(index, host.may_be_down());
    }

    fn leave(&mut self, index: usize, phase: &HostPhase) {
        match phase {
            HostPhase::Idle => drop(self.idle.remove(&index)),
            HostPhase::Running { .. } => self.running -= 1,
            HostPhase::Waiting { not_before, .. } => drop(self.due.remove(&(*not_before, index))),
            HostPhase::Pending | HostPhase::Resting { .. } | HostPhase::Ended(_) => {}
        }
    }

    fn enter(&mut self, plan: &Plan, index: usize, was: &HostPhase, at: Timestamp) {
        match (was, &self.hosts[index].phase) {
            (_, HostPhase::Running { .. }) => self.running += 1,
            (_, HostPhase::Waiting { not_before, .. }) => {
                self.due.insert((*not_before, index));
            }
            (_, HostPhase::Idle) => {
                self.idle.insert(index);
            }
            (_, HostPhase::Pending | HostPhase::Resting { .. } | HostPhase::Ended(_)) => {}
        }
        let wave = &mut self.waves[plan.hosts[index].wave];
        match (was, &self.hosts[index].phase) {
            (HostPhase::Pending | HostPhase::Resting { .. }, _) => {
                wave.in_flight += 1;
                wave.batch += 1;
            }
            (HostPhase::Ended(end), _) => {
                wave.in_flight += 1;
                wave.open += 1;
                // What is undone or committed is counted again by its next end.
                wave.good -= usize::from(end.is_good());
            }
            (_, HostPhase::Resting { .. }) => wave.in_flight -= 1,
            (_, HostPhase::Ended(end)) => {
                let end = *end;
                wave.in_flight -= 1;
                wave.open -= 1;
                wave.ended = Some(at);
                wave.good += usize::from(end.is_good());
                self.tally.take(end, at, self.domains.of(index));
                wave.tally.take(end, at, self.domains.of(index));
                if end.is_bad() && wave.good < plan.waves[plan.hosts[index].wave].canary {
                    wave.bad_canary.get_or_insert_with(|| plan.hosts[index].name.clone());
                }
            }
            (_, _) => {}
        }
        if wave.in_flight == 0 {
            wave.batch = 0;
        }
    }
}
