//! A fleet of simulated hosts by hand: prints an inventory for it, and lives until its standard input is closed.

use fleetlift_testbed::{CannedAnswers, Fault, Fleet, FleetSpec, HostSpec, Profile, StartError};
use russh::keys::{
    PrivateKey,
    ssh_key::{LineEnding, private::Ed25519Keypair},
};
use std::{
    error::Error,
    fmt::Write as _,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
Usage: fleetlift-testbed [OPTIONS]

Starts simulated hosts behind a real SSH server on loopback, prints an inventory (hosts.toml) of them and the line `# ready`, and
ends when its standard input is closed or on SIGTERM.

  --hosts N          staged hosts: host-1 to host-N (default 3)
  --stage NAME       the system that they pretend to be (default plain)
  --role ROLE        what they are for (default web)
  --canned N         hosts that answer without processes: canned-1 to canned-N (default 0)
  --facts FILE       what canned hosts print when they are asked for facts (default: nothing)
  --says TEXT        what canned hosts print for every other script (default: nothing)
  --fault HOST=FAULT refuses, hangs, never-returns, returns-unchanged, changes-key, fills-disk, drops:TEXT, sudo:PASSWORD,
                     prints:BYTES, or a word of the stage's own; may be repeated
  --seed N           what keys and ids are drawn from (default 1)
  --dir DIR          where it keeps its files, emptied at the end (default: a new directory for temporary files)
";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Options {
    hosts: usize,
    stage: String,
    role: String,
    canned: usize,
    answers: CannedAnswers,
    faults: Vec<(String, Fault)>,
    seed: u64,
    dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(arguments.into_iter()) {
        Ok(options) => options,
        Err(error) => {
            eprint!("error: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            if let Some(StartError::Missing(missing)) = error.downcast_ref() {
                eprintln!("hint: {}", missing.hint);
            }
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            hosts: 3,
            stage: "plain".into(),
            role: "web".into(),
            canned: 0,
            answers: CannedAnswers::default(),
            faults: Vec::new(),
            seed: 1,
            dir: None,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("`{name}` wants a value"))?;
            match name.as_str() {
                "--hosts" => options.hosts = value.parse()?,
                "--stage" => options.stage = value,
                "--role" => options.role = value,
                "--canned" => options.canned = value.parse()?,
                "--facts" => options.answers.facts = fs::read_to_string(value)?,
                "--says" => options.answers.default_stdout = value,
                "--seed" => options.seed = value.parse()?,
                "--dir" => options.dir = Some(value.into()),
                "--fault" => {
                    let (host, fault) = value.split_once('=').ok_or("a fault is HOST=FAULT")?;
                    options.faults.push((host.to_owned(), parse_fault(fault)?));
                }
                _ => return Err(format!("there is no option `{name}`").into()),
            }
        }
        Ok(options)
    }

    fn hosts(&self) -> Vec<HostSpec> {
        let host = |name: String, profile: Profile| {
            let own = self.faults.iter().filter(|(host, _)| *host == name);
            let faults = own.map(|(_, fault)| fault.clone()).collect();
            HostSpec { name, role: self.role.clone(), profile, faults }
        };
        let staged = || Profile::Staged { stage: self.stage.clone() };
        (1..=self.hosts)
            .map(|number| host(format!("host-{number}"), staged()))
            .chain(
                (1..=self.canned).map(|number| host(format!("canned-{number}"), Profile::Canned)),
            )
            .collect()
    }
}

fn parse_fault(text: &str) -> Result<Fault> {
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    Ok(match name {
        "refuses" => Fault::Refuses,
        "hangs" => Fault::HangsBeforeBanner,
        "never-returns" => Fault::NeverReturns,
        "returns-unchanged" => Fault::ReturnsUnchanged,
        "changes-key" => Fault::ChangesKey,
        "fills-disk" => Fault::FillsDisk,
        "drops" => Fault::DropsDuringScript { containing: value.to_owned() },
        "sudo" => Fault::SudoAsks { password: value.to_owned() },
        "prints" => Fault::PrintsMuch { bytes: value.parse()? },
        word => Fault::Stage(word.to_owned()),
    })
}

async fn run(options: Options) -> Result<()> {
    let temporary = tempfile::Builder::new().prefix("fleetlift-testbed-").tempdir()?;
    let dir = options.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    fs::create_dir_all(&dir)?;
    let dir = dir.canonicalize()?;
    // The key opens nothing but these hosts, so the same seed may give the same key.
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&options.seed.to_be_bytes());
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    let spec = FleetSpec {
        hosts: options.hosts(),
        authorized_key: key.public_key().to_openssh()?,
        dir: dir.join("roots"),
        seed: options.seed,
        canned: options.answers.clone(),
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let fleet = Fleet::start(spec).await?;
    let files = [
        ("id_ed25519", key.to_openssh(LineEnding::LF)?.to_string()),
        ("known_hosts", fleet.known_hosts()),
        ("hosts.toml", inventory(&fleet, &dir)),
    ];
    for (name, content) in &files {
        write_private(&dir.join(name), content)?;
    }
    let [.., (_, inventory)] = &files;
    println!(
        "{inventory}\n# ready: {}, hosts by {}",
        dir.join("hosts.toml").display(),
        fleet.means()
    );
    let closed =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = closed => {}
    }
    fleet.stop().await;
    for (name, _) in files {
        let _ = fs::remove_file(dir.join(name));
    }
    temporary.close()?;
    // Reading from standard input cannot be given up, so the runtime must not wait for it.
    std::process::exit(0)
}

fn inventory(fleet: &Fleet, dir: &Path) -> String {
    let mut text = String::from(
        "# Simulated hosts; they are gone when fleetlift-testbed ends.\n[connection]\n",
    );
    let quoted = |path: PathBuf| format!("\"{}\"", path.display());
    let _ = writeln!(text, "user = \"admin\"\nagent = false");
    let _ = writeln!(text, "identity = {}", quoted(dir.join("id_ed25519")));
    let _ = writeln!(text, "known_hosts = {}", quoted(dir.join("known_hosts")));
    if fleet.hosts().iter().any(|host| fleet.root(&host.name).is_none()) {
        // All canned hosts tell the same facts.
        text.push_str("allow_shared_machine = true\n");
    }
    for host in fleet.hosts() {
        let _ = write!(text, "\n[hosts.\"{}\"]\naddress = \"{}\"\n", host.name, host.address);
        let _ = writeln!(text, "connection.port = {}", host.port);
    }
    text
}

fn write_private(path: &Path, content: &str) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())
}
