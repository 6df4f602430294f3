//! Starting and stopping a whole fleet.

use crate::{
    door::Door,
    draw::Seed,
    host::{Machine, Order, Ordered, Staged},
    means::{Means, Missing, means},
    root::{Base, HostRoot, Stage, remove_tree},
    spec::{Fault, FleetSpec, HostInfo, HostSpec, Profile},
    ssh,
};
use russh::keys::{PublicKey, ssh_key::public::KeyData};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Longer than this no host name may be, says Linux.
const LONGEST_NAME: usize = 64;

/// File descriptors of one staged host: its port, its power switch, its process 1 and that one's pipe, and a few connections
/// with a command each.
const DESCRIPTORS_PER_HOST: u64 = 16;

/// One at each end, where the client is in the same process.
const DESCRIPTORS_PER_CONNECTION: u64 = 2;

/// File descriptors for everything else.
const DESCRIPTORS: u64 = 1024;

/// The first two numbers of the addresses that hosts get; any of 127.0.0.0/8 can be used on Linux without being set up.
const NETWORK: [u8; 2] = [127, 77];

/// Why a fleet did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error("`{0}` is no name for a host: letters, digits, `.`, `-` and `_`, at most 64")]
    Name(String),
    #[error("two hosts are called `{0}`")]
    Twice(String),
    #[error("host `{host}`: {reason}")]
    Stage { host: String, reason: String },
    #[error("host `{host}`: `{fault}` cannot be had here: {reason}")]
    Fault { host: String, fault: &'static str, reason: &'static str },
    #[error("the authorized key is no OpenSSH public key: {0}")]
    Key(String),
    #[error("the simulated hosts' base could not be laid: {0}")]
    Base(String),
    #[error("no program can be run below {}, which is mounted with `noexec`", .0.display())]
    NoExec(PathBuf),
    #[error("{what}")]
    Io { what: String, source: io::Error },
}

/// A running fleet. Stop it with [`Fleet::stop`]; where it is only dropped, its hosts' processes end and its directory
/// stays.
#[derive(Debug)]
pub struct Fleet {
    infos: Vec<HostInfo>,
    staged: BTreeMap<String, Control>,
    machines: JoinSet<()>,
    stop: CancellationToken,
    laid: Laid,
    means: Means,
}

#[derive(Debug)]
struct Control {
    root: PathBuf,
    orders: mpsc::Sender<Ordered>,
    penalties: Arc<ssh::Penalties>,
}

/// What was made on disk, to be taken away again.
#[derive(Debug)]
struct Laid {
    dir: PathBuf,
    made_dir: bool,
}

impl Fleet {
    /// Lays the roots and opens the ports. When this returns, every host can be logged in to.
    pub async fn start(spec: FleetSpec) -> Result<Self, StartError> {
        Self::start_by(means()?, spec).await
    }

    /// As [`Fleet::start`], by means that were found or chosen before.
    pub async fn start_by(means: Means, spec: FleetSpec) -> Result<Self, StartError> {
        check(&spec, means)?;
        let key = PublicKey::from_openssh(&spec.authorized_key)
            .map_err(|error| StartError::Key(error.to_string()))?;
        let authorized = Arc::new(key.key_data().clone());
        raise_descriptor_limit(&spec);
        let made_dir = !spec.dir.exists();
        let mut fleet = Self {
            infos: Vec::new(),
            staged: BTreeMap::new(),
            machines: JoinSet::new(),
            stop: CancellationToken::new(),
            laid: Laid { dir: spec.dir.clone(), made_dir },
            means,
        };
        match fleet.raise(spec, authorized).await {
            Ok(()) => Ok(fleet),
            Err(error) => {
                fleet.stop().await;
                Err(error)
            }
        }
    }

    async fn raise(&mut self, spec: FleetSpec, authorized: Arc<KeyData>) -> Result<(), StartError> {
        let seed = Seed(spec.seed);
        let mut canned = None;
        let mut roots = self.lay_roots(&spec).await?.into_iter();
        for (index, host) in spec.hosts.into_iter().enumerate() {
            let info = match host.profile {
                Profile::Canned => {
                    let place = match canned {
                        Some(ref place) => place,
                        None => {
                            let answers = Arc::new(spec.canned.clone());
                            canned
                                .insert(self.raise_canned(seed, authorized.clone(), answers).await?)
                        }
                    };
                    HostInfo { name: host.name, ..place.clone() }
                }
                Profile::Staged { .. } => {
                    let Some(root) = roots.next() else { continue };
                    self.raise_staged(index, host, root, seed, authorized.clone()).await?
                }
            };
            self.infos.push(info);
        }
        Ok(())
    }

    /// Lays the roots of all staged hosts, in their order.
    async fn lay_roots(&self, spec: &FleetSpec) -> Result<Vec<HostRoot>, StartError> {
        let staged = |host: &&HostSpec| matches!(host.profile, Profile::Staged { .. });
        let hosts: Vec<HostSpec> = spec.hosts.iter().filter(staged).cloned().collect();
        if hosts.is_empty() {
            return Ok(Vec::new());
        }
        let (dir, seed) = (spec.dir.clone(), Seed(spec.seed));
        let laid = tokio::task::spawn_blocking(move || lay(&dir, &hosts, seed));
        laid.await.unwrap_or_else(|error| Err(StartError::Base(error.to_string())))
    }

    async fn raise_staged(
        &mut self,
        index: usize,
        spec: HostSpec,
        root: HostRoot,
        seed: Seed,
        authorized: Arc<KeyData>,
    ) -> Result<HostInfo, StartError> {
        let failed = |source| StartError::Io {
            what: format!("host `{}` could not be started", spec.name),
            source,
        };
        let door = door(index).map_err(failed)?;
        let path = root.path.clone();
        let host = Arc::new(Staged::new(root, spec.faults.clone(), authorized));
        let penalties = Arc::clone(&host.penalties);
        let machine = Machine::new(host, self.means, seed, door).await.map_err(failed)?;
        let info = info(&spec.name, machine.address, seed).map_err(failed)?;
        let (orders, received) = mpsc::channel(1);
        self.machines.spawn(machine.live(received, self.stop.clone()));
        self.staged.insert(spec.name, Control { root: path, orders, penalties });
        Ok(info)
    }

    async fn raise_canned(
        &mut self,
        seed: Seed,
        authorized: Arc<KeyData>,
        answers: Arc<crate::spec::CannedAnswers>,
    ) -> Result<HostInfo, StartError> {
        let failed = |source| StartError::Io {
            what: "the canned hosts could not be started".into(),
            source,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let name = "";
        let info = info(name, listener.local_addr().map_err(failed)?, seed).map_err(failed)?;
        let config = Arc::new(ssh::config(seed.host_key(name, 0)));
        let stop = self.stop.clone();
        self.machines.spawn(ssh::serve_canned(listener, config, authorized, answers, stop));
        Ok(info)
    }

    /// How every host is reached, in the order of the spec.
    #[must_use]
    pub fn hosts(&self) -> &[HostInfo] {
        &self.infos
    }

    /// By what means commands enter the hosts.
    #[must_use]
    pub fn means(&self) -> Means {
        self.means
    }

    /// The text of a `known_hosts` file with every host's key.
    #[must_use]
    pub fn known_hosts(&self) -> String {
        let lines: BTreeSet<String> = self
            .infos
            .iter()
            .map(|host| format!("[{}]:{} {}\n", host.address, host.port, host.host_key))
            .collect();
        lines.into_iter().collect()
    }

    /// The root directory of a staged host, seen from outside.
    #[must_use]
    pub fn root(&self, name: &str) -> Option<PathBuf> {
        self.staged.get(name).map(|control| control.root.clone())
    }

    /// How many connections a staged host's sshd has turned away, since too many before them came to no login.
    #[must_use]
    pub fn turned_away(&self, name: &str) -> u64 {
        self.staged.get(name).map_or(0, |control| control.penalties.turned_away())
    }

    /// Takes a staged host's power away without a warning; it boots at once. Returns when it is up again, or never will be.
    pub async fn power_cut(&self, name: &str) {
        self.order(name, Order::PowerCut).await;
    }

    /// Switches a staged host off.
    pub async fn power_off(&self, name: &str) {
        self.order(name, Order::PowerOff).await;
    }

    /// Switches a staged host on, if it is off; returns when it is up.
    pub async fn power_on(&self, name: &str) {
        self.order(name, Order::PowerOn).await;
    }

    /// Closes a staged host's port, or opens it again. Connections and processes stay.
    pub async fn refuse(&self, name: &str, refuse: bool) {
        self.order(name, Order::Refuse(refuse)).await;
    }

    /// Cuts every connection of a staged host. Its processes stay.
    pub async fn cut(&self, name: &str) {
        self.order(name, Order::Cut).await;
    }

    async fn order(&self, name: &str, order: Order) {
        let Some(control) = self.staged.get(name) else { return };
        let (done, wait) = oneshot::channel();
        if control.orders.send((order, done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Ends every process of the fleet and removes what it laid.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.machines.join_next().await.is_some() {}
        let laid = self.laid;
        let removed = tokio::task::spawn_blocking(move || laid.remove());
        if let Err(error) = removed.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(%error, "the simulated hosts' files could not be removed");
        }
    }
}

impl Laid {
    fn remove(&self) -> io::Result<()> {
        if self.made_dir {
            return remove_tree(&self.dir);
        }
        remove_tree(&self.dir.join(BASE))?;
        remove_tree(&self.dir.join(HOSTS))
    }
}

/// What the directory of a fleet holds.
const BASE: &str = "base";
const HOSTS: &str = "hosts";

fn lay(dir: &Path, hosts: &[HostSpec], seed: Seed) -> Result<Vec<HostRoot>, StartError> {
    let failed = |what: &str| {
        let what = format!("{what} could not be laid below {}", dir.display());
        move |source| StartError::Io { what, source }
    };
    fs::create_dir_all(dir.join(HOSTS)).map_err(failed("the hosts"))?;
    // The kernel names a process's root by its real path, and links in the way would hide it.
    let dir = dir.canonicalize().map_err(failed("the hosts"))?;
    let mounted = rustix::fs::statvfs(&dir).map_err(|error| failed("the hosts")(error.into()))?;
    if mounted.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC) {
        return Err(StartError::NoExec(dir));
    }
    let base = Base::lay(dir.join(BASE)).map_err(|error| StartError::Base(chain(&error)))?;
    let mut stages = BTreeMap::new();
    let mut roots = Vec::with_capacity(hosts.len());
    for host in hosts {
        let Profile::Staged { stage: name } = &host.profile else { continue };
        let stage = match stages.get(name) {
            Some(stage) => stage,
            None => {
                let stage = Stage::named(name).map_err(|error| StartError::Stage {
                    host: host.name.clone(),
                    reason: error.to_string(),
                })?;
                stages.entry(name).or_insert(stage)
            }
        };
        let path = dir.join(HOSTS).join(&host.name);
        let root = HostRoot::lay(path, &base, stage, host, seed);
        roots.push(root.map_err(failed(&format!("host `{}`", host.name)))?);
    }
    Ok(roots)
}

fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|source| format!(": {}", chain(source)));
    error.to_string() + &cause.unwrap_or_default()
}

fn check(spec: &FleetSpec, means: Means) -> Result<(), StartError> {
    let mut names = BTreeSet::new();
    for host in &spec.hosts {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let name = host.name.as_str();
        if name.is_empty()
            || name.len() > LONGEST_NAME
            || name.starts_with('.')
            || !name.bytes().all(good)
        {
            return Err(StartError::Name(host.name.clone()));
        }
        if !names.insert(name) {
            return Err(StartError::Twice(host.name.clone()));
        }
        if host.faults.contains(&Fault::FillsDisk) && !means.isolated() {
            let reason = "it needs a mount namespace, which this machine does not give";
            let host = host.name.clone();
            return Err(StartError::Fault { host, fault: "FillsDisk", reason });
        }
    }
    Ok(())
}

/// An own loopback address for each host where the machine has more than one, and a port that the system chooses.
fn door(index: usize) -> io::Result<Door> {
    let [a, b] = NETWORK;
    // Never 0 or 255 at the end, which look like a network's own addresses.
    let (c, d) = (index / 250 % 250, index % 250 + 1);
    let own = Ipv4Addr::new(a, b, u8::try_from(c).unwrap_or(0), u8::try_from(d).unwrap_or(1));
    Door::open_at(own).or_else(|_| Door::open_at(Ipv4Addr::LOCALHOST))
}

fn info(name: &str, at: std::net::SocketAddr, seed: Seed) -> io::Result<HostInfo> {
    let key = seed.host_key(name, 0);
    let host_key = key.public_key().to_openssh().map_err(io::Error::other)?;
    let address: IpAddr = at.ip();
    Ok(HostInfo { name: name.to_owned(), address, port: at.port(), host_key })
}

/// Lets this process open as many files as the fleet may need, as far as the machine allows.
fn raise_descriptor_limit(spec: &FleetSpec) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let of_host = |host: &HostSpec| match host.profile {
        Profile::Staged { .. } => DESCRIPTORS_PER_HOST,
        Profile::Canned => DESCRIPTORS_PER_CONNECTION,
    };
    let wanted = DESCRIPTORS + spec.hosts.iter().map(of_host).sum::<u64>();
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |maximum| wanted.min(maximum)));
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
