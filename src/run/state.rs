//! The state of a run: a fold of its records through one table of transitions.

use crate::{
    base::{
        facts::Facts,
        name::{HostName, WaveName},
        phase::Phase,
        time::Timestamp,
    },
    journal::{
        End, Event, Failure, Moment, Notice, Outcome, PauseReason, Record, Skip, StepId, Then,
        Verdict,
    },
    plan::{Plan, Task},
    run::Learned,
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

/// Where a host stands. `step` is an index into the plan's steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPhase {
    Pending,
    /// In flight, and nothing runs: something must be decided.
    Idle,
    Running {
        step: usize,
        attempt: u32,
    },
    /// A retry is due.
    Waiting {
        step: usize,
        next: u32,
        not_before: Timestamp,
    },
    Ended(End),
}

/// Which way a host is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through the hops to the target.
    Forward,
    /// Through the rollback of this hop; `all` goes on with the hops before it.
    Back { hop: usize, all: bool },
    /// Through the commit of this hop, and of those after it.
    Commit { hop: usize },
}

/// What was decided about a host's last failure, where it ends the way that the host was on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Index of the step that failed.
    pub step: usize,
    pub failure: Failure,
    /// Whether the host goes back now; else it ends.
    pub roll_back: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HostState {
    pub phase: HostPhase,
    pub way: Way,
    /// The next step to consider; an index into the plan's steps.
    pub cursor: usize,
    /// The hop that the host is in, and how many it has finished in this run or before it.
    pub hop: usize,
    /// Was on the target system when we came: there is nothing to do.
    pub already: bool,
    /// A blocker was found.
    pub blocked: bool,
    /// Something on the host was changed.
    pub touched: bool,
    /// A step that changes the host has begun in the present hop: it is no place to rest.
    pub changing: bool,
    /// Any reboot now migrates the host.
    pub armed: bool,
    /// Since when no SSH is expected.
    pub dark: Option<Timestamp>,
    /// The boot that a reboot under way leaves behind, and since when.
    pub left_boot: Option<LeftBoot>,
    /// The boot that the host was on when it was last looked at, or came back.
    pub boot_id: Option<String>,
    /// The latest boot that no step asked for and that a finding tells of.
    pub unasked_boot: Option<String>,
    /// Told to be later than all hosts before it, in the reboot under way.
    pub late: bool,
    /// A host key that was announced and taken, as OpenSSH writes it, and the step that announced it.
    pub host_key: Option<(usize, Arc<str>)>,
    /// Since when the host is in its present state or step.
    pub since: Timestamp,
    pub started: Option<Timestamp>,
    pub fate: Option<Fate>,
    /// The failure that decided the host's end.
    pub failure: Option<Failure>,
    /// Facts before anything was changed.
    pub before: Option<Arc<Facts>>,
    /// The latest facts.
    pub latest: Option<Arc<Facts>>,
    /// What registered steps printed, by step name.
    pub registered: BTreeMap<String, Registered>,
}

/// The boot that a reboot under way leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBoot {
    pub boot_id: String,
    /// When the intent to reboot was recorded.
    pub at: Timestamp,
}

/// What a registered step left for later templates.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Registered {
    pub stdout: String,
    pub exit: Option<i32>,
}

impl HostState {
    fn new() -> Self {
        Self {
            phase: HostPhase::Pending,
            way: Way::Forward,
            cursor: 0,
            hop: 0,
            already: false,
            blocked: false,
            touched: false,
            changing: false,
            armed: false,
            dark: None,
            left_boot: None,
            boot_id: None,
            unasked_boot: None,
            late: false,
            host_key: None,
            since: Timestamp::from_millis(0),
            started: None,
            fate: None,
            failure: None,
            before: None,
            latest: None,
            registered: BTreeMap::new(),
        }
    }

    /// The word of `status` for this state.
    pub fn word(&self) -> &'static str {
        match &self.phase {
            HostPhase::Pending => "pending",
            HostPhase::Ended(end) => end.word(),
            HostPhase::Idle | HostPhase::Running { .. } | HostPhase::Waiting { .. } => {
                match (self.dark, self.armed) {
                    (Some(_), _) => "dark",
                    (None, true) => "armed",
                    (None, false) => "running",
                }
            }
        }
    }

    /// Whether the host counts as changed now. While a step of the migration is at work nobody can say that it is not.
    pub fn is_touched(&self, plan: &Plan) -> bool {
        match self.phase {
            HostPhase::Running { step, .. } => {
                self.touched || plan.steps[step].id.phase == Phase::Migrate
            }
            HostPhase::Pending
            | HostPhase::Idle
            | HostPhase::Waiting { .. }
            | HostPhase::Ended(_) => self.touched,
        }
    }

    /// The step that runs or waits for a retry.
    pub fn step(&self) -> Option<usize> {
        match self.phase {
            HostPhase::Running { step, .. } | HostPhase::Waiting { step, .. } => Some(step),
            HostPhase::Pending | HostPhase::Idle | HostPhase::Ended(_) => None,
        }
    }

    /// Whether a finding has told this already.
    pub fn knows(&self, notice: &Notice) -> bool {
        match notice {
            Notice::UnaskedBoot { is, .. } => self.unasked_boot.as_ref() == Some(is),
            Notice::Late { .. } => self.late,
            Notice::ExtraBoots { .. } | Notice::NewHostKey { .. } => false,
        }
    }

    pub fn is_in_flight(&self) -> bool {
        !matches!(self.phase, HostPhase::Pending | HostPhase::Ended(_))
    }
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
    /// How many of the wave's hosts have been started: they start in the plan's order.
    pub begun: usize,
    pub in_flight: usize,
    /// Ends on the target system; as many as the wave has canaries open it for the others.
    pub good: usize,
    /// The first host of the canary that ended badly and was not accepted by a resume since.
    pub bad_canary: Option<HostName>,
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
    pub next_seq: u64,
    /// Who said stop, until a resume.
    pub stopping: Option<String>,
    /// How often a controller took over.
    pub resumes: u32,
    /// Who took up only some hosts again: the others stay where they are.
    pub only_reopened: Option<String>,
    /// Bad ends since the run was last started or resumed.
    pub bad: usize,
    /// Bad ends in a row.
    pub bad_in_a_row: usize,
    /// In flight with nothing running, so that something must be decided.
    pub idle: BTreeSet<usize>,
    /// Waiting for a retry, by when it is due.
    pub due: BTreeSet<(Timestamp, usize)>,
    /// How many attempts run.
    pub running: usize,
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
        Self {
            phase: RunPhase::New,
            counts: [("pending", hosts.len())].into(),
            hosts,
            waves: vec![WaveState::default(); plan.waves.len()],
            started: None,
            next_seq: 0,
            stopping: None,
            resumes: 0,
            only_reopened: None,
            bad: 0,
            bad_in_a_row: 0,
            idle: BTreeSet::new(),
            due: BTreeSet::new(),
            running: 0,
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
        self.apply_run(&record.event, record.at).map_err(illegal)?;
        if let Some(name) = record.event.host() {
            let host = self
                .host(name)
                .ok_or_else(|| illegal(format!("{name:?} is not a host of the plan")))?;
            self.apply_host(plan, host, &record.event, record.at).map_err(illegal)?;
        }
        self.next_seq += 1;
        Ok(())
    }

    /// The run's own transitions.
    fn apply_run(&mut self, event: &Event, at: Timestamp) -> Result<(), String> {
        use RunPhase::{Finished, New, Paused, Running};
        match (&self.phase, event) {
            (New, Event::RunStarted { .. }) => {
                self.phase = Running;
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
                self.resumes += 1;
                self.bad = 0;
                self.bad_in_a_row = 0;
                for wave in &mut self.waves {
                    wave.bad_canary = None;
                }
            }
            (Running, Event::StopRequested { by }) => self.stopping = Some(by.clone()),
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
        let wave = plan.hosts[index].wave;
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
        let host = &self.hosts[index];
        if let Some(left) = host.left_boot.as_ref().filter(|_| !host.late) {
            self.rebooting.insert((left.at, index));
        }
        if host.phase != phase {
            self.leave(index, &phase);
            self.enter(plan, index, wave, &phase);
        }
        let now = self.hosts[index].word();
        if now != word {
            match self.counts.get_mut(word) {
                Some(1) | None => drop(self.counts.remove(word)),
                Some(n) => *n -= 1,
            }
            *self.counts.entry(now).or_default() += 1;
        }
        if let Event::HostFacts { facts, .. } = event
            && !facts.machine_id.is_empty()
        {
            self.machines.entry(facts.machine_id.clone()).or_insert(index);
        }
        Ok(())
    }

    fn leave(&mut self, index: usize, phase: &HostPhase) {
        match phase {
            HostPhase::Idle => drop(self.idle.remove(&index)),
            HostPhase::Running { .. } => self.running -= 1,
            HostPhase::Waiting { not_before, .. } => drop(self.due.remove(&(*not_before, index))),
            HostPhase::Pending | HostPhase::Ended(_) => {}
        }
    }

    fn enter(&mut self, plan: &Plan, index: usize, wave: usize, was: &HostPhase) {
        match (was, &self.hosts[index].phase) {
            (_, HostPhase::Running { .. }) => self.running += 1,
            (_, HostPhase::Waiting { not_before, .. }) => {
                self.due.insert((*not_before, index));
            }
            (_, HostPhase::Idle) => {
                self.idle.insert(index);
            }
            (_, HostPhase::Pending | HostPhase::Ended(_)) => {}
        }
        let wave_state = &mut self.waves[wave];
        match (was, &self.hosts[index].phase) {
            (HostPhase::Pending, _) => {
                wave_state.begun += 1;
                wave_state.in_flight += 1;
            }
            (HostPhase::Ended(_), _) => wave_state.in_flight += 1,
            (_, HostPhase::Ended(end)) => {
                wave_state.in_flight -= 1;
                if end.is_good() {
                    self.bad_in_a_row = 0;
                    wave_state.good += 1;
                }
                if end.is_bad() {
                    self.bad += 1;
                    self.bad_in_a_row += 1;
                    if wave_state.good < plan.waves[wave].canary {
                        wave_state.bad_canary.get_or_insert_with(|| plan.hosts[index].name.clone());
                    }
                }
            }
            (_, _) => {}
        }
    }
}

impl HostState {
    /// The one table of a host's legal transitions. The only wildcard arm is the illegal case.
    fn next(
        &mut self,
        plan: &Plan,
        index: usize,
        event: &Event,
        at: Timestamp,
    ) -> Result<(), String> {
        use HostPhase::{Ended, Idle, Pending, Running, Waiting};
        let place = |id: &StepId| plan.step_index(id).ok_or_else(|| format!("no step {id}"));
        match (&self.phase, event) {
            (Pending, Event::HostStarted { .. }) => {
                self.phase = Idle;
                self.started = Some(at);
            }
            (Idle, Event::AttemptStarted { step, attempt: 1, .. })
                if place(step)? == self.cursor =>
            {
                self.phase = Running { step: self.cursor, attempt: 1 };
            }
            (Waiting { step: due, next, .. }, Event::AttemptStarted { step, attempt, .. })
                if next == attempt && place(step)? == *due =>
            {
                self.phase = Running { step: *due, attempt: *attempt };
            }
            (Running { step: runs, attempt: a }, Event::AttemptPassed { step, attempt: b, .. })
                if a == b && place(step)? == *runs =>
            {
                self.pass(plan, index, *runs, event);
            }
            (Running { step: runs, attempt: a }, Event::AttemptFailed { step, attempt: b, .. })
                if a == b && place(step)? == *runs =>
            {
                self.fail(plan, *runs, *a, event);
            }
            (Running { step: now, .. }, Event::StepSkipped { step, reason, .. })
                if place(step)? == *now =>
            {
                // A lost step that is proven to have done its work has changed the host.
                let proven = matches!(reason, Skip::Proven { .. });
                self.touched |= proven && step.phase == Phase::Migrate;
                // Its work is done, by this attempt or by somebody before us: so the host is armed by it.
                let done = matches!(reason, Skip::Proven { .. } | Skip::Guard { .. });
                self.armed |= done && plan.steps[*now].arms;
                self.advance(*now);
            }
            (Idle, Event::StepSkipped { step, .. }) if place(step)? == self.cursor => {
                self.advance(self.cursor);
            }
            (Running { .. }, Event::HostFacts { moment, facts, .. }) => {
                if *moment == Moment::Before {
                    self.before = Some(Arc::clone(facts));
                }
                self.latest = Some(Arc::clone(facts));
                if !facts.boot_id.is_empty() {
                    self.boot_id = Some(facts.boot_id.clone());
                }
                return Ok(());
            }
            (Running { .. }, Event::HostDark { boot_id, .. }) => {
                self.dark = Some(at);
                self.left_boot = Some(LeftBoot { boot_id: boot_id.clone(), at });
                self.boot_id = Some(boot_id.clone());
            }
            (Running { .. }, Event::HostReturned { boot_id, .. }) => {
                self.dark = None;
                self.boot_id = Some(boot_id.clone());
            }
            (Running { step: now, .. }, Event::HostKeyTaken { step, key, .. })
                if place(step)? == *now =>
            {
                self.host_key = Some((*now, Arc::from(key.as_str())));
                return Ok(());
            }
            (Running { .. } | Idle | Waiting { .. }, Event::HostFinding { finding, .. }) => {
                self.told(finding.notice.as_ref());
                return Ok(());
            }
            (Idle, Event::HopFinished { hop, .. })
                if self.way == Way::Forward && usize::from(*hop) == self.hop =>
            {
                self.hop += 1;
                self.changing = false;
                self.cursor =
                    plan.hops.get(self.hop).map_or(plan.steps.len(), |hop| hop.forward.start);
            }
            (Idle, Event::HopFinished { hop, .. })
                if self.way == (Way::Commit { hop: usize::from(*hop) }) =>
            {
                let next = usize::from(*hop) + 1;
                self.way = Way::Commit { hop: next };
                self.cursor = plan.hops.get(next).map_or(plan.steps.len(), |hop| hop.commit.start);
            }
            (Idle, Event::RollbackStarted { hop, because, .. }) => {
                let hop = usize::from(*hop);
                let Some(planned) = plan.hops.get(hop) else { return Err(format!("no hop {hop}")) };
                let all = matches!(self.way, Way::Back { all: true, .. });
                self.way = Way::Back { hop, all };
                self.cursor = planned.rollback.start;
                if self.failure.is_none() {
                    self.failure.clone_from(because);
                }
                self.fate = None;
            }
            (Idle, Event::HostFinished { end, failure, .. }) => {
                self.phase = Ended(*end);
                self.failure = failure.clone();
                self.fate = None;
                self.dark = None;
            }
            (Ended(_), Event::HostReopened { phase, .. }) => {
                let hop = self.hop.min(plan.hops.len().saturating_sub(1));
                (self.way, self.cursor) = match phase {
                    Phase::Rollback => {
                        (Way::Back { hop, all: true }, plan.hops[hop].rollback.start)
                    }
                    Phase::Commit => (Way::Commit { hop: 0 }, plan.hops[0].commit.start),
                    Phase::Backup | Phase::Precheck | Phase::Migrate | Phase::Verify => {
                        return Err(format!("a host is not reopened for {phase}"));
                    }
                };
                self.phase = Idle;
                self.failure = None;
                self.fate = None;
                self.blocked = false;
            }
            (phase, event) => return Err(format!("{event:?} is not legal in {phase:?}")),
        }
        if let HostPhase::Running { step, .. } = self.phase
            && plan.steps[step].id.phase == Phase::Migrate
        {
            self.changing = true;
        }
        self.since = at;
        Ok(())
    }

    /// Remembers what findings have told, so that they tell it once.
    fn told(&mut self, notice: Option<&Notice>) {
        match notice {
            Some(Notice::Late { .. }) => self.late = true,
            Some(Notice::UnaskedBoot { is, .. }) => self.unasked_boot = Some(is.clone()),
            Some(Notice::ExtraBoots { .. } | Notice::NewHostKey { .. }) | None => {}
        }
    }

    /// A reboot is under way no longer.
    fn end_reboot(&mut self) {
        if self.dark.is_some() && self.left_boot.is_some() {
            // It left a boot, and was not seen in another one.
            self.boot_id = None;
        }
        self.left_boot = None;
        self.late = false;
        self.dark = None;
    }

    fn advance(&mut self, step: usize) {
        self.phase = HostPhase::Idle;
        self.cursor = step + 1;
    }

    fn pass(&mut self, plan: &Plan, index: usize, step: usize, event: &Event) {
        let Event::AttemptPassed { outcome, stdout, exit, .. } = event else { return };
        let planned = &plan.steps[step];
        if planned.id.phase == Phase::Migrate && *outcome == Outcome::Changed {
            self.touched = true;
        }
        self.armed = (self.armed || planned.arms) && !planned.disarms && !planned.reboots;
        self.end_reboot();
        if let Some(stdout) = stdout {
            let kept = Registered { stdout: stdout.clone(), exit: *exit };
            self.registered.insert(planned.id.step.to_string(), kept);
        }
        self.advance(step);
        let enters =
            matches!(plan.rendered(index, step).task, Task::Look { moment: Moment::Before, .. });
        if enters {
            let system = self.latest.as_ref().and_then(|facts| facts.system.as_ref());
            // A host that already rests between two hops goes on from there.
            match plan.entry_hop(system) {
                Some(hop) if hop > 0 => {
                    self.hop = hop;
                    self.cursor = plan.hops[hop].forward.start;
                }
                Some(_) => {}
                None => self.already = true,
            }
        }
    }

    fn fail(&mut self, plan: &Plan, step: usize, attempt: u32, event: &Event) {
        let Event::AttemptFailed { failure, then, .. } = event else { return };
        if plan.steps[step].id.phase == Phase::Migrate && failure.touches() {
            self.touched = true;
        }
        // What was to arm the host and failed may have armed it: a rollback disarms it.
        self.armed |= plan.steps[step].arms && failure.touches();
        self.end_reboot();
        match then {
            Then::Retry { not_before } => {
                self.phase =
                    HostPhase::Waiting { step, next: attempt + 1, not_before: *not_before };
            }
            Then::GoOn => self.advance(step),
            Then::Block => {
                self.blocked = true;
                self.failure.get_or_insert_with(|| failure.clone());
                self.advance(step);
            }
            Then::RollBack | Then::GiveUp => {
                let roll_back = *then == Then::RollBack;
                self.fate = Some(Fate { step, failure: failure.clone(), roll_back });
                self.phase = HostPhase::Idle;
            }
        }
    }
}
