//! A lane: the task that does what is ordered for one host, over one connection that it opens and keeps.

use super::{
    late::{self, Known},
    output::{Origin, Output},
    secrets::Secrets,
};
use crate::{
    base::{name::RunId, phase::Phase, template::Templates, text::first_command, time::Clock},
    host::{ConnectError, Exit, Script, Session, SessionError, Target, Transport},
    journal::{Failure, Outcome, OutputWriter, Part, Skip},
    plan::{Plan, PlanStep, Rendered, Task, render},
    playbook::{Action, OnLost},
    run::{Ending, Result as AttemptResult},
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

/// How long a host that was never reached is tried for: a full queue of logins clears in seconds.
const FIRST_CONTACT: Duration = Duration::from_secs(6);
/// How long a host that we have changed is tried for before a step counts as not started.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries to connect: grows from the one to the other.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// Guards, checks and probes only ask: they have a limit of their own.
const ASK_TIMEOUT: Duration = Duration::from_secs(300);

/// What every lane of a run shares.
pub struct Shared {
    pub plan: Arc<Plan>,
    pub run: RunId,
    pub transport: Arc<dyn Transport>,
    pub clock: Arc<dyn Clock>,
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
}

/// What a lane tells the dispatcher.
#[derive(Debug)]
pub enum Message {
    Done {
        host: usize,
        result: AttemptResult,
    },
    /// A reboot was asked for.
    Dark {
        host: usize,
        boot_id: String,
    },
    /// The host answers from a boot that it was not in before.
    Returned {
        host: usize,
        boot_id: String,
        dark: Duration,
        system: Option<crate::base::facts::System>,
    },
}

/// The lane itself.
pub struct Lane {
    pub(super) shared: Arc<Shared>,
    pub(super) host: usize,
    pub(super) target: Target,
    pub(super) session: Option<Box<dyn Session>>,
    pub(super) messages: mpsc::Sender<Message>,
    /// Questions asked so far.
    asked: u32,
}

/// How an attempt ends before its end.
pub(super) type Stop = Ending;

impl Lane {
    pub fn new(shared: Arc<Shared>, host: usize, messages: mpsc::Sender<Message>) -> Self {
        let planned = &shared.plan.hosts[host];
        let target = Target {
            host: planned.name.clone(),
            addresses: planned.addresses.clone(),
            connection: Arc::clone(&shared.plan.connections[planned.connection]),
        };
        Self { shared, host, target, session: None, messages, asked: 0 }
    }

    /// Takes orders until there are no more, then closes the connection.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            let result = self.attempt(&order).await;
            if self.messages.send(Message::Done { host: self.host, result }).await.is_err() {
                break;
            }
        }
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    async fn attempt(&mut self, order: &Order) -> AttemptResult {
        let shared = Arc::clone(&self.shared);
        let began = shared.clock.now();
        let mut work = Work::new(self.host);
        let ending = match self.steps_of(order, &mut work).await {
            Ok(ending) | Err(ending) => ending,
        };
        let duration = shared.clock.now().since(began);
        AttemptResult {
            ending,
            duration,
            tail: work.tail,
            facts: work.facts,
            warnings: work.warnings,
        }
    }

    /// Condition, guard, act, expectation, verification: each may end the attempt.
    async fn steps_of(&mut self, order: &Order, work: &mut Work) -> Result<Ending, Stop> {
        let shared = Arc::clone(&self.shared);
        let rendered = work.render(&shared, order)?;
        if let Some(guard) = &rendered.unless {
            let (exit, output) = self.ask(order, &rendered, guard, Part::Guard, work).await?;
            if exit == Exit::Code(0) {
                return Ok(Ending::Skipped(Skip::Guard { unless: guard.to_string() }));
            }
            work.tail = output.evidence();
        }
        let planned = &shared.plan.steps[order.step];
        let (exit, stdout, stderr) = self.act(order, &rendered, planned, work).await?;
        if let Some(expect) = &rendered.expect {
            work.expect(&shared, expect, exit, &stdout, &stderr)?;
        } else if let Some(code) = exit.filter(|code| !planned.ok_exit.contains(code)) {
            return Err(Ending::Failed(Failure::Exited { code }));
        }
        if let Some(verify) = &rendered.verify {
            let asked = self.ask(order, &rendered, verify, Part::Verify, work).await;
            let (done, output) = asked.map_err(after_the_fact)?;
            if done != Exit::Code(0) {
                work.tail = output.evidence();
                let reason = match output.evidence().lines().last() {
                    Some(said) => format!("{}: {said}", explain(&done)),
                    None => format!("{} of `{}`", explain(&done), first_command(verify)),
                };
                return Err(unverified("verify", reason));
            }
        }
        let outcome = match planned.id.phase {
            Phase::Precheck | Phase::Verify => Outcome::Unchanged,
            Phase::Backup | Phase::Migrate | Phase::Rollback | Phase::Commit => Outcome::Changed,
        };
        let stdout =
            planned.register.then(|| crate::base::text::shorten(&stdout, 4096).into_owned());
        Ok(Ending::Passed { exit, outcome, stdout })
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
                let (exit, output) = match self.hand_over(order, &script, Part::Step).await {
                    Err(Handed::Lost { reason }) => {
                        return self.lost(order, rendered, planned, reason, work).await;
                    }
                    Err(Handed::Ended(stop)) => return Err(stop),
                    Ok(done) => done,
                };
                work.tail = output.evidence();
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
            Task::Act(Action::Local(text)) => {
                super::local::run(&self.shared, self.host, order, rendered, text, work).await
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
        let (OnLost::Probe, Some(probe)) = (planned.on_lost, &rendered.probe) else {
            return Err(lost(reason));
        };
        match self.ask(order, rendered, probe, Part::Probe, work).await {
            Ok((Exit::Code(0), _)) => {
                Err(Ending::Skipped(Skip::Proven { probe: probe.to_string() }))
            }
            Ok((exit, _)) => Err(lost(format!("{reason}; its probe says: {}", explain(&exit)))),
            Err(_) => Err(lost(format!("{reason}; its probe could not be asked"))),
        }
    }

    /// Runs a guard, a check or a probe.
    pub(super) async fn ask(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        text: &Arc<str>,
        part: Part,
        work: &mut Work,
    ) -> Result<(Exit, Output), Stop> {
        let limit = ASK_TIMEOUT;
        let dir = self.next_dir(order, part.as_str());
        let script = Script { dir, ..self.script(order, rendered, text, limit) };
        match self.hand_over(order, &script, part).await {
            Ok((Exit::TimedOut { stopped }, output)) => {
                work.tail = output.evidence();
                Err(timed_out(limit, stopped))
            }
            Ok(done) => Ok(done),
            Err(Handed::Ended(stop)) => Err(stop),
            Err(Handed::Lost { reason }) => Err(Ending::Failed(Failure::Lost { reason })),
        }
    }

    /// Gives a script to the host and follows it to its end.
    pub(super) async fn hand_over(
        &mut self,
        order: &Order,
        script: &Script,
        part: Part,
    ) -> Result<(Exit, Output), Handed> {
        let id = self.shared.plan.steps[order.step].id.clone();
        let origin =
            Origin { host: self.target.host.clone(), step: id, attempt: order.attempt, part };
        let redactor = self.shared.secrets.redactor();
        let mut output = Output::new(origin, self.shared.outputs.clone(), redactor);
        let patience = if order.touched { PATIENCE } else { FIRST_CONTACT };
        let deadline = Instant::now() + patience;
        loop {
            let session = self.connected(deadline).await.map_err(Handed::Ended)?;
            let run = session.run(script, &mut output).await;
            match run {
                Ok(exit) => {
                    output.finish();
                    return Ok((exit, output));
                }
                Err(SessionError::Refused { reason }) => {
                    return Err(Handed::Ended(Ending::Failed(Failure::Refused { reason })));
                }
                Err(SessionError::NotStarted { reason }) => {
                    // The connection was dead already: nothing has run, so another one may try.
                    self.session = None;
                    if Instant::now() >= deadline {
                        let failure = Failure::Unreachable { reason };
                        return Err(Handed::Ended(Ending::Failed(failure)));
                    }
                    sleep(PAUSE.0).await;
                }
                Err(SessionError::Lost { reason }) => {
                    self.session = None;
                    output.finish();
                    return Err(Handed::Lost { reason });
                }
            }
        }
    }

    /// The connection, opened where there is none. Tries until the deadline, and at least twice.
    pub(super) async fn connected(
        &mut self,
        deadline: Instant,
    ) -> Result<&mut Box<dyn Session>, Stop> {
        if self.session.is_none() {
            self.session = Some(connect(&*self.shared.transport, &self.target, deadline).await?);
        }
        // The line above has just put it there; the error names the bug if it has not.
        let missing = || Failure::Unreachable { reason: "no session after connecting".to_owned() };
        self.session.as_mut().ok_or_else(|| Ending::Failed(missing()))
    }

    /// The attempt's own directory on the host: only the step itself runs there.
    pub(super) fn dir(&self, order: &Order) -> String {
        let id = &self.shared.plan.steps[order.step].id;
        format!("{}/{id}.{}", self.shared.run, order.attempt)
    }

    /// A directory for one of the questions beside a step: each has its own, since none runs twice.
    pub(super) fn next_dir(&mut self, order: &Order, what: &str) -> String {
        self.asked += 1;
        format!("{}.{what}.{}", self.dir(order), self.asked)
    }

    pub(super) fn script(
        &self,
        order: &Order,
        rendered: &Rendered,
        text: &Arc<str>,
        timeout: Duration,
    ) -> Script {
        let planned = &self.shared.plan.steps[order.step];
        Script {
            text: Arc::clone(text),
            env: rendered.env.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            sudo: planned.sudo.unwrap_or(self.target.connection.sudo),
            timeout,
            dir: self.dir(order),
            machine_id: order
                .known
                .before
                .as_ref()
                .map(|f| f.machine_id.clone())
                .filter(|id| !id.is_empty()),
        }
    }

    async fn put(
        &mut self,
        planned: &PlanStep,
        content: &[u8],
        to: &str,
        mode: u32,
    ) -> Result<(), Stop> {
        let sudo = planned.sudo.unwrap_or(self.target.connection.sudo);
        let limit = planned.timeout;
        let session = self.connected(Instant::now() + PATIENCE).await?;
        let done = tokio::time::timeout(limit, session.upload(content, to, mode, sudo)).await;
        self.moved(limit, done)
    }

    async fn fetch(&mut self, planned: &PlanStep, from: &str) -> Result<(), Stop> {
        let sudo = planned.sudo.unwrap_or(self.target.connection.sudo);
        let limit = planned.timeout;
        let name = from.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("file");
        let dir =
            self.shared.artifacts.join(crate::base::text::file_name(self.target.host.as_str()));
        let to = dir.join(format!("{}.{}", planned.id, crate::base::text::file_name(name)));
        tokio::fs::create_dir_all(&dir).await.map_err(|error| {
            let reason = format!("cannot make {} on the controller: {error}", dir.display());
            Ending::Failed(Failure::Refused { reason })
        })?;
        let session = self.connected(Instant::now() + PATIENCE).await?;
        let done = tokio::time::timeout(limit, session.download(from, &to, sudo)).await;
        self.moved(limit, done.map(|moved| moved.map(drop)))
    }

    /// A file that was moved by halves has its old content still: the new one is only renamed when it is whole.
    fn moved(
        &mut self,
        limit: Duration,
        done: Result<Result<(), SessionError>, tokio::time::error::Elapsed>,
    ) -> Result<(), Stop> {
        let failure = match done {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(SessionError::Refused { reason })) => Failure::Refused { reason },
            Ok(Err(SessionError::NotStarted { reason })) => Failure::Unreachable { reason },
            Ok(Err(SessionError::Lost { reason })) => Failure::Lost { reason },
            Err(_) => Failure::TimedOut { limit_ms: limit.as_millis() as u64, stopped: true },
        };
        if !matches!(failure, Failure::Refused { .. }) {
            self.session = None;
        }
        Err(Ending::Failed(failure))
    }
}

/// Opens a connection. Tries until the deadline, and at least twice.
async fn connect(
    transport: &dyn Transport,
    target: &Target,
    deadline: Instant,
) -> Result<Box<dyn Session>, Stop> {
    let mut pause = PAUSE.0;
    let mut tries = 0;
    loop {
        tries += 1;
        match transport.connect(target).await {
            Ok(session) => return Ok(session),
            Err(ConnectError::Refused { reason, hint }) => {
                let reason = match hint {
                    Some(hint) => format!("{reason} ({hint})"),
                    None => reason,
                };
                return Err(Ending::Failed(Failure::Refused { reason }));
            }
            Err(ConnectError::Unreachable { reason }) => {
                if tries >= 2 && Instant::now() + pause >= deadline {
                    return Err(Ending::Failed(Failure::Unreachable { reason }));
                }
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// How a script ended that has no exit.
pub(super) enum Handed {
    Lost { reason: String },
    Ended(Stop),
}

/// What an attempt gathers beside its ending.
pub(super) struct Work {
    pub tail: String,
    pub facts: Option<Arc<crate::base::facts::Facts>>,
    pub warnings: Vec<String>,
    context: Option<minijinja::Value>,
    host: usize,
}

impl Work {
    fn new(host: usize) -> Self {
        Self { tail: String::new(), facts: None, warnings: Vec::new(), context: None, host }
    }

    /// The step as it runs: as planned, or rendered now that more is known.
    fn render(&mut self, shared: &Shared, order: &Order) -> Result<Rendered, Stop> {
        let rendered = shared.plan.rendered(self.host, order.step);
        if !rendered.late {
            return Ok(rendered.clone());
        }
        let refused = |reason: String| Ending::Failed(Failure::Refused { reason });
        let host = &shared.plan.hosts[self.host];
        let hop = &shared.plan.hops[usize::from(shared.plan.steps[order.step].id.hop)];
        let context = late::context(host, hop, &order.known, &shared.secrets).map_err(refused)?;
        if let Some(when) = &rendered.when {
            let holds = shared.templates.holds(when, &context);
            if !holds.map_err(|e| refused(format!("`when` cannot be evaluated: {e}")))? {
                return Err(Ending::Skipped(Skip::Condition { when: when.to_string() }));
            }
        }
        let whole = render(&shared.templates, rendered, &context)
            .map_err(|e| refused(format!("a template cannot be rendered: {e}")))?;
        self.context = Some(context);
        Ok(whole)
    }

    /// Whether the output is what the step expects.
    fn expect(
        &self,
        shared: &Shared,
        expect: &str,
        exit: Option<i32>,
        stdout: &str,
        stderr: &str,
    ) -> Result<(), Stop> {
        let result = minijinja::context! { stdout, stderr, exit };
        let context = match &self.context {
            Some(known) => minijinja::context! { ..result, ..known.clone() },
            None => result,
        };
        let shown =
            || crate::base::text::shorten(stdout.lines().next().unwrap_or(""), 120).into_owned();
        let reason = match shared.templates.holds(expect, &context) {
            Ok(true) => return Ok(()),
            Ok(false) => format!("the host said `{}`, exit code {}", shown(), exit.unwrap_or(0)),
            Err(error) => {
                format!("the host said `{}`, which cannot be evaluated: {error}", shown())
            }
        };
        Err(unverified(expect, reason))
    }
}

/// The step has run: whatever keeps its check from being asked, the host was touched.
fn after_the_fact(stop: Stop) -> Stop {
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
