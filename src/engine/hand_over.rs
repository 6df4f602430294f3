//! Handing scripts to a host: over a connection that is opened when it is needed, and followed when it breaks.

use super::{
    heard::REPORT_BYTES,
    lane::{Lane, Order, Stop, after_the_fact, timed_out},
    output::{Origin, Output},
    paced::jittered,
    work::Work,
};
use crate::{
    host::{
        ConnectError, Exit, Script, Session, SessionError, Target, Time, Transport, Whereabouts,
    },
    journal::{Contact, Failure, Part},
    plan::Rendered,
    run::Ending,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// How long a host that was never reached is tried for: a full queue of logins, which drops some by chance, clears in seconds.
const FIRST_CONTACT: Duration = Duration::from_secs(15);
/// How long a host that we have changed is tried for before a step counts as not started.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a host is tried for at least that turns us away: sshd locks an address out for 15 s or more, for what others
/// behind it have done.
const LOCKED_OUT: Duration = Duration::from_secs(60);
/// How long a host that does not answer any more is asked for what became of a step, at most.
const GONE: Duration = Duration::from_secs(15 * 60);
/// A step whose time is over is still given a moment to say that it had ended.
pub(super) const LEAST: Duration = Duration::from_secs(5);
/// Between two tries to connect: grows from the one to the other.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));
/// Guards, checks and probes only ask: they have a limit of their own.
const ASK_TIMEOUT: Duration = Duration::from_secs(300);
/// So often a question is handed over that has proven never to have begun.
const QUESTIONS_MAX: u32 = 3;

impl Lane {
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
        let script = self.script(order, rendered, text, limit);
        let (exit, output) = self.put_question(order, script, part.as_str(), part).await?;
        if let Exit::TimedOut { stopped } = exit {
            work.tail = output.evidence();
            return Err(timed_out(limit, stopped));
        }
        Ok((exit, output))
    }

    /// Hands a question over, in a directory of its own. One that never began, since its connection broke on the way, is
    /// put again.
    pub(super) async fn put_question(
        &mut self,
        order: &Order,
        mut script: Script,
        what: &str,
        part: Part,
    ) -> Result<(Exit, Output), Stop> {
        for _ in 0..QUESTIONS_MAX {
            script.dir = self.next_dir(order, what);
            match self.hand_over(order, &script, part).await {
                Ok(done) => return Ok(done),
                Err(Handed::Ended(stop)) => return Err(stop),
                Err(Handed::Lost { reason }) => {
                    return Err(Ending::Failed(Failure::Lost { reason }));
                }
                Err(Handed::Never) => {}
            }
        }
        let reason = "the question never reached the host".to_owned();
        Err(Ending::Failed(Failure::Unreachable { reason }))
    }

    /// Gives a script to the host and follows it to its end.
    pub(super) async fn hand_over(
        &mut self,
        order: &Order,
        script: &Script,
        part: Part,
    ) -> Result<(Exit, Output), Handed> {
        let clock = Arc::clone(&self.shared.clock);
        let mut output = self.output(order, part);
        let patience = if order.touched { PATIENCE } else { FIRST_CONTACT };
        let mut deadline = Instant::now() + patience;
        let mut tries = 0;
        loop {
            let fresh = self.session.is_none();
            let session = self.connected(deadline).await.map_err(Handed::Ended)?;
            // Its time does not run while it waits for a connection.
            let began = clock.steady();
            let run = session.run(script, &mut output).await;
            let notes = session.notes();
            self.notes.extend(notes);
            if matches!(run, Ok(_) | Err(SessionError::Lost { .. })) {
                self.held_as.insert(script.sudo);
            }
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
                    tries += 1;
                    if !fresh {
                        // It died unnoticed since the last script, and finding that out took longer than this host's
                        // patience may be.
                        deadline = Instant::now() + patience;
                    } else if tries >= 2 && Instant::now() >= deadline {
                        let failure = Failure::Unreachable { reason };
                        return Err(Handed::Ended(Ending::Failed(failure)));
                    }
                    sleep(PAUSE.0).await;
                }
                Err(SessionError::Lost { reason }) => {
                    self.session = None;
                    return self.follow(script, began, reason, output).await;
                }
            }
        }
    }

    /// Asks what became of a script that an earlier controller handed over, and follows it from its first byte.
    pub(super) async fn take_up(
        &mut self,
        order: &Order,
        script: &Script,
    ) -> Result<(Exit, Output), Handed> {
        let output = self.output(order, Part::Step);
        let reason = "the controller went away while it ran".to_owned();
        let began = self.shared.clock.steady();
        self.follow(script, began, reason, output).await
    }

    /// Goes after a script whose connection broke: opens others until the host says what became of it. Its time runs from
    /// when it was handed over, by a clock that goes on while this machine sleeps; and by the host's own count.
    async fn follow(
        &mut self,
        script: &Script,
        began: Duration,
        broke: String,
        mut output: Output,
    ) -> Result<(Exit, Output), Handed> {
        let clock = Arc::clone(&self.shared.clock);
        let left = || script.timeout.saturating_sub(clock.steady().saturating_sub(began));
        let limit = Instant::now() + left();
        // A host that answered earns new patience when its connection breaks again, but not for ever.
        let patience = left().clamp(PATIENCE, GONE);
        let mut given_up = Instant::now() + patience;
        let over = limit + GONE;
        let mut open_until = None;
        loop {
            let session = match self.connected(given_up).await {
                Ok(session) => session,
                Err(Ending::Failed(Failure::Unreachable { reason })) => {
                    output.finish();
                    let reason = format!("{broke}; then the host could not be asked: {reason}");
                    return Err(Handed::Lost { reason });
                }
                Err(stop) => return Err(Handed::Ended(after_the_fact(stop))),
            };
            let time = Time { limit: script.timeout, left: left().max(LEAST) };
            let seen = output.taken();
            let asked = session.follow(&script.dir, script.sudo, seen, time, &mut output).await;
            self.held_as.insert(script.sudo);
            match asked {
                Ok(Whereabouts::Finished(exit)) => {
                    output.finish();
                    return Ok((exit, output));
                }
                Ok(Whereabouts::Never) => return Err(Handed::Never),
                Ok(Whereabouts::Lost { reason }) => {
                    output.finish();
                    return Err(Handed::Lost { reason: format!("{broke}; {reason}") });
                }
                Err(SessionError::Refused { reason }) => {
                    output.finish();
                    return Err(Handed::Lost { reason: format!("{broke}; {reason}") });
                }
                Ok(Whereabouts::Running) => self.session = None,
                // The connection is sound, and the host may have room again soon.
                Ok(Whereabouts::Open { reason }) => {
                    let now = Instant::now();
                    if now >= *open_until.get_or_insert(now + PATIENCE) {
                        output.finish();
                        return Err(Handed::Lost { reason: format!("{broke}; {reason}") });
                    }
                }
                Err(SessionError::NotStarted { reason } | SessionError::Lost { reason }) => {
                    self.session = None;
                    if Instant::now() >= over {
                        output.finish();
                        let reason = format!("{broke}; every connection after it, too: {reason}");
                        return Err(Handed::Lost { reason });
                    }
                }
            }
            given_up = (Instant::now() + patience).min(over);
            sleep(PAUSE.0).await;
        }
    }

    /// What takes a script's output.
    pub(super) fn output(&self, order: &Order, part: Part) -> Output {
        let step = self.shared.plan.steps[order.step].id.clone();
        let host = self.target.host.clone();
        let origin = Origin { host, step, attempt: order.attempt, part };
        let writer = self.shared.outputs.clone().filter(|_| part.is_kept());
        let output = Output::new(origin, writer, self.shared.secrets.redactor());
        let reads = self.shared.plan.steps[order.step].reads.is_some();
        match part {
            // The line before it is as long as a word.
            Part::Report => output.of_up_to(REPORT_BYTES + 64),
            Part::Step if reads => output.with_ends(),
            Part::Step | Part::Guard | Part::Verify | Part::Probe | Part::Look | Part::Boot => {
                output
            }
        }
    }

    /// The connection, opened where there is none. Tries until the deadline, and at least twice.
    pub(super) async fn connected(
        &mut self,
        deadline: Instant,
    ) -> Result<&mut Box<dyn Session>, Stop> {
        if self.session.is_none() {
            self.tried = true;
            self.session = Some(connect(&*self.shared.transport, &self.target, deadline).await?);
        }
        // The line above has just put it there; the error names the bug if it has not.
        let missing = || Failure::Unreachable { reason: "no session after connecting".to_owned() };
        let session = self.session.as_mut().ok_or_else(|| Ending::Failed(missing()))?;
        if let Some(holder) = &self.holder {
            session.hold(holder);
        }
        Ok(session)
    }

    /// The folder of all attempts of this host in this run. It has the host's name in it, since two names may lead to one
    /// machine, by mistake or on purpose. A host that is taken up again after its end begins in a new one: in the folder of
    /// a host that has ended nothing begins.
    pub(super) fn folder(&self, order: &Order) -> String {
        let name = self.target.host.as_str();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        // A name that cannot be a folder's is told apart from its like by its place in the plan.
        let folder = match name.chars().all(plain) && !name.starts_with('.') {
            true => name.to_owned(),
            false => {
                let safe: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
                format!("_{}.{safe}", self.host)
            }
        };
        match order.reopened {
            0 => format!("{}/{folder}", self.shared.run),
            n => format!("{}.{n}/{folder}", self.shared.run),
        }
    }

    /// The attempt's own directory on the host: only the step itself runs there.
    pub(super) fn dir(&self, order: &Order) -> String {
        let id = &self.shared.plan.steps[order.step].id;
        format!("{}/{id}.{}", self.folder(order), order.attempt)
    }

    /// A directory for one of the questions beside a step: each has its own, since none runs twice.
    pub(super) fn next_dir(&mut self, order: &Order, what: &str) -> String {
        self.asked += 1;
        format!("{}.{what}.{}.{}", self.dir(order), order.epoch, self.asked)
    }

    /// Whether the step runs as root by sudo.
    pub(super) fn sudo(&self, order: &Order) -> bool {
        let planned = &self.shared.plan.steps[order.step];
        planned.sudo.unwrap_or(self.target.connection.sudo)
    }

    pub(super) fn script(
        &self,
        order: &Order,
        rendered: &Rendered,
        text: &Arc<str>,
        timeout: Duration,
    ) -> Script {
        Script {
            text: Arc::clone(text),
            env: rendered.env.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            sudo: self.sudo(order),
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
}

/// Opens a connection. Tries until the deadline, and at least twice.
async fn connect(
    transport: &dyn Transport,
    target: &Target,
    mut deadline: Instant,
) -> Result<Box<dyn Session>, Stop> {
    let began = Instant::now();
    let mut pause = PAUSE.0;
    let mut tries = 0;
    loop {
        tries += 1;
        match transport.connect(target).await {
            Ok(session) => return Ok(session),
            Err(
                ConnectError::Refused { reason, hint } | ConnectError::HostKey { reason, hint, .. },
            ) => {
                return Err(refused(reason, hint));
            }
            Err(ConnectError::Unreachable { contact, reason }) => {
                if contact == Contact::TurnedAway {
                    deadline = deadline.max(began + LOCKED_OUT);
                }
                if tries >= 2 && Instant::now() + pause >= deadline {
                    return Err(Ending::Failed(Failure::Unreachable { reason }));
                }
            }
        }
        sleep(jittered(pause, &target.host, tries)).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// One side said no.
pub(super) fn refused(reason: String, hint: Option<String>) -> Stop {
    let reason = match hint {
        Some(hint) => format!("{reason} ({hint})"),
        None => reason,
    };
    Ending::Failed(Failure::Refused { reason })
}

/// How a script ended that has no exit.
pub(super) enum Handed {
    Lost {
        reason: String,
    },
    /// The host has proven that it never began.
    Never,
    Ended(Stop),
}
