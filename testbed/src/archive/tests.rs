use super::{Archive, FetchError, Server, Upstream};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use tempfile::TempDir;

/// An archive of made-up files: each says its address and how many were asked for before.
#[derive(Default, Clone)]
struct Made {
    asked: Arc<AtomicUsize>,
}

impl Upstream for Made {
    fn fetch(&self, address: &str, to: &Path) -> Result<(), FetchError> {
        if address.contains("nothing") {
            return Err(FetchError::Missing);
        }
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        fs::write(to, format!("{number} {address}"))?;
        Ok(())
    }
}

struct Bed {
    folder: TempDir,
    made: Made,
    address: SocketAddr,
}

impl Bed {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let made = Made::default();
        let address = Self::start(folder.path(), &made);
        Self { folder, made, address }
    }

    /// A process of its own, as far as the archive can tell.
    fn start(folder: &Path, made: &Made) -> SocketAddr {
        let sources = BTreeMap::from([("debian".to_owned(), "far://away/".to_owned())]);
        let archive = Archive::new(folder.to_owned(), sources, Box::new(made.clone()));
        let server = Server::new(TcpListener::bind("127.0.0.1:0").unwrap(), archive);
        let address = server.address().unwrap();
        thread::spawn(move || server.run());
        address
    }

    fn restart(&mut self) {
        self.address = Self::start(self.folder.path(), &self.made);
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // A cut answer ends with a reset or without; both are its end.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: archive\r\n\r\n"))
    }

    fn fault(&self, text: &str) {
        fs::write(self.folder.path().join("faults"), text).unwrap();
    }
}

#[test]
fn a_package_is_fetched_once_for_ever_and_an_index_once_for_each_start() {
    let mut bed = Bed::new();
    for (path, again, after_a_restart) in [
        ("/debian/pool/main/a/a_1%2b1_all.deb", "0 far://away/pool/main/a/a_1+1_all.deb", 0),
        ("/debian/dists/trixie/InRelease", "1 far://away/dists/trixie/InRelease", 1),
    ] {
        for _ in 0..2 {
            assert!(bed.get(path).ends_with(again), "{}", bed.get(path));
        }
        let before = bed.made.asked.load(Ordering::SeqCst);
        bed.restart();
        bed.get(path);
        assert_eq!(bed.made.asked.load(Ordering::SeqCst) - before, after_a_restart, "{path}");
    }
}

#[test]
fn a_frozen_archive_asks_nobody() {
    let mut bed = Bed::new();
    bed.get("/debian/dists/trixie/InRelease");
    fs::write(bed.folder.path().join("frozen"), "").unwrap();
    bed.restart();
    assert!(
        bed.get("/debian/dists/trixie/InRelease").ends_with("0 far://away/dists/trixie/InRelease")
    );
    assert!(bed.get("/debian/dists/sid/InRelease").starts_with("HTTP/1.1 404 "));
    assert_eq!(bed.made.asked.load(Ordering::SeqCst), 1);
}

#[test]
fn what_is_not_there_is_not_found_and_nobody_leaves_the_folder() {
    let bed = Bed::new();
    fs::write(bed.folder.path().join("secret"), "secret").unwrap();
    for path in [
        "/debian/nothing",
        "/ubuntu/dists/x",
        "/debian/../../secret",
        "/debian/%2e%2e/%2e%2e/secret",
        "/",
        "/debian/dists/",
    ] {
        assert!(bed.get(path).starts_with("HTTP/1.1 404 "), "{path}: {}", bed.get(path));
    }
}

#[test]
fn requests_that_come_at_once_are_answered_in_their_order() {
    let bed = Bed::new();
    let answer = bed.ask("HEAD /debian/pool/a HTTP/1.1\r\n\r\nGET /debian/pool/b HTTP/1.1\r\nAccept: x\r\n\r\nGET /debian/nothing HTTP/1.1\r\n\r\n");
    let statuses: Vec<&str> =
        answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "200", "404"], "{answer}");
    assert!(answer.contains("1 far://away/pool/b"), "{answer}");
    assert!(!answer.contains("0 far://away/pool/a"), "a HEAD has no body: {answer}");
}

#[test]
fn faults_break_what_they_name_and_nothing_else() {
    let bed = Bed::new();
    let whole = bed.get("/debian/pool/broken");
    for (word, broken) in [
        ("refuse", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("cut", whole[..whole.len() - "0 far://away/pool/broken".len().div_ceil(2)].to_owned()),
        ("corrupt", whole.replace("\r\n\r\n0", "\r\n\r\n\u{fffd}")),
    ] {
        bed.fault(&format!("nonsense\n{word} pool/broken\n"));
        assert_eq!(bed.get("/debian/pool/broken"), broken, "{word}");
        assert!(bed.get("/debian/pool/sound").ends_with("far://away/pool/sound"), "{word}");
    }
}

#[test]
fn a_fault_may_be_for_one_asker_alone() {
    let bed = Bed::new();
    for (asker, broken) in [("127.0.0.1", true), ("10.77.0.12", false), ("nobody", false)] {
        bed.fault(&format!("refuse pool/a {asker}\n"));
        assert_eq!(bed.get("/debian/pool/a").starts_with("HTTP/1.1 503 "), broken, "{asker}");
    }
}

#[test]
fn a_hanging_answer_comes_when_the_fault_is_taken_away() {
    let bed = Bed::new();
    bed.fault("hang pool/a\n");
    let mut stream = TcpStream::connect(bed.address).unwrap();
    stream.write_all(b"GET /debian/pool/a HTTP/1.1\r\n\r\n").unwrap();
    assert!(bed.get("/debian/pool/b").starts_with("HTTP/1.1 200 "), "others are not held up");
    bed.fault("");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}
