//! A reboot, proven by the boot id: never by "it answered again".

use super::{
    hand_over::Handed,
    lane::{Lane, Message, Order, Stop, unverified},
    work::Work,
};
use crate::{
    host::{ConnectError, Exit, Script, Whereabouts, facts},
    journal::{Failure, Part},
    plan::Rendered,
    playbook::Reboot,
    run::Ending,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

/// Returns at once, so that the answer to it is not cut off by the reboot itself.
const COMMAND: &str = "\
if command -v systemctl >/dev/null 2>&1; then set -- systemctl reboot; else set -- reboot; fi
nohup sh -c 'sleep 1; exec \"$@\"' sh \"$@\" </dev/null >/dev/null 2>&1 &
exit 0
";
/// Between two logins while a host is dark: whole logins, spaced, since sshd punishes those who only knock.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Each pause is longer than the one before by this factor: fast machines are found soon, slow ones are not pestered.
const GROWTH: f64 = 1.2;
/// Within this time the old system must have gone down after the command.
const GOING_DOWN: Duration = Duration::from_secs(300);
const QUESTION: Duration = Duration::from_secs(30);

/// What the last login in the dark told.
enum Seen {
    Nothing(String),
    OldBoot,
    NewBoot { until: bool },
}

impl Lane {
    /// Reboots the host and waits until it is back from a new boot, and until its `until` passes.
    pub(super) async fn reboot(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        reboot: &Reboot,
        work: &mut Work,
    ) -> Result<(), Stop> {
        let before = match &order.left_boot {
            // An earlier controller has seen the host leave this boot.
            Some(left) => left.clone(),
            None => {
                facts::parse(&self.question(order, facts::BOOT_SCRIPT, QUESTION).await?).boot_id
            }
        };
        if before.is_empty() {
            let reason = "the host has no boot id, so that no reboot could be proven";
            return Err(Ending::Failed(Failure::Refused { reason: reason.to_owned() }));
        }
        let went_dark = self.shared.clock.steady();
        self.tell_to_reboot(order, rendered, reboot, &before, work).await?;
        self.session = None;
        let started = Instant::now();
        let deadline = started + reboot.timeout;
        let (mut boots, mut pause) = (vec![before], PAUSE.0);
        loop {
            sleep(pause).await;
            pause = pause.mul_f64(GROWTH).min(PAUSE.1);
            let seen = self.knock(order, rendered, reboot, &mut boots, went_dark, work).await?;
            match seen {
                Seen::NewBoot { until: true } => break,
                Seen::OldBoot if started.elapsed() > GOING_DOWN.min(reboot.timeout) => {
                    return Err(unverified(
                        "boot id",
                        "the host did not go down: its boot id is the old one".to_owned(),
                    ));
                }
                Seen::Nothing(reason) if Instant::now() > deadline => {
                    let limit = crate::base::time::format_length(reboot.timeout);
                    let reason = format!("did not return within {limit}: {reason}");
                    return Err(Ending::Failed(Failure::Unreachable { reason }));
                }
                Seen::NewBoot { until: false } if Instant::now() > deadline => {
                    return Err(unverified(
                        "until",
                        "the host is back, but its reboot is not over".to_owned(),
                    ));
                }
                Seen::Nothing(_) | Seen::OldBoot | Seen::NewBoot { until: false } => {}
            }
        }
        let booted = boots.len() as u32 - 1;
        if booted > reboot.boots {
            work.warnings.push(format!("{booted} boots seen, {} expected", reboot.boots));
        }
        Ok(())
    }

    /// Gives the command once: after its intent is on disk, and by an earlier controller or by this one, not by both.
    async fn tell_to_reboot(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        reboot: &Reboot,
        before: &str,
        work: &mut Work,
    ) -> Result<(), Stop> {
        match &order.left_boot {
            None => {
                let (recorded, on_disk) = oneshot::channel();
                let boot_id = before.to_owned();
                // Whoever no longer listens has cancelled this lane. The command follows when its intent is on disk.
                let _ =
                    self.messages.send(Message::Dark { host: self.host, boot_id, recorded }).await;
                if on_disk.await.is_err() {
                    let reason = "the run was left before the reboot was written down".to_owned();
                    return Err(Ending::Failed(Failure::Refused { reason }));
                }
                let dir = self.dir(order);
                self.command(order, rendered, reboot, dir, work).await
            }
            Some(left) => {
                if !self.was_never_told(order, left).await {
                    return Ok(());
                }
                let dir = self.reboot_dir(order, order.epoch);
                self.command(order, rendered, reboot, dir, work).await
            }
        }
    }

    /// Where a controller that takes a reboot up gives its command: a later one must find it there.
    fn reboot_dir(&self, order: &Order, epoch: u32) -> String {
        format!("{}.reboot.{epoch}", self.dir(order))
    }

    /// Whether the controller before us died between its intent to reboot the host and the command. Only the old boot itself
    /// can say so; a host that does not answer, or answers from another boot, was told.
    async fn was_never_told(&mut self, order: &Order, left: &str) -> bool {
        let sudo = self.target.connection.sudo;
        // Any of the controllers before us may have given it, the first in the attempt's own directory.
        let earlier = (0..order.epoch).map(|epoch| match epoch {
            0 => self.dir(order),
            epoch => self.reboot_dir(order, epoch),
        });
        for dir in earlier.collect::<Vec<String>>() {
            let Ok(session) = self.connected(Instant::now()).await else { return false };
            if !matches!(session.look(&dir, sudo).await, Ok(Whereabouts::Never)) {
                return false;
            }
        }
        self.is_in(order, Some(left)).await
    }

    /// Whether the host still is in this boot. A host without boot ids is in no other.
    pub(super) async fn is_in(&mut self, order: &Order, boot: Option<&str>) -> bool {
        let Some(boot) = boot.filter(|boot| !boot.is_empty()) else { return true };
        let answer = self.question(order, facts::BOOT_SCRIPT, QUESTION).await;
        answer.is_ok_and(|answer| facts::parse(&answer).boot_id == boot)
    }

    /// Gives the command. A connection that goes away under it is what was asked for.
    async fn command(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        reboot: &Reboot,
        dir: String,
        work: &mut Work,
    ) -> Result<(), Stop> {
        let text = reboot.command.clone().unwrap_or_else(|| Arc::from(COMMAND));
        let script = Script { dir, ..self.script(order, rendered, &text, QUESTION) };
        match self.hand_over(order, &script, Part::Step).await {
            Ok((Exit::Code(0) | Exit::Signal(_) | Exit::TimedOut { .. }, _))
            | Err(Handed::Lost { .. }) => Ok(()),
            Ok((Exit::Code(code), output)) => {
                work.tail = output.evidence();
                Err(Ending::Failed(Failure::Exited { code }))
            }
            Err(Handed::Ended(stop)) => Err(stop),
            Err(Handed::Never) => {
                let reason = "the command never reached the host".to_owned();
                Err(Ending::Failed(Failure::Unreachable { reason }))
            }
        }
    }

    /// One login in the dark.
    async fn knock(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        reboot: &Reboot,
        boots: &mut Vec<String>,
        went_dark: Duration,
        work: &mut Work,
    ) -> Result<Seen, Stop> {
        if self.session.is_none() {
            match self.shared.transport.connect(&self.target).await {
                Ok(session) => self.session = Some(session),
                Err(ConnectError::Unreachable { reason }) => return Ok(Seen::Nothing(reason)),
                Err(ConnectError::Refused { reason, hint }) => {
                    // A host that is going down or coming up may refuse logins; a changed key is a verdict of its own.
                    let reason = hint.map_or(reason.clone(), |hint| format!("{reason} ({hint})"));
                    return Err(Ending::Failed(Failure::Refused { reason }));
                }
            }
        }
        let answer = match self.question(order, facts::BOOT_SCRIPT, QUESTION).await {
            Ok(answer) => facts::parse(&answer),
            Err(_) => {
                self.session = None;
                return Ok(Seen::Nothing("the login broke off".to_owned()));
            }
        };
        if answer.boot_id.is_empty() || boots.first() == Some(&answer.boot_id) {
            // The old system still answers: the next login must be a new one.
            if let Some(session) = self.session.take() {
                session.close().await;
            }
            return Ok(Seen::OldBoot);
        }
        if boots.last() != Some(&answer.boot_id) {
            boots.push(answer.boot_id.clone());
            let dark = self.shared.clock.steady().saturating_sub(went_dark);
            let (host, boot_id, system) = (self.host, answer.boot_id, answer.system);
            let _ = self.messages.send(Message::Returned { host, boot_id, dark, system }).await;
        }
        let Some(until) = &reboot.until else { return Ok(Seen::NewBoot { until: true }) };
        match self.ask(order, rendered, until, Part::Verify, work).await {
            Ok((exit, output)) => {
                work.tail = output.evidence();
                Ok(Seen::NewBoot { until: exit == Exit::Code(0) })
            }
            Err(_) => {
                self.session = None;
                Ok(Seen::NewBoot { until: false })
            }
        }
    }
}
