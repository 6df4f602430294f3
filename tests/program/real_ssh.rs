//! Real OpenSSH servers: many good hosts, and in the same run every kind of bad one. Each bad host ends as documented, holds
//! nobody up, and spoils nothing.

use crate::{
    bed::LENIENT,
    desk::{Desk, end_of},
    need,
    support::{self, Sshd},
};
use std::{
    collections::BTreeMap, fmt::Write as _, fs, net::TcpListener, os::unix::fs::PermissionsExt,
    path::PathBuf, process::Command,
};

/// Each host works in a folder of its own, since behind all these names is one machine.
const PLAYBOOK: &str = r#"
name = "Real"

[[backup]]
name = "copy"
run = """
mkdir -p {{ home | quote }} && cd {{ home | quote }}
test -e data || echo original >data
cp data data.kept
"""
verify = "cmp {{ home | quote }}/data {{ home | quote }}/data.kept"

[[precheck]]
name = "room"
run = "df -Pm {{ home | quote }} | awk 'NR==2 {print $4}'"
expect = "stdout | int >= 1"

[[migrate]]
name = "convert"
unless = "grep -qs converted {{ home | quote }}/data"
run = """
cd {{ home | quote }}
echo once >>count
head -c {{ megabytes }}000000 /dev/zero | tr '\\0' x
printf '%b' {{ noise | quote }}
echo converted >data
"""

[[migrate]]
name = "settle"
when = "pause > 0"
run = "sleep {{ pause }}"
timeout = "10s"

[[verify]]
name = "converted"
run = "grep converted {{ home | quote }}/data"
"#;

const VARS: &str = "[vars]\nmegabytes = 0\npause = 0\nnoise = \"\"\n";

struct Fleet {
    desk: Desk,
    hosts: String,
}

impl Fleet {
    fn new(servers: &[&Sshd]) -> Self {
        let desk = Desk::new();
        // Users who are not root work below it, too.
        fs::set_permissions(desk.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(desk.path("homes")).unwrap();
        fs::set_permissions(desk.path("homes"), fs::Permissions::from_mode(0o1777)).unwrap();
        let known: Vec<PathBuf> = servers.iter().map(|server| server.known_hosts()).collect();
        let hosts = format!(
            "[connection]\nagent = false\nsudo = false\nallow_shared_machine = true\n\
             connect_timeout = \"2s\"\nauth_timeout = \"5s\"\nknown_hosts = {known:?}\n\n{VARS}"
        );
        desk.write("fleet/rollout.toml", LENIENT);
        desk.write("playbook.toml", PLAYBOOK);
        Self { desk, hosts }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.desk.path("homes").join(name)
    }

    /// A host with the server's key and the test's own user; `more` are further lines, and may say otherwise.
    fn add(&mut self, name: &str, server: &Sshd, address: &str, more: &[(&str, String)]) {
        let text = |text: &str| format!("{text:?}");
        let mut said = BTreeMap::from([
            ("address", text(address)),
            ("connection.port", server.port.to_string()),
            ("connection.user", text(&support::me())),
            ("connection.identity", text(&server.key.display().to_string())),
            (
                "connection.remote_dir",
                text(&self.home(&format!(".fl-{name}")).display().to_string()),
            ),
            ("vars.home", text(&self.home(name).display().to_string())),
        ]);
        said.extend(more.iter().map(|(key, value)| (*key, value.clone())));
        let _ = writeln!(self.hosts, "[hosts.{name}]");
        for (key, value) in said {
            let _ = writeln!(self.hosts, "{key} = {value}");
        }
    }

    fn file(&self, host: &str, name: &str) -> String {
        fs::read_to_string(self.home(host).join(name)).unwrap_or_default()
    }
}

#[test]
fn twenty_good_hosts_are_migrated_beside_every_kind_of_bad_one() {
    const TEST: &str = "twenty_good_hosts_are_migrated_beside_every_kind_of_bad_one";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    let servers = [Sshd::with(12, ""), Sshd::with(12, "")];
    let mut fleet = Fleet::new(&[&servers[0], &servers[1]]);
    let good: Vec<String> = (1..=20).map(|n| format!("good-{n:02}")).collect();
    for (n, name) in good.iter().enumerate() {
        let server = &servers[n % 2];
        fleet.add(name, server, &server.addresses[n / 2], &[]);
    }
    let (server, free) = (&servers[0], &servers[0].addresses[11]);
    let text = |text: &str| format!("{text:?}");

    // Another key is written down for it than it has.
    let other_key = support::keygen(fleet.desk.dir.path(), "other", &["-t", "ed25519"], "");
    let line = format!("[{free}]:{} {}\n", server.port, support::public(&other_key));
    let changed = fleet.desk.write("known_changed", line);
    fleet.add(
        "key-changed",
        server,
        free,
        &[("connection.known_hosts", text(changed.to_str().unwrap()))],
    );
    // Our key is not known there.
    fleet.add(
        "wrong-key",
        server,
        free,
        &[("connection.identity", text(other_key.to_str().unwrap()))],
    );
    // Nobody listens.
    let dead = support::free_port(free);
    fleet.add("dead-port", server, free, &[("connection.port", dead.to_string())]);
    // Somebody listens, takes the connection, and never says a word.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port().to_string();
    fleet.add("mute", server, "127.0.0.1", &[("connection.port", port)]);
    fleet.add("too-slow", server, free, &[("vars.pause", "600".into())]);
    fleet.add("loud", server, free, &[("vars.megabytes", "200".into())]);
    fleet.add("not-utf8", server, free, &[("vars.noise", text("a\\377\\376b\\000c\\n"))]);
    fleet.desk.write("fleet/hosts.toml", &fleet.hosts);

    let said = fleet.desk.run().exits(1);
    let status = fleet.desk.status();
    for name in &good {
        assert_eq!(end_of(&status, name), ("migrated", true, ""), "{name}");
        assert_eq!(
            (fleet.file(name, "data"), fleet.file(name, "count")),
            ("converted\n".into(), "once\n".into())
        );
        assert_eq!(fleet.file(name, "data.kept"), "original\n");
        assert_eq!(fleet.desk.log(name, "verify.converted"), b"converted\n");
    }
    let wanted = [
        ("key-changed", ("failed", false, "refused")),
        ("wrong-key", ("failed", false, "refused")),
        ("dead-port", ("unreachable", false, "unreachable")),
        ("mute", ("unreachable", false, "unreachable")),
        ("too-slow", ("needs_hands", true, "timed_out")),
        ("loud", ("migrated", true, "")),
        ("not-utf8", ("migrated", true, "")),
    ];
    for (host, end) in wanted {
        let why = fleet.desk.say(&["why", "last", host]).exits(0).out;
        assert_eq!(end_of(&status, host), end, "{host}\n{why}");
    }
    let counts = status["counts"].as_object().unwrap();
    assert_eq!(counts.values().map(|n| n.as_u64().unwrap()).sum::<u64>(), 27);
    // What must never happen: something ran on a host that was refused.
    for host in ["key-changed", "wrong-key", "dead-port", "mute"] {
        assert!(!fleet.home(host).exists(), "{host}");
    }
    // Why, in words that lead somewhere.
    for (host, words) in [
        ("key-changed", "host key"),
        ("wrong-key", "publickey"),
        ("dead-port", "refused"),
        ("mute", "within"),
        ("too-slow", "timed out after 10s, stopped"),
    ] {
        let why = fleet.desk.say(&["why", "last", host]).exits(0).out;
        assert!(why.contains(words), "{host}: {words}\n{why}");
        assert!(said.err.contains(host), "{host}\n{}", said.err);
    }
    // Bytes are bytes; of a flood the beginning and the end are kept, and the gap is told.
    assert_eq!(fleet.desk.log("not-utf8", "convert"), b"a\xff\xfeb\0c\n");
    let log = fleet.desk.bytes(&["log", "last", "loud", "convert"]);
    assert!(log.stdout.len() > 500_000 && log.stdout.len() < 3_000_000, "{}", log.stdout.len());
    let notes = String::from_utf8_lossy(&log.stderr);
    assert!(notes.contains("bytes were left out"), "{notes}");
    side_by_side(&fleet.desk);

    // Once more: what is done is found done, and is not done again.
    fleet
        .desk
        .say(&["run", "-i", "fleet", "-p", "playbook.toml", "--yes", "--limit", "good-[01-04]"])
        .exits(0);
    let status = fleet.desk.status();
    for name in &good[..4] {
        assert_eq!(end_of(&status, name), ("migrated", false, ""), "{name}");
        assert_eq!(fleet.file(name, "count"), "once\n");
    }
}

/// Nobody waited for somebody else: every host was under way before the first one was done.
fn side_by_side(desk: &Desk) {
    let journal = desk.journal();
    let places = |event: &str| {
        let of = |(n, record): (usize, &serde_json::Value)| (record["event"] == event).then_some(n);
        journal.iter().enumerate().filter_map(of).collect::<Vec<_>>()
    };
    let (started, finished) = (places("host_started"), places("host_finished"));
    assert_eq!((started.len(), finished.len()), (27, 27));
    assert!(started.last() < finished.first(), "started {started:?}, finished {finished:?}");
}

/// A user of this machine, while the test runs.
struct User(String);

impl Drop for User {
    fn drop(&mut self) {
        let _ = fs::remove_file(format!("/etc/sudoers.d/{}", self.0));
        let userdel = support::program("userdel").unwrap();
        let _ = locked(|| Command::new(userdel).args(["-r", "-f", &self.0]).output());
    }
}

/// The password file is locked by whoever changes it, and the tools do not wait.
fn locked<T>(work: impl FnOnce() -> T) -> T {
    let lock = fs::File::create("/run/fleetlift-test-users.lock").unwrap();
    lock.lock().unwrap();
    work()
}

const PASSWORD: &str = "correct horse battery";

#[test]
fn sudo_that_asks_is_answered_or_refused_before_anything_runs() {
    const TEST: &str = "sudo_that_asks_is_answered_or_refused_before_anything_runs";
    need!(TEST, "sshd" => "openssh-server", "sudo" => "sudo", "useradd" => "passwd", "openssl" => "openssl");
    need!(TEST, root);
    let server = Sshd::with(4, "");
    let user = User(format!("flp-{}", std::process::id()));
    let crypted = support::run(Command::new("openssl").args(["passwd", "-6", PASSWORD]));
    let useradd = support::program("useradd").unwrap();
    locked(|| {
        support::run(Command::new(useradd).args([
            "-m",
            "-s",
            "/bin/sh",
            "-p",
            crypted.trim(),
            &user.0,
        ]))
    });
    let rule = PathBuf::from(format!("/etc/sudoers.d/{}", user.0));
    fs::write(&rule, format!("{} ALL=(ALL) ALL\n", user.0)).unwrap();
    fs::set_permissions(&rule, fs::Permissions::from_mode(0o440)).unwrap();
    let mut fleet = Fleet::new(&[&server]);
    let text = |text: &str| format!("{text:?}");
    let shared = format!("/var/tmp/fleetlift-{}", user.0);
    let asks = [("connection.user", text(&user.0)), ("connection.sudo", "true".to_owned())];
    for (n, (name, password)) in
        [("answered", Some("env:RIGHT")), ("wrong", Some("env:WRONG")), ("silent", None)]
            .iter()
            .enumerate()
    {
        let mut said = asks.to_vec();
        said.push(("connection.remote_dir", text(&format!("{shared}/{name}"))));
        said.extend(password.map(|source| ("connection.sudo_password", text(source))));
        fleet.add(name, &server, &server.addresses[n], &said);
    }
    fleet.desk.write("fleet/hosts.toml", &fleet.hosts);
    fleet.desk.set("RIGHT", PASSWORD);
    fleet.desk.set("WRONG", "wrong horse battery");
    let said = fleet.desk.run();
    let _ = fs::remove_dir_all(&shared);
    let said = said.exits(1);
    let status = fleet.desk.status();
    assert_eq!(end_of(&status, "answered"), ("migrated", true, ""), "{}", said.err);
    for host in ["wrong", "silent"] {
        assert_eq!(end_of(&status, host), ("failed", false, "refused"), "{}", said.err);
        assert!(!fleet.home(host).exists(), "{host}");
        let why = fleet.desk.say(&["why", "last", host]).exits(0).out;
        assert!(why.contains("sudo"), "{why}");
    }
    let all = fleet.desk.say(&["journal", "last"]).exits(0).out + &said.err;
    assert!(!all.contains("horse battery"), "a password is shown");
}
