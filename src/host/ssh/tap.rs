//! A TCP connection that remembers how the server began to speak, and holds its place among the open connections.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, oneshot},
};

/// Enough for a banner and the lines before it.
const FIRST_BYTES_MAX: usize = 1024;

/// The SSH library asks for the length of each packet and then for the rest; small packets come together. What is larger
/// than this goes past the buffer. Ten thousand open connections hold as many of them.
const BUFFER_BYTES: usize = 8 * 1024;

/// The first bytes that a server sent. The SSH library throws away what is no banner.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstBytes(Arc<Mutex<Vec<u8>>>);

impl FirstBytes {
    pub(super) fn get(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The place among the open connections is given back when the socket is closed, whoever holds it by then.
pub(super) struct Tap {
    stream: BufReader<TcpStream>,
    first: Option<FirstBytes>,
    /// Closed where the connection is given up before its login. Nobody listens any more when it is to stay.
    given_up: Option<oneshot::Receiver<()>>,
    _place: OwnedSemaphorePermit,
}

/// Whoever drops this before it says that the connection is to stay closes it: the SSH library's task would hold the socket
/// for as long as the server does, and sshd counts those against us that stay without a login.
pub(super) struct Stays(oneshot::Sender<()>);

impl Stays {
    pub(super) fn keep(self) {
        // Without a receiver the connection has ended already.
        let _ = self.0.send(());
    }
}

impl Tap {
    pub(super) fn new(stream: TcpStream, place: OwnedSemaphorePermit) -> (Self, FirstBytes, Stays) {
        let first = FirstBytes::default();
        let stream = BufReader::with_capacity(BUFFER_BYTES, stream);
        let (stays, given_up) = oneshot::channel();
        let (listens, given_up) = (Some(first.clone()), Some(given_up));
        let tap = Self { stream, first: listens, given_up, _place: place };
        (tap, first, Stays(stays))
    }

    /// Whether the connection was given up.
    fn is_given_up(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(given_up) = &mut self.given_up else { return false };
        match Pin::new(given_up).poll(cx) {
            Poll::Pending => false,
            Poll::Ready(Err(_)) => true,
            Poll::Ready(Ok(())) => {
                self.given_up = None;
                false
            }
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_given_up(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(first) = &self.first {
            let mut bytes = first.0.lock().unwrap_or_else(PoisonError::into_inner);
            let room = FIRST_BYTES_MAX - bytes.len();
            let new = &buf.filled()[before..];
            bytes.extend_from_slice(&new[..new.len().min(room)]);
            if bytes.len() == FIRST_BYTES_MAX {
                drop(bytes);
                self.first = None;
            }
        }
        poll
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
