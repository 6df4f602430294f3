//! The machine of the controller, and the world that it asks.

use super::{cut, sentence};
use crate::{
    host::{Cause, Dir},
    sim::Sim,
};
use fleetlift::{
    engine::{Controller, LocalScript, Page},
    host::{BoxFuture, Exit, OutputSink, Stream},
};
use std::{io, path::Path, time::Duration};

/// The machine of the controller. A script that runs there goes on when the controller dies.
pub struct Desk(pub Sim);

impl Controller for Desk {
    fn run<'a>(
        &'a self,
        script: &'a LocalScript,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, io::Result<Exit>> {
        Box::pin(async move {
            let sim = &self.0;
            if let Some(id) = script.env.iter().find(|(name, _)| name == "FLEETLIFT_WATCH") {
                return Ok(watch(sim, &id.1, script.timeout, output).await);
            }
            let host = script.env.iter().find(|(name, _)| name == "FLEETLIFT_HOST");
            let host = host.map(|(_, value)| value.clone()).unwrap();
            let sentence = sentence(&script.text);
            let dir = format!("local/{}", sim.now());
            let cause: Cause = sim.cause(&host, &sentence, &dir);
            sim.on(&host, |host, now| host.begin(&dir, sentence, cause, now));
            sim.call().await;
            // It does not run on the host, and needs no connection to it.
            let limit = sim.now() + script.timeout.as_millis() as u64;
            loop {
                let (ended, printed, ends) = sim.on(&host, |host, now| match &host.dirs[&dir] {
                    Dir::Begun(it) => (it.ended.clone(), it.printed(now).to_owned(), it.ends),
                    Dir::Never => (None, String::new(), now),
                });
                if let Some(exit) = ended {
                    output.take(Stream::Out, printed.as_bytes());
                    return Ok(exit);
                }
                if sim.now() >= limit {
                    let stopped = sim.on(&host, |host, _| host.kill(&dir));
                    return Ok(Exit::TimedOut { stopped });
                }
                sim.until(ends.min(limit).max(sim.now() + 1)).await;
            }
        })
    }

    fn get<'a>(&'a self, _: &'a str, _: Duration) -> BoxFuture<'a, Result<Page, String>> {
        Box::pin(async { Err("there is no server here".to_owned()) })
    }

    fn make_folder<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn answers<'a>(&'a self, address: &'a str, _: u16, _: Duration) -> BoxFuture<'a, bool> {
        let sim = &self.0;
        Box::pin(async move { sim.on(address, |host, now| host.up && !cut(host, now)) })
    }
}

/// What a question about the world is answered: mostly well, sometimes not, now and then by nothing.
async fn watch(sim: &Sim, id: &str, timeout: Duration, output: &mut dyn OutputSink) -> Exit {
    let asked = sim.now();
    let mut chance = sim.world().scenario.chance(&format!("{id}/{asked}"));
    let limit = timeout.as_millis() as u64;
    let is_interrupt = id.starts_with("interrupt");
    let (well, bad) = if is_interrupt { (1, 0) } else { (0, 1) };
    sim.world().oracle.limits.asked(id, asked);
    // What is ill stays so for a while: more than one answer in a row.
    let ill = {
        let scenario = &sim.world().scenario;
        scenario.chance(&format!("{id}/ill/{}", asked / 100_000)).percent(scenario.trouble.ill)
    };
    let (code, takes) = match chance.between(0, 99) {
        _ if ill => (bad, chance.between(0, limit / 2)),
        0..97 => (well, chance.between(0, limit / 2)),
        97 => (bad, chance.between(0, limit / 2)),
        98 => (127, 0),
        _ => (well, limit * 2),
    };
    sim.pause(takes.min(limit)).await;
    if takes >= limit {
        return Exit::TimedOut { stopped: true };
    }
    output.take(Stream::Out, b"an answer\n");
    Exit::Code(code)
}
