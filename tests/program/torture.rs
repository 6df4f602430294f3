//! Controllers that are killed, again and again: every step runs exactly once all the same, no line of output is lost, and the
//! report is that of a run that nobody disturbed.

use crate::{
    bed::{Bed, LENIENT},
    desk::{Desk, Running},
    need,
    support::{self, Sshd},
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

/// Each step counts itself. One fails at first, one always fails on the host that is rolled back, one reboots where there is
/// a machine to reboot.
const PLAYBOOK: &str = r#"
name = "Counts"

[[backup]]
name = "copy"
run = "mkdir -p {{ home }}; echo backup >>{{ home }}/count"
verify = "grep -q backup {{ home }}/count"

[[precheck]]
name = "room"
run = "echo precheck >>{{ home }}/count"

[[migrate]]
name = "first"
run = "echo first >>{{ home }}/count; i=0; while [ $i -lt 40 ]; do echo out $i; echo err $i >&2; i=$((i + 1)); [ $((i % 8)) = 0 ] && sleep 0.02; done; exit 0"

[[migrate]]
name = "boot"
when = "reboots"
reboot = { timeout = "60s", command = "echo boot >>{{ home }}/count; reboot" }

[[migrate]]
name = "flaky"
run = "echo flaky >>{{ home }}/count; test $(grep -c flaky {{ home }}/count) -ge 2"
retries = 1
retry_delay = "1s"

[[migrate]]
name = "second"
run = "echo second >>{{ home }}/count; sleep 0.05; {{ last }}"

[[verify]]
name = "fine"
run = "echo verify >>{{ home }}/count"

[[rollback]]
name = "back"
run = "echo back >>{{ home }}/count"
"#;

/// What a host's counter says in the end.
fn counted(host: &str) -> String {
    let boot = if host.starts_with("sim") { "boot\n" } else { "" };
    let end = if host == BAD { "back\n" } else { "verify\n" };
    format!("backup\nprecheck\nfirst\n{boot}flaky\nflaky\nsecond\n{end}")
}

const BAD: &str = "real-02";

/// A fleet: hosts behind one real sshd, and simulated ones that can reboot, where this machine can simulate.
struct Fleet {
    server: Sshd,
    bed: Option<Bed>,
    desk: Desk,
    hosts: Vec<String>,
}

impl Fleet {
    fn new(real: u32, simulated: &[&str]) -> Self {
        let server = Sshd::with(real, "MaxSessions 200\n");
        let bed = match fleetlift_testbed::means() {
            Ok(_) => Some(Bed::plain(simulated)),
            Err(missing) => {
                eprintln!("without hosts that reboot: no simulated hosts here: {missing}");
                None
            }
        };
        let desk = Desk::new();
        desk.write("fleet/rollout.toml", LENIENT);
        desk.write("playbook.toml", PLAYBOOK);
        let mut fleet = Self { server, bed, desk, hosts: Vec::new() };
        let mut text = "[connection]\nagent = false\nsudo = false\nallow_shared_machine = true\n\n\
                        [vars]\nreboots = false\nlast = \"true\"\n\n"
            .to_owned();
        for n in 0..real as usize {
            fleet.real(&mut text, n);
        }
        fleet.simulated(&mut text);
        fleet.desk.write("fleet/hosts.toml", text);
        fleet
    }

    fn real(&mut self, text: &mut String, n: usize) {
        let name = format!("real-{:02}", n + 1);
        let home = self.home(&name);
        let remote = self.desk.path("homes").join(format!(".fl-{name}"));
        let _ = writeln!(
            text,
            "[hosts.{name}]\naddress = {:?}\nconnection.port = {}\nconnection.user = {:?}\nconnection.identity = {:?}\n\
             connection.known_hosts = {:?}\nconnection.remote_dir = {remote:?}\nvars.home = {home:?}",
            self.server.addresses[n],
            self.server.port,
            support::me(),
            self.server.key,
            self.server.known_hosts(),
        );
        if name == BAD {
            let _ = writeln!(text, "vars.last = \"exit 3\"");
        }
        self.hosts.push(name);
    }

    fn simulated(&mut self, text: &mut String) {
        let Some(bed) = &self.bed else { return };
        let [key, known_hosts] = bed.keys();
        for host in bed.fleet().hosts() {
            let _ = writeln!(
                text,
                "[hosts.{}]\naddress = {:?}\nconnection.port = {}\nconnection.user = \"admin\"\n\
                 connection.identity = {key:?}\nconnection.known_hosts = {known_hosts:?}\n\
                 connection.remote_dir = \"/home-of-it/remote\"\nvars.home = \"/home-of-it\"\nvars.reboots = true",
                host.name,
                host.address.to_string(),
                host.port,
            );
            self.hosts.push(host.name.clone());
        }
    }

    fn home(&self, name: &str) -> PathBuf {
        match &self.bed {
            Some(bed) if name.starts_with("sim") => bed.file(name, "home-of-it"),
            Some(_) | None => self.desk.path("homes").join(name),
        }
    }

    /// As if nothing had ever run.
    fn clear(&self) {
        for host in &self.hosts {
            let _ = fs::remove_dir_all(self.home(host));
        }
        let _ = fs::remove_dir_all(self.desk.path("homes"));
        let _ = fs::remove_dir_all(self.desk.path("state"));
        fs::create_dir_all(self.desk.path("homes")).unwrap();
    }

    fn start(&self) -> Running {
        self.desk.start(&["run", "-i", "fleet", "-p", "playbook.toml", "--yes"])
    }

    /// Whoever was killed at the very end had not left every host: the next controller does, and says so.
    fn leave(&self, told: &str) {
        let said = self.desk.say(&["resume", "last"]);
        if !said.err.contains("before it had said that it left") {
            said.exits(4);
        } else {
            println!("{told}: {}", said.err.lines().next().unwrap_or_default());
            said.exits(1);
            self.desk.say(&["resume", "last"]).exits(4);
        }
        for host in self.hosts.iter().filter(|host| host.starts_with("real")) {
            let remote = self.desk.path("homes").join(format!(".fl-{host}"));
            for lock in fs::read_dir(remote.join("lock")).unwrap() {
                for number in fs::read_dir(lock.unwrap().path()).unwrap() {
                    let text = fs::read_to_string(number.unwrap().path()).unwrap();
                    assert!(text.starts_with("0 "), "{told}: {host} is still locked: {text}");
                }
            }
        }
    }

    /// Checks that the run is as if nobody had been killed. Returns its report, without what may differ.
    fn outcome(&self, told: &str) -> Value {
        let lines = |word: &str| (0..40).map(|i| format!("{word} {i}\n")).collect::<String>();
        for host in &self.hosts {
            let count = fs::read_to_string(self.home(host).join("count")).unwrap_or_default();
            let why = || self.desk.say(&["why", "last", host]).out;
            assert_eq!(count, counted(host), "{told}: {host}\n{}", why());
            let log = self.desk.bytes(&["log", "last", "--", host, "migrate.first"]);
            assert_eq!(String::from_utf8_lossy(&log.stdout), lines("out"), "{told}: {host}");
            assert_eq!(String::from_utf8_lossy(&log.stderr), lines("err"), "{told}: {host}");
        }
        self.desk.say(&["journal", "last", "--verify"]).exits(0);
        let report = self.desk.say(&["report", "last", "--format", "json"]).exits(0).json();
        let journal = self.desk.journal();
        without_chance(report, &journal)
    }
}

/// Attempts that a death kept from beginning: by step, by host, and by both.
fn never_begun(journal: &[Value]) -> BTreeMap<String, u64> {
    let mut never = BTreeMap::new();
    for record in journal.iter().filter(|record| record["event"] == "attempt_failed") {
        if record["never"] == true {
            let [host, step] = ["host", "step"].map(|key| record[key].as_str().unwrap().to_owned());
            for key in [format!("{host} {step}"), host, step] {
                *never.entry(key).or_default() += 1;
            }
        }
    }
    never
}

/// The report without times, names of runs, boots and controllers, and without what depends on them.
fn without_chance(mut report: Value, journal: &[Value]) -> Value {
    let never = never_begun(journal);
    for (list, name, counts) in [
        ("hosts", "name", &["attempts", "retries"][..]),
        ("steps", "step", &["failed", "retries"][..]),
    ] {
        for item in report[list].as_array_mut().unwrap() {
            let less = never.get(item[name].as_str().unwrap()).copied().unwrap_or_default();
            for count in counts {
                item[*count] = (item[*count].as_u64().unwrap() - less).into();
            }
        }
    }
    for group in report["failures"].as_array_mut().unwrap() {
        let step = group["step"]["step"].as_str().unwrap_or_default().to_owned();
        for case in group["cases"].as_array_mut().unwrap() {
            let key = format!("{} {step}", case["host"].as_str().unwrap());
            let less = never.get(&key).copied().unwrap_or_default();
            case["attempt"] = (case["attempt"].as_u64().unwrap() - less).into();
        }
    }
    let problems = report["problems"].as_array_mut().unwrap();
    problems.retain(|problem| {
        problem["kind"] != "retried" || problem["what"] != "unreachable: it never began on the host"
    });
    // Services and ports of the machine that all these tests run on come and go.
    report["differences"].take();
    for host in report["hosts"].as_array_mut().unwrap() {
        let kinds = host["segments"].as_array().unwrap().iter();
        // Between two attempts a host may wait, and where nobody drives the run it does.
        let mut kinds: Vec<Value> =
            kinds.map(|segment| segment["kind"].clone()).filter(|kind| kind != "waiting").collect();
        kinds.dedup();
        host["segments"] = kinds.into();
    }
    strip(&mut report);
    report
}

fn strip(value: &mut Value) {
    const CHANCE: [&str; 18] = [
        "id",
        "controller",
        "started",
        "ended",
        "as_of",
        "records",
        "pauses",
        "takeovers",
        "at",
        "first",
        "seen",
        "boot_id",
        "slowest",
        "longest",
        "duration_ms",
        "kernel",
        "from",
        "to",
    ];
    match value {
        Value::Object(inner) => {
            inner.retain(|key, _| !CHANCE.contains(&key.as_str()) && !key.ends_with("_ms"));
            inner.values_mut().for_each(strip);
        }
        Value::Array(inner) => inner.iter_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The same chance on every machine, from a seed that is printed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % limit
    }
}

/// When the controllers of one run are killed.
enum Deaths {
    /// At records that are so far apart, from the first of these on.
    Records { first: u64, every: u64 },
    /// At any instant: so many records later, and so many milliseconds.
    Instants(Chance),
}

/// No run is killed more often than this.
const DEATHS_MAX: usize = 40;

impl Fleet {
    /// A run whose controllers are killed, one after the other. Returns how many records each left on disk.
    fn torture(&self, deaths: &mut Deaths) -> Vec<u64> {
        self.clear();
        let mut left = Vec::new();
        let mut running = self.start();
        let mut seen: u64 = 0;
        while left.len() < DEATHS_MAX {
            let (records, pause) = match deaths {
                Deaths::Records { first, every } => {
                    let past = (seen + 1).saturating_sub(*first).div_ceil(*every);
                    (*first + past * *every - seen, 0)
                }
                Deaths::Instants(chance) => (1 + chance.below(30), chance.below(60)),
            };
            let until = seen + records;
            let mut ended = false;
            running.wait_for("its turn, or the end", |record| {
                record["event"] == "run_finished" || record["seq"].as_u64() >= Some(until)
            });
            if let Some(last) = running.seen.last() {
                ended = last["event"] == "run_finished";
                seen = last["seq"].as_u64().unwrap();
            }
            if ended {
                // Before it has left the last hosts, sometimes.
                if let Deaths::Instants(chance) = deaths
                    && chance.below(2) == 0
                {
                    running.signal(Signal::KILL);
                    running.end();
                    return left;
                }
                break;
            }
            // No synchronisation: the instant is what is drawn by chance.
            sleep(Duration::from_millis(pause));
            running.signal(Signal::KILL);
            running.end();
            let journal = self.desk.journal();
            left.push(journal.len() as u64);
            if journal.last().is_some_and(|record| record["event"] == "run_finished") {
                return left;
            }
            running = self.desk.start(&["resume", "last"]);
        }
        // One host is rolled back, which is what this code says.
        running.end().exits(1);
        left
    }
}

/// How many random instants `just torture N` asks for, after every record; `FLEETLIFT_TORTURE_HOSTS` says how many real hosts.
fn wanted() -> Option<u64> {
    std::env::var("FLEETLIFT_TORTURE").ok().and_then(|n| n.parse().ok())
}

#[test]
fn a_run_whose_controllers_are_killed_ends_as_if_they_had_not_been() {
    const TEST: &str = "a_run_whose_controllers_are_killed_ends_as_if_they_had_not_been";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    let seed = std::env::var("FLEETLIFT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("FLEETLIFT_SEED={seed}");
    let real = std::env::var("FLEETLIFT_TORTURE_HOSTS").ok().and_then(|n| n.parse().ok());
    let fleet = Fleet::new(real.unwrap_or(4), &["sim-1"]);
    fleet.clear();
    let began = Instant::now();
    fleet.start().end().exits(1);
    let undisturbed = fleet.outcome("undisturbed");
    let records = fleet.desk.journal().len() as u64;
    println!("undisturbed: {records} records, {:.1?}", began.elapsed());
    let check = |told: &str| {
        let report = fleet.outcome(told);
        fleet.leave(told);
        assert!(report == undisturbed, "{told}: {}", differences(&undisturbed, &report));
    };
    let mut distinct = BTreeSet::new();
    let mut died = 0;
    if wanted().is_some() {
        let every = records / 12;
        for first in 0..every {
            let deaths = fleet.torture(&mut Deaths::Records { first, every });
            died += deaths.len() as u64;
            distinct.extend(deaths);
            println!(
                "{first}/{every}: {died} deaths, {} journals, {:.0?}",
                distinct.len(),
                began.elapsed()
            );
            check(&format!("killed at every {every}. record from {first} on"));
        }
    }
    let instants = wanted().unwrap_or(8);
    let mut chance = Chance(seed);
    let mut killed = 0;
    while killed < instants {
        let seed = chance.below(u64::MAX);
        let deaths = fleet.torture(&mut Deaths::Instants(Chance(seed)));
        killed += deaths.len() as u64;
        distinct.extend(deaths);
        println!(
            "{killed}/{instants} instants, {} journals, {:.0?}",
            distinct.len(),
            began.elapsed()
        );
        check(&format!("killed at {killed} instants"));
    }
}

/// Where two reports differ, as paths with both values.
fn differences(one: &Value, other: &Value) -> String {
    let mut found = String::new();
    compare("", one, other, &mut found);
    found
}

fn compare(path: &str, one: &Value, other: &Value, found: &mut String) {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let get = |from: &serde_json::Map<String, Value>| from.get(key).cloned();
                compare(
                    &format!("{path}.{key}"),
                    &get(a).unwrap_or_default(),
                    &get(b).unwrap_or_default(),
                    found,
                );
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (n, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{n}]"), a, b, found);
            }
        }
        (a, b) if a != b => {
            let _ = writeln!(found, "\n{path}\n  undisturbed: {a}\n  disturbed:   {b}");
        }
        (_, _) => {}
    }
}
