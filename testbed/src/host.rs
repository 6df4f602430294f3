//! A staged host: its port, its processes, and what becomes of both when it loses its power.

use crate::{
    door::Door,
    draw::Seed,
    enter::{Entry, kill_inside},
    full::FullDisk,
    holder::Holder,
    means::Means,
    power::{Switch, Wish},
    root::{self, HostRoot},
    spec::Fault,
    ssh,
};
use russh::{keys::ssh_key::public::KeyData, server::Config};
use std::{
    fs, io,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    sync::{RwLock, mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// How long a host is dark at least, where `/etc/testbed/dark_ms` does not say.
const DARK: Duration = Duration::from_millis(1500);

/// Between the wish for a reboot and the loss of power: the command that wished must be able to return, as on a real host.
const GRACE_MS: std::ops::Range<u64> = 100..300;

/// How long logins are refused after a boot, where they are, and `/etc/testbed/no_logins_ms` does not say.
const NO_LOGINS: Duration = Duration::from_millis(1200);

/// A boot hook that asks for one more boot this often will ask for ever.
const MOST_BOOTS_AT_ONCE: u32 = 10;

/// What a boot hook answers when it wants one more boot at once.
const BOOT_AGAIN: i32 = 3;

/// The stage's part of a boot.
const HOOK: &str = "usr/lib/testbed/boot";

/// What the connections of a host share.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) root: HostRoot,
    pub(crate) faults: Vec<Fault>,
    pub(crate) authorized: Arc<KeyData>,
    /// Whether `DropsDuringScript` has had its one time.
    pub(crate) dropped: AtomicBool,
    /// What its sshd holds against those who connect.
    pub(crate) penalties: Arc<ssh::Penalties>,
    /// None while the host has no power. Held while a process is started, so that none is started unseen while the power goes.
    entry: Arc<RwLock<Option<Entry>>>,
}

impl Staged {
    pub(crate) fn new(root: HostRoot, faults: Vec<Fault>, authorized: Arc<KeyData>) -> Self {
        let (dropped, penalties, entry) = Default::default();
        Self { root, faults, authorized, dropped, penalties, entry }
    }

    /// Starts a process inside.
    pub(crate) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let guard = self.entry.clone().read_owned().await;
        let entry = guard.clone().ok_or_else(|| io::Error::other("the host has no power"))?;
        entry.spawn(command, guard).await
    }
}

/// What a test may do to a host from outside.
#[derive(Debug)]
pub(crate) enum Order {
    /// Loses its power without a warning, and boots.
    PowerCut,
    PowerOff,
    /// Boots, if it was off.
    PowerOn,
    /// Closes the port, or opens it again; connections stay.
    Refuse(bool),
    /// Cuts every connection.
    Cut,
}

/// An order, and whom to tell that it is done.
pub(crate) type Ordered = (Order, oneshot::Sender<()>);

/// Everything that one host is; it lives in a task of its own.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) host: Arc<Staged>,
    pub(crate) means: Means,
    pub(crate) seed: Seed,
    pub(crate) address: SocketAddr,
    config: Arc<Config>,
    door: Door,
    switch: Switch,
    holder: Option<Holder>,
    /// Cancelled when the host loses its connections, and then replaced.
    connections: CancellationToken,
    /// Until when nobody is let in.
    no_logins_until: Option<Instant>,
    boots: u64,
    /// Reboots that were wished for, as opposed to boots, of which one reboot may make many.
    reboots: u64,
    powered: bool,
    /// Whether the port is closed although the host is up.
    refusing: bool,
}

impl Machine {
    /// A host that is up, behind its door.
    pub(crate) async fn new(
        host: Arc<Staged>,
        means: Means,
        seed: Seed,
        door: Door,
    ) -> io::Result<Self> {
        let address = door.address()?;
        let switch = Switch::open(&host.root.power())?;
        let config = Arc::new(ssh::config(seed.host_key(&host.root.name, 0)));
        let refusing = host.faults.contains(&Fault::Refuses);
        let mut machine = Self {
            host,
            means,
            seed,
            address,
            config,
            door,
            switch,
            holder: None,
            connections: CancellationToken::new(),
            no_logins_until: None,
            boots: 0,
            reboots: 0,
            powered: true,
            refusing,
        };
        machine.make_namespaces().await?;
        if refusing {
            machine.door.close()?;
        }
        Ok(machine)
    }

    /// Lives until `stop`, and leaves no process behind.
    pub(crate) async fn live(
        mut self,
        mut orders: mpsc::Receiver<Ordered>,
        stop: CancellationToken,
    ) {
        let life = async {
            loop {
                if let Err(error) = self.turn(&mut orders).await {
                    let host = &self.host.root.name;
                    tracing::error!(host, %error, "a simulated host is broken and stays dark");
                    let _ = self.lose_power().await;
                    // Whoever orders something is answered, although nothing comes of it.
                    while orders.recv().await.is_some() {}
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = life => {}
        }
        if let Err(error) = self.lose_power().await {
            tracing::warn!(%error, "a simulated host may have left a process behind");
        }
    }

    /// One thing that happens to the host.
    async fn turn(&mut self, orders: &mut mpsc::Receiver<Ordered>) -> io::Result<()> {
        tokio::select! {
            biased;
            Some((order, done)) = orders.recv() => {
                self.obey(order).await?;
                let _ = done.send(());
                Ok(())
            }
            wish = self.switch.wish(), if self.powered => {
                let wish = wish?;
                self.grace().await;
                match wish {
                    Wish::Reboot => self.reboot().await,
                    Wish::PowerOff => self.lose_power().await,
                }
            }
            accepted = self.door.accept() => {
                self.serve(accepted);
                Ok(())
            }
        }
    }

    async fn obey(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::PowerCut => self.reboot().await,
            Order::PowerOff => self.lose_power().await,
            Order::PowerOn if !self.powered => self.boot(Instant::now()).await,
            Order::PowerOn => Ok(()),
            Order::Refuse(refuse) => {
                self.refusing = refuse;
                if refuse { self.door.close() } else { self.open_door() }
            }
            Order::Cut => {
                self.cut_connections();
                Ok(())
            }
        }
    }

    /// The last moments before a reboot, in which connections are still taken.
    async fn grace(&mut self) {
        let name = &self.host.root.name;
        let span = GRACE_MS.end - GRACE_MS.start;
        let more = self.seed.below(span, "grace", name, self.reboots);
        let end = Instant::now() + Duration::from_millis(GRACE_MS.start + more);
        self.no_logins_until = self.has(&Fault::RefusesLoginsAtBoot).then_some(end);
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(end) => return,
                accepted = self.door.accept() => self.serve(accepted),
            }
        }
    }

    async fn reboot(&mut self) -> io::Result<()> {
        let began = Instant::now();
        self.lose_power().await?;
        self.reboots += 1;
        if self.has(&Fault::NeverReturns) {
            return Ok(());
        }
        if self.has(&Fault::ChangesKey) {
            let key = self.seed.host_key(&self.host.root.name, 1);
            self.config = Arc::new(ssh::config(key));
        }
        self.boot(began).await
    }

    /// Connections and processes end, and the port is closed.
    async fn lose_power(&mut self) -> io::Result<()> {
        self.powered = false;
        self.door.close()?;
        self.cut_connections();
        self.host.penalties.forget();
        self.end_processes().await?;
        self.switch.forget()
    }

    async fn end_processes(&mut self) -> io::Result<()> {
        *self.host.entry.write().await = None;
        if let Some(holder) = self.holder.take() {
            holder.end().await;
        } else if !self.means.isolated() {
            let root = self.host.root.path.clone();
            let killed = tokio::task::spawn_blocking(move || kill_inside(&root));
            killed.await.map_err(io::Error::other)??;
        }
        Ok(())
    }

    fn cut_connections(&mut self) {
        std::mem::take(&mut self.connections).cancel();
    }

    async fn boot(&mut self, dark_since: Instant) -> io::Result<()> {
        for _ in 0..MOST_BOOTS_AT_ONCE {
            self.boots += 1;
            let root = &self.host.root;
            root.write_boot_id(&self.seed.boot_id(&root.name, self.boots))?;
            self.make_namespaces().await?;
            match self.hook().await? {
                0 => return self.come_up(dark_since).await,
                BOOT_AGAIN => self.end_processes().await?,
                code => {
                    let host = &self.host.root.name;
                    tracing::warn!(host, code, "the boot hook failed, so the host stays dark");
                    return self.end_processes().await;
                }
            }
        }
        let host = &self.host.root.name;
        tracing::warn!(host, "the boot hook wants one more boot for ever, so the host stays dark");
        self.end_processes().await
    }

    async fn come_up(&mut self, dark_since: Instant) -> io::Result<()> {
        let dark = self.length("dark_ms", DARK);
        tokio::time::sleep_until(dark_since + dark).await;
        self.powered = true;
        let refuses = self.has(&Fault::RefusesLoginsAtBoot);
        let no_logins = self.length("no_logins_ms", NO_LOGINS);
        self.no_logins_until = refuses.then(|| Instant::now() + no_logins);
        self.open_door()
    }

    /// A length of time that the host's own files may set.
    fn length(&self, file: &str, usual: Duration) -> Duration {
        let said = fs::read_to_string(self.host.root.path.join("etc/testbed").join(file));
        said.ok().and_then(|text| text.trim().parse().ok()).map_or(usual, Duration::from_millis)
    }

    /// Runs the stage's boot hook, if there is one; what it prints is in `/var/log/testbed-boot.log`.
    async fn hook(&self) -> io::Result<i32> {
        let root = &self.host.root;
        let hook = root::place(&root.path, Path::new(HOOK))?;
        if !hook.exists() || self.has(&Fault::ReturnsUnchanged) {
            return Ok(0);
        }
        let log = root::place(&root.path, Path::new("/var/log/testbed-boot.log"))?;
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(Path::new("/").join(HOOK));
        command.env_clear().env("PATH", &root.search_path).env("HOME", "/root");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let status = self.host.spawn(command).await?.wait().await?;
        // Killed by a signal is no way to boot.
        Ok(status.code().unwrap_or(-1))
    }

    /// Makes what processes run in. From here on commands can be started.
    async fn make_namespaces(&mut self) -> io::Result<()> {
        let root = &self.host.root;
        let entry = if self.means.isolated() {
            let full = self.has(&Fault::FillsDisk).then(|| FullDisk::of(root, "var"));
            let full = full.transpose()?;
            let holder = Holder::start(self.means, root, full.as_ref()).await?;
            let entry = holder.entry(&root.path)?;
            if let Some(full) = full {
                full.fill(&holder.seen_from_outside()?)?;
            }
            self.holder = Some(holder);
            entry
        } else {
            Entry::plain(&root.path)?
        };
        *self.host.entry.write().await = Some(entry);
        Ok(())
    }

    /// Opens the port, if nothing speaks against it.
    fn open_door(&mut self) -> io::Result<()> {
        if self.refusing || !self.powered { Ok(()) } else { self.door.open() }
    }

    fn serve(&self, accepted: io::Result<(tokio::net::TcpStream, SocketAddr)>) {
        match accepted {
            Ok((stream, peer)) => {
                let host = self.host.clone();
                let refuses = self.no_logins_until.is_some_and(|end| Instant::now() < end);
                let config = self.config.clone();
                let cut = self.connections.child_token();
                let penalties = Arc::clone(&host.penalties);
                let served = ssh::serve_staged(host, config, penalties, stream, peer, refuses, cut);
                tokio::spawn(served);
            }
            Err(error) => tracing::warn!(%error, "a connection could not be taken"),
        }
    }

    fn has(&self, fault: &Fault) -> bool {
        self.host.faults.contains(fault)
    }
}

impl Drop for Machine {
    /// For a fleet that is dropped without being stopped. Where hosts have namespaces, these end by themselves.
    fn drop(&mut self) {
        if !self.means.isolated() && self.powered {
            let _ = kill_inside(&self.host.root.path);
        }
    }
}
