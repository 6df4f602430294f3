//! A lane: the task that does what is ordered for one host, over one connection that it opens and keeps.

use super::{
    controller::Controller,
    hand_over::{Handed, PATIENCE},
    late::Known,
    secrets::Secrets,
    work::Work,
};
use crate::{
    base::{name::RunId, phase::Phase, template::Templates, time::Clock},
    host::{Exit, Holder, KeyTrust, Leave, Session, SessionError, Target, Transport, Whereabouts},
    journal::{Failure, NewKey, Notice, Outcome, OutputWriter, Part, Skip},
    plan::{Plan, PlanStep, Rendered, Task},
    playbook::{Action, OnLost, WaitFor},
    run::{Ending, HostState, LeftBoot, Result as AttemptResult, Unseen},
};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

/// What every lane of a run shares.
pub struct Shared {
    pub plan: Arc<Plan>,
    pub run: RunId,
    pub transport: Arc<dyn Transport>,
    pub clock: Arc<dyn Clock>,
    pub controller: Arc<dyn Controller>,
    pub secrets: Arc<Secrets>,
    pub templates: Templates,
    pub outputs: Option<OutputWriter>,
    /// Where downloads go.
    pub artifacts: PathBuf,
}

/// One attempt to make.
#[derive(Clone, Debug)]
pub struct Order {
    pub step: usize,
    pub attempt: u32,
    pub known: Known,
    /// The host was changed, so that more patience is due.
    pub touched: bool,
    /// The attempt was begun by a controller that is gone: the host is asked before anything is done.
    pub begun: bool,
    /// How often the run was taken over: questions of two controllers have directories of their own.
    pub epoch: u32,
    /// The boot that a reboot of this attempt has left already.
    pub left_boot: Option<LeftBoot>,
    /// The boot that the host was on when we last knew.
    pub boot_id: Option<String>,
    /// How often the host was taken up again after its end.
    pub reopened: u32,
    /// An attempt before this one whose end nobody has seen.
    pub unseen: Option<Unseen>,
    /// Any reboot migrates the host.
    pub armed: bool,
    /// The step has taken the new host key that it announces.
    pub key_taken: bool,
}

impl Order {
    /// The order for an attempt of a host in this state.
    pub fn new(
        run: &RunId,
        at: &HostState,
        step: usize,
        attempt: u32,
        begun: bool,
        epoch: u32,
    ) -> Self {
        let known = Known {
            run: run.to_string(),
            facts: at.latest.clone(),
            before: at.before.clone(),
            registered: at.registered.clone(),
        };
        Self {
            step,
            attempt,
            known,
            touched: at.touched,
            begun,
            epoch,
            left_boot: at.left_boot.clone(),
            boot_id: at.boot_id.clone(),
            reopened: at.reopened,
            unseen: at.unseen,
            armed: at.armed,
            key_taken: at.host_key.as_ref().is_some_and(|(by, _)| *by == step),
        }
    }
}

/// What a lane tells the dispatcher.
#[derive(Debug)]
pub enum Message {
    Done {
        host: usize,
        result: AttemptResult,
    },
    /// A reboot will be asked for as soon as this is on disk.
    Dark {
        host: usize,
        boot_id: String,
        recorded: oneshot::Sender<()>,
    },
    /// The host answers from a boot that it was not in before.
    Returned {
        host: usize,
        boot_id: String,
        dark: Duration,
        system: Option<crate::base::facts::System>,
    },
    /// A new host key that was announced will be used as soon as this is on disk.
    KeyTaken {
        host: usize,
        key: NewKey,
        recorded: oneshot::Sender<()>,
    },
}

/// The lane itself.
pub struct Lane {
    pub(super) shared: Arc<Shared>,
    pub(super) host: usize,
    /// How often the host had been taken up again when the lane began.
    reopened: u32,
    pub(super) target: Target,
    pub(super) session: Option<Box<dyn Session>>,
    pub(super) messages: mpsc::Sender<Message>,
    /// Questions asked so far.
    pub(super) asked: u32,
    /// Whose the host's lock is, from the first order on.
    pub(super) holder: Option<Arc<Holder>>,
    /// The same for the folders that the host had before it was taken up again, each of which is left, too.
    pub(super) before: Vec<Arc<Holder>>,
    /// As whom scripts ran on the host, plainly or by sudo: each has a lock of its own where each has a folder of its own.
    pub(super) held_as: BTreeSet<bool>,
    /// How the host's lock was taken, where a person should know.
    pub(super) notes: Vec<String>,
    /// Whether the login user is root.
    pub(super) is_root: bool,
    /// Whether it has tried to reach its host. One that has not, since all that it did was here, reaches it to leave it.
    pub(super) tried: bool,
    /// An attempt whose end nobody saw, and that is over by the host's own word.
    seen_gone: Option<Unseen>,
}

/// What the dispatcher tells a lane.
#[derive(Debug)]
pub enum Word {
    Do(Box<Order>),
    /// Nothing is asked of the host for long, and its lock must not run out.
    Renew,
    /// The host has ended.
    Leave(Leave),
}

/// How an attempt ends before its end.
pub(super) type Stop = Ending;

impl Lane {
    /// `reopened` is how often the host was taken up again, `taken` the host key that was taken earlier in this run.
    pub fn new(
        shared: Arc<Shared>,
        (host, reopened): (usize, u32),
        taken: Option<Arc<str>>,
        messages: mpsc::Sender<Message>,
    ) -> Self {
        let planned = &shared.plan.hosts[host];
        let target = Target {
            host: planned.name.clone(),
            addresses: planned.addresses.clone(),
            connection: Arc::clone(&shared.plan.connections[planned.connection]),
            trust: KeyTrust { taken, announced: false },
        };
        Self {
            shared,
            host,
            reopened,
            target,
            session: None,
            messages,
            asked: 0,
            holder: None,
            before: Vec::new(),
            held_as: BTreeSet::new(),
            notes: Vec::new(),
            is_root: false,
            tried: false,
            seen_gone: None,
        }
    }

    /// Takes orders until there are no more, then gives the host's lock back and closes the connection. Returns the host, where it
    /// was left after its end, and after which: how often it had been taken up again.
    pub async fn run(mut self, mut words: mpsc::Receiver<Word>) -> Option<(usize, u32)> {
        let leave = loop {
            let order = match words.recv().await {
                Some(Word::Do(order)) => order,
                Some(Word::Renew) => {
                    self.renew().await;
                    continue;
                }
                Some(Word::Leave(how)) => break how,
                None => break Leave::Rests,
            };
            let mut result = self.attempt(&order).await;
            let notes = self.notes.drain(..);
            result.warnings.extend(notes.map(|how| Notice::LockTaken { how }));
            if self.messages.send(Message::Done { host: self.host, result }).await.is_err() {
                break Leave::Rests;
            }
        };
        self.leave(leave).await;
        if let Some(session) = self.session.take() {
            session.close().await;
        }
        match leave {
            Leave::Rests => None,
            // Also where it could not be reached: its lock runs out.
            Leave::Keeps | Leave::Clean => Some((self.host, self.reopened)),
        }
    }

    pub(super) async fn attempt(&mut self, order: &Order) -> AttemptResult {
        let shared = Arc::clone(&self.shared);
        let began = shared.clock.steady();
        let mut work = Work::new(self.host);
        self.take_holder(order);
        let ending = match self.steps_of(order, &mut work).await {
            Ok(ending) | Err(ending) => ending,
        };
        let duration = shared.clock.steady().saturating_sub(began);
        AttemptResult {
            ending,
            duration,
            tail: work.tail,
            facts: work.facts,
            warnings: work.warnings,
            findings: work.findings,
            never: work.never,
        }
    }

    /// Condition, guard, act, expectation, verification: each may end the attempt.
    async fn steps_of(&mut self, order: &Order, work: &mut Work) -> Result<Ending, Stop> {
        let shared = Arc::clone(&self.shared);
        let rendered = work.render(&shared, order)?;
        self.nothing_runs_beside(order, &rendered).await?;
        // What was begun is not asked whether it should begin.
        let begun = order.begun && matches!(rendered.task, Task::Act(Action::Run(_)));
        if let Some(guard) = rendered.unless.as_ref().filter(|_| !begun) {
            let (exit, output) = self.ask(order, &rendered, guard, Part::Guard, work).await?;
            if exit == Exit::Code(0) && self.is_sound(order, &rendered, work).await? {
                return Ok(Ending::Skipped(Skip::Guard { unless: guard.to_string() }));
            }
            work.tail = output.evidence();
        }
        let planned = &shared.plan.steps[order.step];
        self.before_report(order, &rendered, planned, work).await?;
        let (exit, stdout, stderr) = match self.act(order, &rendered, planned, work).await {
            Ok(done) => done,
            Err(stop) => {
                self.heard_until_then(order, &rendered, planned, &stop, work).await;
                return Err(stop);
            }
        };
        let heard = self.heard(order, &rendered, planned, exit, work).await?;
        if let Some(expect) = &rendered.expect {
            work.expect(&shared, expect, exit, &stdout, &stderr)?;
        } else if let Some(code) = exit.filter(|code| !heard && !planned.ok_exit.contains(code)) {
            return Err(Ending::Failed(Failure::Exited { code }));
        }
        if let Some(verify) = &rendered.verify {
            let asked = self.ask(order, &rendered, verify, Part::Verify, work).await;
            let (done, output) = asked.map_err(after_the_fact)?;
            if done != Exit::Code(0) {
                work.tail = output.evidence();
                return Err(unverified("verify", explain(&done)));
            }
        }
        let outcome = match planned.id.phase {
            Phase::Precheck | Phase::Verify => Outcome::Unchanged,
            _ if only_asks(&rendered.task) => Outcome::Unchanged,
            Phase::Backup | Phase::Migrate | Phase::Rollback | Phase::Commit => Outcome::Changed,
        };
        let stdout =
            planned.register.then(|| crate::base::text::shorten(&stdout, 4096).into_owned());
        Ok(Ending::Passed { exit, outcome, stdout })
    }

    /// A host that is taken up again after a step whose end nobody saw: nothing is changed beside a step that still runs.
    async fn nothing_runs_beside(
        &mut self,
        order: &Order,
        rendered: &Rendered,
    ) -> Result<(), Stop> {
        // What an earlier controller has begun is only followed, where it can be; all else is done now.
        let follows = matches!(rendered.task, Task::Act(Action::Run(_)));
        let begun = order.begun && (follows || order.left_boot.is_some());
        let unseen = order.unseen.filter(|_| order.reopened > 0 && !begun);
        let Some(unseen) = unseen.filter(|unseen| self.seen_gone != Some(*unseen)) else {
            return Ok(());
        };
        let Unseen { step, attempt, reopened } = unseen;
        let before = Order { step, attempt, reopened, ..order.clone() };
        let planned = &self.shared.plan.steps[step];
        let name = format!("attempt {attempt} of {}", planned.id);
        let sudo = self.sudo(&before);
        let dir = self.dir(&before);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let session = self.connected(deadline).await?;
            let reason = match session.look(&dir, sudo).await {
                Ok(Whereabouts::Running) => {
                    let reason = format!("{name} still runs on the host: wait until it has ended");
                    return Err(Ending::Failed(Failure::Refused { reason }));
                }
                Ok(Whereabouts::Never | Whereabouts::Finished(_) | Whereabouts::Lost { .. }) => {
                    self.seen_gone = Some(unseen);
                    return Ok(());
                }
                Ok(Whereabouts::Open { reason }) => {
                    let reason = format!("{name} may still begin on the host: {reason}");
                    return Err(Ending::Failed(Failure::Refused { reason }));
                }
                Err(SessionError::Refused { reason }) => {
                    return Err(Ending::Failed(Failure::Refused { reason }));
                }
                Err(SessionError::NotStarted { reason } | SessionError::Lost { reason }) => reason,
            };
            self.session = None;
            if Instant::now() >= deadline {
                return Err(Ending::Failed(Failure::Unreachable { reason }));
            }
        }
    }

    /// Whether work that a guard found done may be built upon. A backup that is there may be one whose verification failed
    /// before: it is verified again, and made anew where it is not sound.
    pub(super) async fn is_sound(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        work: &mut Work,
    ) -> Result<bool, Stop> {
        let backup = self.shared.plan.steps[order.step].id.phase == Phase::Backup;
        match rendered.verify.as_ref().filter(|_| backup) {
            None => Ok(true),
            Some(verify) => {
                let (exit, _) = self.ask(order, rendered, verify, Part::Verify, work).await?;
                Ok(exit == Exit::Code(0))
            }
        }
    }

    /// The step's own doing. Returns its exit code, where it has one, and what it printed.
    async fn act(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        planned: &PlanStep,
        work: &mut Work,
    ) -> Result<(Option<i32>, String, String), Stop> {
        let none = (None, String::new(), String::new());
        match &rendered.task {
            Task::Look { .. } => {
                work.facts = Some(Arc::new(self.look(order, planned.timeout).await?));
                Ok(none)
            }
            Task::Act(Action::Run(text)) => {
                let script = self.script(order, rendered, text, planned.timeout);
                let before = self.boot_before(order).await?;
                let done = match order.begun {
                    true => self.take_up(order, &script).await,
                    false => self.hand_over(order, &script, Part::Step).await,
                };
                let (exit, output) = match done {
                    Err(Handed::Lost { reason }) => {
                        return self.lost(order, rendered, planned, reason, work).await;
                    }
                    Err(Handed::Never) if !self.is_still(order, &before).await => {
                        let reason = before.doubt();
                        return self.lost(order, rendered, planned, reason.to_owned(), work).await;
                    }
                    Err(Handed::Never) => {
                        work.never = true;
                        let reason = "it never began on the host".to_owned();
                        return Err(Ending::Failed(Failure::Unreachable { reason }));
                    }
                    Err(Handed::Ended(stop)) => return Err(stop),
                    Ok(done) => done,
                };
                work.tail = output.evidence();
                work.said = output.ends();
                match exit {
                    Exit::Code(code) => Ok((Some(code), output.stdout(), output.stderr())),
                    Exit::Signal(signal) => Err(Ending::Failed(Failure::Killed { signal })),
                    Exit::TimedOut { stopped } => Err(timed_out(planned.timeout, stopped)),
                }
            }
            Task::Act(Action::Upload { to, mode, content, .. }) => {
                self.put(planned, content, to, *mode).await.map(|()| none)
            }
            Task::Act(Action::Template { text, to, mode }) => {
                self.put(planned, text.as_bytes(), to, *mode).await.map(|()| none)
            }
            Task::Act(Action::Download { from }) => self.fetch(planned, from).await.map(|()| none),
            Task::Act(Action::Reboot(reboot)) => {
                self.reboot(order, rendered, reboot, work).await.map(|()| none)
            }
            Task::Act(Action::Wait(wait)) => {
                self.wait(order, rendered, planned, wait, work).await.map(|()| none)
            }
            Task::Act(Action::Local(_)) if order.begun => {
                let reason = "it ran on a controller that is gone".to_owned();
                self.lost(order, rendered, planned, reason, work).await
            }
            Task::Act(Action::Local(text)) => {
                let shared = Arc::clone(&self.shared);
                let host = self.host;
                // It may take long, and the host hears nothing of it.
                tokio::select! { biased;
                    done = super::local::run(&shared, host, order, rendered, text, work) => done,
                    never = self.keep_lock() => match never {},
                }
            }
            Task::Act(Action::Compare { what, ignore }) => {
                let now = self.look(order, planned.timeout).await?;
                super::compare::compare(order.known.before.as_deref(), &now, *what, ignore)
                    .map(|()| none)
                    .map_err(|reason| unverified("before and after", reason))
            }
        }
    }

    /// A step began, and nobody saw how it ended. Its probe may know.
    async fn lost(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        planned: &PlanStep,
        reason: String,
        work: &mut Work,
    ) -> Result<(Option<i32>, String, String), Stop> {
        let lost = |reason: String| Ending::Failed(Failure::Lost { reason });
        let reason = match self.started_anew(order, planned, work).await {
            Some(anew) => format!("{reason}; {anew}"),
            None => reason,
        };
        let (OnLost::Probe, Some(probe)) = (planned.on_lost, &rendered.probe) else {
            return Err(lost(reason));
        };
        match self.ask(order, rendered, probe, Part::Probe, work).await {
            Ok((Exit::Code(0), _)) => match self.is_sound(order, rendered, work).await {
                Ok(true) => Err(Ending::Skipped(Skip::Proven { probe: probe.to_string() })),
                Ok(false) => Err(lost(format!("{reason}; it is there, and not sound"))),
                Err(_) => Err(lost(format!("{reason}; its verification could not be asked"))),
            },
            Ok((exit, _)) => Err(lost(format!("{reason}; its probe says: {}", explain(&exit)))),
            Err(_) => Err(lost(format!("{reason}; its probe could not be asked"))),
        }
    }
}

/// Whether a step only looks, whatever its phase.
fn only_asks(task: &Task) -> bool {
    match task {
        Task::Look { .. }
        | Task::Act(Action::Compare { .. } | Action::Download { .. })
        | Task::Act(Action::Wait(WaitFor::Port(_) | WaitFor::Path(_))) => true,
        Task::Act(
            Action::Run(_)
            | Action::Upload { .. }
            | Action::Template { .. }
            | Action::Reboot(_)
            | Action::Wait(WaitFor::Command(_))
            | Action::Local(_),
        ) => false,
    }
}

/// The step has run: whatever keeps its check from being asked, the host was touched.
pub(super) fn after_the_fact(stop: Stop) -> Stop {
    match stop {
        Ending::Failed(Failure::Unreachable { reason } | Failure::Refused { reason }) => {
            let reason = format!("it ran, but its check could not be asked: {reason}");
            Ending::Failed(Failure::Lost { reason })
        }
        stop => stop,
    }
}

pub(super) fn unverified(check: &str, reason: String) -> Stop {
    Ending::Failed(Failure::Unverified { check: check.to_owned(), reason })
}

pub(super) fn timed_out(limit: Duration, stopped: bool) -> Stop {
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    Ending::Failed(Failure::TimedOut { limit_ms, stopped })
}

fn explain(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("killed by {signal}"),
        Exit::TimedOut { .. } => "timed out".to_owned(),
    }
}
