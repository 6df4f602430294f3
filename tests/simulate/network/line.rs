//! A connection: how it breaks, and what is to be seen over it as long as it holds.

use super::cut;
use crate::{
    host::{Begun, Dir, Host, LATE_MS},
    sim::Sim,
};
use fleetlift::host::{Exit, Holder, OutputSink, Stream};
use std::{sync::Arc, time::Duration};

/// After this much silence a connection counts as dead.
const SILENCE_MS: u64 = 45_000;

/// What a host needs to end a script that can be ended, and to find that it cannot.
const STOPPING_MS: (u64, u64) = (1500, 10_000);

/// A connection.
pub(super) struct Line {
    pub(super) sim: Sim,
    pub(super) host: String,
    pub(super) boot: u32,
    /// When it breaks.
    pub(super) breaks: Option<u64>,
    pub(super) dead: bool,
    pub(super) holder: Option<Arc<Holder>>,
}

/// How a call's way to the host went.
pub(super) enum Way {
    There,
    /// The caller learns at once that nothing has arrived.
    Closed,
    /// The caller cannot know whether anything has arrived.
    Broken {
        arrives: Option<u64>,
    },
}

/// What is to be seen of a script.
pub(super) enum Seen {
    Finished(Exit),
    /// The connection is gone.
    Broken,
    HostLost(&'static str),
    Never,
    /// Look again then.
    Later(u64),
}

impl Line {
    /// How often the run had been taken over. A connection that only asks holds nothing.
    pub(super) fn epoch(&self) -> Option<u32> {
        self.holder.as_ref().map(|holder| holder.epoch)
    }

    /// Whether the connection still holds; a cut that is short is only waited for.
    fn holds(&self, host: &Host, now: u64) -> bool {
        let long =
            host.troubles.partitions.iter().any(|(from, to)| from + SILENCE_MS <= now && now < *to);
        host.up && host.boot == self.boot && !long && self.breaks.is_none_or(|at| now < at)
    }

    /// Goes to the host, waiting for the end of a cut as long as a connection lives.
    pub(super) async fn go(&mut self) -> Way {
        if self.dead {
            return Way::Closed;
        }
        self.sim.call().await;
        let sim = self.sim.clone();
        let mut chance = sim.draw(&self.host, "call");
        sim.pause(chance.between(1, 30)).await;
        let wait = sim.on(&self.host, |host, now| {
            let over =
                host.troubles.partitions.iter().filter(|(from, to)| *from <= now && now < *to);
            over.map(|(from, to)| (*to).min(from + SILENCE_MS)).max()
        });
        if let Some(at) = wait {
            sim.until(at).await;
        }
        let network = sim.world().scenario.trouble.network;
        if !sim.on(&self.host, |host, now| self.holds(host, now)) {
            self.dead = true;
            // Nobody has answered: whether the host was reached before is not known to the caller.
            return if wait.is_some() { Way::Broken { arrives: None } } else { Way::Closed };
        }
        if chance.percent(network / 2) {
            self.dead = true;
            let at = sim.now() + chance.between(0, LATE_MS);
            return match chance.between(0, 2) {
                0 => Way::Closed,
                1 => Way::Broken { arrives: None },
                _ => Way::Broken { arrives: Some(at) },
            };
        }
        if chance.percent(network / 2) {
            // It will break soon after this call has begun.
            let soon = sim.now() + chance.between(0, 3000);
            self.breaks = Some(self.breaks.map_or(soon, |at| at.min(soon)));
        }
        Way::There
    }

    /// Looks at a directory.
    pub(super) fn see(&self, dir: &str, seen: &mut [u64; 2], output: &mut dyn OutputSink) -> Seen {
        self.sim.on(&self.host, |host, now| {
            if cut(host, now) && self.holds(host, now) {
                return Seen::Later(now + 1000);
            }
            if !self.holds(host, now) {
                return Seen::Broken;
            }
            let next = host.next_happening();
            let begun = match host.dirs.get(dir) {
                None | Some(Dir::Never) => return Seen::Never,
                Some(Dir::Begun(begun)) => begun,
            };
            let printed = begun.printed(now).as_bytes();
            let fresh = &printed[(seen[0] as usize).min(printed.len())..];
            if !fresh.is_empty() {
                output.take(Stream::Out, fresh);
                seen[0] = printed.len() as u64;
            }
            if let Some(exit) = &begun.ended {
                return Seen::Finished(exit.clone());
            }
            if begun.boot != host.boot {
                return Seen::HostLost("the host was started anew since");
            }
            if begun.gone {
                return Seen::HostLost("its process is gone, and it left no result");
            }
            Seen::Later(self.look_again(begun, next, now))
        })
    }

    fn look_again(&self, begun: &Begun, next: Option<u64>, now: u64) -> u64 {
        let middle = begun.began.midpoint(begun.ends);
        let times = [Some(middle), Some(begun.ends), next, self.breaks];
        let soonest = times.into_iter().flatten().filter(|at| *at > now).min();
        soonest.unwrap_or(now + 1000).min(now + 30_000)
    }

    /// Waits for the end of a script, at most until the limit.
    pub(super) async fn attend(
        &mut self,
        dir: &str,
        mut seen: [u64; 2],
        limit: Duration,
        output: &mut dyn OutputSink,
    ) -> Seen {
        let sim = self.sim.clone();
        let limit = sim.now() + limit.as_millis() as u64;
        loop {
            match self.see(dir, &mut seen, output) {
                Seen::Later(_) if sim.now() >= limit => break,
                Seen::Later(at) => sim.until(at.min(limit)).await,
                other => {
                    self.dead |= matches!(other, Seen::Broken);
                    sim.call().await;
                    return other;
                }
            }
        }
        let gone = sim.on(&self.host, |host, _| host.kill(dir));
        sim.pause(if gone { STOPPING_MS.0 } else { STOPPING_MS.1 }).await;
        sim.call().await;
        if !sim.on(&self.host, |host, now| self.holds(host, now)) {
            self.dead = true;
            return Seen::Broken;
        }
        let _ = self.see(dir, &mut seen, output);
        Seen::Finished(Exit::TimedOut { stopped: gone })
    }
}
