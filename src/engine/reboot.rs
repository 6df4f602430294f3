//! A reboot, proven by the boot id: never by "it answered again".

use super::{
    dark::{Dark, Knock, QUESTION, failed},
    hand_over::Handed,
    lane::{Lane, Message, Order, Stop},
    paced::Spaced,
    work::Work,
};
use crate::{
    base::{facts::System, phase::Phase, time::Timestamp},
    host::{Exit, Script, Whereabouts},
    journal::{Contact, Failure, Notice, Part, RebootVerdict},
    plan::{PlanHop, Rendered},
    playbook::{HopSystem, Reboot},
    run::{Ending, LeftBoot},
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
/// So often a controller gives the command, where the host proves each time that it was not told.
const COMMANDS_MAX: u32 = 3;
/// A controller that takes a reboot over gives the host this long at least, however much of its time is over.
const TAKEN_OVER_LEAST: Duration = Duration::from_secs(60);

/// The boot that is left, and how it came to that.
struct Left {
    boot: LeftBoot,
    /// Somebody has seen to the reboot already: no command is given.
    told: bool,
}

impl Lane {
    /// Reboots the host and waits until it is back from a new boot, until its `until` passes, and until it is on the system
    /// that the reboot leads into.
    pub(super) async fn reboot(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        reboot: &Reboot,
        work: &mut Work,
    ) -> Result<(), Stop> {
        let left = self.go_down(order, rendered, reboot, work).await?;
        self.session = None;
        self.target.trust.announced = reboot.new_host_key && !order.key_taken;
        let done = self.wait_in_the_dark(order, rendered, reboot, &left, work).await;
        self.target.trust.announced = false;
        let dark = done?;
        self.count_boots(order, reboot, &dark, work).await;
        let hop = &self.shared.plan.hops[usize::from(self.shared.plan.steps[order.step].id.hop)];
        let in_migration = self.shared.plan.steps[order.step].id.phase == Phase::Migrate;
        match judge_system(hop, reboot, order.armed && in_migration, dark.system.as_ref()) {
            None => Ok(()),
            Some(verdict) => {
                self.gather_evidence(order, rendered, work).await;
                Err(failed(verdict))
            }
        }
    }

    /// Has the host told to reboot: once, after its intent is on disk. Returns the boot that it leaves.
    async fn go_down(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        reboot: &Reboot,
        work: &mut Work,
    ) -> Result<LeftBoot, Stop> {
        let left = match &order.left_boot {
            None => self.present_boot(order, work).await?,
            // An earlier controller has recorded the intent. Whether the command followed, only the host can say.
            Some(left) if !self.was_never_told(order, &left.boot_id).await => {
                return Ok(left.clone());
            }
            // Its time begins with the command, also for those who come later: so it is recorded anew.
            Some(left) => {
                let at = self.shared.clock.now();
                Left { boot: LeftBoot { at, ..left.clone() }, told: false }
            }
        };
        let (recorded, on_disk) = oneshot::channel();
        let boot_id = left.boot.boot_id.clone();
        // Whoever no longer listens has cancelled this lane. The command follows when its intent is on disk.
        let _ = self.messages.send(Message::Dark { host: self.host, boot_id, recorded }).await;
        if on_disk.await.is_err() {
            let reason = "the run was left before the reboot was written down".to_owned();
            return Err(Ending::Failed(Failure::Refused { reason }));
        }
        if !left.told {
            self.command(order, rendered, reboot, &left.boot.boot_id, work).await?;
        }
        Ok(left.boot)
    }

    /// The boot that the host is on. Where it is not the one that we know of, the host was started anew without a step of ours;
    /// if it was armed then, that was the reboot which this step is for: another one could meet it in the middle of its upgrade.
    async fn present_boot(&mut self, order: &Order, work: &mut Work) -> Result<Left, Stop> {
        let answer = self.ask_boot(order).await?;
        if answer.boot_id.is_empty() {
            let reason = "the host has no boot id, so that no reboot could be proven";
            return Err(Ending::Failed(Failure::Refused { reason: reason.to_owned() }));
        }
        let at = self.shared.clock.now();
        let is = answer.boot_id;
        let Some(was) = order.boot_id.clone().filter(|was| *was != is) else {
            return Ok(Left { boot: LeftBoot { boot_id: is, at }, told: false });
        };
        let armed = order.armed;
        let boot_id = if armed { was.clone() } else { is.clone() };
        work.warnings.push(Notice::UnaskedBoot { was, is, armed, system: answer.system });
        Ok(Left { boot: LeftBoot { boot_id, at }, told: armed })
    }

    /// Logs in again and again, until the reboot is over or its time is.
    async fn wait_in_the_dark(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        reboot: &Reboot,
        left: &LeftBoot,
        work: &mut Work,
    ) -> Result<Dark, Stop> {
        let started = Instant::now();
        let deadline = started + self.time_left(left.at, reboot.timeout);
        let met = order.boot_id.clone().filter(|boot| *boot != left.boot_id);
        let met = met.filter(|_| order.left_boot.is_some());
        let over = match met {
            Some(_) => Duration::ZERO,
            None => self.shared.clock.now().since(left.at),
        };
        let since = (self.shared.clock.steady(), started);
        let mut dark = Dark::new(left.boot_id.clone(), met, over, since);
        let mut spaced = Spaced::new();
        loop {
            sleep(spaced.pause()).await;
            let knock = self.knock(order, rendered, reboot, &mut dark, work).await;
            let now = Instant::now();
            let contact = match knock {
                Ok(Knock::Over) => return Ok(dark),
                Ok(Knock::Seen(contact)) => contact,
                Err(stop) => {
                    work.tail = dark.story(now);
                    return Err(stop);
                }
            };
            dark.note(contact, now);
            spaced.failed(contact == Contact::LoginRefused);
            if let Some(verdict) = give_up(reboot, &dark, contact, started, deadline) {
                match self.late_verdict(order, reboot, verdict, &dark) {
                    verdict @ RebootVerdict::NotOver { .. } => {
                        let said = std::mem::take(&mut work.tail);
                        work.tail = format!("{said}\n{}", dark.story(now)).trim_start().to_owned();
                        return Err(failed(verdict));
                    }
                    verdict => {
                        work.tail = dark.story(now);
                        if verdict.answers() && contact == Contact::NewBoot {
                            self.gather_evidence(order, rendered, work).await;
                        }
                        return Err(failed(verdict));
                    }
                }
            }
        }
    }

    /// A reboot that is not over may be so because the host is on the wrong system, which says more.
    fn late_verdict(
        &self,
        order: &Order,
        reboot: &Reboot,
        verdict: RebootVerdict,
        dark: &Dark,
    ) -> RebootVerdict {
        match &verdict {
            RebootVerdict::NotOver { .. } => {
                let planned = &self.shared.plan.steps[order.step].id;
                let hop = &self.shared.plan.hops[usize::from(planned.hop)];
                let armed = order.armed && planned.phase == Phase::Migrate;
                judge_system(hop, reboot, armed, dark.system.as_ref()).unwrap_or(verdict)
            }
            RebootVerdict::StayedUp { .. }
            | RebootVerdict::OldSystem { .. }
            | RebootVerdict::WrongSystem { .. }
            | RebootVerdict::KeyChanged { .. }
            | RebootVerdict::OtherMachine { .. }
            | RebootVerdict::NeverBack { .. } => verdict,
        }
    }

    /// What is left of a reboot's time, where an earlier controller has seen its beginning.
    fn time_left(&self, began: Timestamp, timeout: Duration) -> Duration {
        let over = self.shared.clock.now().since(began);
        timeout.saturating_sub(over).max(TAKEN_OVER_LEAST.min(timeout))
    }

    /// Boots that were seen are a lower bound, since a login finds only where a boot has led to. The host's own list may know more;
    /// it lacks those whose journal was not kept. So the larger of the two counts, and is a lower bound itself.
    async fn count_boots(&mut self, order: &Order, reboot: &Reboot, dark: &Dark, work: &mut Work) {
        let met = u32::try_from(dark.boots.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let listed = self.boots_by_its_list(order, dark).await.unwrap_or(0);
        let seen = met.max(listed);
        if seen > reboot.boots {
            let (expected, told_by_host) = (reboot.boots, listed > met);
            work.warnings.push(Notice::ExtraBoots { seen, expected, told_by_host });
        }
    }

    /// Asks the step's own check, which knows where the traces of a failed upgrade are; what it prints is the evidence.
    async fn gather_evidence(&mut self, order: &Order, rendered: &Rendered, work: &mut Work) {
        let Some(verify) = &rendered.verify else { return };
        if let Ok((_, output)) = self.ask(order, rendered, verify, Part::Verify, work).await {
            work.tail = output.evidence();
        }
    }

    /// Where a controller gives the command: in the first of these, and in the next where the host has proven that it was not
    /// told. A later controller must find it there.
    fn reboot_dirs(&self, order: &Order, epoch: u32) -> Vec<String> {
        let dir = self.dir(order);
        (1..=COMMANDS_MAX).map(|nth| format!("{dir}.reboot.{epoch}.{nth}")).collect()
    }

    /// Whether the controllers before us died between the intent to reboot the host and the command. Only the old boot itself
    /// can say so; a host that does not answer, or answers from another boot, was told.
    async fn was_never_told(&mut self, order: &Order, left: &str) -> bool {
        let sudo = self.sudo(order);
        let dirs = |epoch| self.reboot_dirs(order, epoch);
        for dir in (0..order.epoch).flat_map(dirs).collect::<Vec<String>>() {
            let Ok(session) = self.connected(Instant::now()).await else { return false };
            if !matches!(session.look(&dir, sudo).await, Ok(Whereabouts::Never)) {
                return false;
            }
        }
        self.is_in(order, left).await
    }

    /// Gives the command. A connection that goes away under it is what was asked for. It is given once, and again only where the
    /// host has proven that it was not told, and is in the boot that it is to leave.
    async fn command(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        reboot: &Reboot,
        left: &str,
        work: &mut Work,
    ) -> Result<(), Stop> {
        let text = reboot.command.clone().unwrap_or_else(|| Arc::from(COMMAND));
        for dir in self.reboot_dirs(order, order.epoch) {
            let script = Script { dir, ..self.script(order, rendered, &text, QUESTION) };
            match self.hand_over(order, &script, Part::Step).await {
                Ok((Exit::Code(0) | Exit::Signal(_) | Exit::TimedOut { .. }, _))
                | Err(Handed::Lost { .. }) => return Ok(()),
                Ok((Exit::Code(code), output)) => {
                    work.tail = output.evidence();
                    return Err(Ending::Failed(Failure::Exited { code }));
                }
                Err(Handed::Ended(stop)) => return Err(stop),
                Err(Handed::Never) if self.is_in(order, left).await => {}
                // It has left that boot without our command, or cannot be asked: it may be on its way, and is waited for.
                Err(Handed::Never) => return Ok(()),
            }
        }
        work.never = true;
        let reason = "the command never reached the host".to_owned();
        Err(Ending::Failed(Failure::Unreachable { reason }))
    }
}

/// Whether the time is over for what is seen now, and what that means.
fn give_up(
    reboot: &Reboot,
    dark: &Dark,
    contact: Contact,
    started: Instant,
    deadline: Instant,
) -> Option<RebootVerdict> {
    let now = Instant::now();
    let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let never_left = dark.boots.len() == 1;
    if contact == Contact::OldBoot && never_left {
        let waited = now - started;
        let over = waited > reboot.down || now > deadline;
        return over.then(|| RebootVerdict::StayedUp { waited_ms: millis(waited) });
    }
    let seen = || dark.sightings(now);
    if contact == Contact::NewBoot {
        let limit_ms = millis(reboot.timeout);
        return (now > deadline).then(|| RebootVerdict::NotOver { limit_ms, seen: seen() });
    }
    let limit = if now > deadline { reboot.timeout } else { reboot.each };
    let over = now > deadline || dark.stretch(now) > reboot.each;
    over.then(|| RebootVerdict::NeverBack { limit_ms: millis(limit), last: contact, seen: seen() })
}

/// Whether the host is on the system that the reboot leads into.
fn judge_system(
    hop: &PlanHop,
    reboot: &Reboot,
    armed: bool,
    runs: Option<&System>,
) -> Option<RebootVerdict> {
    let wanted = match (reboot.into, armed) {
        (Some(HopSystem::From), _) => hop.from.as_ref()?,
        (Some(HopSystem::To), _) | (None, true) => hop.to.as_ref()?,
        (None, false) => return None,
    };
    let meets = |wanted: &System| runs.is_some_and(|runs| runs.meets(wanted));
    if meets(wanted) {
        return None;
    }
    let back = reboot.into != Some(HopSystem::From) && hop.from.as_ref().is_some_and(meets);
    Some(match runs {
        Some(system) if back => RebootVerdict::OldSystem { system: system.clone() },
        Some(_) | None => {
            RebootVerdict::WrongSystem { system: runs.cloned(), wanted: wanted.clone() }
        }
    })
}
