//! The way to made-up hosts: connections that break, answers that are lost, scripts that arrive late. What the real
//! scripts promise is kept; nothing else is.

use crate::{
    host::{Begun, Cause, Dir, Host, LATE_MS, Sentence},
    sim::Sim,
};
use fleetlift::{
    engine::{Controller, LocalScript, Page},
    host::{
        BoxFuture, ConnectError, Exit, Holder, Leave, OutputSink, Script, Session, SessionError,
        Stream, Target, Time, Transport, Whereabouts,
    },
    journal::Contact,
};
use std::{io, path::Path, sync::Arc, time::Duration};

/// After this much silence a connection counts as dead.
const SILENCE_MS: u64 = 45_000;
/// What a host needs to end a script that can be ended, and to find that it cannot.
const STOPPING_MS: (u64, u64) = (1500, 10_000);

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

/// A connection.
struct Line {
    sim: Sim,
    host: String,
    boot: u32,
    /// When it breaks.
    breaks: Option<u64>,
    dead: bool,
    holder: Option<Arc<Holder>>,
}

/// How a call's way to the host went.
enum Way {
    There,
    /// The caller learns at once that nothing has arrived.
    Closed,
    /// The caller cannot know whether anything has arrived.
    Broken {
        arrives: Option<u64>,
    },
}

/// What is to be seen of a script.
enum Seen {
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
    fn epoch(&self) -> Option<u32> {
        self.holder.as_ref().map(|holder| holder.epoch)
    }

    /// Whether the connection still holds; a cut that is short is only waited for.
    fn holds(&self, host: &Host, now: u64) -> bool {
        let long =
            host.troubles.partitions.iter().any(|(from, to)| from + SILENCE_MS <= now && now < *to);
        host.up && host.boot == self.boot && !long && self.breaks.is_none_or(|at| now < at)
    }

    /// Goes to the host, waiting for the end of a cut as long as a connection lives.
    async fn go(&mut self) -> Way {
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
    fn see(&self, dir: &str, seen: &mut [u64; 2], output: &mut dyn OutputSink) -> Seen {
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
    async fn attend(
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

    async fn run_script(
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

    /// A question of which nothing is left.
    async fn put_question(
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

    async fn whereabouts(
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

    async fn look_once(&mut self, dir: &str, sudo: bool) -> Result<Whereabouts, SessionError> {
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

    async fn put(&mut self, path: &str, sudo: bool) -> Result<(), SessionError> {
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

/// Reads what a script asks for.
pub fn sentence(text: &str) -> Sentence {
    let say = |word: &str, step: String| Sentence::Say { word: word.to_owned(), step };
    // A host that keeps no list of its boots answers that question with anything but one.
    if text.contains("boot_id=") || text.contains("# fleetlift-") {
        return Sentence::Facts;
    }
    if let Some(path) = text.strip_prefix("test -e ") {
        return say("wait", path_step(path));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["sim", word, hop, phase, step, ..] => say(word, format!("{hop}.{phase}.{step}")),
        _ => say("reboot", String::new()),
    }
}

/// `/sim/0/migrate/prepare` is about `0.migrate.prepare`.
fn path_step(path: &str) -> String {
    path.trim_start_matches("/sim/").replace('/', ".")
}

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
    let (code, takes) = match chance.between(0, 99) {
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
