//! The state of a host, and the one table of its transitions.

use crate::{
    base::{facts::Facts, phase::Phase, time::Timestamp},
    journal::{End, Event, Failure, Moment, Notice, Outcome, RebootVerdict, Skip, StepId, Then},
    plan::{Plan, PlanStep, Task},
};
use std::{collections::BTreeMap, sync::Arc};

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
    /// At a safe point, and in no slot: an operator holds it, or it waits for its window, or for a slot. A retry that was
    /// due is due still.
    Resting {
        retry: Option<Retry>,
    },
    Ended(End),
}

/// An attempt that is still to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    pub step: usize,
    pub next: u32,
    pub not_before: Timestamp,
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

/// An attempt whose end nobody has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// Index of its step.
    pub step: usize,
    pub attempt: u32,
    /// How often the host had been taken up again when it was made.
    pub reopened: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HostState {
    pub phase: HostPhase,
    /// Who holds it. One in flight goes on to its next safe point first.
    pub held_by: Option<String>,
    pub way: Way,
    /// The next step to consider; an index into the plan's steps.
    pub cursor: usize,
    /// The last attempt whose end nobody has seen: it may run on the host still.
    pub unseen: Option<Unseen>,
    /// The hop that the host entered the way by.
    pub entry: usize,
    /// The last attempt of every step that was begun: also a host that is taken up again has no attempt twice.
    pub attempts: BTreeMap<usize, u32>,
    /// Attempts of the present step that are no retries: those before the host was taken up again, and those that never began.
    pub uncounted: u32,
    /// Attempts of the present step that never began, as far as the present controller has seen.
    pub nevers: u32,
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
    /// How often it was taken up again after its end.
    pub reopened: u32,
    /// The end that it was taken up from, until something was done on it since.
    pub reopened_from: Option<End>,
    /// It ended badly, on its old system and proven so, and a person has resumed the run since.
    pub accepted: bool,
    /// It goes back as a rehearsal; and it has done so, and shown that it can.
    pub rehearsing: bool,
    pub rehearsed: bool,
    /// It rests between two hops until somebody resumes the run; and the hop that it rested before.
    pub between: bool,
    pub rested_before: Option<usize>,
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
    pub(super) fn new() -> Self {
        Self {
            phase: HostPhase::Pending,
            held_by: None,
            way: Way::Forward,
            cursor: 0,
            unseen: None,
            entry: 0,
            attempts: BTreeMap::new(),
            uncounted: 0,
            nevers: 0,
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
            reopened: 0,
            reopened_from: None,
            accepted: false,
            rehearsing: false,
            rehearsed: false,
            between: false,
            rested_before: None,
            registered: BTreeMap::new(),
        }
    }

    /// The word of `status` for this state.
    pub fn word(&self) -> &'static str {
        match &self.phase {
            HostPhase::Pending | HostPhase::Resting { .. } => match self.held_by {
                Some(_) => "held",
                None => "pending",
            },
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
            | HostPhase::Resting { .. }
            | HostPhase::Ended(_) => self.touched,
        }
    }

    /// The step that runs or waits for a retry.
    pub fn step(&self) -> Option<usize> {
        match self.phase {
            HostPhase::Running { step, .. } | HostPhase::Waiting { step, .. } => Some(step),
            HostPhase::Resting { retry } => retry.map(|retry| retry.step),
            HostPhase::Pending | HostPhase::Idle | HostPhase::Ended(_) => None,
        }
    }

    /// Whether a finding has told this already.
    pub fn knows(&self, notice: &Notice) -> bool {
        match notice {
            Notice::UnaskedBoot { is, .. } => self.unasked_boot.as_ref() == Some(is),
            Notice::Late { .. } => self.late,
            Notice::ExtraBoots { .. } | Notice::NewHostKey { .. } | Notice::LockTaken { .. } => {
                false
            }
        }
    }

    /// The number of the next attempt of a step.
    pub fn next_attempt(&self, step: usize) -> u32 {
        self.attempts.get(&step).map_or(1, |last| last + 1)
    }
}

impl HostState {
    /// The one table of a host's legal transitions. The only wildcard arm is the illegal case.
    pub(super) fn next(
        &mut self,
        plan: &Plan,
        index: usize,
        event: &Event,
        at: Timestamp,
    ) -> Result<(), String> {
        use HostPhase::{Ended, Idle, Pending, Resting, Running, Waiting};
        let place = |id: &StepId| plan.step_index(id).ok_or_else(|| format!("no step {id}"));
        match (&self.phase, event) {
            (_, Event::HoldRequested { by, .. }) => {
                self.hold(Some(by), at);
                return Ok(());
            }
            (_, Event::ReleaseRequested { .. }) => {
                self.hold(None, at);
                return Ok(());
            }
            (Pending, Event::HostStarted { .. }) if self.held_by.is_none() => {
                self.phase = Idle;
                self.started = Some(at);
            }
            (Resting { retry }, Event::HostStarted { .. })
                if self.held_by.is_none() && !self.between =>
            {
                self.phase = match *retry {
                    Some(Retry { step, next, not_before }) => Waiting { step, next, not_before },
                    None => Idle,
                };
            }
            (Idle, Event::HostHeld { .. }) if self.held_by.is_some() && self.is_safe() => {
                self.phase = Resting { retry: None };
            }
            (Waiting { step, next, not_before }, Event::HostHeld { .. })
                if self.held_by.is_some() && self.is_safe() =>
            {
                let retry = Retry { step: *step, next: *next, not_before: *not_before };
                self.phase = Resting { retry: Some(retry) };
            }
            (Idle, Event::HostRested { hop, .. }) if self.is_safe() => {
                self.phase = Resting { retry: None };
                if hop.is_some() {
                    (self.between, self.rested_before) = (true, Some(self.hop));
                }
            }
            (Waiting { step, next, not_before }, Event::HostRested { hop: None, .. })
                if self.is_safe() =>
            {
                let retry = Retry { step: *step, next: *next, not_before: *not_before };
                self.phase = Resting { retry: Some(retry) };
            }
            (Idle, Event::AttemptStarted { step, attempt, .. })
                if place(step)? == self.cursor && *attempt == self.next_attempt(self.cursor) =>
            {
                (self.uncounted, self.nevers) = (attempt - 1, 0);
                self.attempts.insert(self.cursor, *attempt);
                self.phase = Running { step: self.cursor, attempt: *attempt };
            }
            (Waiting { step: due, next, .. }, Event::AttemptStarted { step, attempt, .. })
                if next == attempt && place(step)? == *due =>
            {
                let (step, attempt) = (*due, *attempt);
                self.attempts.insert(step, attempt);
                self.phase = Running { step, attempt };
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
                let now = *now;
                // A lost step that is proven to have done its work has changed the host.
                let proven = matches!(reason, Skip::Proven { .. });
                self.touched |= proven && step.phase == Phase::Migrate;
                // Its work is done, by this attempt or by somebody before us: so the host is armed by it.
                if matches!(reason, Skip::Guard { .. } | Skip::Proven { .. }) {
                    self.arm(&plan.steps[now]);
                }
                self.advance(plan, now);
            }
            (Idle, Event::StepSkipped { step, .. }) if place(step)? == self.cursor => {
                self.advance(plan, self.cursor);
            }
            (Running { .. }, Event::HostFacts { moment, facts, .. }) => {
                // What a rehearsal's way back has lost is to be missed on the second way, too.
                if *moment == Moment::Before && (!self.rehearsed || self.before.is_none()) {
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
                // From now on the host may reboot, whoever hears of it.
                if let Running { step, .. } = self.phase {
                    self.touched |= plan.steps[step].id.phase == Phase::Migrate;
                }
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
            (Idle, Event::RehearsalStarted { hop, .. }) => {
                let hop = usize::from(*hop);
                let Some(planned) = plan.hops.get(hop) else { return Err(format!("no hop {hop}")) };
                self.way = Way::Back { hop, all: true };
                self.cursor = planned.rollback.start;
                self.rehearsing = true;
            }
            (Idle, Event::RehearsalPassed { .. }) if self.rehearsing => self.begin_again(plan),
            (Idle, Event::HostFinished { end, failure, .. }) => {
                self.phase = Ended(*end);
                self.held_by = None;
                self.failure = failure.clone();
                self.fate = None;
                self.dark = None;
            }
            (Ended(end), Event::HostReopened { phase, .. }) => {
                self.reopened += 1;
                self.reopened_from = Some(*end);
                (self.way, self.cursor) = match phase {
                    Phase::Rollback => {
                        let hop = self.last_changed_hop().ok_or("nothing was changed")?;
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
                (self.accepted, self.rehearsing) = (false, false);
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
            Some(
                Notice::ExtraBoots { .. } | Notice::NewHostKey { .. } | Notice::LockTaken { .. },
            )
            | None => {}
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

    /// What an operator asks for the host. In flight it stays what it is, until its next safe point; after its end nothing
    /// is left to hold.
    fn hold(&mut self, by: Option<&String>, at: Timestamp) {
        if let HostPhase::Ended(_) = self.phase {
            return;
        }
        let was = self.word();
        // Who said it first holds it; anybody may release it.
        self.held_by = by.map(|by| self.held_by.take().unwrap_or_else(|| by.clone()));
        if self.word() != was {
            self.since = at;
        }
    }

    /// After a rehearsal the host is what it was, and goes its way once more.
    fn begin_again(&mut self, plan: &Plan) {
        (self.rehearsing, self.rehearsed) = (false, true);
        (self.way, self.hop, self.entry) = (Way::Forward, 0, 0);
        self.cursor = plan.hops.first().map_or(0, |hop| hop.forward.start);
        self.changing = false;
        self.rested_before = None;
    }

    fn advance(&mut self, plan: &Plan, step: usize) {
        self.end_reboot();
        self.phase = HostPhase::Idle;
        self.cursor = if self.already { plan.next_proof(step + 1) } else { step + 1 };
    }

    /// Whether the host is armed once this step has done its work.
    fn arm(&mut self, step: &PlanStep) {
        self.armed = (self.armed || step.arms) && !step.disarms && !step.reboots;
    }

    fn pass(&mut self, plan: &Plan, index: usize, step: usize, event: &Event) {
        let Event::AttemptPassed { outcome, stdout, exit, .. } = event else { return };
        self.reopened_from = None;
        let planned = &plan.steps[step];
        if planned.id.phase == Phase::Migrate && *outcome == Outcome::Changed {
            self.touched = true;
        }
        self.arm(planned);
        if let Some(stdout) = stdout {
            let kept = Registered { stdout: stdout.clone(), exit: *exit };
            self.registered.insert(planned.id.step.to_string(), kept);
        }
        self.advance(plan, step);
        let enters =
            matches!(plan.rendered(index, step).task, Task::Look { moment: Moment::Before, .. });
        if enters {
            let system = self.latest.as_ref().and_then(|facts| facts.system.as_ref());
            // A host that already rests between two hops goes on from there.
            match plan.entry_hop(system) {
                Some(hop) if hop > 0 => {
                    (self.hop, self.entry) = (hop, hop);
                    self.cursor = plan.hops[hop].forward.start;
                }
                Some(_) => {}
                // Of the way only the proofs are left that it is wholly there.
                None => {
                    self.already = true;
                    self.hop = plan.hops.len().saturating_sub(1);
                    self.entry = self.hop;
                    self.cursor = plan.next_proof(0);
                }
            }
        }
    }

    fn fail(&mut self, plan: &Plan, step: usize, attempt: u32, event: &Event) {
        let Event::AttemptFailed { failure, then, never, .. } = event else { return };
        if !failure.is_locked() {
            self.reopened_from = None;
        }
        let planned = &plan.steps[step];
        if planned.id.phase == Phase::Migrate && failure.touches() {
            self.touched = true;
        }
        if let Failure::Lost { .. } | Failure::TimedOut { stopped: false, .. } = failure {
            self.unseen = Some(Unseen { step, attempt, reopened: self.reopened });
        }
        // It may have armed the host before it failed: a rollback disarms it.
        self.armed |= planned.arms && failure.touches();
        if *never {
            self.uncounted += 1;
            self.nevers += 1;
        }
        if let Failure::Reboot(RebootVerdict::StayedUp { .. }) = failure {
            // It has answered all the time, from the boot that it was to leave.
            self.dark = None;
        }
        self.end_reboot();
        match then {
            Then::Retry { not_before } => {
                self.phase =
                    HostPhase::Waiting { step, next: attempt + 1, not_before: *not_before };
            }
            Then::GoOn => self.advance(plan, step),
            Then::Block => {
                self.blocked = true;
                self.failure.get_or_insert_with(|| failure.clone());
                self.advance(plan, step);
            }
            Then::RollBack | Then::GiveUp => {
                let roll_back = *then == Then::RollBack;
                self.fate = Some(Fate { step, failure: failure.clone(), roll_back });
                self.phase = HostPhase::Idle;
            }
        }
    }
}
