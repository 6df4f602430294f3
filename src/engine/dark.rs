//! A host that is rebooting: what is seen of it, login by login, and what its own word is once it is back.

use super::{
    lane::{Lane, Message, Order, Stop},
    output::Output,
    work::Work,
};
use crate::{
    base::{facts::Facts, facts::System},
    host::{ConnectError, Exit, Script, facts},
    journal::{Contact, Failure, NewKey, Notice, Part, RebootVerdict, Sighting},
    plan::{PlanStep, Rendered},
    playbook::Reboot,
    run::Ending,
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::Instant};

/// A question in the dark: a host that answers at all answers it at once.
pub(super) const QUESTION: Duration = Duration::from_secs(30);
/// What is waited for is asked after again and again, so one asking need not last.
const UNTIL: Duration = Duration::from_secs(300);
/// Sightings kept of one reboot. Of a host that comes and goes more often, the middle is drawn together.
const SIGHTINGS_MAX: usize = 12;

/// What is known of a reboot under way.
pub(super) struct Dark {
    /// Every boot that answered, the one that was left first.
    pub boots: Vec<String>,
    /// When it went dark, or last answered from a new boot: by the steady clock, and by the timer that deadlines go by.
    since: (Duration, Instant),
    /// How long it had been dark when we came to it.
    over: Duration,
    seen: Vec<(Contact, Instant)>,
    /// What the last login came to, in the words of who tried.
    reason: String,
    /// The system of the latest new boot.
    pub system: Option<System>,
}

/// What one login in the dark came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knock {
    Seen(Contact),
    /// Back, and what is waited for has come true.
    Over,
}

impl Dark {
    /// `met` is a boot after that one, which an earlier controller has seen.
    pub fn new(
        left: String,
        met: Option<String>,
        over: Duration,
        since: (Duration, Instant),
    ) -> Self {
        let boots = [left].into_iter().chain(met).collect();
        Self { boots, since, over, seen: Vec::new(), reason: String::new(), system: None }
    }

    /// Takes down what was seen now.
    pub fn note(&mut self, contact: Contact, now: Instant) {
        if self.seen.last().is_none_or(|(last, _)| *last != contact) {
            self.seen.push((contact, now));
        }
        if self.seen.len() > SIGHTINGS_MAX {
            self.seen.remove(SIGHTINGS_MAX / 2);
        }
    }

    /// How long it has been dark at a stretch.
    pub fn stretch(&self, now: Instant) -> Duration {
        now - self.since.1
    }

    pub fn sightings(&self, now: Instant) -> Vec<Sighting> {
        let ends = self.seen.iter().skip(1).map(|(_, at)| *at).chain([now]);
        let one = |((contact, from), to): (&(Contact, Instant), Instant)| Sighting {
            contact: *contact,
            lasted_ms: u64::try_from((to - *from).as_millis()).unwrap_or(u64::MAX),
        };
        self.seen.iter().zip(ends).map(one).collect()
    }

    /// What was seen over time, as evidence for people.
    pub fn story(&self, now: Instant) -> String {
        let mut story = crate::journal::tell_sightings(&self.sightings(now));
        if !self.reason.is_empty() {
            story.push_str("\nlast: ");
            story.push_str(&self.reason);
        }
        story
    }
}

impl Lane {
    /// One login in the dark. Every address of the host is tried.
    pub(super) async fn knock(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        reboot: &Reboot,
        dark: &mut Dark,
        work: &mut Work,
    ) -> Result<Knock, Stop> {
        if self.session.is_none() {
            self.tried = true;
            match self.shared.transport.connect(&self.target).await {
                Ok(session) => self.session = Some(session),
                Err(error) => return self.not_let_in(error, dark),
            }
        }
        let answer = match self.ask_once(order, facts::BOOT_SCRIPT).await {
            Ok(answer) => facts::parse(&answer),
            Err(reason) => {
                dark.reason = reason;
                return Ok(Knock::Seen(Contact::BrokeOff));
            }
        };
        if answer.boot_id.is_empty() {
            // The next login must be a new one.
            self.hang_up().await;
            dark.reason = "its answer has no boot id".to_owned();
            return Ok(Knock::Seen(Contact::BrokeOff));
        }
        if dark.boots.first() == Some(&answer.boot_id) {
            self.stay_its_holder().await;
            self.hang_up().await;
            dark.reason = "it answers from the boot that it was to leave".to_owned();
            return Ok(Knock::Seen(Contact::OldBoot));
        }
        if let Err(other) = self.is_the_same_machine(order, &answer) {
            // It may be another host of this run, whose lock would be given back at the end of this one.
            self.hang_up().await;
            return Err(other);
        }
        if let Some(key) = self.session.as_ref().and_then(|session| session.new_key()).cloned() {
            self.take_key(key).await?;
        }
        self.stay_its_holder().await;
        self.returned(dark, answer).await;
        self.is_over(order, rendered, reboot, dark, work).await
    }

    /// Why there is no session: a host that goes down or comes up may refuse logins for a while, so only a wrong key ends it.
    fn not_let_in(&self, error: ConnectError, dark: &mut Dark) -> Result<Knock, Stop> {
        match error {
            ConnectError::Unreachable { contact, reason } => {
                dark.reason = reason;
                Ok(Knock::Seen(contact))
            }
            ConnectError::Refused { reason, hint } => {
                dark.reason = hint.map_or(reason.clone(), |hint| format!("{reason} ({hint})"));
                Ok(Knock::Seen(Contact::LoginRefused))
            }
            ConnectError::HostKey { reason, hint, shown, expected, revoked } => {
                dark.reason = hint.map_or(reason.clone(), |hint| format!("{reason} ({hint})"));
                Err(failed(RebootVerdict::KeyChanged { shown, expected, revoked }))
            }
        }
    }

    /// A host without a machine id is known by its key alone: then a new key proves nothing.
    fn is_the_same_machine(&self, order: &Order, answer: &Facts) -> Result<(), Stop> {
        let was = order.known.before.as_ref().map_or("", |before| before.machine_id.as_str());
        let is = answer.machine_id.as_str();
        let new_key = self.session.as_ref().is_some_and(|session| session.new_key().is_some());
        let unknown = was.is_empty() || is.is_empty();
        if (unknown && !new_key) || (!unknown && was == is) {
            return Ok(());
        }
        let named = |id: &str| if id.is_empty() { "without an id" } else { id }.to_owned();
        Err(failed(RebootVerdict::OtherMachine { was: named(was), is: named(is) }))
    }

    /// Takes a key that was announced: once, and before anything is done over it that counts.
    async fn take_key(&mut self, key: NewKey) -> Result<(), Stop> {
        let taken: Arc<str> = Arc::from(key.key.as_str());
        if self.target.trust.taken.as_ref() == Some(&taken) {
            return Ok(());
        }
        let (recorded, on_disk) = oneshot::channel();
        let _ = self.messages.send(Message::KeyTaken { host: self.host, key, recorded }).await;
        if on_disk.await.is_err() {
            let reason = "the run was left before the new host key was written down".to_owned();
            return Err(Ending::Failed(Failure::Lost { reason }));
        }
        self.target.trust.taken = Some(taken);
        self.target.trust.announced = false;
        Ok(())
    }

    /// The host answers from a new boot.
    async fn returned(&mut self, dark: &mut Dark, answer: Facts) {
        let now = (self.shared.clock.steady(), Instant::now());
        if dark.boots.last() != Some(&answer.boot_id) {
            dark.boots.push(answer.boot_id.clone());
            let (host, boot_id) = (self.host, answer.boot_id);
            let length = dark.over + now.0.saturating_sub(dark.since.0);
            let system = answer.system.clone();
            let returned = Message::Returned { host, boot_id, dark: length, system };
            let _ = self.messages.send(returned).await;
        }
        (dark.since, dark.over) = (now, Duration::ZERO);
        dark.system = answer.system;
    }

    async fn is_over(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        reboot: &Reboot,
        dark: &mut Dark,
        work: &mut Work,
    ) -> Result<Knock, Stop> {
        let Some(until) = &reboot.until else { return Ok(Knock::Over) };
        let dir = self.next_dir(order, Part::Verify.as_str());
        let script = Script { dir, ..self.script(order, rendered, until, UNTIL) };
        match self.run_once(order, &script, Part::Verify).await {
            Ok((exit, output)) => {
                work.tail = output.evidence();
                dark.reason = format!("what the reboot waits for: {exit:?}");
                let over = exit == Exit::Code(0);
                Ok(if over { Knock::Over } else { Knock::Seen(Contact::NewBoot) })
            }
            Err(reason) => {
                dark.reason = reason;
                Ok(Knock::Seen(Contact::BrokeOff))
            }
        }
    }

    /// Which boots the host itself remembers since the one that was left; nothing where it cannot say.
    pub(super) async fn boots_by_its_list(&mut self, order: &Order, dark: &Dark) -> Option<u32> {
        let (left, now) = (dark.boots.first()?, dark.boots.last()?);
        let list = self.ask_once(order, facts::BOOTS_SCRIPT).await.ok()?;
        facts::boots_between(&list, left, now)
    }

    /// A step is lost on a host that any reboot migrates: was there one, and what does the host run now?
    pub(super) async fn started_anew(
        &mut self,
        order: &Order,
        planned: &PlanStep,
        work: &mut Work,
    ) -> Option<String> {
        if !order.armed && !planned.arms {
            return None;
        }
        let Ok(answer) = self.ask_boot(order).await else {
            return Some("any reboot migrates it, and it could not be asked for its boot".into());
        };
        let was = order.boot_id.clone()?;
        if answer.boot_id.is_empty() || answer.boot_id == was {
            return None;
        }
        let system = answer.system;
        let runs = system.as_ref().map_or("an unknown system".to_owned(), ToString::to_string);
        work.warnings.push(Notice::UnaskedBoot { was, is: answer.boot_id, armed: true, system });
        Some(format!("the host was started anew while it was armed, and runs {runs} now"))
    }

    /// One of our own questions, over the session that there is. It leaves nothing behind, for nobody knows yet which machine
    /// answers. Whatever goes wrong with it, the next login tells more.
    async fn ask_once(&mut self, order: &Order, text: &str) -> Result<String, String> {
        let mut output = self.output(order, Part::Boot);
        let script = Script {
            text: Arc::from(text),
            env: Vec::new(),
            sudo: false,
            timeout: QUESTION,
            dir: String::new(),
            machine_id: None,
        };
        let session = self.session.as_mut().ok_or("there is no connection")?;
        if let Err(error) = session.ask(&script, &mut output).await {
            self.session = None;
            return Err(error.to_string());
        }
        output.finish();
        Ok(output.stdout())
    }

    /// The machine is ours: it goes on to be, however long the wait is.
    async fn stay_its_holder(&mut self) {
        if let (Some(session), Some(holder)) = (&mut self.session, &self.holder) {
            session.hold(holder);
        }
        self.renew().await;
    }

    async fn run_once(
        &mut self,
        order: &Order,
        script: &Script,
        part: Part,
    ) -> Result<(Exit, Output), String> {
        let mut output = self.output(order, part);
        let session = self.session.as_mut().ok_or("there is no connection")?;
        let run = session.run(script, &mut output).await;
        output.finish();
        match run {
            Ok(exit) => Ok((exit, output)),
            Err(error) => {
                self.session = None;
                Err(error.to_string())
            }
        }
    }

    pub(super) async fn hang_up(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}

/// A reboot that failed so.
pub(super) fn failed(verdict: RebootVerdict) -> Stop {
    Ending::Failed(Failure::Reboot(verdict))
}
