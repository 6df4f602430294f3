//! Files up and down. A file is renamed into its place when it is whole, so a transfer that broke is begun anew.

use super::{
    hand_over::{LEAST, PATIENCE, PAUSE},
    lane::{Lane, Stop, timed_out},
};
use crate::{
    host::{Session, SessionError},
    journal::Failure,
    plan::PlanStep,
    run::Ending,
};
use std::{path::Path, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};

/// A file's way.
enum Way<'a> {
    Up { content: &'a [u8], to: &'a str, mode: u32 },
    Down { from: &'a str, to: &'a Path },
}

impl Way<'_> {
    async fn go(&self, session: &mut Box<dyn Session>, sudo: bool) -> Result<(), SessionError> {
        match self {
            Self::Up { content, to, mode } => session.upload(content, to, *mode, sudo).await,
            Self::Down { from, to } => session.download(from, to, sudo).await.map(drop),
        }
    }
}

impl Lane {
    /// Writes a file on the host.
    pub(super) async fn put(
        &mut self,
        planned: &PlanStep,
        content: &[u8],
        to: &str,
        mode: u32,
    ) -> Result<(), Stop> {
        let sudo = planned.sudo.unwrap_or(self.target.connection.sudo);
        self.transfer(planned.timeout, &Way::Up { content, to, mode }, sudo).await
    }

    /// Reads a file of the host.
    pub(super) async fn fetch(&mut self, planned: &PlanStep, from: &str) -> Result<(), Stop> {
        let sudo = planned.sudo.unwrap_or(self.target.connection.sudo);
        let name = from.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("file");
        let dir =
            self.shared.artifacts.join(crate::base::text::file_name(self.target.host.as_str()));
        let to = dir.join(format!("{}.{}", planned.id, crate::base::text::file_name(name)));
        self.shared.controller.make_folder(&dir).await.map_err(|error| {
            let reason = format!("cannot make {} on the controller: {error}", dir.display());
            Ending::Failed(Failure::Refused { reason })
        })?;
        self.transfer(planned.timeout, &Way::Down { from, to: &to }, sudo).await
    }

    /// Moves a file, over as many connections as it takes within the step's limit: a whole file more than once does no
    /// harm, and half a one is never seen under its name.
    async fn transfer(&mut self, limit: Duration, way: &Way<'_>, sudo: bool) -> Result<(), Stop> {
        let until = Instant::now() + limit;
        loop {
            let session = self.connected((Instant::now() + PATIENCE).min(until)).await?;
            // What is whole by now may need a moment to say so.
            let moved = timeout_at(until + LEAST, way.go(session, sudo)).await;
            let failure = match moved {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(SessionError::Refused { reason })) => {
                    return Err(Ending::Failed(Failure::Refused { reason }));
                }
                Ok(Err(SessionError::NotStarted { reason })) => Failure::Unreachable { reason },
                Ok(Err(SessionError::Lost { reason })) => Failure::Lost { reason },
                Err(_) => {
                    self.session = None;
                    return Err(timed_out(limit, true));
                }
            };
            self.session = None;
            if Instant::now() >= until {
                return Err(Ending::Failed(failure));
            }
            sleep(PAUSE.0).await;
        }
    }
}
