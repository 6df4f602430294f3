//! Scripts over a connection: started at most once, ended in time, and never reported otherwise than known.

use super::{
    auth::is_going_down,
    exchange::{self, Ending, Job, Link},
    shell::{self, Program},
};
use crate::{
    host::{
        Exit, OutputSink, Script, Session, SessionError, Stream, Whereabouts, transport::BoxFuture,
    },
    inventory::Connection,
    journal::NewKey,
};
use russh::Disconnect;
use std::{path::Path, pin::pin, sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// Asking, five seconds of patience, force, five more, and what a slow host needs besides.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// For the last output of a script whose processes are gone.
const TAIL_LIMIT: Duration = Duration::from_secs(5);

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
        let size = file.len().to_string();
        let root = self.connection.remote_dir.clone().unwrap_or_default();
        let values = [
            ("root", root.as_str()),
            ("dir", script.dir.as_str()),
            ("machine", script.machine_id.as_deref().unwrap_or_default()),
            ("size", size.as_str()),
            ("token", token.as_str()),
            ("core", shell::core()),
        ];
        let launch = Job {
            program: Program::Launch,
            values: &values,
            body: file.as_bytes(),
            sudo: script.sudo,
        };
        let stop = Job { program: Program::Stop, values: &values, body: &[], sudo: script.sudo };
        let finish = run_in_time(&self.link, &launch, &stop, script.timeout, output).await;
        match finish {
            Finish::InTime(ending) => self.settle(ending).map(|how| exit_of(&how)),
            Finish::Stopped { gone: true } => Ok(Exit::TimedOut { stopped: true }),
            Finish::Stopped { gone: false } => Ok(Exit::TimedOut { stopped: false }),
            Finish::Never => {
                let reason = format!("it did not begin within {:?}", script.timeout);
                self.dead = Some(reason.clone());
                Err(SessionError::NotStarted { reason })
            }
            Finish::Lost(why) => {
                self.dead = Some(why.clone());
                Err(SessionError::Lost { reason: why })
            }
        }
    }

    async fn look_for(&mut self, dir: &str, sudo: bool) -> Result<Whereabouts, SessionError> {
        self.alive()?;
        check_dir(dir)?;
        let root = self.connection.remote_dir.clone().unwrap_or_default();
        let values = [("root", root.as_str()), ("dir", dir)];
        let job = Job { program: Program::Look, values: &values, body: &[], sudo };
        let mut words = String::new();
        let mut hear = |stream: Stream, bytes: &[u8]| {
            if stream == Stream::Out {
                words.push_str(&String::from_utf8_lossy(bytes));
            }
        };
        let ending = self.link.exchange(&job, &mut hear).await;
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
        limit: Duration,
        output: &mut dyn OutputSink,
    ) -> Result<Whereabouts, SessionError> {
        self.alive()?;
        check_dir(dir)?;
        let root = self.connection.remote_dir.clone().unwrap_or_default();
        let [out, err] = seen.map(|bytes| bytes.to_string());
        // The token is in the script's own file.
        let values = [
            ("root", root.as_str()),
            ("dir", dir),
            ("out", out.as_str()),
            ("err", err.as_str()),
            ("token", ""),
        ];
        let follow = Job { program: Program::Follow, values: &values, body: &[], sudo };
        let stop = Job { program: Program::Stop, values: &values, body: &[], sudo };
        match run_in_time(&self.link, &follow, &stop, limit, output).await {
            // Nothing was changed by following, however the connection ended.
            Finish::InTime(Ending::Gone { why, .. }) | Finish::Lost(why) => {
                let gone = Ending::Gone { handed: false, why };
                self.settle(gone).map(|_| Whereabouts::Running)
            }
            Finish::InTime(ending) => match self.settle(ending)?.as_str() {
                // Its time was over, and whoever ended it did not hear whether all of it is gone.
                "stopped" => {
                    let stopped = ended_all(&self.link, &stop).await;
                    Ok(Whereabouts::Finished(Exit::TimedOut { stopped }))
                }
                words => whereabouts(words),
            },
            Finish::Stopped { gone } => Ok(Whereabouts::Finished(Exit::TimedOut { stopped: gone })),
            Finish::Never => Ok(Whereabouts::Never),
        }
    }
}

/// What the host says of a script that was begun before.
fn whereabouts(words: &str) -> Result<Whereabouts, SessionError> {
    match words.split_once(' ').unwrap_or((words, "")) {
        ("never", "") => Ok(Whereabouts::Never),
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

/// Ends what is left of a script that was ended before. Whether nothing is.
async fn ended_all(link: &Link, stop: &Job<'_>) -> bool {
    let mut words = String::new();
    let mut hear = |_: Stream, bytes: &[u8]| words.push_str(&String::from_utf8_lossy(bytes));
    let ended = timeout(STOP_LIMIT, link.exchange(stop, &mut hear)).await;
    matches!(ended, Ok(Ending::Ended(_))) && words.trim() == "gone"
}

/// How a script with a limit ended.
enum Finish {
    InTime(Ending),
    Stopped {
        gone: bool,
    },
    /// It had not begun, and cannot begin any more.
    Never,
    Lost(String),
}

async fn run_in_time(
    link: &Link,
    launch: &Job<'_>,
    stop: &Job<'_>,
    limit: Duration,
    output: &mut dyn OutputSink,
) -> Finish {
    let may_block = output.may_block();
    let mut sink = |stream: Stream, bytes: &[u8]| {
        if may_block {
            exchange::patiently(|| output.take(stream, bytes));
        } else {
            output.take(stream, bytes);
        }
    };
    let mut running = pin!(link.exchange(launch, &mut sink));
    tokio::select! {
        biased;
        ending = &mut running => return Finish::InTime(ending),
        () = sleep(limit) => {}
    }
    // The first channel is read on meanwhile: one that is not read stops the whole connection, the second with it.
    let mut words = String::new();
    let mut hear = |_: Stream, bytes: &[u8]| words.push_str(&String::from_utf8_lossy(bytes));
    let mut ended = None;
    let stopping = {
        let mut stopping = pin!(timeout(STOP_LIMIT, link.exchange(stop, &mut hear)));
        loop {
            tokio::select! {
                biased;
                ending = &mut running, if ended.is_none() => ended = Some(ending),
                stopped = &mut stopping => break stopped,
            }
        }
    };
    match stopping {
        Ok(Ending::Ended(_)) => {}
        Ok(Ending::Gone { why, .. }) => {
            return Finish::Lost(format!("while it was being ended: {why}"));
        }
        // A connection that died quietly looks like this until its keep-alives are over: another one must ask.
        Err(_) => {
            return Finish::Lost("the host did not answer when it was to be ended".to_owned());
        }
        Ok(Ending::No(_) | Ending::NoProgram { .. }) => return Finish::Stopped { gone: false },
    }
    if ended.is_none() {
        ended = timeout(TAIL_LIMIT, &mut running).await.ok();
    }
    match (words.trim(), ended) {
        ("never", Some(Ending::No(_) | Ending::NoProgram { .. }) | None) => Finish::Never,
        // It had ended by itself, and only we heard of it late: since we were stopped, or its last words were long.
        ("over", Some(ending)) => Finish::InTime(ending),
        ("over", None) => Finish::Lost("it has ended, but its output does not come".to_owned()),
        ("gone", _) => Finish::Stopped { gone: true },
        (_, _) => Finish::Stopped { gone: false },
    }
}

fn exit_of(how: &str) -> Exit {
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
    let refuse = |reason: String| Err(SessionError::Refused { reason });
    check_dir(&script.dir)?;
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
        timeout: Duration,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Whereabouts, SessionError>> {
        Box::pin(self.follow_to_end(dir, sudo, seen, timeout, output))
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
