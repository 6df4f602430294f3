//! What the real scripts for hosts promise, kept over connections that break: a script begins once, and whoever asks for one
//! that has not begun keeps it from beginning.

use super::{
    line::{Line, Seen, Way},
    words::{path_step, sentence},
};
use crate::host::{Dir, Sentence};
use fleetlift::host::{Exit, OutputSink, Script, SessionError, Stream, Time, Whereabouts};
use std::time::Duration;

impl Line {
    pub(super) async fn run_script(
        &mut self,
        script: &Script,
        output: &mut dyn OutputSink,
    ) -> Result<Exit, SessionError> {
        let sim = self.sim.clone();
        let sentence = sentence(&script.text);
        let cause = sim.cause(&self.host, &sentence, &script.dir);
        // A reboot that the playbook does not word is the reboot of the attempt.
        let sentence = match sentence {
            Sentence::Say { word, step } if step.is_empty() => {
                Sentence::Say { word, step: cause.step.clone() }
            }
            other => other,
        };
        let lost = || SessionError::Lost { reason: "the connection went away".to_owned() };
        match self.go().await {
            Way::There => {}
            Way::Closed => {
                let reason = "the connection was closed".to_owned();
                return Err(SessionError::NotStarted { reason });
            }
            Way::Broken { arrives } => {
                if let Some(at) = arrives.filter(|_| self.may_begin(script).is_ok()) {
                    let epoch = self.epoch();
                    sim.on(&self.host, |host, _| {
                        host.arrives_later(at, &script.dir, sentence, cause, epoch);
                    });
                }
                return Err(lost());
            }
        }
        self.may_begin(script)?;
        sim.on(&self.host, |host, now| host.begin(&script.dir, sentence, cause, now));
        sim.call().await;
        match self.attend(&script.dir, [0, 0], script.timeout, output).await {
            Seen::Finished(exit) => Ok(exit),
            Seen::Broken | Seen::HostLost(_) | Seen::Never | Seen::Later(_) => {
                self.dead = true;
                Err(lost())
            }
        }
    }

    /// A question of which nothing is left.
    pub(super) async fn put_question(
        &mut self,
        script: &Script,
        output: &mut dyn OutputSink,
    ) -> Result<Exit, SessionError> {
        let sentence = sentence(&script.text);
        self.sim.cause(&self.host, &sentence, "a question");
        if let Way::Closed | Way::Broken { .. } = self.go().await {
            let reason = "the connection was closed".to_owned();
            return Err(SessionError::NotStarted { reason });
        }
        let (exit, said) = self.sim.on(&self.host, |host, now| host.asked(&sentence, now));
        self.sim.call().await;
        output.take(Stream::Out, said.as_bytes());
        Ok(exit)
    }

    pub(super) async fn look_once(
        &mut self,
        dir: &str,
        sudo: bool,
    ) -> Result<Whereabouts, SessionError> {
        match self.find(dir, sudo).await {
            // Its folder was emptied since.
            Err(SessionError::Refused { reason }) if reason.contains("has ended") => {
                return Ok(Whereabouts::Lost { reason });
            }
            found => found?,
        }
        if self.is_unknown(dir) {
            return Ok(open());
        }
        let mut nowhere = Nowhere;
        Ok(match self.see(dir, &mut [0, 0], &mut nowhere) {
            Seen::Finished(exit) => Whereabouts::Finished(exit),
            Seen::Never => Whereabouts::Never,
            Seen::HostLost(reason) => Whereabouts::Lost { reason: reason.to_owned() },
            Seen::Later(_) => Whereabouts::Running,
            Seen::Broken => {
                self.dead = true;
                let reason = "the connection went away".to_owned();
                return Err(SessionError::NotStarted { reason });
            }
        })
    }

    pub(super) async fn whereabouts(
        &mut self,
        dir: &str,
        sudo: bool,
        seen: [u64; 2],
        time: Time,
        output: &mut dyn OutputSink,
    ) -> Result<Whereabouts, SessionError> {
        self.find(dir, sudo).await?;
        if self.is_unknown(dir) {
            return Ok(open());
        }
        // The host counts from the script's beginning, in seconds.
        let over = self.sim.on(&self.host, |host, now| match host.dirs.get(dir) {
            Some(Dir::Begun(begun)) => {
                let limit = begun.began + time.limit.as_millis() as u64 + 1000;
                Duration::from_millis(limit.saturating_sub(now))
            }
            Some(Dir::Never) | None => time.left,
        });
        Ok(match self.attend(dir, seen, time.left.min(over), output).await {
            Seen::Finished(exit) => Whereabouts::Finished(exit),
            Seen::Never => Whereabouts::Never,
            Seen::HostLost(reason) => Whereabouts::Lost { reason: reason.to_owned() },
            Seen::Broken | Seen::Later(_) => {
                self.dead = true;
                let reason = "the connection went away".to_owned();
                return Err(SessionError::NotStarted { reason });
            }
        })
    }

    pub(super) async fn put(&mut self, path: &str, sudo: bool) -> Result<(), SessionError> {
        let step = path_step(path);
        let sentence = Sentence::Say { word: "file".to_owned(), step: step.clone() };
        let cause = self.sim.cause(&self.host, &sentence, path);
        let way = self.go().await;
        let sim = self.sim.clone();
        let lost = || SessionError::Lost { reason: "the connection went away".to_owned() };
        let whole = match way {
            Way::There => true,
            Way::Closed => {
                let reason = "the connection was closed".to_owned();
                return Err(SessionError::NotStarted { reason });
            }
            Way::Broken { arrives: Some(_) } => false,
            Way::Broken { arrives: None } => return Err(lost()),
        };
        sim.on(&self.host, |host, now| {
            if sudo && host.troubles.sudo_refused {
                let reason = "sudo: a password is required".to_owned();
                return Err(SessionError::Refused { reason });
            }
            if host.disk_is_full(now) {
                let reason = "no space left on device".to_owned();
                return Err(SessionError::Refused { reason });
            }
            let folder = self.holder.as_ref().map_or("", |holder| holder.folder.as_str());
            host.take_lock(&format!("{folder}/"), self.epoch(), now)
                .map_err(|reason| SessionError::Refused { reason })?;
            if let Some(spec) = host.spec(&step) {
                host.check_start(&spec, &cause);
                host.changed = true;
                host.begun_hops.insert(spec.hop);
            }
            host.take_effect(&step, true);
            Ok(())
        })?;
        sim.call().await;
        if whole { Ok(()) } else { Err(lost()) }
    }

    /// What a host looks at before it begins a script.
    fn may_begin(&self, script: &Script) -> Result<(), SessionError> {
        self.sim.on(&self.host, |host, now| {
            if self.holder.is_none() {
                host.wrong.push(format!("{}: {} was sent without a lock", host.name, script.dir));
            }
            let refused = |reason: &str| Err(SessionError::Refused { reason: reason.to_owned() });
            if script.sudo && host.troubles.sudo_refused {
                return refused("sudo: a password is required");
            }
            if script.machine_id.as_ref().is_some_and(|id| *id != host.machine_id(now)) {
                return refused("another machine");
            }
            if host.disk_is_full(now) {
                return refused("cannot make its directory: no space left on device");
            }
            host.take_lock(&script.dir, self.epoch(), now)
                .map_err(|reason| SessionError::Refused { reason })?;
            if host.dirs.contains_key(&script.dir) {
                return Err(SessionError::Lost { reason: "its name was taken before".to_owned() });
            }
            Ok(())
        })
    }

    /// What every question about a script begins with.
    async fn find(&mut self, dir: &str, sudo: bool) -> Result<(), SessionError> {
        if let Way::Closed | Way::Broken { .. } = self.go().await {
            let reason = "the connection was closed".to_owned();
            return Err(SessionError::NotStarted { reason });
        }
        self.sim.on(&self.host, |host, now| {
            if sudo && host.troubles.sudo_refused {
                let reason = "sudo: a password is required".to_owned();
                return Err(SessionError::Refused { reason });
            }
            let (folder, _) = dir.rsplit_once('/').unwrap_or((dir, ""));
            if !host.dirs.contains_key(dir) && host.ended.contains(folder) {
                let reason = "the run has ended with this host".to_owned();
                return Err(SessionError::Refused { reason });
            }
            if let Some(epoch) = self.epoch() {
                host.hear(epoch, now);
            }
            if !host.dirs.contains_key(dir) && !host.disk_is_full(now) {
                host.dirs.insert(dir.to_owned(), Dir::Never);
            }
            Ok(())
        })
    }

    /// Whether a directory is missing and could not be made.
    fn is_unknown(&self, dir: &str) -> bool {
        self.sim.on(&self.host, |host, _| !host.dirs.contains_key(dir))
    }
}

/// What a host says whose disk is full, of a script that it knows nothing of.
fn open() -> Whereabouts {
    Whereabouts::Open { reason: "it has not begun, and no space is left on device".to_owned() }
}

/// Takes output that nobody reads.
struct Nowhere;

impl OutputSink for Nowhere {
    fn take(&mut self, _: Stream, _: &[u8]) {}
}
