//! A connection as the engine sees it.

use super::{
    line::{Line, Way},
    words::path_step,
};
use crate::host::{Host, Sentence};
use fleetlift::host::{
    BoxFuture, Exit, Holder, Leave, OutputSink, Script, Session, SessionError, Time, Whereabouts,
};
use std::{path::Path, sync::Arc};

impl Session for Line {
    fn run<'a>(
        &'a mut self,
        script: &'a Script,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Exit, SessionError>> {
        Box::pin(self.run_script(script, output))
    }

    fn ask<'a>(
        &'a mut self,
        script: &'a Script,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Exit, SessionError>> {
        Box::pin(self.put_question(script, output))
    }

    fn look<'a>(
        &'a mut self,
        dir: &'a str,
        sudo: bool,
    ) -> BoxFuture<'a, Result<Whereabouts, SessionError>> {
        Box::pin(self.look_once(dir, sudo))
    }

    fn follow<'a>(
        &'a mut self,
        dir: &'a str,
        sudo: bool,
        seen: [u64; 2],
        time: Time,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Whereabouts, SessionError>> {
        Box::pin(self.whereabouts(dir, sudo, seen, time, output))
    }

    fn upload<'a>(
        &'a mut self,
        _: &'a [u8],
        path: &'a str,
        _: u32,
        sudo: bool,
    ) -> BoxFuture<'a, Result<(), SessionError>> {
        Box::pin(self.put(path, sudo))
    }

    fn download<'a>(
        &'a mut self,
        path: &'a str,
        _: &'a Path,
        _: bool,
    ) -> BoxFuture<'a, Result<u64, SessionError>> {
        Box::pin(async move {
            let step = path_step(path);
            let sentence = Sentence::Say { word: "file".to_owned(), step };
            self.sim.cause(&self.host, &sentence, path);
            match self.go().await {
                Way::There => Ok(1),
                Way::Closed | Way::Broken { .. } => {
                    Err(SessionError::Lost { reason: "the connection went away".to_owned() })
                }
            }
        })
    }

    fn hold(&mut self, holder: &Arc<Holder>) {
        self.holder = Some(Arc::clone(holder));
    }

    fn renew(&mut self, _: bool) -> BoxFuture<'_, Result<(), SessionError>> {
        Box::pin(async move {
            let Some(holder) = self.holder.clone() else { return Ok(()) };
            let Way::There = self.go().await else {
                let reason = "the connection was closed".to_owned();
                return Err(SessionError::NotStarted { reason });
            };
            let locked = |host: &mut Host, now| {
                host.take_lock(&format!("{}/", holder.folder), Some(holder.epoch), now)
            };
            let renewed = self.sim.on(&self.host, locked);
            self.sim.call().await;
            renewed.map_err(|reason| SessionError::Refused { reason })
        })
    }

    fn leave(&mut self, how: Leave, _: bool) -> BoxFuture<'_, Result<(), SessionError>> {
        Box::pin(async move {
            let Some(holder) = self.holder.clone() else { return Ok(()) };
            match self.go().await {
                Way::There => {
                    let sim = self.sim.clone();
                    let mut chance = sim.draw(&self.host, "leave");
                    if chance.percent(20) {
                        sim.pause(chance.between(0, 15_000)).await;
                    }
                    sim.on(&self.host, |host, _| host.leave(&holder.folder, holder.epoch, how));
                    sim.call().await;
                    Ok(())
                }
                Way::Closed | Way::Broken { .. } => {
                    let reason = "the connection was closed".to_owned();
                    Err(SessionError::NotStarted { reason })
                }
            }
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
