//! Scripts over a connection: started at most once, ended in time, and never reported otherwise than known.

use super::{
    auth::is_going_down,
    exchange::{self, Aside, Ending, Job, Link},
    in_time::{Finish, run_in_time, stop_now},
    shell::{self, BEGUN_BEFORE, NO_LAUNCHER, Program, Text},
};
use crate::{
    host::{
        Exit, Holder, Leave, OutputSink, Script, Session, SessionError, Stream, Time, Whereabouts,
        transport::BoxFuture,
    },
    inventory::Connection,
    journal::{Failure, NewKey},
};
use russh::Disconnect;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::time::timeout;

/// Longer scripts are not part of the program that is read byte by byte.
pub(super) const INLINE_BYTES_MAX: usize = 2048;

/// A polite end must not take longer.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// A connection to one host.
pub(super) struct SshSession {
    pub(super) link: Link,
    pub(super) connection: Arc<Connection>,
    /// The host's key, where it was taken only because a new one is announced.
    pub(super) new_key: Option<NewKey>,
    /// Why no more scripts are taken.
    pub(super) dead: Option<String>,
    /// Whose the host's lock must be for scripts.
    pub(super) held: Option<Held>,
    /// The lock's lease, in seconds.
    pub(super) lease: String,
    /// What is to be told of how the lock was taken.
    pub(super) notes: Vec<String>,
    /// Whether the launcher is kept on the host for the login user, and for root.
    pub(super) launchers: [Kept; 2],
}

/// A holder, and its epoch as it is sent.
pub(super) struct Held {
    holder: Arc<Holder>,
    epoch: String,
}

/// Whether the host keeps the launcher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Kept {
    #[default]
    Unknown,
    /// Below this directory.
    At(String),
    /// It did once, and does not any more.
    Never,
}

impl SshSession {
    /// Refuses where the connection has ended before.
    pub(super) fn alive(&self) -> Result<(), SessionError> {
        match &self.dead {
            None => Ok(()),
            Some(why) => {
                Err(SessionError::NotStarted { reason: format!("the session has ended: {why}") })
            }
        }
    }

    /// Turns an ending that is not the program's own into an error, and remembers a dead connection.
    pub(super) fn settle(&mut self, ending: Ending) -> Result<String, SessionError> {
        let error = match ending {
            Ending::Ended(how) => return Ok(how),
            Ending::No(why) if why == BEGUN_BEFORE => {
                SessionError::Lost { reason: "its name on the host was taken before".to_owned() }
            }
            Ending::No(why) => return Err(SessionError::Refused { reason: with_hint(why) }),
            Ending::NoProgram { said, .. } if is_going_down(&said) => {
                SessionError::NotStarted { reason: said }
            }
            Ending::NoProgram { status, said } => {
                return Err(SessionError::Refused { reason: explain_no_program(&status, &said) });
            }
            Ending::Gone { handed: false, why } => SessionError::NotStarted { reason: why },
            Ending::Gone { handed: true, why } => SessionError::Lost { reason: why },
        };
        self.dead = Some(error.to_string());
        Err(error)
    }

    async fn run_script(
        &mut self,
        script: &Script,
        output: &mut dyn OutputSink,
    ) -> Result<Exit, SessionError> {
        self.alive()?;
        check(script)?;
        let refuse = |reason: String| SessionError::Refused { reason };
        let token = exchange::draw_word().map_err(refuse)?;
        let file = shell::script_file(&token, &script.env, &script.text);
        let mut kept = self.launchers[usize::from(script.sudo)].clone();
        loop {
            let (finish, aside) = self.launch(script, &token, &file, &kept, output).await;
            self.note(aside, script.sudo);
            match finish {
                // The host has another system than a moment ago, say: it is sent again, and nothing has begun.
                Finish::InTime(Ending::No(why)) if why == NO_LAUNCHER && kept != Kept::Never => {
                    kept = Kept::Never;
                    self.launchers[usize::from(script.sudo)] = Kept::Never;
                }
                Finish::InTime(ending) => return self.settle(ending).map(|how| exit_of(&how)),
                Finish::Stopped { gone } => return Ok(Exit::TimedOut { stopped: gone }),
                // Its name is taken now: it must not be tried again in the same directory, and whoever asks hears `never`.
                Finish::Never => {
                    let reason = format!("it did not begin within {:?}", script.timeout);
                    self.dead = Some(reason.clone());
                    return Err(SessionError::Lost { reason });
                }
                Finish::Lost(why) => {
                    self.dead = Some(why.clone());
                    return Err(SessionError::Lost { reason: why });
                }
            }
        }
    }

    async fn launch(
        &self,
        script: &Script,
        token: &str,
        file: &str,
        kept: &Kept,
        output: &mut dyn OutputSink,
    ) -> (Finish, Aside) {
        let size = file.len().to_string();
        let machine = script.machine_id.as_deref().unwrap_or_default();
        let mut values = self.lock_values();
        values.extend([("dir", script.dir.as_str()), ("machine", machine)]);
        // A long script follows the program: that is read byte by byte on the host.
        let body = if file.len() <= INLINE_BYTES_MAX {
            values.push(("script", file));
            &[]
        } else {
            values.push(("size", &size));
            file.as_bytes()
        };
        let text = match kept {
            Kept::At(root) => {
                values.push(("root", root));
                Text::new(&values).kept_launcher(root)
            }
            Kept::Unknown | Kept::Never => {
                Text::new(&values).whole_launcher(*kept == Kept::Unknown)
            }
        };
        let launch = Job { text, body, sudo: script.sudo };
        let stop = || self.stop_job(&script.dir, token, script.sudo);
        run_in_time(&self.link, launch, stop, script.timeout, output).await
    }

    fn stop_job(&self, dir: &str, token: &str, sudo: bool) -> Job<'static> {
        let values = [("root", self.root()), ("dir", dir), ("token", token)];
        Job { text: Text::new(&values).program(Program::Stop), body: &[], sudo }
    }

    fn root(&self) -> &str {
        self.connection.remote_dir.as_deref().unwrap_or_default()
    }

    /// Where scripts have their directories, and whose the lock must be.
    pub(super) fn lock_values(&self) -> Vec<(&'static str, &str)> {
        let mut values = vec![("root", self.root())];
        if let Some(Held { holder, epoch }) = &self.held {
            values.extend([
                ("run", holder.run.as_str()),
                ("epoch", epoch),
                ("who", &holder.controller),
                ("home", &holder.folder),
                ("dir", &holder.folder),
                ("lease", &self.lease),
                ("shared", if self.connection.allow_shared_machine { "1" } else { "" }),
            ]);
        } else {
            values.push(("run", ""));
        }
        values
    }

    /// Keeps what the host said beside.
    pub(super) fn note(&mut self, aside: Aside, sudo: bool) {
        self.notes.extend(aside.took);
        if let Some(root) = aside.launcher_at {
            self.launchers[usize::from(sudo)] = Kept::At(root);
        }
    }

    async fn look_for(&mut self, dir: &str, sudo: bool) -> Result<Whereabouts, SessionError> {
        self.alive()?;
        check_dir(dir)?;
        let mut values = self.lock_values();
        values.push(("dir", dir));
        let text = Text::new(&values).program(Program::Look);
        let mut words = String::new();
        let mut hear = |stream: Stream, bytes: &[u8]| {
            if stream == Stream::Out {
                words.push_str(&String::from_utf8_lossy(bytes));
            }
        };
        let ending = self.link.exchange(Job { text, body: &[], sudo }, &mut hear).await;
        match ending {
            // Nothing was changed by looking, however the connection ended.
            Ending::Gone { why, .. } => self.settle(Ending::Gone { handed: false, why })?,
            ending => self.settle(ending)?,
        };
        whereabouts(words.trim())
    }

    async fn follow_to_end(
        &mut self,
        dir: &str,
        sudo: bool,
        seen: [u64; 2],
        time: Time,
        output: &mut dyn OutputSink,
    ) -> Result<Whereabouts, SessionError> {
        self.alive()?;
        check_dir(dir)?;
        let [out, err] = seen.map(|bytes| bytes.to_string());
        let limit = time.limit.as_millis().div_ceil(1000).to_string();
        let mut values = self.lock_values();
        values.extend([("dir", dir), ("out", &out), ("err", &err), ("limit", &limit)]);
        let text = Text::new(&values).program(Program::Follow);
        let follow = Job { text, body: &[], sudo };
        // The token is in the script's own file.
        let stop = || self.stop_job(dir, "", sudo);
        match run_in_time(&self.link, follow, &stop, time.left, output).await.0 {
            // Nothing was changed by following, however the connection ended.
            Finish::InTime(Ending::Gone { why, .. }) | Finish::Lost(why) => {
                let gone = Ending::Gone { handed: false, why };
                self.settle(gone).map(|_| Whereabouts::Running)
            }
            Finish::InTime(ending) => {
                let words = self.settle(ending)?;
                // Its time was over, and whoever ended it did not hear whether all of it is gone; or it is over now.
                if !matches!(words.as_str(), "stopped" | "overdue") {
                    return whereabouts(&words);
                }
                match stop_now(&self.link, self.stop_job(dir, "", sudo)).await {
                    // In the last moment it ended by itself, and its output is not whole yet.
                    Ok(Some(said)) if said == "over" => Ok(Whereabouts::Running),
                    Ok(said) => {
                        let stopped = said.as_deref() == Some("gone");
                        Ok(Whereabouts::Finished(Exit::TimedOut { stopped }))
                    }
                    Err(why) => {
                        let gone = Ending::Gone { handed: false, why };
                        self.settle(gone).map(|_| Whereabouts::Running)
                    }
                }
            }
            Finish::Stopped { gone } => Ok(Whereabouts::Finished(Exit::TimedOut { stopped: gone })),
            Finish::Never => Ok(Whereabouts::Never),
        }
    }

    /// Runs one of the programs that only tend the lock.
    async fn tend(
        &mut self,
        program: Program,
        more: (&'static str, &str),
        sudo: bool,
    ) -> Result<(), SessionError> {
        if self.held.is_none() {
            return Ok(());
        }
        self.alive()?;
        let mut values = self.lock_values();
        values.push(more);
        let text = Text::new(&values).program(program);
        let job = Job { text, body: &[], sudo };
        let (ending, aside) = self.link.exchange_aside(job, &mut |_, _| ()).await;
        self.note(aside, sudo);
        match ending {
            // A lock that was not tended is tended later, or runs out.
            Ending::Gone { why, .. } => self.settle(Ending::Gone { handed: false, why }),
            ending => self.settle(ending),
        }
        .map(drop)
    }
}

/// What the host says of a script that was begun before.
fn whereabouts(words: &str) -> Result<Whereabouts, SessionError> {
    match words.split_once(' ').unwrap_or((words, "")) {
        ("never", "") => Ok(Whereabouts::Never),
        ("open", reason) => Ok(Whereabouts::Open { reason: reason.to_owned() }),
        ("running", "") => Ok(Whereabouts::Running),
        ("stopped", "") => Ok(Whereabouts::Finished(Exit::TimedOut { stopped: false })),
        ("finished", how) => Ok(Whereabouts::Finished(exit_of(how))),
        ("lost", reason) => Ok(Whereabouts::Lost { reason: reason.to_owned() }),
        (_, _) => {
            let reason = format!("the host gave no answer that can be read: `{words}`");
            Err(SessionError::Refused { reason })
        }
    }
}

pub(super) fn exit_of(how: &str) -> Exit {
    match how.parse() {
        Ok(code) => Exit::Code(code),
        Err(_) => Exit::Signal(how.to_owned()),
    }
}

fn check_dir(dir: &str) -> Result<(), SessionError> {
    if shell::is_inner_path(dir) {
        return Ok(());
    }
    Err(SessionError::Refused { reason: format!("`{dir}` is not a directory's name here") })
}

/// Refuses what cannot be handed to a shell.
fn check(script: &Script) -> Result<(), SessionError> {
    check_dir(&script.dir)?;
    check_script(script)
}

/// The same for what needs no directory.
pub(super) fn check_script(script: &Script) -> Result<(), SessionError> {
    let refuse = |reason: String| Err(SessionError::Refused { reason });
    if script.text.contains('\0') {
        return refuse("the script contains a NUL byte".to_owned());
    }
    for (name, value) in &script.env {
        if !shell::is_variable_name(name) {
            return refuse(format!("`{name}` is not a variable's name in a shell"));
        }
        if value.contains('\0') {
            return refuse(format!("the value of {name} contains a NUL byte"));
        }
    }
    if script.machine_id.as_ref().is_some_and(|id| id.is_empty()) {
        return refuse("an empty machine id matches no host".to_owned());
    }
    Ok(())
}

/// Something stood before the program: what did it say, and what helps?
fn explain_no_program(status: &str, said: &str) -> String {
    if said.is_empty() {
        return format!("the login shell did not run the command ({status})");
    }
    with_hint(format!("{said} ({status})"))
}

fn with_hint(said: String) -> String {
    let hints = [
        ("a password is required", "set `sudo_password`, or allow the user NOPASSWD in sudoers"),
        ("a terminal is required", "set `sudo_password`, or allow the user NOPASSWD in sudoers"),
        ("must have a tty", "take `requiretty` away for this user in sudoers"),
        ("not in the sudoers file", "allow the user in sudoers, or log in as root"),
        ("may not run sudo", "allow the user in sudoers, or log in as root"),
        ("is not allowed to execute", "sudoers must allow the user /bin/sh"),
        ("sudo: not found", "install sudo, or log in as root"),
        ("sudo did not accept", "check `sudo_password`"),
        ("has had this host since", "look at the host, and run it again in a new run"),
        (
            Failure::LOCKED,
            "wait until that run has ended with this host or stop it there, or leave the host out with --limit; \
             a controller that is gone loses the lock when its lease runs out and nothing of it is at work on the host",
        ),
    ];
    match hints.iter().find(|(sign, _)| said.contains(sign)) {
        Some((_, hint)) => format!("{said}; {hint}"),
        None => said,
    }
}

impl Session for SshSession {
    fn new_key(&self) -> Option<&NewKey> {
        self.new_key.as_ref()
    }

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
        Box::pin(self.look_for(dir, sudo))
    }

    fn follow<'a>(
        &'a mut self,
        dir: &'a str,
        sudo: bool,
        seen: [u64; 2],
        time: Time,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Whereabouts, SessionError>> {
        Box::pin(self.follow_to_end(dir, sudo, seen, time, output))
    }

    fn upload<'a>(
        &'a mut self,
        content: &'a [u8],
        path: &'a str,
        mode: u32,
        sudo: bool,
    ) -> BoxFuture<'a, Result<(), SessionError>> {
        Box::pin(self.put_file(content, path, mode, sudo))
    }

    fn download<'a>(
        &'a mut self,
        path: &'a str,
        to: &'a Path,
        sudo: bool,
    ) -> BoxFuture<'a, Result<u64, SessionError>> {
        Box::pin(self.get_file(path, to, sudo))
    }

    fn hold(&mut self, holder: &Arc<Holder>) {
        if self.held.as_ref().is_none_or(|held| !Arc::ptr_eq(&held.holder, holder)) {
            let epoch = holder.epoch.to_string();
            self.held = Some(Held { holder: Arc::clone(holder), epoch });
        }
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    fn renew(&mut self, sudo: bool) -> BoxFuture<'_, Result<(), SessionError>> {
        Box::pin(self.tend(Program::Renew, ("leave", ""), sudo))
    }

    fn leave(&mut self, how: Leave, sudo: bool) -> BoxFuture<'_, Result<(), SessionError>> {
        let how = match how {
            Leave::Rests => "rests",
            Leave::Keeps => "keeps",
            Leave::Clean => "clean",
        };
        Box::pin(self.tend(Program::Leave, ("leave", how), sudo))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut handle = self.link.handle;
            let goodbye = async {
                let _ = handle.disconnect(Disconnect::ByApplication, "", "").await;
                let _ = (&mut handle).await;
            };
            let _ = timeout(CLOSE_LIMIT, goodbye).await;
        })
    }
}
