//! Real OpenSSH servers on loopback, for tests: own keys, own configuration, ended when they are dropped.

use fleetlift::{
    base::name::HostName,
    host::{
        ConnectError, Exit, KeyTrust, OutputSink, Script, Session, SessionError, Stream, Target,
        Time, Transport,
        ssh::{SshOptions, SshTransport},
    },
    inventory::Connection,
};
use secrecy::SecretString;
use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;

/// Waits until something is so: looks again and again, without taking the processor from what it waits for.
#[track_caller]
pub fn wait_until(what: &str, so: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(300), "not so in five minutes: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a test needs is missing here: says so, and how to get it. Where everything was installed, it is a failure.
pub fn skip(test: &str, why: &str) {
    let on_ci = std::env::var_os("FLEETLIFT_CI").is_some_and(|v| v == "1");
    assert!(!on_ci, "{test}: {why}");
    eprintln!("SKIPPED {test}: {why}");
}

/// Where a program is, looking also where only administrators look.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"])
        .map(|folder| Path::new(folder).join(name))
        .find(|file| file.is_file())
}

/// Ends the test as skipped where a program is missing.
#[macro_export]
macro_rules! need {
    ($test:expr, $($program:expr => $package:expr),+ $(,)?) => {
        $(if $crate::support::program($program).is_none() {
            $crate::support::skip($test, concat!("no ", $program, " here: apt-get install ", $package));
            return;
        })+
    };
    ($test:expr, root) => {
        if !rustix::process::geteuid().is_root() {
            $crate::support::skip($test, "it makes users, so it needs root");
            return;
        }
    };
}

pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Makes a key pair; returns the private file.
pub fn keygen(folder: &Path, name: &str, kind: &[&str], passphrase: &str) -> PathBuf {
    let path = folder.join(name);
    run(Command::new("ssh-keygen")
        .args(["-q", "-N", passphrase, "-C", name, "-f"])
        .arg(&path)
        .args(kind));
    path
}

pub fn public(key: &Path) -> String {
    fs::read_to_string(key.with_extension("pub")).unwrap().trim().to_owned()
}

pub fn me() -> String {
    run(Command::new("id").arg("-un")).trim().to_owned()
}

/// A server: one process, one host key, any number of addresses.
pub struct Sshd {
    pub dir: TempDir,
    pub port: u16,
    pub addresses: Vec<String>,
    /// A key that may log in.
    pub key: PathBuf,
    child: Child,
}

/// Loopback addresses, no two servers' alike, also not of tests that run in other processes at the same time.
fn fresh_addresses(count: u32) -> Vec<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id() % 200;
    let from = NEXT.fetch_add(count, Ordering::Relaxed);
    let address = |n: u32| format!("127.{}.{}.{}", 20 + process, n / 250, 1 + n % 250);
    (from..from + count).map(address).collect()
}

pub fn free_port(address: &str) -> u16 {
    TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port()
}

impl Sshd {
    pub fn start() -> Self {
        Self::with(1, "")
    }

    /// `extra` comes first, so it outweighs the rest of the configuration.
    pub fn with(addresses: u32, extra: &str) -> Self {
        let dir = TempDir::with_prefix("fleetlift-sshd-").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let host_key = keygen(dir.path(), "host", &["-t", "ed25519"], "");
        let key = keygen(dir.path(), "user", &["-t", "ed25519"], "");
        fs::write(dir.path().join("authorized_keys"), public(&key)).unwrap();
        if rustix::process::geteuid().is_root() {
            // Its own start-up script makes it where the whole system was booted.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let addresses = fresh_addresses(addresses);
        for _ in 0..20 {
            let port = free_port(&addresses[0]);
            let config = config(dir.path(), &host_key, &addresses, port, extra);
            if let Some(child) = spawn(dir.path(), &config, addresses.len()) {
                let server = Self { dir, port, addresses, key, child };
                let key = server.host_key();
                let line = |a: &String| format!("[{a}]:{port} {key}\n");
                let lines = server.addresses.iter().map(line).collect::<String>();
                fs::write(server.known_hosts(), lines).unwrap();
                return server;
            }
        }
        panic!("no sshd would start in {}", dir.path().display());
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the server's processes that hold sessions, never the scripts.
    pub fn cut(&self) {
        for child in children(self.pid()) {
            let name = fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            if name.trim() == "sshd" {
                kill(child);
            }
        }
    }

    /// Stops the server and all its sessions, and starts it again at the same port.
    pub fn restart(&mut self) {
        let sessions = children(self.pid());
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in sessions {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.trim() == "sshd" {
                kill(pid);
            }
        }
        let config = self.dir.path().join("sshd_config");
        for _ in 0..200 {
            if let Some(child) = spawn(self.dir.path(), &config, self.addresses.len()) {
                self.child = child;
                return;
            }
        }
        panic!("sshd does not come back");
    }

    pub fn authorize(&self, public: &str) {
        let path = self.dir.path().join("authorized_keys");
        let all = format!("{}\n{public}\n", fs::read_to_string(&path).unwrap());
        fs::write(path, all).unwrap();
    }

    pub fn host_key(&self) -> String {
        public(&self.dir.path().join("host"))
    }

    /// A `known_hosts` file with this server's key for all its addresses.
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.path().join("known_hosts")
    }

    /// Settings that log in here.
    pub fn connection(&self) -> Connection {
        Connection {
            port: self.port,
            user: Some(me()),
            identities: vec![self.key.clone()],
            agent: false,
            known_hosts: vec![self.known_hosts()],
            remote_dir: Some(self.dir.path().join("remote").display().to_string()),
            sudo: false,
            ..Connection::default()
        }
    }

    pub fn target(&self) -> Target {
        self.target_with(self.connection())
    }

    pub fn target_with(&self, connection: Connection) -> Target {
        target("host", &self.addresses[0], connection)
    }

    /// A file below the scripts' directory.
    pub fn remote(&self, path: &str) -> PathBuf {
        self.dir.path().join("remote").join(path)
    }
}

pub fn target(name: &str, address: &str, connection: Connection) -> Target {
    Target {
        host: HostName::try_from(name.to_owned()).unwrap(),
        addresses: vec![address.to_owned()],
        connection: Arc::new(connection),
        trust: KeyTrust::default(),
    }
}

fn config(dir: &Path, host_key: &Path, addresses: &[String], port: u16, extra: &str) -> PathBuf {
    let mut text = format!(
        "{extra}\nPort {port}\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}/authorized_keys\nStrictModes no\n\
         PermitRootLogin yes\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         MaxSessions 50\nLogLevel VERBOSE\nUseDNS no\n",
        host_key.display(),
        dir.display(),
    );
    // Of this the last line counts, not the first.
    if !extra.contains("MaxStartups") {
        text.push_str("MaxStartups 500\n");
    }
    // A `Match` block of the extra part would swallow what follows.
    if let Some((before, block)) = extra.split_once("Match ") {
        text = text.replacen(extra, before, 1);
        text.push_str(
            &addresses.iter().map(|a| format!("ListenAddress {a}\n")).collect::<String>(),
        );
        text.push_str(&format!("Match {block}\n"));
    } else {
        text.push_str(
            &addresses.iter().map(|a| format!("ListenAddress {a}\n")).collect::<String>(),
        );
    }
    let path = dir.join("sshd_config");
    fs::write(&path, text).unwrap();
    path
}

/// Starts sshd and reads its log until it listens everywhere. None where the port was taken meanwhile.
fn spawn(dir: &Path, config: &Path, addresses: usize) -> Option<Child> {
    let sshd = program("sshd").expect("the test asked for sshd before");
    let mut child = Command::new(sshd)
        .args(["-D", "-e", "-f"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut listening = 0;
    let mut text = String::new();
    while listening < addresses {
        let start = text.len();
        if log.read_line(&mut text).unwrap() == 0 || text[start..].contains("in use") {
            let _ = child.kill();
            let _ = child.wait();
            assert!(text.contains("in use"), "sshd did not start:\n{text}");
            return None;
        }
        if text[start..].starts_with("Server listening on") {
            listening += 1;
        }
    }
    let path = dir.join("log");
    std::thread::spawn(move || {
        let mut file = fs::File::create(path).unwrap();
        // It ends with the server; a test that has removed the directory by then loses nothing.
        let _ = std::io::copy(&mut log, &mut file);
    });
    Some(child)
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // Its children first, or they would outlive it with their connections.
        for pid in children(self.child.id()) {
            kill(pid);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Scripts outlive their connections, as they should: those of this server have its directory in their command.
        for pid in scripts_below(self.dir.path()) {
            kill(pid);
        }
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.dir.path().join("log")).unwrap_or_default());
        }
    }
}

/// Processes that name a directory in their command, and their whole sessions.
fn scripts_below(dir: &Path) -> Vec<u32> {
    let all = || {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
    };
    let below = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != std::process::id()
            && String::from_utf8_lossy(&command).contains(&*dir.to_string_lossy())
    };
    let sessions: Vec<String> = all().filter(below).map(|pid| pid.to_string()).collect();
    all().filter(|pid| stat(*pid).is_some_and(|fields| sessions.contains(&fields[3]))).collect()
}

pub fn kill(pid: u32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Fields of `/proc/<pid>/stat` behind the name: state, parent, process group, session.
pub fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z")
}

pub fn children(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        if stat(pid).is_some_and(|fields| fields[1] == parent.to_string()) {
            found.extend(children(pid));
            found.push(pid);
        }
    }
    found
}

/// A transport without secrets and questions.
pub fn transport() -> SshTransport {
    transport_with(|_| None)
}

/// A transport that knows secrets by the name of their variable.
pub fn transport_with(secret: fn(&str) -> Option<&'static str>) -> SshTransport {
    SshTransport::new(options(secret)).unwrap()
}

pub fn options(secret: fn(&str) -> Option<&'static str>) -> SshOptions {
    let resolver = move |source: &fleetlift::base::value::SecretSource| {
        let fleetlift::base::value::SecretSource::Env(name) = source else {
            return Err("not here".to_owned());
        };
        secret(name).map(SecretString::from).ok_or_else(|| format!("no {name}"))
    };
    SshOptions {
        known_hosts: vec![PathBuf::from("/nonexistent/known_hosts")],
        ..SshOptions::new(Arc::new(resolver))
    }
}

/// A script with a directory of its own.
pub fn script(text: &str) -> Script {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    Script {
        text: text.into(),
        env: Vec::new(),
        sudo: false,
        timeout: Duration::from_secs(60),
        dir: format!("run/migrate.step.{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        machine_id: None,
    }
}

/// The time of a script that begins now.
pub fn time(limit: Duration) -> Time {
    Time { limit, left: limit }
}

/// Keeps what a script prints.
#[derive(Default)]
pub struct Kept {
    pub out: Vec<u8>,
    pub err: Vec<u8>,
}

impl OutputSink for Kept {
    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Out => self.out.extend_from_slice(bytes),
            Stream::Err => self.err.extend_from_slice(bytes),
        }
    }
}

impl Kept {
    pub fn text(&self) -> (String, String) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&self.out), text(&self.err))
    }
}

/// Runs a script on an open session.
pub async fn on(
    session: &mut Box<dyn Session>,
    script: &Script,
) -> (Result<Exit, SessionError>, String, String) {
    let mut kept = Kept::default();
    let exit = session.run(script, &mut kept).await;
    let (out, err) = kept.text();
    (exit, out, err)
}

/// Connects, runs, closes.
pub async fn once(target: &Target, script: &Script) -> (Exit, String, String) {
    let mut session = transport().connect(target).await.unwrap();
    let (exit, out, err) = on(&mut session, script).await;
    session.close().await;
    (exit.unwrap_or_else(|e| panic!("{e}\nout: {out}\nerr: {err}")), out, err)
}

pub fn unreachable(result: Result<Box<dyn Session>, ConnectError>) -> String {
    match result {
        Err(ConnectError::Unreachable { reason, .. }) => reason,
        Err(refused) => panic!("not unreachable, but {refused:?}"),
        Ok(_) => panic!("not unreachable, but connected"),
    }
}

pub fn refused(result: Result<Box<dyn Session>, ConnectError>) -> (String, String) {
    match result {
        Err(
            ConnectError::Refused { reason, hint } | ConnectError::HostKey { reason, hint, .. },
        ) => (reason, hint.unwrap_or_default()),
        Err(unreachable) => panic!("not refused, but {unreachable:?}"),
        Ok(_) => panic!("not refused, but connected"),
    }
}
