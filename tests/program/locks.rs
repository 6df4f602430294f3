//! The host's own lock, as operators meet it: two state directories that know nothing of each other, and one host.

use crate::{
    bed::LENIENT,
    desk::{Desk, Running, end_of},
    need,
    support::{self, Sshd},
};
use rustix::process::Signal;
use std::{fs, path::PathBuf};

/// The step waits for a file, so that the test says how long a host is in flight.
const PLAYBOOK: &str = r#"
name = "Two operators"

[vars]
token = { env = "TOKEN" }

[[migrate]]
name = "convert"
run = """
echo {{ token | quote }} >/dev/null
echo {{ run.id }} >>{{ dir | quote }}/{{ host.name }}.log
until [ -e {{ dir | quote }}/go-on ]; do sleep 0.05; done
"""

[[migrate]]
name = "settle"
run = "test ! -e {{ dir | quote }}/{{ host.name }}.broken"

[[rollback]]
name = "restore"
run = "test -e {{ dir | quote }}/{{ host.name }}.backup"

[[commit]]
name = "tidy"
run = "echo {{ run.id }} >>{{ dir | quote }}/{{ host.name }}.committed"
"#;

/// A machine with two names, each with a folder of its own, so that they are two hosts to everyone.
struct Place {
    server: Sshd,
    dir: PathBuf,
}

impl Place {
    fn new() -> Self {
        let server = Sshd::with(2, "");
        let dir = server.dir.path().join("work");
        fs::create_dir(&dir).unwrap();
        Self { server, dir }
    }

    /// An operator with a state directory of their own.
    fn desk(&self) -> Desk {
        let mut desk = Desk::new();
        let text = |text: String| format!("{text:?}");
        let mut hosts = format!(
            "[connection]\nport = {}\nuser = {:?}\nagent = false\nsudo = false\nidentity = {}\n\
             known_hosts = {}\nallow_shared_machine = true\n\n[vars]\ndir = {}\n",
            self.server.port,
            support::me(),
            text(self.server.key.display().to_string()),
            text(self.server.known_hosts().display().to_string()),
            text(self.dir.display().to_string()),
        );
        for (name, address) in ["one", "two"].iter().zip(&self.server.addresses) {
            hosts += &format!(
                "[hosts.{name}]\naddress = {address:?}\nconnection.remote_dir = {}\n",
                text(self.remote(name).display().to_string())
            );
        }
        desk.write("fleet/hosts.toml", hosts);
        desk.write("fleet/rollout.toml", LENIENT);
        desk.write("playbook.toml", PLAYBOOK);
        desk.set("TOKEN", "correct-horse-battery");
        desk
    }

    fn remote(&self, host: &str) -> PathBuf {
        self.server.dir.path().join(format!("remote-{host}"))
    }

    /// Which runs have begun the step, in order.
    fn began(&self, host: &str) -> Vec<String> {
        let log = fs::read_to_string(self.dir.join(format!("{host}.log"))).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    fn touch(&self, name: &str) {
        fs::write(self.dir.join(name), "").unwrap();
    }

    /// All files below a host's folder, by their paths in it.
    fn files(&self, host: &str) -> Vec<String> {
        fn walk(dir: &std::path::Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    walk(&entry.path(), found);
                } else {
                    found.push(entry.path());
                }
            }
        }
        let (root, mut found) = (self.remote(host), Vec::new());
        walk(&root, &mut found);
        let inner = |path: &PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
        let mut names: Vec<String> = found.iter().map(inner).collect();
        names.sort();
        names
    }
}

/// A run that waits in its step on these hosts.
fn started(place: &Place, desk: &Desk, hosts: &[&str]) -> Running {
    let limit = hosts.join(",");
    let mut running =
        desk.start(&["run", "-i", "fleet", "-p", "playbook.toml", "--yes", "--limit", &limit]);
    let is_attempt = |record: &serde_json::Value| {
        record["event"] == "attempt_started" && record["step"] == "convert"
    };
    for _ in hosts {
        running.wait_for("the step", is_attempt);
    }
    while hosts.iter().any(|host| place.began(host).is_empty()) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    running
}

#[test]
fn another_state_directory_is_refused_by_the_host_itself() {
    const TEST: &str = "another_state_directory_is_refused_by_the_host_itself";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    let place = Place::new();
    let (mine, yours) = (place.desk(), place.desk());
    let running = started(&place, &mine, &["one"]);
    let run = place.began("one")[0].clone();

    // All of its hosts: the run is refused.
    let one = ["run", "-i", "fleet", "-p", "playbook.toml", "--yes", "--limit", "one"];
    let said = yours.say(&one).exits(4);
    assert_eq!(end_of(&yours.status(), "one"), ("failed", false, "refused"));
    let why = yours.say(&["why", "last", "one"]).exits(0).out;
    for words in [format!("locked by run {run}").as_str(), "--limit"] {
        assert!(why.contains(words), "{words}\n{why}\n{}", said.err);
    }
    // One of two: the other is migrated, and the exit code is that of a run with a failed host.
    place.touch("go-on");
    fs::rename(place.dir.join("go-on"), place.dir.join("later")).unwrap();
    let both = yours.start(&["run", "-i", "fleet", "-p", "playbook.toml", "--yes"]);
    while place.began("two").is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // The first still waits, so that its host is locked until yours has been refused.
    let mut both = both;
    both.wait_for("the end of the locked host", |record| {
        record["event"] == "host_finished" && record["host"] == "one"
    });
    place.touch("go-on");
    both.end().exits(1);
    running.end().exits(0);
    let status = yours.status();
    assert_eq!(end_of(&status, "one"), ("failed", false, "refused"));
    assert_eq!(end_of(&status, "two"), ("migrated", true, ""));
    assert_eq!(place.began("one"), [run.as_str()]);

    // It was given back: the next comes at once. And what stood in scripts stands there no more.
    yours.say(&one).exits(0);
    for host in ["one", "two"] {
        for name in place.files(host) {
            let plain =
                name.ends_with("/ended") || name.starts_with("lock/") || name.starts_with("bin/");
            assert!(plain, "{host}: {name}");
            let text = fs::read_to_string(place.remote(host).join(&name)).unwrap();
            assert!(!text.contains("correct-horse"), "{host}: {name}");
        }
    }
}

#[test]
fn a_run_that_is_resumed_takes_its_own_lock_at_once() {
    const TEST: &str = "a_run_that_is_resumed_takes_its_own_lock_at_once";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    let place = Place::new();
    let (mine, yours) = (place.desk(), place.desk());
    let running = started(&place, &mine, &["one", "two"]);
    running.signal(Signal::KILL);
    drop(running);
    // Nobody drives it, and its step is at work: the host is no one else's.
    let all = ["run", "-i", "fleet", "-p", "playbook.toml", "--yes"];
    yours.say(&all).exits(4);
    let mut resumed = mine.start(&["resume", "last"]);
    resumed.wait_for("the beginning", |record| record["event"] == "run_resumed");
    yours.say(&all).exits(4);
    place.touch("go-on");
    resumed.end().exits(0);
    for host in ["one", "two"] {
        assert_eq!(place.began(host).len(), 1, "{host}: nothing ran twice");
    }
    yours.say(&all).exits(0);
}

#[test]
fn a_dead_owner_s_lease_runs_out_and_the_taking_is_written_down() {
    const TEST: &str = "a_dead_owner_s_lease_runs_out_and_the_taking_is_written_down";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    let place = Place::new();
    let (mine, yours) = (place.desk(), place.desk());
    let running = started(&place, &mine, &["one"]);
    let run = place.began("one")[0].clone();
    running.signal(Signal::KILL);
    drop(running);
    // Its step ends by itself; then the lease is made to have run out.
    place.touch("go-on");
    let step = place.remote("one").join(format!("{run}/one/0.migrate.convert.1/exit"));
    while fs::read_to_string(&step).unwrap_or_default().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let one = ["run", "-i", "fleet", "-p", "playbook.toml", "--yes", "--limit", "one"];
    yours.say(&one).exits(4);
    let mut locks = place.files("one").into_iter().filter(|file| file.starts_with("lock/"));
    let lock = place.remote("one").join(locks.next_back().unwrap());
    let line = fs::read_to_string(&lock).unwrap();
    fs::write(&lock, format!("{:<12}{}", 1, &line[12..])).unwrap();
    yours.say(&one).exits(0);
    let finding = yours.journal().into_iter().find(|record| record["event"] == "host_finding");
    let message =
        finding.as_ref().map(|record| record["finding"]["message"].to_string()).unwrap_or_default();
    assert!(message.contains(&run) && message.contains("run out"), "{finding:?}");
    // The first comes back. Its host has been another's, in the middle of its migration.
    mine.say(&["resume", "last"]).exits(1);
    assert_eq!(end_of(&mine.status(), "one"), ("needs_hands", true, "refused"));
    assert_eq!(place.began("one").len(), 2);
}

#[test]
fn a_rollback_that_failed_may_be_tried_again_and_leaves_nothing_when_it_passed() {
    const TEST: &str =
        "a_rollback_that_failed_may_be_tried_again_and_leaves_nothing_when_it_passed";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    let place = Place::new();
    let desk = place.desk();
    place.touch("go-on");
    place.touch("one.broken");
    desk.say(&["run", "-i", "fleet", "-p", "playbook.toml", "--yes", "--limit", "one"]).exits(1);
    assert_eq!(end_of(&desk.status(), "one").0, "needs_hands");
    // What happened is still to be seen there.
    let files = place.files("one");
    for name in ["0.migrate.convert.1/out", "0.migrate.settle.1/exit", "0.rollback.restore.1/err"] {
        assert!(files.iter().any(|file| file.ends_with(name)), "{name}: {files:?}");
    }
    let rollback = ["rollback", "last", "--hosts", "one", "--yes"];
    desk.say(&rollback).exits(1);
    place.touch("one.backup");
    desk.say(&rollback).exits(0);
    assert_eq!(end_of(&desk.status(), "one").0, "rolled_back");
    let again = place.files("one").into_iter().filter(|file| file.contains(".2/one/"));
    assert_eq!(
        again.map(|file| file.rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>(),
        ["ended"]
    );
}

#[test]
fn a_commit_of_a_locked_host_is_refused_and_may_be_given_again() {
    const TEST: &str = "a_commit_of_a_locked_host_is_refused_and_may_be_given_again";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    let place = Place::new();
    let (mine, yours) = (place.desk(), place.desk());
    place.touch("go-on");
    mine.say(&["run", "-i", "fleet", "-p", "playbook.toml", "--yes", "--limit", "one"]).exits(0);
    fs::remove_file(place.dir.join("go-on")).unwrap();
    fs::remove_file(place.dir.join("one.log")).unwrap();
    let running = started(&place, &yours, &["one"]);
    let commit = ["commit", "last", "--hosts", "one", "--yes"];
    mine.say(&commit).exits(4);
    let status = mine.status();
    assert_eq!(end_of(&status, "one"), ("migrated", true, "refused"));
    assert!(!place.dir.join("one.committed").exists());
    place.touch("go-on");
    running.end().exits(0);
    mine.say(&commit).exits(0);
    assert_eq!(end_of(&mine.status(), "one").0, "committed");
    assert!(place.dir.join("one.committed").exists());
}

/// As after a controller that was killed when the end of its run was on disk, and its host was still locked.
#[test]
fn a_host_that_was_not_left_is_left_by_the_next_controller_which_says_so() {
    const TEST: &str = "a_host_that_was_not_left_is_left_by_the_next_controller_which_says_so";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    let place = Place::new();
    let (mine, yours) = (place.desk(), place.desk());
    place.touch("go-on");
    let one = ["run", "-i", "fleet", "-p", "playbook.toml", "--yes", "--limit", "one"];
    mine.say(&one).exits(0);
    let run = place.began("one")[0].clone();
    let is_lock = |name: &&String| name.starts_with("lock/");
    let lock = place.remote("one").join(place.files("one").iter().find(is_lock).unwrap());
    let free = fs::read_to_string(&lock).unwrap();
    assert!(free.starts_with("0 "), "{free}");
    let store = fleetlift::journal::Store::new(mine.path("state"));
    let database = store.run_dir(&run.parse().unwrap()).join("journal.db");
    let forget = || {
        let database = rusqlite::Connection::open(&database).unwrap();
        assert_eq!(database.execute("delete from farewells", []).unwrap(), 1);
        fs::write(&lock, format!("{:<12}{}", 99_999_999, &free[12..])).unwrap();
    };
    forget();
    yours.say(&one).exits(4);
    let said = mine.say(&["resume", &run]).exits(0);
    assert!(said.err.contains("had said that it left 1 host: one"), "{}", said.err);
    assert!(fs::read_to_string(&lock).unwrap().starts_with("0 "));
    let before = mine.journal().len();
    // That was all of it.
    let said = mine.say(&["resume", &run]).exits(4);
    assert!(said.err.contains("is finished"), "{}", said.err);
    assert_eq!(mine.journal().len(), before);
    // Who commits it takes the lock of its own run, and leaves the host.
    forget();
    mine.say(&["commit", &run, "--yes"]).exits(0);
    assert!(fs::read_to_string(lock.with_file_name("2")).unwrap().starts_with("0 "));
    yours.say(&one).exits(0);
}
