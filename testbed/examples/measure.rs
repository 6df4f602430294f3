//! Measures what simulated hosts cost on this machine: starting them, one command, disk, and a canned connection.

use fleetlift_testbed::{
    CannedAnswers, Fleet, FleetSpec, HostInfo, HostSpec, Means, Profile, means,
};
use russh::{
    ChannelMsg,
    client::{self, Handle},
    keys::{
        PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate, ssh_key::private::Ed25519Keypair,
    },
};
use std::{os::unix::fs::MetadataExt, path::Path, sync::Arc, time::Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

struct AnyHost;

impl client::Handler for AnyHost {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        _: &PublicKeyOrCertificate,
    ) -> std::result::Result<bool, Self::Error> {
        Ok(true)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let found = means()?;
    println!("means found: {found}");
    let all = match found {
        Means::Chroot { isolated: true } => {
            vec![Means::Chroot { isolated: false }, found, Means::UserNamespace]
        }
        Means::Chroot { isolated: false } | Means::UserNamespace => vec![found],
    };
    for means in all {
        println!("\n{means}");
        one_command(means).await?;
        for hosts in [15, 200] {
            many(means, hosts).await?;
        }
    }
    println!("\ncanned");
    canned().await
}

fn key() -> Arc<PrivateKey> {
    Arc::new(Ed25519Keypair::from_seed(&[1; 32]).into())
}

async fn start(means: Means, hosts: usize, profile: Profile, dir: &Path) -> Result<Fleet> {
    let host = |number| HostSpec {
        name: format!("h{number}"),
        role: "web".into(),
        profile: profile.clone(),
        faults: Vec::new(),
    };
    let spec = FleetSpec {
        hosts: (0..hosts).map(host).collect(),
        authorized_key: key().public_key().to_openssh()?,
        dir: dir.join("fleet"),
        seed: 1,
        canned: CannedAnswers::default(),
    };
    Ok(Fleet::start_by(means, spec).await?)
}

async fn one_command(means: Means) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let fleet = start(means, 1, Profile::Staged { stage: "plain".into() }, dir.path()).await?;
    let session = login(&fleet.hosts()[0]).await?;
    for command in ["exit 0", "/bin/true"] {
        run(&session, command).await?;
        let mut times = Vec::new();
        let cpu = cpu_ms();
        for _ in 0..200 {
            let began = Instant::now();
            run(&session, command).await?;
            times.push(began.elapsed());
        }
        let cpu = (cpu_ms() - cpu) / 200.0;
        times.sort();
        println!(
            "  `{command}`: median {:.2} ms, p95 {:.2} ms, with client, server and process {cpu:.2} ms CPU",
            times[100].as_secs_f64() * 1e3,
            times[190].as_secs_f64() * 1e3
        );
    }
    fleet.stop().await;
    Ok(())
}

async fn many(means: Means, hosts: usize) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let began = Instant::now();
    let fleet = start(means, hosts, Profile::Staged { stage: "plain".into() }, dir.path()).await?;
    let started = began.elapsed();
    let base = disk_kib(&dir.path().join("fleet/base"))?;
    let all = disk_kib(&dir.path().join("fleet"))?;
    let own = (all - base) / hosts as u64;
    let began = Instant::now();
    fleet.stop().await;
    println!(
        "  {hosts} hosts: started in {:.2} s, stopped in {:.2} s; base {base} KiB, {own} KiB for each host",
        started.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn canned() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let began = Instant::now();
    let fleet = start(means()?, 10_000, Profile::Canned, dir.path()).await?;
    println!("  10000 hosts: started in {:.3} s", began.elapsed().as_secs_f64());
    let (began, cpu) = (Instant::now(), cpu_ms());
    for info in &fleet.hosts()[..300] {
        run(&login(info).await?, "sh -s").await?;
    }
    println!(
        "  connect, log in, one command: {:.2} ms, with client and server {:.2} ms CPU",
        began.elapsed().as_secs_f64() * 1e3 / 300.0,
        (cpu_ms() - cpu) / 300.0
    );
    fleet.stop().await;
    Ok(())
}

async fn login(info: &HostInfo) -> Result<Handle<AnyHost>> {
    let config = Arc::new(client::Config { nodelay: true, ..client::Config::default() });
    let mut session = client::connect(config, (info.address, info.port), AnyHost).await?;
    let login =
        session.authenticate_publickey("admin", PrivateKeyWithHashAlg::new(key(), None)).await?;
    if login.success() { Ok(session) } else { Err("the key was refused".into()) }
}

async fn run(session: &Handle<AnyHost>, command: &str) -> Result<()> {
    let mut channel = session.channel_open_session().await?;
    channel.exec(true, command).await?;
    channel.eof().await?;
    let mut code = None;
    while let Some(message) = channel.wait().await {
        if let ChannelMsg::ExitStatus { exit_status } = message {
            code = Some(exit_status);
        }
    }
    if code == Some(0) { Ok(()) } else { Err(format!("`{command}` ended with {code:?}").into()) }
}

/// Of this process and of its children that have ended.
fn cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 =
        after.split(' ').skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 * 10.0
}

fn disk_kib(dir: &Path) -> Result<u64> {
    fn add(dir: &Path, seen: &mut std::collections::BTreeSet<u64>) -> Result<u64> {
        let mut blocks = 0;
        for entry in std::fs::read_dir(dir)? {
            let found = entry?;
            let data = found.metadata()?;
            if seen.insert(data.ino()) {
                blocks += data.blocks();
            }
            if data.is_dir() {
                blocks += add(&found.path(), seen)?;
            }
        }
        Ok(blocks)
    }
    Ok(add(dir, &mut std::collections::BTreeSet::new())? / 2)
}
