//! Requests and answers.

use super::{
    fault::{self, Fault},
    store::{Archive, FetchError},
};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

/// How long a request line with its headers may be, in bytes: apt's are a few hundred.
const REQUEST: u64 = 64 * 1024;
/// How often a hanging answer looks whether its fault was taken away.
const LOOK: Duration = Duration::from_millis(200);

/// Answers on a port, with one thread for each connection: a fleet has some dozens.
pub struct Server {
    listener: TcpListener,
    archive: Arc<Archive>,
}

/// What a request asks for.
struct Request {
    head_only: bool,
    path: String,
}

impl Server {
    /// A server on a listener that may belong to any network namespace.
    pub fn new(listener: TcpListener, archive: Archive) -> Self {
        Self { listener, archive: Arc::new(archive) }
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until the process ends.
    ///
    /// # Errors
    ///
    /// If no more connections can be accepted.
    pub fn run(self) -> io::Result<()> {
        loop {
            let (stream, peer) = self.listener.accept()?;
            let archive = Arc::clone(&self.archive);
            thread::spawn(move || {
                if let Err(error) = converse(&archive, &stream, peer) {
                    eprintln!("{peer}: {error}");
                }
            });
        }
    }
}

/// Answers one connection's requests, one after another.
fn converse(archive: &Archive, stream: &TcpStream, peer: SocketAddr) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        if !answer(archive, &request, stream, peer)? {
            return Ok(());
        }
    }
    Ok(())
}

/// The next request; none where the peer has left.
fn read(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Request>> {
    let mut lines = reader.take(REQUEST);
    let mut first = String::new();
    if lines.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    loop {
        let mut header = String::new();
        if lines.read_line(&mut header)? == 0 {
            return Ok(None);
        }
        if header.trim_end().is_empty() {
            break;
        }
    }
    let mut words = first.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a request"));
    };
    Ok(Some(Request { head_only: method == "HEAD", path: plain(path) }))
}

/// A path without its percent signs: apt writes `+` and `~` of versions with them.
fn plain(path: &str) -> String {
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits: Vec<u8> = bytes.by_ref().take(2).collect();
        let value =
            std::str::from_utf8(&digits).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(value.unwrap_or(b'%'));
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Answers a request; says whether the connection goes on.
fn answer(
    archive: &Archive,
    request: &Request,
    stream: &TcpStream,
    peer: SocketAddr,
) -> io::Result<bool> {
    let faults = archive.faults();
    let mut broken = fault::of(faults, &request.path, peer.ip())?;
    while broken == Some(Fault::Hang) {
        if has_left(stream)? {
            return Ok(false);
        }
        thread::sleep(LOOK);
        broken = fault::of(faults, &request.path, peer.ip())?;
    }
    if broken == Some(Fault::Refuse) {
        tell(peer, &request.path, "503 on purpose");
        return refuse(stream, "503 Service Unavailable").map(|()| true);
    }
    let (kept, fetched) = match archive.file(&request.path) {
        Ok(found) => found,
        Err(FetchError::Missing) => return refuse(stream, "404 Not Found").map(|()| true),
        Err(error @ (FetchError::Failed(_) | FetchError::Keep(_))) => {
            tell(peer, &request.path, &error.to_string());
            return refuse(stream, "502 Bad Gateway").map(|()| true);
        }
    };
    let mut file = File::open(kept)?;
    let length = file.metadata()?.len();
    tell(peer, &request.path, &format!("{} {length}", if fetched { "fetched" } else { "kept" }));
    let mut out = stream;
    write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
    if request.head_only {
        return Ok(true);
    }
    match broken {
        Some(Fault::Cut) => {
            io::copy(&mut file.take(length / 2), &mut out)?;
            return Ok(false);
        }
        Some(Fault::Corrupt) => {
            let mut first = [0];
            file.read_exact(&mut first)?;
            out.write_all(&[!first[0]])?;
        }
        Some(Fault::Refuse | Fault::Hang) | None => {}
    }
    io::copy(&mut file, &mut out)?;
    Ok(true)
}

/// Whether the peer has closed the connection, without waiting for it.
fn has_left(stream: &TcpStream) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let seen = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    match seen {
        Ok(count) => Ok(count == 0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

fn refuse(mut stream: &TcpStream, status: &str) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
}

/// One line for each request, to read afterwards who asked for what.
fn tell(peer: SocketAddr, path: &str, what: &str) {
    println!("{} {path} {what}", peer.ip());
}
