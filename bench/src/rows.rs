//! What is measured, in which order.

use crate::{
    Result,
    child::{self, Used},
    fleet::{Fleet, Work},
    serve::{MUCH, Server},
    table::{self, Row},
    value,
};
use fleetlift::base::time::{Clock, SystemClock};
use std::{env, fs, path::Path, process::Command};

/// Runs of each row; the median counts.
const ROUNDS: usize = 3;

/// What one host prints in W3.
const MUCH_BYTES: usize = 200_000_000;

struct Bench {
    dir: tempfile::TempDir,
    quick: bool,
    only: Option<String>,
    rows: Vec<Row>,
}

/// Measures everything and writes the table.
pub fn main(arguments: &[String]) -> Result<()> {
    let known = |argument: &String| ["--quick", "--only", "--no-file"].contains(&argument.as_str());
    let only = value(arguments, "--only").map(str::to_owned);
    if let Some(strange) = arguments.iter().find(|a| !known(a) && Some(*a) != only.as_ref()) {
        return Err(format!("there is no option `{strange}`; see --help").into());
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let no_file = quick || only.is_some() || arguments.iter().any(|a| a == "--no-file");
    let dir = tempfile::Builder::new().prefix("fleetlift-bench-").tempdir()?;
    let mut bench = Bench { dir, quick, only, rows: Vec::new() };
    bench.over_ssh()?;
    bench.without_hosts()?;
    let text = format!("{}\n{}\n{NOTES}", head(quick), table::markdown(&bench.rows));
    print!("{text}");
    if !no_file {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
        fs::write(&file, format!("# Performance\n\n{text}"))?;
    }
    Ok(())
}

impl Bench {
    fn over_ssh(&mut self) -> Result<()> {
        let much = if self.quick { MUCH_BYTES / 10 } else { MUCH_BYTES };
        let dir = self.dir.path().to_owned();
        let mut server = None;
        let one = Work::Steps { script: "true", count: 1, upload: 0 };
        let ten = Work::Steps { script: "true", count: 10, upload: 64 * 1024 };
        let long = Work::Steps { script: MUCH, count: 1, upload: 0 };
        for (hosts, parallel) in
            [(100, 64), (1_000, 64), (1_000, 256), (1_000, 1_000), (10_000, 256)]
        {
            self.beside(&mut server, &dir, much, "W1: one command", hosts, parallel, &one)?;
        }
        self.beside(&mut server, &dir, much, "W2: ten commands and 64 KiB up", 200, 64, &ten)?;
        self.beside(&mut server, &dir, much, "W3: 200 MB of output", 1, 1, &long)?;
        self.warm_steps(&mut server, &dir, much)
    }

    /// One row, with the bare loop beside.
    #[expect(clippy::too_many_arguments, reason = "a row is described by so much")]
    fn beside(
        &mut self,
        server: &mut Option<Server>,
        dir: &Path,
        much: usize,
        name: &str,
        hosts: usize,
        parallel: usize,
        work: &Work,
    ) -> Result<()> {
        let hosts = if self.quick { hosts.div_ceil(10) } else { hosts };
        let name = format!("{name}, {hosts} hosts, {parallel} at once");
        if !self.wants(&name) {
            return Ok(());
        }
        if server.is_none() {
            *server = Some(Server::start(dir, much)?);
        }
        let Some(server) = server else { return Ok(()) };
        eprintln!("{name}");
        let fleet = Fleet::lay(dir, Some(server), hosts, parallel, work)?;
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds(hosts) {
            let state = dir.join("state");
            ours.push(child::measure(run(&fleet, &state)?, dir)?);
            fs::remove_dir_all(&state)?;
            bare.push(child::measure(loop_of(server, hosts, parallel, work)?, dir)?);
            eprintln!("  {:?}  bare {:?}", ours.last(), bare.last());
        }
        self.rows.push(Row { name, hosts: Some(hosts), ours, bare });
        Ok(())
    }

    /// A quick durable step on a warm connection beside the same command in a plain exec channel: so many of them on each of
    /// a few connections that neither the logins nor the start of a process count.
    fn warm_steps(&mut self, server: &mut Option<Server>, dir: &Path, much: usize) -> Result<()> {
        let (hosts, count) = if self.quick { (2, 100) } else { (10, 1_000) };
        let name = format!("S: {count} quick durable steps in turn on each of {hosts} connections");
        if !self.wants(&name) {
            return Ok(());
        }
        if server.is_none() {
            *server = Some(Server::start(dir, much)?);
        }
        let Some(server) = server else { return Ok(()) };
        eprintln!("{name}");
        let work = Work::Steps { script: "true", count, upload: 0 };
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds(hosts) {
            ours.push(child::measure(steps_of(server, hosts, count)?, dir)?);
            bare.push(child::measure(loop_of(server, hosts, 1, &work)?, dir)?);
            eprintln!("  {:?}  bare {:?}", ours.last(), bare.last());
        }
        self.rows.push(Row { name, hosts: Some(hosts), ours, bare });
        Ok(())
    }

    fn rounds(&self, hosts: usize) -> usize {
        if self.quick || hosts >= 10_000 { 1 } else { ROUNDS }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    /// What needs no host, for large fleets; and what is asked of a run that has ended.
    fn without_hosts(&mut self) -> Result<()> {
        let dir = self.dir.path().to_owned();
        let hosts = if self.quick { 1_000 } else { 10_000 };
        let mut names = ["`--help`", "validate", "plan", "plan --json"].map(|name| name.to_owned());
        for name in &mut names[1..] {
            name.push_str(&format!(", {hosts} hosts × 28 steps"));
        }
        let [help, validate, plan, plan_json] = names;
        if self.wants(&help) {
            self.alone(&help, &["--help"], &dir)?;
        }
        let fleet = Fleet::lay(&dir, None, hosts, 256, &Work::Long)?;
        let (folder, playbook) = (fleet.folder.to_string_lossy(), fleet.playbook.to_string_lossy());
        for (name, verb, more) in [
            (validate, "validate", None),
            (plan, "plan", None),
            (plan_json, "plan", Some("--json")),
        ] {
            if self.wants(&name) {
                let mut arguments = vec![verb, "-i", &folder, "-p", &playbook];
                arguments.extend(more);
                self.alone(&name, &arguments, &dir)?;
            }
        }
        self.after_a_run(&dir, hosts)
    }

    fn after_a_run(&mut self, dir: &Path, hosts: usize) -> Result<()> {
        let of = |verb: &str| format!("{verb} of a finished run of {hosts} hosts");
        let verbs: [(&str, &[&str]); 5] = [
            ("status", &["status"]),
            ("status --json", &["status", "--json"]),
            ("report, HTML", &["report", "--format", "html"]),
            ("report, JSON", &["report", "--format", "json"]),
            ("journal --verify", &["journal", "--verify"]),
        ];
        if !verbs.iter().any(|(name, _)| self.wants(&of(name))) {
            return Ok(());
        }
        let server = Server::start(dir, 0)?;
        let one = Work::Steps { script: "true", count: 1, upload: 0 };
        let fleet = Fleet::lay(dir, Some(&server), hosts, 256, &one)?;
        let state = dir.join("state");
        child::measure(run(&fleet, &state)?, dir)?;
        let state_dir = state.to_string_lossy().into_owned();
        for (name, verb) in verbs {
            let name = of(name);
            if self.wants(&name) {
                let mut arguments = verb.to_vec();
                arguments.insert(1, "last");
                arguments.extend(["--state-dir", &state_dir]);
                self.alone(&name, &arguments, dir)?;
            }
        }
        fs::remove_dir_all(&state)?;
        Ok(())
    }

    /// One row of the product alone.
    fn alone(&mut self, name: &str, arguments: &[&str], dir: &Path) -> Result<()> {
        eprintln!("{name}");
        let rounds = if self.quick { 1 } else { ROUNDS };
        let ours: Result<Vec<Used>> =
            (0..rounds).map(|_| child::measure(child::product(arguments)?, dir)).collect();
        self.rows.push(Row { name: name.to_owned(), hosts: None, ours: ours?, bare: Vec::new() });
        Ok(())
    }
}

/// The product's run, with a journal of its own.
fn run(fleet: &Fleet, state: &Path) -> Result<Command> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let (folder, playbook, state) = (path(&fleet.folder), path(&fleet.playbook), path(state));
    child::product(&["run", "-i", &folder, "-p", &playbook, "--yes", "--state-dir", &state])
}

/// Durable steps with nothing of a run around them.
fn steps_of(server: &Server, hosts: usize, count: usize) -> Result<Command> {
    child::own(&[
        "steps",
        "--dir",
        &server.dir.to_string_lossy(),
        "--address",
        &server.address,
        "--port",
        &server.port,
        "--script",
        "true",
        "--hosts",
        &hosts.to_string(),
        "--commands",
        &count.to_string(),
    ])
}

/// The bare loop that does the same work.
fn loop_of(server: &Server, hosts: usize, parallel: usize, work: &Work) -> Result<Command> {
    let Work::Steps { script, count, upload } = work else {
        return Err("there is no bare loop for this".into());
    };
    let file = |name: &str| server.dir.join(name).to_string_lossy().into_owned();
    child::own(&[
        "bare",
        "--address",
        &server.address,
        "--port",
        &server.port,
        "--key",
        &file("id_ed25519"),
        "--host-key",
        &file("host_key"),
        "--script",
        script,
        "--hosts",
        &hosts.to_string(),
        "--parallel",
        &parallel.to_string(),
        "--commands",
        &count.to_string(),
        "--upload",
        &upload.to_string(),
    ])
}

/// What the figures were measured with.
fn head(quick: bool) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        text.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split(':').nth(1))
            .map_or_else(|| "unknown".to_owned(), |value| value.trim().to_owned())
    };
    let cpu = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let now = SystemClock.now().to_string();
    let today = now.split('T').next().unwrap_or_default();
    let lock = include_str!("../../Cargo.lock");
    let russh = lock.split("name = \"russh\"\nversion = \"").nth(1);
    let russh = russh.and_then(|rest| rest.split('"').next()).unwrap_or("of an unknown version");
    let build =
        if cfg!(debug_assertions) { " **Debug build: these figures mean nothing.**" } else { "" };
    let rounds = if quick { 1 } else { ROUNDS };
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("unknown");
    format!(
        "fleetlift {}, russh {russh}, on {today}: {cores} cores of {cpu}, {memory}, Linux {} ({}). Medians of {rounds}; load in the last minute {load}.{build}\n",
        env!("CARGO_PKG_VERSION"),
        kernel.trim(),
        env::consts::ARCH,
    )
}

const NOTES: &str = "\
`cargo run --release -p fleetlift-bench` (also `just bench`) measures this table anew and writes it here.

The hosts are one process with a real SSH server that answers every script at once, so that the controller's own cost shows;
each host says 3 KB of facts. *Bare* is a loop around the same SSH library, on one thread: connect, check the host's key, log
in, the same commands with their scripts on standard input, collect output and exit code, say goodbye. Fleetlift does that,
asks each host first who it is, writes intent and result of each step to its journal (SQLite, synced before a step begins), keeps
all output, and prints the summary. CPU is user and system time of the whole process; memory is its peak. The row of
10,000 hosts over SSH is measured once. S is steps alone,
on one thread and without a journal, beside as many plain exec channels. With as many hosts at once as there are, connections wait for
the server's queue.

Where W1 goes, by profiles of November 2026: the bare loop has one command for each host, and a run has five: a look before, the step, a look after, and at the end
the host's locks are given back and scripts removed, by the login user and by root, since steps run by sudo. An exchange costs about a
twelfth of a connection with its key exchange; the bare loop with five commands is at 1.3. About a tenth of the whole is the journal's thread, a
quarter is cryptography, a third is the kernel. The first connections of a run are let in at 1,000 in a second.

CPU of a whole process rises with the load of a machine, ours and the bare loop's alike: compare ratios, and only of one run.
";
