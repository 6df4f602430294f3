//! A fleet and a client for the tests.

#![expect(dead_code, reason = "each test program uses what it needs")]

mod skip;

use fleetlift_testbed::{
    CannedAnswers, Fault, Fleet, FleetSpec, HostInfo, HostSpec, Means, Profile,
};
use russh::{
    ChannelMsg,
    client::{self, Handle},
    keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate},
};
use std::{
    fs::Permissions,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};

/// Nothing here may take longer, on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Bed {
    pub fleet: Fleet,
    pub key: Arc<PrivateKey>,
    // Removed last.
    pub dir: tempfile::TempDir,
}

pub fn host(name: &str, faults: &[Fault]) -> HostSpec {
    let profile = Profile::Staged { stage: "plain".into() };
    HostSpec { name: name.into(), role: "web".into(), profile, faults: faults.to_vec() }
}

pub fn canned(name: &str) -> HostSpec {
    HostSpec { name: name.into(), role: "web".into(), profile: Profile::Canned, faults: vec![] }
}

pub fn key(first: u8) -> Arc<PrivateKey> {
    let seed = [first; 32];
    Arc::new(russh::keys::ssh_key::private::Ed25519Keypair::from_seed(&seed).into())
}

/// Says `plain` where a test is to be run by `chroot` alone, although the machine allows more.
pub const MEANS: &str = "TESTBED_MEANS";

/// Set while the tests run once more by other means.
const AGAIN: &str = "TESTBED_AGAIN";

pub async fn bed(hosts: Vec<HostSpec>) -> Bed {
    bed_with(hosts, CannedAnswers::default()).await
}

pub async fn bed_with(hosts: Vec<HostSpec>, canned: CannedAnswers) -> Bed {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("fleet");
    start(dir, inside, hosts, canned).await
}

/// In a directory that is there already.
pub async fn bed_in(dir: PathBuf, hosts: Vec<HostSpec>) -> Bed {
    start(tempfile::tempdir().unwrap(), dir, hosts, CannedAnswers::default()).await
}

async fn start(
    dir: tempfile::TempDir,
    inside: PathBuf,
    hosts: Vec<HostSpec>,
    canned: CannedAnswers,
) -> Bed {
    let key = key(7);
    let authorized_key = key.public_key().to_openssh().unwrap();
    let spec = FleetSpec { hosts, authorized_key, dir: inside, seed: 1, canned };
    let fleet = if std::env::var_os(MEANS).is_some() {
        Fleet::start_by(Means::Chroot { isolated: false }, spec).await
    } else {
        Fleet::start(spec).await
    };
    Bed { fleet: fleet.unwrap(), key, dir }
}

/// Runs this test program once more, without `name`, changed by `change`. Only root can become somebody else.
pub fn again(name: &str, change: fn(&mut Command)) {
    if std::env::var_os(AGAIN).is_some() {
        return;
    }
    if !std::fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0) {
        skip::skip(&format!("{name} needs root, also that of a container"));
        return;
    }
    // The other user may not be allowed to look where this program lies.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("tests");
    // Not by this process: another thread may fork while the copy is open for writing, and then it cannot be executed.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status();
    assert!(copied.unwrap().success());
    let mut command = Command::new(&program);
    command.env(AGAIN, "1").env_remove("RUST_BACKTRACE").current_dir("/");
    command.args(["--test-threads", "4"]);
    change(&mut command);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

impl Bed {
    pub fn info(&self, name: &str) -> &HostInfo {
        self.fleet.hosts().iter().find(|host| host.name == name).unwrap()
    }

    pub async fn connect(&self, name: &str) -> Client {
        self.try_connect(name).await.unwrap()
    }

    pub async fn try_connect(&self, name: &str) -> Result<Client, russh::Error> {
        connect(self.info(name), &self.key).await
    }

    /// Connects as soon as the host lets it.
    pub async fn wait_for(&self, name: &str) -> Client {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.try_connect(name).await {
                Ok(client) => return client,
                Err(error) if tokio::time::Instant::now() > deadline => panic!("{name}: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// One command on a connection of its own.
    pub async fn run(&self, name: &str, command: &str) -> Done {
        self.connect(name).await.run(command, b"").await
    }

    pub async fn stop(self) {
        let root = self.dir.path().join("fleet");
        self.fleet.stop().await;
        assert!(!root.exists(), "the fleet left its directory behind");
    }
}

pub struct Client(pub Handle<Trust>);

/// Takes exactly the key that the fleet has told.
pub struct Trust(PublicKey);

impl client::Handler for Trust {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        Ok(match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.key_data() == self.0.key_data(),
            PublicKeyOrCertificate::Certificate(_) => false,
        })
    }
}

/// A connection before the login.
pub async fn handshake(info: &HostInfo) -> Result<Handle<Trust>, russh::Error> {
    let config = client::Config {
        inactivity_timeout: Some(PATIENCE),
        nodelay: true,
        ..client::Config::default()
    };
    let trust = Trust(PublicKey::from_openssh(&info.host_key).unwrap());
    let connecting = client::connect(Arc::new(config), (info.address, info.port), trust);
    tokio::time::timeout(PATIENCE, connecting).await.map_err(|_| russh::Error::HUP)?
}

pub async fn connect(info: &HostInfo, key: &Arc<PrivateKey>) -> Result<Client, russh::Error> {
    let mut handle = handshake(info).await?;
    let key = PrivateKeyWithHashAlg::new(key.clone(), None);
    let login = handle.authenticate_publickey("admin", key).await?;
    if login.success() { Ok(Client(handle)) } else { Err(russh::Error::NotAuthenticated) }
}

/// How a command ended, and what it said.
#[derive(Debug, Default)]
pub struct Done {
    pub out: Vec<u8>,
    pub err: Vec<u8>,
    pub code: Option<u32>,
    pub signal: Option<String>,
}

impl Done {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap().trim_end()
    }
}

impl Client {
    /// Waits until the connection is gone.
    pub async fn gone(self) {
        let ended = tokio::time::timeout(PATIENCE, self.0).await;
        let _ = ended.expect("the connection is still there");
    }

    pub async fn run(&self, command: &str, stdin: &[u8]) -> Done {
        tokio::time::timeout(PATIENCE, self.run_patiently(command, stdin)).await.expect(command)
    }

    async fn run_patiently(&self, command: &str, stdin: &[u8]) -> Done {
        let channel = self.0.channel_open_session().await.unwrap();
        channel.exec(true, command).await.unwrap();
        let (mut reading, writing) = channel.split();
        let send = async {
            let _ = writing.data(stdin).await;
            let _ = writing.eof().await;
            // The answer decides when this is over: a command may end without having read its input.
            std::future::pending::<()>().await;
        };
        let receive = async {
            let mut done = Done::default();
            while let Some(message) = reading.wait().await {
                match message {
                    ChannelMsg::Data { data } => done.out.extend_from_slice(&data),
                    ChannelMsg::ExtendedData { data, .. } => done.err.extend_from_slice(&data),
                    ChannelMsg::ExitStatus { exit_status } => done.code = Some(exit_status),
                    ChannelMsg::ExitSignal { signal_name, .. } => {
                        done.signal = Some(format!("{signal_name:?}"));
                    }
                    ChannelMsg::Failure => panic!("refused: {command}"),
                    _ => {}
                }
            }
            done
        };
        tokio::select! {
            done = receive => done,
            () = send => unreachable!("sending goes on until all is received"),
        }
    }
}

/// How many processes of this machine have `text` in their command line. A zombie has none.
pub fn processes_with(text: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&line).replace('\0', " ").contains(text).then_some(())
    });
    processes.count()
}
