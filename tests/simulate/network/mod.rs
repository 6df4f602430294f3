//! The way to made-up hosts: connections that break, answers that are lost, scripts that arrive late. What the real
//! scripts promise is kept; nothing else is.

mod desk;
mod line;
mod scripts;
mod session;
mod words;

pub use desk::Desk;
pub use words::sentence;

use crate::{host::Host, sim::Sim};
use fleetlift::{
    host::{BoxFuture, ConnectError, Session, Target, Transport},
    journal::Contact,
};
use line::Line;

/// The network of a simulation.
pub struct Network(pub Sim);

impl Transport for Network {
    fn connect<'a>(
        &'a self,
        target: &'a Target,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, ConnectError>> {
        let name = target.host.as_str().to_owned();
        Box::pin(async move {
            let sim = &self.0;
            sim.call().await;
            let mut chance = sim.draw(&name, "connect");
            sim.pause(chance.between(5, 150)).await;
            let unreachable = |contact, reason: &str| {
                Err(ConnectError::Unreachable { contact, reason: reason.to_owned() })
            };
            let silent = sim.on(&name, |host, now| host.troubles.unreachable || cut(host, now));
            if silent {
                sim.pause(chance.pick(&[10, 3000, 10_000])).await;
                return unreachable(Contact::NoAnswer, "no answer");
            }
            let network = sim.world().scenario.trouble.network;
            let lasts = chance.percent(network).then(|| chance.between(0, 90_000));
            let dropped = chance.percent(network / 3);
            sim.on(&name, |host, now| {
                if !host.up || dropped {
                    return unreachable(Contact::PortClosed, "connection refused");
                }
                if host.up_since > 0 && now < host.up_since + 1500 {
                    return unreachable(Contact::GoingDown, "the system is booting up");
                }
                if host.troubles.key_changes_at_boot.is_some_and(|boot| host.boot >= boot) {
                    return Err(ConnectError::HostKey {
                        reason: "its key has changed".to_owned(),
                        hint: None,
                        shown: "another".to_owned(),
                        expected: Some("the known one".to_owned()),
                        revoked: false,
                    });
                }
                let breaks = lasts.map(|lasts| now + lasts);
                let boot = host.boot;
                let (sim, host) = (sim.clone(), name.clone());
                let line = Line { sim, host, boot, breaks, dead: false, holder: None };
                Ok(Box::new(line) as Box<dyn Session>)
            })
        })
    }
}

/// Whether the way to the host is cut.
fn cut(host: &Host, now: u64) -> bool {
    host.troubles.partitions.iter().any(|(from, to)| *from <= now && now < *to)
}
