//! A TCP proxy on loopback for what networks do to connections: it goes silent without a word, waits, or passes byte by byte.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// How bytes pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    AsTheyCome,
    /// Each piece waits so long.
    Late(Duration),
    /// Each byte is a packet of its own.
    OneByOne,
}

/// What all threads of a proxy share.
struct State {
    server: SocketAddr,
    manner: Manner,
    ended: AtomicBool,
    /// Connections so far, each with its number, from 1 on.
    taken: AtomicU64,
    /// Connections up to this number are silent: nothing passes, and nobody hears of it.
    silent: Mutex<u64>,
    changed: Condvar,
    /// The first connection goes silent by itself when so many bytes have passed it.
    silent_after: Option<u64>,
    /// Bytes that passed in both directions, on the first connection.
    passed: AtomicU64,
}

pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

impl Proxy {
    pub fn new(server: SocketAddr) -> Self {
        Self::start(server, Manner::AsTheyCome, None)
    }

    pub fn with(server: SocketAddr, manner: Manner) -> Self {
        Self::start(server, manner, None)
    }

    /// The first connection goes silent after so many bytes; the next ones pass.
    pub fn silent_after(server: SocketAddr, bytes: u64) -> Self {
        Self::start(server, Manner::AsTheyCome, Some(bytes))
    }

    fn start(server: SocketAddr, manner: Manner, silent_after: Option<u64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            server,
            manner,
            ended: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            silent: Mutex::new(0),
            changed: Condvar::new(),
            silent_after,
            passed: AtomicU64::new(0),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let number = shared.taken.fetch_add(1, Ordering::SeqCst) + 1;
                let state = Arc::clone(&shared);
                thread::spawn(move || connection(&state, number, client));
            }
        });
        Self { port, state }
    }

    /// All connections of now go silent, for ever. Later ones pass.
    #[expect(dead_code, reason = "for tests that choose the moment")]
    pub fn silence(&self) {
        self.state.silence(self.connections());
    }

    /// How many connections were taken so far.
    pub fn connections(&self) -> u64 {
        self.state.taken.load(Ordering::SeqCst)
    }

    /// Bytes that passed the first connection, in both directions.
    pub fn passed(&self) -> u64 {
        self.state.passed.load(Ordering::SeqCst)
    }

    /// Whether a connection went silent.
    pub fn was_silent(&self) -> bool {
        *self.state.silent.lock().unwrap() > 0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        drop(self.state.silent.lock().unwrap());
        self.state.changed.notify_all();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn silence(&self, upto: u64) {
        let mut silent = self.silent.lock().unwrap();
        *silent = upto.max(*silent);
    }

    fn is_silent(&self, number: u64) -> bool {
        number <= *self.silent.lock().unwrap()
    }

    /// How much of a piece may pass on this connection.
    fn room(&self, number: u64, bytes: usize) -> usize {
        if number != 1 {
            return bytes;
        }
        let before = self.passed.fetch_add(bytes as u64, Ordering::SeqCst);
        let Some(limit) = self.silent_after else { return bytes };
        let room = usize::try_from(limit.saturating_sub(before)).unwrap().min(bytes);
        if room < bytes {
            self.silence(1);
        }
        room
    }

    /// Holds the sockets open, as a network does that has forgotten them.
    fn hang(&self) {
        let mut silent = self.silent.lock().unwrap();
        while !self.ended.load(Ordering::SeqCst) {
            silent = self.changed.wait(silent).unwrap();
        }
    }
}

fn connection(state: &Arc<State>, number: u64, client: TcpStream) {
    if state.silent_after == Some(0) && number == 1 {
        state.silence(1);
        return state.hang();
    }
    // Where nobody listens the client is told by the end of its own connection.
    let Ok(server) = TcpStream::connect(state.server) else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let other = Arc::clone(state);
    let up = thread::spawn(move || pump(&other, number, back.0, back.1));
    pump(state, number, client, server);
    let _ = up.join();
}

/// Passes one direction on, until its end or until the connection goes silent.
fn pump(state: &State, number: u64, mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        if state.is_silent(number) {
            return state.hang();
        }
        if read == 0 {
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
        let room = state.room(number, read);
        if !pass(state.manner, &mut to, &buffer[..room]) {
            let _ = from.shutdown(Shutdown::Both);
            return;
        }
        if room < read {
            return state.hang();
        }
    }
}

fn pass(manner: Manner, to: &mut TcpStream, bytes: &[u8]) -> bool {
    match manner {
        Manner::AsTheyCome => to.write_all(bytes).is_ok(),
        Manner::Late(delay) => {
            thread::sleep(delay);
            to.write_all(bytes).is_ok()
        }
        Manner::OneByOne => bytes.chunks(1).all(|byte| to.write_all(byte).is_ok()),
    }
}
