//! Connections that die quietly, slow ones, servers that are restarted, controllers that are stopped: every step runs once, and
//! its output is whole.

use crate::{
    bed::LENIENT,
    desk::{Desk, RUN, Running, Said, end_of},
    need,
    proxy::{Manner, Proxy},
    support::{self, Sshd},
};
use rustix::process::Signal;
use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

/// Each host counts in a folder of its own, since behind all names is one machine.
const PLAYBOOK: &str = r#"
name = "Counts"

[[backup]]
name = "copy"
run = "mkdir -p {{ home | quote }}; echo backup >>{{ home | quote }}/count"
verify = "grep -q backup {{ home | quote }}/count"

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

    /// Waits until a host's file is as wanted.
    #[track_caller]
    fn wait_for(&self, name: &str, file: &str, wanted: impl Fn(&str) -> bool) {
        support::wait_until(&format!("{name}: {file}"), || wanted(&self.read(name, file)));
    }

    /// Lets the step `tell` of [`WAITS`] end.
    fn let_go(&self, name: &str) {
        std::fs::write(self.home(name).join("go"), "").unwrap();
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
    std::env::var("FLEETLIFT_CUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(6)
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

/// The same, where `tell` waits for a word.
const WAITS: &str = r#"
name = "Counts"

[[backup]]
name = "copy"
run = "mkdir -p {{ home | quote }}; echo backup >>{{ home | quote }}/count"
verify = "grep -q backup {{ home | quote }}/count"

[[migrate]]
name = "tell"
run = """
echo tell >>{{ home | quote }}/count
i=0; while [ $i -lt 20 ]; do echo out $i; echo err $i >&2; i=$((i + 1)); done
while [ ! -e {{ home | quote }}/go ]; do sleep 0.05; done
while [ $i -lt 40 ]; do echo out $i; echo err $i >&2; i=$((i + 1)); done
"""

[[migrate]]
name = "bring"
upload = { from = "payload", to = "{{ home }}/payload" }

[[migrate]]
name = "more"
run = "echo more >>{{ home | quote }}/count"
"#;

#[test]
fn a_step_goes_on_while_sshd_is_restarted() {
    const TEST: &str = "a_step_goes_on_while_sshd_is_restarted";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    let mut fleet = Fleet::new(Sshd::start(), "", WAITS, 1000);
    let (address, port) = (fleet.server.addresses[0].clone(), fleet.server.port);
    fleet.add("a", &address, port);
    fleet.add("b", &address, port);
    let running = fleet.desk.start(&RUN);
    for name in ["a", "b"] {
        fleet.wait_for(name, "count", |count| count.contains("tell"));
    }
    fleet.server.restart();
    fleet.let_go("a");
    fleet.wait_for("a", "count", |count| count.contains("more"));
    // Once more, for the one that is being followed by now.
    fleet.server.restart();
    fleet.let_go("b");
    let said = running.end().exits(0);
    fleet.as_if_nothing_happened(&|_| said.err.clone());
}

/// For how long a controller is stopped: until everything has happened that is to happen meanwhile, and longer by
/// `just stopped`.
fn stopped_for() -> Duration {
    let seconds = std::env::var("FLEETLIFT_STOPPED").ok().and_then(|n| n.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

#[test]
fn a_controller_that_was_stopped_for_a_while_finds_everything_as_it_is() {
    const TEST: &str = "a_controller_that_was_stopped_for_a_while_finds_everything_as_it_is";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    let server = Sshd::with(1, "ClientAliveInterval 1\nClientAliveCountMax 1\n");
    let mut fleet = Fleet::new(server, "", WAITS, 1000);
    let (address, port) = (fleet.server.addresses[0].clone(), fleet.server.port);
    fleet.add("ends", &address, port);
    fleet.add("goes-on", &address, port);
    let running = fleet.desk.start(&RUN);
    for name in ["ends", "goes-on"] {
        fleet.wait_for(name, "count", |count| count.contains("tell"));
    }
    running.signal(Signal::STOP);
    let since = Instant::now();
    fleet.let_go("ends");
    let run = fleet.desk.status()["run"].as_str().unwrap().to_owned();
    let exit = format!("fl/{run}/ends/0.migrate.tell.1/exit");
    fleet.wait_for("ends", &exit, |exit| exit == "0\n");
    // The server has given the silent controller up.
    let sessions = || {
        let names = support::children(fleet.server.pid()).into_iter();
        names.map(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default())
    };
    support::wait_until("sshd has no sessions any more", || {
        sessions().all(|name| name.trim() != "sshd") && since.elapsed() >= stopped_for()
    });
    // Stopped is not gone.
    let said = fleet.desk.say(&["resume", "last"]).exits(4);
    assert!(said.err.contains("is driven by"), "{}", said.err);
    running.signal(Signal::CONT);
    fleet.wait_for("ends", "count", |count| count.contains("more"));
    fleet.let_go("goes-on");
    let said = running.end().exits(0);
    fleet.as_if_nothing_happened(&|_| said.err.clone());
}

#[test]
fn a_server_that_takes_few_logins_at_once_gets_them_one_after_the_other() {
    const TEST: &str = "a_server_that_takes_few_logins_at_once_gets_them_one_after_the_other";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    let server = Sshd::with(1, "MaxStartups 3:100:3\n");
    let mut fleet = Fleet::new(server, "", PLAYBOOK, 1000);
    let (address, port) = (fleet.server.addresses[0].clone(), fleet.server.port);
    for n in 0..12 {
        fleet.add(&format!("h-{n:02}"), &address, port);
    }
    let said = fleet.desk.run().exits(0);
    fleet.as_if_nothing_happened(&|_| said.err.clone());
    let log = std::fs::read_to_string(fleet.server.dir.path().join("log")).unwrap();
    assert!(log.contains("MaxStartups") || log.contains("drop connection"), "nothing was dropped");
}

/// A small file system of its own, for a store that runs full.
struct Small(PathBuf);

impl Small {
    /// None where this is not allowed here.
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "fleetlift-test"]).arg(&at);
        mount.status().is_ok_and(|status| status.success()).then_some(Self(at))
    }

    /// Takes all room that is left.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while file.write(&[0; 512]).is_ok_and(|n| n > 0) {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }

    fn remount(&self, how: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{how}")]).arg(&self.0);
        mount.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn without_room_for_its_journal_the_controller_ends_and_steps_go_on() {
    const TEST: &str = "without_room_for_its_journal_the_controller_ends_and_steps_go_on";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    need!(TEST, root);
    let mut fleet = Fleet::new(Sshd::start(), "", WAITS, 1000);
    let Some(small) = Small::mount(fleet.desk.path("state")) else {
        return support::skip(TEST, "no file system may be mounted here");
    };
    let (address, port) = (fleet.server.addresses[0].clone(), fleet.server.port);
    fleet.add("a", &address, port);
    fleet.add("b", &address, port);
    let running: Running = fleet.desk.start(&RUN);
    for name in ["a", "b"] {
        fleet.wait_for(name, "count", |count| count.contains("tell"));
    }
    small.fill();
    fleet.let_go("a");
    let said = running.end().exits(3);
    assert!(said.err.contains("journal cannot be written"), "{}", said.err);
    assert!(said.err.contains("full"), "{}", said.err);
    assert!(said.err.contains("fleetlift resume"), "{}", said.err);
    // Nothing was begun that the journal does not know; what had begun goes on.
    for name in ["a", "b"] {
        assert_eq!(fleet.read(name, "count"), "backup\ntell\n");
    }
    fleet.let_go("b");
    // Still no room: the run cannot be taken up, and nothing is begun.
    let said = fleet.desk.say(&["resume", "last"]);
    assert!(said.code == 3 || said.code == 2, "{}: {}", said.code, said.err);
    assert!(said.err.contains("full") || said.err.contains("No space"), "{}", said.err);
    small.make_room();
    if small.remount("ro") {
        let said = fleet.desk.say(&["resume", "last"]);
        assert_ne!(said.code, 0);
        assert!(said.err.to_lowercase().contains("read"), "{}", said.err);
        assert!(small.remount("rw"));
    }
    for name in ["a", "b"] {
        assert_eq!(fleet.read(name, "count"), "backup\ntell\n");
    }
    fleet.desk.say(&["resume", "last"]).exits(0);
    fleet.as_if_nothing_happened(&str::to_owned);
}

#[test]
fn a_run_goes_on_with_its_own_plan_and_says_which_file_was_changed() {
    const TEST: &str = "a_run_goes_on_with_its_own_plan_and_says_which_file_was_changed";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    let mut fleet = Fleet::new(Sshd::start(), "", WAITS, 1000);
    let (address, port) = (fleet.server.addresses[0].clone(), fleet.server.port);
    fleet.add("a", &address, port);
    let running = fleet.desk.start(&RUN);
    fleet.wait_for("a", "count", |count| count.contains("tell"));
    running.signal(Signal::KILL);
    running.end();
    fleet.desk.write("playbook.toml", WAITS.replace("echo more", "echo something else"));
    fleet.let_go("a");
    let tells = |said: &Said| {
        let note = "note: what the plan was made from changed since";
        assert_eq!(said.err.matches(note).count(), 1, "{}", said.err);
        assert!(said.err.contains("echo something else"), "{}", said.err);
        let file = |line: &&str| line.trim_start().starts_with("changed ");
        let files: Vec<&str> = said.err.lines().filter(file).collect();
        assert!(files.len() == 1 && files[0].ends_with("playbook.toml"), "{}", said.err);
    };
    let said = fleet.desk.say(&["resume", "last"]).exits(0);
    tells(&said);
    fleet.as_if_nothing_happened(&str::to_owned);
    // Whichever folder it is said from.
    let args = ["rollback", "last", "--yes"];
    tells(&Said::of(&fleet.desk.command(&args).current_dir("/").output().unwrap()));
}
