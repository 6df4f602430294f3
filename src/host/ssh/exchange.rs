//! One exec channel, from the command line to the end mark.

use super::{
    client::{Client, SharedHeard, last_words},
    marks::{Said, Streams},
    shell::{self, Become},
};
use crate::host::{OutputSink, Stream};
use russh::{ChannelMsg, ChannelWriteHalf, client};
use secrecy::{ExposeSecret, SecretString};
use std::{
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Notify,
};

/// What a server takes in one packet, with room for the packet's own head.
const PACKET_BYTES: usize = 32 * 1024;

/// Takes a command's output.
pub(super) type Output<'a> = dyn FnMut(Stream, &[u8]) + Send + 'a;

/// A program to run on the host, with what follows it on standard input.
pub(super) struct Job<'a> {
    pub(super) text: String,
    pub(super) body: &'a [u8],
    /// Whether to become root.
    pub(super) sudo: bool,
}

/// What a host says beside the output of a script.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// The launcher is kept below this directory.
    pub(super) launcher_at: Option<String>,
    /// How the lock was taken.
    pub(super) took: Option<String>,
}

/// How an exchange ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The program ended by itself, and said how.
    Ended(String),
    /// It refused, and has changed nothing.
    No(String),
    /// It never began, by the word of the server: a gatekeeper, a login shell or sudo stood before it.
    NoProgram { status: String, said: String },
    /// The connection ended. `handed`: the whole input was on its way, so it may have begun.
    Gone { handed: bool, why: String },
}

/// A connection that is logged in.
pub(super) struct Link {
    pub(super) handle: client::Handle<Client>,
    pub(super) heard: SharedHeard,
    /// For sudo, where it asks.
    pub(super) sudo_password: Option<SecretString>,
}

/// A word that nothing else on the host can know.
pub(super) fn draw_word() -> Result<String, String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(format!("fl{}", crate::base::text::hex(&bytes)))
}

/// Runs what may block, such as a slow reader of output. A worker that blocks may be the one that watches all sockets and
/// timers, and then every other host would stand still with it.
pub(super) fn patiently<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        // With one thread there is nobody to hand the work of others to.
        _ => work(),
    }
}

/// Hands what comes to whoever keeps it, out of the way of others where that may block.
pub(super) fn sink(output: &mut dyn OutputSink) -> impl FnMut(Stream, &[u8]) + Send {
    let may_block = output.may_block();
    move |stream, bytes| match may_block {
        true => patiently(|| output.take(stream, bytes)),
        false => output.take(stream, bytes),
    }
}

/// What an exchange has seen so far.
#[derive(Default)]
struct Seen {
    asked: bool,
    begun: bool,
    aside: Aside,
    no: Option<String>,
    out_ended: bool,
    err_ended: Option<String>,
    status: Option<String>,
    closed: bool,
}

impl Link {
    /// Runs a job to its end. Output goes to `output` as it comes; while that waits, so does the host.
    pub(super) async fn exchange(&self, job: Job<'_>, output: &mut Output<'_>) -> Ending {
        self.exchange_aside(job, output).await.0
    }

    /// The same, with what the host said beside.
    pub(super) async fn exchange_aside(
        &self,
        job: Job<'_>,
        output: &mut Output<'_>,
    ) -> (Ending, Aside) {
        let mut seen = Seen::default();
        let ending = self.speak(job, &mut seen, output).await;
        (ending, seen.aside)
    }

    async fn speak(&self, job: Job<'_>, seen: &mut Seen, output: &mut Output<'_>) -> Ending {
        let gone = |why: String| Ending::Gone { handed: false, why };
        let mark = match draw_word() {
            Ok(mark) => mark,
            Err(why) => return gone(why),
        };
        let channel = match self.handle.channel_open_session().await {
            Ok(channel) => channel,
            Err(error) => return gone(self.why(&error.to_string())),
        };
        let become_root = match (job.sudo, &self.sudo_password) {
            (false, _) => Become::Nobody,
            (true, None) => Become::Root,
            (true, Some(_)) => Become::RootByPassword,
        };
        if let Err(error) = channel.exec(true, shell::command_line(&mark, become_root)).await {
            return gone(self.why(&error.to_string()));
        }
        let (mut read, write) = channel.split();
        let Job { text: mut first, body, sudo: _ } = job;
        first.push_str(&shell::last_line(&mark));
        let mut first = first.into_bytes();
        // What fits into one packet goes as one.
        let rest = if first.len() + body.len() <= PACKET_BYTES {
            first.extend_from_slice(body);
            &[]
        } else {
            body
        };
        let ready = Notify::new();
        let handed = AtomicBool::new(false);
        let mut feed = pin!(async {
            // Sudo reads its password from the same stream: nothing else may stand there while it may ask.
            if become_root == Become::RootByPassword {
                ready.notified().await;
            }
            // From here on it may arrive whole, even where the library reports an error: then it may have begun.
            handed.store(true, Ordering::Relaxed);
            write.data_bytes(first).await?;
            if !rest.is_empty() {
                write.data(rest).await?;
            }
            write.eof().await
        });
        let mut feeding = true;
        let mut streams = Streams::new(&mark);
        loop {
            let message = tokio::select! {
                biased;
                _ = &mut feed, if feeding => {
                    feeding = false;
                    continue;
                }
                message = read.wait() => message,
            };
            let Some(message) = message else { break };
            let said = seen.hear(message, &mut streams, output);
            for said in said {
                self.answer(said, seen, &write, &ready).await;
            }
            if seen.is_over() {
                break;
            }
        }
        // A connection that broke may have cut a mark in two; what is held back then is read again from the script's files.
        if seen.is_over() {
            streams.finish(output);
        }
        // What the script left behind may write on: the server must not wait for us to read that.
        let _ = write.close().await;
        self.ending(seen, handed.load(Ordering::Relaxed), &streams)
    }

    async fn answer(
        &self,
        said: Said,
        seen: &mut Seen,
        write: &ChannelWriteHalf<client::Msg>,
        ready: &Notify,
    ) {
        match said {
            Said::Ready => ready.notify_one(),
            Said::No(why) => seen.no = Some(why),
            Said::At(root) => seen.aside.launcher_at = Some(root),
            Said::Took(note) => seen.aside.took = Some(note),
            Said::Go(_) => seen.begun = true,
            Said::End(Stream::Out, _) => seen.out_ended = true,
            Said::End(Stream::Err, how) => seen.err_ended = Some(how),
            Said::Asks => match &self.sudo_password {
                Some(password) if !seen.asked => {
                    seen.asked = true;
                    let line = format!("{}\n", password.expose_secret());
                    let _ = write.data_bytes(line.into_bytes()).await;
                }
                // Never twice: a wrong password that is sent again may lock the account.
                Some(_) => seen.no = Some("sudo did not accept the password".to_owned()),
                None => seen.no = Some("sudo asks for a password".to_owned()),
            },
        }
    }

    fn ending(&self, seen: &mut Seen, handed: bool, streams: &Streams) -> Ending {
        if let Some(why) = seen.no.take() {
            return Ending::No(why);
        }
        if let (true, Some(how)) = (seen.out_ended, seen.err_ended.take()) {
            return Ending::Ended(how);
        }
        match (seen.status.take(), seen.closed, seen.begun) {
            (Some(status), true, false) => Ending::NoProgram { status, said: streams.prelude() },
            (Some(status), true, true) => Ending::Gone {
                handed: true,
                why: format!("what ran the script on the host was ended ({status})"),
            },
            (Some(_) | None, _, begun) => {
                let why = self.why("the connection ended without a result");
                Ending::Gone { handed: handed || begun, why }
            }
        }
    }

    /// The server's last words, where it had any, say more than the library's error.
    fn why(&self, error: &str) -> String {
        match last_words(&self.heard) {
            Some(words) if self.handle.is_closed() => format!("{error}: {words}"),
            Some(_) | None => error.to_owned(),
        }
    }
}

impl Seen {
    fn is_over(&self) -> bool {
        self.closed || self.no.is_some() || (self.out_ended && self.err_ended.is_some())
    }

    fn hear(
        &mut self,
        message: ChannelMsg,
        streams: &mut Streams,
        output: &mut Output<'_>,
    ) -> Vec<Said> {
        match message {
            ChannelMsg::Data { data } => return streams.take(Stream::Out, &data, output),
            ChannelMsg::ExtendedData { data, ext: 1 } => {
                return streams.take(Stream::Err, &data, output);
            }
            ChannelMsg::ExitStatus { exit_status } => {
                self.status = Some(format!("exit code {exit_status}"));
            }
            ChannelMsg::ExitSignal { signal_name, .. } => {
                self.status = Some(format!("signal {signal_name:?}"));
            }
            ChannelMsg::Failure => {
                self.status = Some("the server does not run commands".to_owned());
                self.closed = true;
            }
            ChannelMsg::Close => self.closed = true,
            // Everything else a server may send says nothing about the command.
            _ => {}
        }
        Vec::new()
    }
}
