//! Looking at a host, and waiting for something on it.

use super::{
    dark::QUESTION,
    hand_over::refused,
    lane::{Lane, Order, Stop, unverified},
    lock::RENEW_EVERY,
    paced::Spaced,
    work::Work,
};
use crate::{
    base::facts::Facts,
    host::{ConnectError, Exit, Script, facts},
    journal::{Failure, Part},
    plan::{PlanStep, Rendered},
    playbook::WaitFor,
    run::Ending,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// Between two looks at what is waited for.
const WAIT_PAUSE: Duration = Duration::from_secs(1);

impl Lane {
    /// Gathers facts.
    pub(super) async fn look(&mut self, order: &Order, limit: Duration) -> Result<Facts, Stop> {
        self.question(order, facts::SCRIPT, Part::Look, limit).await
    }

    /// Asks the host which boot it is in, and which system it runs.
    pub(super) async fn ask_boot(&mut self, order: &Order) -> Result<Facts, Stop> {
        self.question(order, facts::BOOT_SCRIPT, Part::Boot, QUESTION).await
    }

    /// Runs one of our own read-only scripts and returns what the host said of itself.
    async fn question(
        &mut self,
        order: &Order,
        text: &str,
        part: Part,
        limit: Duration,
    ) -> Result<Facts, Stop> {
        let script = Script {
            text: Arc::from(text),
            env: Vec::new(),
            sudo: false,
            timeout: limit,
            dir: String::new(),
            machine_id: None,
        };
        match self.put_question(order, script, "facts", part).await? {
            (Exit::Code(0), output) => Ok(facts::parse(&output.stdout())),
            (exit, output) => {
                let reason = match output.evidence() {
                    said if said.is_empty() => format!("{exit:?}"),
                    said => said,
                };
                Err(unverified("facts", format!("the host could not say what it is: {reason}")))
            }
        }
    }

    /// Waits for a port, a path or a command.
    pub(super) async fn wait(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        planned: &PlanStep,
        wait: &WaitFor,
        work: &mut Work,
    ) -> Result<(), Stop> {
        let deadline = Instant::now() + planned.timeout;
        if matches!(wait, WaitFor::Port(port) if *port == self.target.connection.port) {
            return self.wait_for_login(planned.timeout, work).await;
        }
        let mut renewed = Instant::now();
        let script = match wait {
            WaitFor::Port(_) => None,
            WaitFor::Path(path) => {
                let word = shlex::try_quote(path)
                    .map_err(|e| Ending::Failed(Failure::Refused { reason: e.to_string() }))?;
                Some(Arc::from(format!("test -e {word}")))
            }
            WaitFor::Command(text) => Some(Arc::clone(text)),
        };
        loop {
            let there = match (wait, &script) {
                (WaitFor::Port(port), _) => self.answers(*port, deadline).await,
                (_, Some(script)) => {
                    let (exit, output) =
                        self.ask(order, rendered, script, Part::Probe, work).await?;
                    work.tail = output.evidence();
                    exit == Exit::Code(0)
                }
                (_, None) => false,
            };
            if there {
                return Ok(());
            }
            if Instant::now() + WAIT_PAUSE >= deadline {
                return Err(super::lane::timed_out(planned.timeout, true));
            }
            sleep(WAIT_PAUSE).await;
            if matches!(wait, WaitFor::Port(_)) && renewed.elapsed() >= RENEW_EVERY {
                // The host itself hears nothing of this.
                self.renew().await;
                renewed = Instant::now();
            }
        }
    }

    /// Waits for the host's own SSH port: by whole logins, as in a reboot. sshd punishes who opens its port and leaves again,
    /// and a port that answers is no host that lets us in.
    async fn wait_for_login(&mut self, limit: Duration, work: &mut Work) -> Result<(), Stop> {
        let deadline = Instant::now() + limit;
        self.hang_up().await;
        self.tried = true;
        let mut spaced = Spaced::new();
        loop {
            let refused = match self.shared.transport.connect(&self.target).await {
                Ok(session) => {
                    self.session = Some(session);
                    return Ok(());
                }
                Err(ConnectError::HostKey { reason, hint, .. }) => {
                    return Err(refused(reason, hint));
                }
                // A host that comes up may refuse logins for a while.
                Err(ConnectError::Refused { reason, hint }) => {
                    work.tail = hint.map_or(reason.clone(), |hint| format!("{reason} ({hint})"));
                    true
                }
                Err(ConnectError::Unreachable { reason, .. }) => {
                    work.tail = reason;
                    false
                }
            };
            let pause = spaced.pause();
            if Instant::now() + pause >= deadline {
                return Err(super::lane::timed_out(limit, true));
            }
            sleep(pause).await;
            spaced.failed(refused);
        }
    }

    /// Whether a TCP port of the host takes connections from here.
    async fn answers(&mut self, port: u16, deadline: Instant) -> bool {
        for address in &self.target.addresses {
            let limit = deadline.saturating_duration_since(Instant::now());
            if self.shared.controller.answers(address, port, limit).await {
                return true;
            }
        }
        false
    }
}
