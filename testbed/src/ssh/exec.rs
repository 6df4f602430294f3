//! One command on a staged host: a real process whose three pipes are the channel.

use crate::{host::Staged, spec::Fault};
use bytes::{Bytes, BytesMut};
use russh::{
    Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig,
    server::{Handle, Msg},
};
use std::{
    convert::Infallible,
    ffi::OsStr,
    io,
    net::SocketAddr,
    os::unix::{ffi::OsStrExt, process::ExitStatusExt},
    process::{ExitStatus, Stdio},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, Command},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_util::sync::CancellationToken;

/// Read from a pipe at once: a packet of the SSH protocol holds as much.
const CHUNK: usize = 32 * 1024;

/// Standard input that a process has not read yet. Below it a slow reader holds up its own channel only; above it, the whole
/// connection, because russh has one queue for all channels.
const MOST_UNREAD: usize = 64 * 1024 * 1024;

/// A script counts as arrived when nothing more has come for so long: a client may keep the channel's input open.
const ARRIVED: Duration = Duration::from_millis(100);

/// The code of standard error in the SSH protocol.
const STDERR: u32 = 1;

/// What the server says when it cannot start a process; sshd's clients use it for every trouble of their own.
const NOT_STARTED: u32 = 255;

/// A command to run.
pub(super) struct Exec {
    pub(super) host: Arc<Staged>,
    pub(super) user: String,
    pub(super) peer: SocketAddr,
    /// None asks for a login shell.
    pub(super) command: Option<Vec<u8>>,
    pub(super) cut: CancellationToken,
    pub(super) handle: Handle,
}

/// Input on its way to a process, with the room it takes.
type Unread = (Bytes, OwnedSemaphorePermit);

impl Exec {
    /// Runs it to its end. A process outlives the loss of its channel: its pipes are closed then, and nothing else.
    pub(super) async fn run(self, channel: Channel<Msg>) {
        let (mut reading, writing) = channel.split();
        let mut child = match self.spawn().await {
            Ok(child) => child,
            Err(error) => {
                tracing::warn!(host = self.host.root.name, %error, "a command could not be started");
                let text = format!("the simulated host could not start a process: {error}\n");
                let _ = writing.extended_data_bytes(STDERR, text).await;
                let _ = writing.exit_status(NOT_STARTED).await;
                let _ = writing.eof().await;
                let _ = writing.close().await;
                return;
            }
        };
        let gone = self.cut.child_token();
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let work = async {
            let end = async {
                let status = child.wait().await;
                self.report(&writing, status).await;
            };
            let out = pump(stdout, None, &writing, &gone);
            let err = pump(stderr, Some(STDERR), &writing, &gone);
            tokio::join!(end, out, err);
            let _ = writing.eof().await;
            let _ = writing.close().await;
        };
        let (queue, unread) = mpsc::unbounded_channel();
        let input = async {
            tokio::join!(self.take_in(&mut reading, queue, &gone), feed(stdin, unread, &gone));
            // The channel is there for output still.
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            () = work => {}
            never = input => match never {},
        }
    }

    async fn spawn(&self) -> io::Result<Child> {
        let root = &self.host.root;
        let mut command = Command::new("/bin/sh");
        if let Some(text) = &self.command {
            command.arg("-c").arg(OsStr::from_bytes(text));
        }
        let connection = format!("{} {} {} 22", self.peer.ip(), self.peer.port(), self.peer.ip());
        command
            .arg0("sh")
            .env_clear()
            .env("PATH", &root.search_path)
            .env("HOME", "/root")
            .env("USER", &self.user)
            .env("LOGNAME", &self.user)
            .env("SHELL", "/bin/sh")
            .env("SSH_CONNECTION", connection)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.host.spawn(command).await
    }

    async fn report(&self, writing: &ChannelWriteHalf<Msg>, status: io::Result<ExitStatus>) {
        let Ok(status) = status else { return };
        if let Some(signal) = status.signal() {
            let (id, core) = (writing.id(), status.core_dumped());
            let message = (String::new(), String::new());
            let _ = self
                .handle
                .exit_signal_request(id, named(signal), core, message.0, message.1)
                .await;
        } else if let Some(code) = status.code() {
            let _ = writing.exit_status(code.cast_unsigned()).await;
        }
    }

    /// Takes what the client sends, until it has no more to say or is gone.
    async fn take_in(
        &self,
        reading: &mut ChannelReadHalf,
        queue: mpsc::UnboundedSender<Unread>,
        gone: &CancellationToken,
    ) {
        let mut queue = Some(queue);
        let mut watch = self.watch();
        let room = Arc::new(Semaphore::new(MOST_UNREAD));
        loop {
            let message = if watch.as_ref().is_some_and(|watch| watch.found) {
                match tokio::time::timeout(ARRIVED, reading.wait()).await {
                    Ok(message) => message,
                    Err(_) => return self.cut.cancel(),
                }
            } else {
                reading.wait().await
            };
            match message {
                Some(ChannelMsg::Data { data }) => {
                    if let Some(watch) = &mut watch {
                        watch.see(&data, &self.host);
                    }
                    // A packet is far smaller than the whole room, and far below 4 GiB.
                    let needed = u32::try_from(data.len()).unwrap_or(u32::MAX);
                    let permit = room.clone().acquire_many_owned(needed).await;
                    if let (Ok(permit), Some(queue)) = (permit, &queue) {
                        let _ = queue.send((data, permit));
                    }
                }
                Some(ChannelMsg::Eof) => drop(queue.take()),
                Some(ChannelMsg::Close) | None => return gone.cancel(),
                Some(_) => {}
            }
        }
    }

    fn watch(&self) -> Option<Watch> {
        let needle = self.host.faults.iter().find_map(|fault| {
            let Fault::DropsDuringScript { containing } = fault else { return None };
            Some(containing.as_bytes().to_vec())
        })?;
        let mut watch = Watch { needle, tail: Vec::new(), found: false };
        watch.see(self.command.as_deref().unwrap_or_default(), &self.host);
        watch.tail.clear();
        Some(watch)
    }
}

/// Looks for a text in a stream that comes in pieces.
struct Watch {
    needle: Vec<u8>,
    tail: Vec<u8>,
    found: bool,
}

impl Watch {
    fn see(&mut self, piece: &[u8], host: &Staged) {
        self.tail.extend_from_slice(piece);
        let length = self.needle.len().max(1);
        if self.tail.windows(length).any(|window| window == self.needle) {
            // Only the first script of all, so that the host can be brought to an end afterwards.
            self.found |= !host.dropped.swap(true, Ordering::SeqCst);
        }
        let keep = self.tail.len().min(length - 1);
        self.tail.drain(..self.tail.len() - keep);
    }
}

/// Carries a process's output to the client, as fast as the client takes it.
async fn pump(
    from: Option<impl AsyncRead + Unpin>,
    code: Option<u32>,
    to: &ChannelWriteHalf<Msg>,
    gone: &CancellationToken,
) {
    let Some(mut from) = from else { return };
    let carry = async {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        while from.read_buf(&mut buffer).await.is_ok_and(|length| length > 0) {
            let bytes = buffer.split().freeze();
            let sent = match code {
                None => to.data_bytes(bytes).await,
                Some(code) => to.extended_data_bytes(code, bytes).await,
            };
            if sent.is_err() {
                return;
            }
            buffer.reserve(CHUNK);
        }
    };
    tokio::select! {
        biased;
        () = gone.cancelled() => {}
        () = carry => {}
    }
}

/// Carries the client's input to a process. A process that does not want it, or is gone, is no fault.
async fn feed(
    to: Option<ChildStdin>,
    mut from: mpsc::UnboundedReceiver<Unread>,
    gone: &CancellationToken,
) {
    let Some(mut to) = to else { return };
    let carry = async {
        while let Some((bytes, _room)) = from.recv().await {
            if to.write_all(&bytes).await.is_err() {
                from.close();
            }
        }
    };
    tokio::select! {
        biased;
        () = gone.cancelled() => {}
        () = carry => {}
    }
}

/// The names of the SSH protocol; others are given by number.
fn named(signal: i32) -> Sig {
    match signal {
        libc::SIGABRT => Sig::ABRT,
        libc::SIGALRM => Sig::ALRM,
        libc::SIGFPE => Sig::FPE,
        libc::SIGHUP => Sig::HUP,
        libc::SIGILL => Sig::ILL,
        libc::SIGINT => Sig::INT,
        libc::SIGKILL => Sig::KILL,
        libc::SIGPIPE => Sig::PIPE,
        libc::SIGQUIT => Sig::QUIT,
        libc::SIGSEGV => Sig::SEGV,
        libc::SIGTERM => Sig::TERM,
        libc::SIGUSR1 => Sig::USR1,
        other => Sig::Custom(format!("{other}@fleetlift-testbed")),
    }
}
