//! Connections that die quietly, slow ones, servers that are restarted, controllers that are stopped: every step runs once, and
//! its output is whole.

use crate::{
    bed::LENIENT,
    desk::{Desk, end_of},
    need,
    proxy::{Manner, Proxy},
    support::{self, Sshd},
};
use std::{fmt::Write as _, net::SocketAddr, path::PathBuf, time::Duration};

/// Each host counts in a folder of its own, since behind all names is one machine.
const PLAYBOOK: &str = r#"
name = "Counts"

[[backup]]
name = "copy"
run = "mkdir -p {{ home | quote }}; echo backup >>{{ home | quote }}/count"

[[migrate]]
name = "tell"
run = """
echo tell >>{{ home | quote }}/count
i=0; while [ $i -lt 40 ]; do echo out $i; echo err $i >&2; sleep 0.02; i=$((i + 1)); done
"""

[[migrate]]
name = "bring"
upload = { from = "payload", to = "{{ home }}/payload" }

[[migrate]]
name = "more"
run = "echo more >>{{ home | quote }}/count"
verify = "grep -q more {{ home | quote }}/count"
"#;

/// The size of the file that is brought.
const LARGE: usize = 200_000;

const ONCE: &str = "backup\ntell\nmore\n";

/// Hosts behind one real server, each reached by a port of its own.
struct Fleet {
    desk: Desk,
    server: Sshd,
    names: Vec<String>,
    hosts: String,
    payload: usize,
}

impl Fleet {
    fn new(server: Sshd, settings: &str, playbook: &str, payload: usize) -> Self {
        let desk = Desk::new();
        desk.write("fleet/rollout.toml", LENIENT);
        desk.write("playbook.toml", playbook);
        desk.write("payload", vec![b'x'; payload]);
        let hosts = format!(
            "[connection]\nagent = false\nsudo = false\nallow_shared_machine = true\nhost_key = \"accept-new\"\n\
             user = {:?}\nidentity = {:?}\nknown_hosts = {:?}\n{settings}\n",
            support::me(),
            server.key,
            desk.path("known_hosts"),
        );
        Self { desk, server, names: Vec::new(), hosts, payload }
    }

    fn address(&self) -> SocketAddr {
        format!("{}:{}", self.server.addresses[0], self.server.port).parse().unwrap()
    }

    fn add(&mut self, name: &str, address: &str, port: u16) {
        let home = self.home(name);
        let _ = writeln!(
            self.hosts,
            "[hosts.{name}]\naddress = {address:?}\nconnection.port = {port}\nconnection.remote_dir = {:?}\n\
             vars.home = {home:?}",
            home.join("fl"),
        );
        self.names.push(name.to_owned());
        self.desk.write("fleet/hosts.toml", &self.hosts);
    }

    fn home(&self, name: &str) -> PathBuf {
        self.desk.path("homes").join(name)
    }

    fn read(&self, name: &str, file: &str) -> String {
        std::fs::read_to_string(self.home(name).join(file)).unwrap_or_default()
    }

    /// Every host is migrated as if nothing had happened to its connections.
    #[track_caller]
    fn as_if_nothing_happened(&self, told: &dyn Fn(&str) -> String) {
        let status = self.desk.status();
        let out: String = (0..40).map(|i| format!("out {i}\n")).collect();
        for name in &self.names {
            let told = told(name);
            let why = || self.desk.say(&["why", "last", name]).out;
            assert_eq!(end_of(&status, name), ("migrated", true, ""), "{told}\n{}", why());
            assert_eq!(self.read(name, "count"), ONCE, "{told}");
            assert_eq!(self.desk.log(name, "migrate.tell"), out.as_bytes(), "{told}");
            let payload = std::fs::metadata(self.home(name).join("payload")).unwrap();
            assert_eq!(payload.len(), self.payload as u64, "{told}");
        }
        self.desk.say(&["journal", "last", "--verify"]).exits(0);
    }
}

/// At how many places a connection is cut: a few in every test run, more by `just cuts N`.
fn cuts() -> u64 {
    std::env::var("FLEETLIFT_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(9)
}

#[test]
fn a_connection_that_goes_silent_anywhere_costs_nothing() {
    const TEST: &str = "a_connection_that_goes_silent_anywhere_costs_nothing";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    // How much passes where nothing happens.
    let settings = "keepalive = \"2s\"\nconnect_timeout = \"3s\"\nauth_timeout = \"5s\"";
    let mut whole = Fleet::new(Sshd::start(), settings, PLAYBOOK, LARGE);
    let proxy = Proxy::new(whole.address());
    whole.add("whole", "127.0.0.1", proxy.port);
    whole.desk.run().exits(0);
    let total = proxy.passed();
    assert!(total > LARGE as u64 && proxy.connections() == 1, "{total}");
    let upload = total - LARGE as u64;

    // Never a word; within the key exchange, the login, every script, and the upload; nobody is told in any case.
    let mut fleet = Fleet::new(Sshd::start(), settings, PLAYBOOK, LARGE);
    let count = cuts();
    let mut points: Vec<u64> = (0..count).map(|n| n * upload / count).collect();
    points.push(upload / 2 + LARGE as u64 / 2);
    let proxies: Vec<Proxy> =
        points.iter().map(|bytes| Proxy::silent_after(fleet.address(), *bytes)).collect();
    for (n, proxy) in proxies.iter().enumerate() {
        fleet.add(&format!("cut-{n:02}"), "127.0.0.1", proxy.port);
    }
    let said = fleet.desk.run();
    let told = |name: &str| {
        let n: usize = name[4..].parse().unwrap();
        format!("{name}: silent after {} of {total} bytes\n{}", points[n], said.err)
    };
    fleet.as_if_nothing_happened(&told);
    assert_eq!(said.code, 0);
    assert!(proxies.iter().all(Proxy::was_silent));
}

#[test]
fn slow_and_crumbling_connections_are_only_slow() {
    const TEST: &str = "slow_and_crumbling_connections_are_only_slow";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    // Everything is far slower than a keep-alive's interval would like; nothing is dead.
    let mut fleet = Fleet::new(Sshd::start(), "keepalive = \"1s\"", PLAYBOOK, LARGE);
    let late = Proxy::with(fleet.address(), Manner::Late(Duration::from_millis(30)));
    let crumbs = Proxy::with(fleet.address(), Manner::OneByOne);
    fleet.add("late", "127.0.0.1", late.port);
    fleet.add("crumbs", "127.0.0.1", crumbs.port);
    let said = fleet.desk.run().exits(0);
    fleet.as_if_nothing_happened(&|_| said.err.clone());
    assert_eq!((late.connections(), crumbs.connections()), (1, 1));
}
