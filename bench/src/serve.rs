//! The hosts: one process with a real SSH server that answers at once and starts nothing.

use crate::{Result, child, number, value};
use fleetlift_testbed::{CannedAnswers, CannedReply, Fleet, FleetSpec, HostSpec, Profile};
use russh::keys::{
    PrivateKey,
    ssh_key::{LineEnding, private::Ed25519Keypair},
};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

/// A script that contains this is answered with much output.
pub const MUCH: &str = "print-much";

/// What a server of average size says of itself.
const FACTS: &str = include_str!("facts.txt");

/// The server's side.
pub fn main(arguments: &[String]) -> Result<()> {
    let dir = PathBuf::from(value(arguments, "--dir").ok_or("--dir is missing")?);
    let much = number(arguments, "--much")?;
    // One worker leaves the other core to who is measured.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(serve(&dir, much))
}

async fn serve(dir: &Path, much: usize) -> Result<()> {
    raise_files();
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
    let line = "all work and no play makes a dull log, line after line, to the end of it\n";
    let text = line.repeat(much.div_ceil(line.len()));
    let reply = CannedReply { stdout: text, ..CannedReply::default() };
    let canned = CannedAnswers {
        facts: FACTS.to_owned(),
        default_stdout: "done\n".to_owned(),
        table: vec![(MUCH.to_owned(), reply)],
        answer: None,
    };
    // All canned hosts share one port, so one of them stands for all.
    let host = HostSpec {
        name: "canned".to_owned(),
        role: "web".to_owned(),
        profile: Profile::Canned,
        faults: Vec::new(),
    };
    let spec = FleetSpec {
        hosts: vec![host],
        authorized_key: key.public_key().to_openssh()?,
        dir: dir.join("roots"),
        seed: 1,
        canned,
    };
    let fleet = Fleet::start(spec).await?;
    let identity = dir.join("id_ed25519");
    fs::write(&identity, key.to_openssh(LineEnding::LF)?.as_bytes())?;
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o600))?;
    fs::write(dir.join("known_hosts"), fleet.known_hosts())?;
    let info = &fleet.hosts()[0];
    fs::write(dir.join("host_key"), &info.host_key)?;
    println!("{} {}", info.address, info.port);
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
        .await??;
    fleet.stop().await;
    Ok(())
}

/// Each connection is an open file.
pub fn raise_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    // Where it may not be raised, a row with more connections than files fails and says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
}

/// A server that runs, as its clients see it.
pub struct Server {
    child: Child,
    pub dir: PathBuf,
    pub address: String,
    pub port: String,
}

impl Server {
    /// Starts one that keeps its files in `dir` and answers [`MUCH`] with so many bytes.
    pub fn start(dir: &Path, much: usize) -> Result<Self> {
        let dir = dir.to_owned();
        let arguments = ["serve", "--much", &much.to_string(), "--dir", &dir.to_string_lossy()];
        let mut child =
            child::own(&arguments)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let Some((address, port)) = line.trim().split_once(' ') else {
            return Err("the hosts did not start".into());
        };
        let (address, port) = (address.to_owned(), port.to_owned());
        Ok(Self { child, dir, address, port })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It ends when its standard input does.
        let _ = self.child.wait();
    }
}
