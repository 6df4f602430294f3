//! What is asked again and again while a run goes on, and limits that operators change: by scripts, by a real Prometheus
//! server, from other terminals.

use crate::{
    bed::Bed,
    desk::{Desk, RUN, end_of, starts},
    need_bed,
};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The change waits for the test.
const PLAYBOOK: &str = r#"
name = "Waits"

[[precheck]]
name = "room"
run = "true"

[[migrate]]
name = "change"
run = "while ! test -e /go; do sleep 0.05; done; echo changed >>/count"
timeout = "120s"

[[rollback]]
name = "back"
run = "echo back >>/count"

[[commit]]
name = "clean"
run = "true"
"#;

fn desk(bed: &Bed, rollout: &str) -> Desk {
    let desk = bed.desk("", PLAYBOOK);
    desk.write("fleet/rollout.toml", rollout);
    desk
}

fn may(bed: &Bed, host: &str) {
    std::fs::write(bed.file(host, "/go"), "").unwrap();
}

fn told(kind: &'static str) -> impl Fn(&Value) -> bool {
    move |r| r["event"] == "watch_told" && r["told"]["kind"] == kind
}

#[test]
fn an_interrupt_pauses_the_run_and_a_resume_goes_on() {
    need_bed!("an_interrupt_pauses_the_run_and_a_resume_goes_on");
    let bed = Bed::plain(&["web-01", "web-02"]);
    let rollout = "[defaults]\nparallel = 1\n[[wave]]\nname = \"all\"\nhosts = \"@all\"\n\
        [[interrupt]]\nname = \"red button\"\nrun = \"echo x >>asked; test -e pressed\"\nevery = \"1s\"\n\
        recovery = \"Call the on-call.\"\n";
    let desk = desk(&bed, rollout);
    let plan = desk.say(&["plan", "-i", "fleet", "-p", "playbook.toml"]).exits(0).out;
    let line = plan.lines().find(|line| line.contains("red button")).unwrap_or_default();
    assert!(line.contains("every 1s") && line.contains("pauses the run; then: Call"), "{plan}");
    let mut running = desk.start(&RUN);
    // It is asked before any host starts, and its answer is recorded.
    running.wait_for("the first host", |r| r["event"] == "host_started");
    assert!(running.seen.iter().any(told("well")), "{:#?}", running.seen);
    running.wait_for("its change", starts("change", "web-01"));
    desk.write("pressed", "");
    running.wait_for("the answer", told("bad"));
    // The limit that is changed meanwhile starts nobody: the run drains.
    let said = desk.say(&["tune", "last", "--parallel", "2", "--budget", "50%"]).exits(0);
    assert!(said.out.contains("Hosts in flight at once: 2; it was 1."), "{said:?}");
    assert!(said.out.contains("Bad ends allowed: 1 of 2 hosts; it was 0."), "{said:?}");
    let text = desk.say(&["status", "last"]).exits(0).out;
    assert!(text.contains("Watched: interrupt red button: the condition holds"), "{text}");
    assert!(text.contains("Call the on-call."), "{text}");
    may(&bed, "web-01");
    running.end().exits(3);
    let status = desk.status();
    assert_eq!(status["limits"], serde_json::json!({ "parallel": 2, "failures": 1 }));
    assert_eq!(end_of(&status, "web-01").0, "migrated");
    assert_eq!(end_of(&status, "web-02").0, "pending");
    let paused = desk.journal().pop().unwrap();
    assert_eq!(paused["reason"]["kind"], "watch");
    assert_eq!(paused["reason"]["watch"]["interrupt"], "red button");
    assert_eq!(paused["reason"]["recovery"], "Call the on-call.");

    // A resume asks anew, and goes no further while the answer is bad; it says so again.
    desk.say(&["resume"]).exits(3);
    assert_eq!(end_of(&desk.status(), "web-02").0, "pending");
    std::fs::remove_file(desk.path("pressed")).unwrap();
    may(&bed, "web-02");
    desk.say(&["resume"]).exits(0);
    let status = desk.status();
    assert_eq!(status["counts"], serde_json::json!({ "migrated": 2 }));
    assert_eq!(status["limits"]["parallel"], 2, "what was changed stays after a resume");
    let tuned: Vec<Value> =
        desk.journal().into_iter().filter(|r| r["event"] == "limits_tuned").collect();
    assert!(tuned[0]["by"].as_str().unwrap().starts_with("tester@"), "{tuned:?}");
    desk.say(&["tune", "last", "--parallel", "3"]).exits(4);
    desk.say(&["tune", "last"]).exits(2);
    desk.say(&["tune", "last", "--parallel", "0"]).exits(2);
    desk.say(&["tune", "last", "--budget", "101%"]).exits(2);
}

#[test]
fn health_that_nobody_can_tell_is_not_health() {
    need_bed!("health_that_nobody_can_tell_is_not_health");
    for (run, expect, kind) in [
        ("no-such-program", "", "unclear"),
        ("echo many", ", expect = \"stdout | int < 5 and stdout | nosuchfilter\"", "unclear"),
        ("sleep 30", ", timeout = \"1s\"", "unclear"),
        ("kill -9 $$", "", "unclear"),
        ("echo 7", ", expect = \"stdout | int < 5\"", "bad"),
        ("exit 3", "", "bad"),
    ] {
        let bed = Bed::plain(&["web-01"]);
        may(&bed, "web-01");
        let health =
            format!("health = {{ run = '{run}', every = \"1s\", failures = 2{expect} }}\n");
        let desk = desk(&bed, &format!("[[wave]]\nname = \"all\"\nhosts = \"@all\"\n{health}"));
        let said = desk.run();
        // A filter that does not exist is found before the run; everything else pauses it before a host starts.
        if said.code == 2 {
            assert!(run == "echo many" && said.err.contains("expect"), "{said:?}");
            continue;
        }
        let said = said.exits(3);
        let last = desk.journal().pop().unwrap();
        assert_eq!(last["reason"]["told"]["kind"], kind, "{run}: {said:?}");
        assert_eq!(last["reason"]["in_a_row"], 2, "{run}");
        assert_eq!(end_of(&desk.status(), "web-01").0, "pending", "{run}");
    }
}

#[test]
fn a_soaking_wave_is_not_committed_and_goes_back_when_its_health_does() {
    need_bed!("a_soaking_wave_is_not_committed_and_goes_back_when_its_health_does");
    let bed = Bed::plain(&["web-01", "web-02"]);
    may(&bed, "web-01");
    may(&bed, "web-02");
    let rollout = "[[wave]]\nname = \"all\"\nhosts = \"@all\"\nsoak = \"1d\"\n\
        health = { run = \"test ! -e ill\", every = \"1s\", do = \"rollback-wave\" }\n";
    let desk = desk(&bed, rollout);
    // Where nobody waits, a run that only soaks pauses.
    let mut all = RUN.to_vec();
    all.push("--no-wait");
    desk.say(&all).exits(3);
    let paused = desk.journal().pop().unwrap();
    assert_eq!(paused["reason"]["kind"], "soak", "{paused:#}");
    let said = desk.say(&["commit", "--yes"]).exits(4);
    assert!(said.err.contains("wave all soaks until"), "{said:?}");

    let mut running = desk.start(&["resume"]);
    running.wait_for("a good answer", told("well"));
    desk.write("ill", "");
    // Nobody is left that could go on, so that the run is over.
    let said = running.end().exits(1);
    let status = desk.status();
    assert_eq!(status["counts"], serde_json::json!({ "rolled_back": 2 }), "{said:?}");
    assert_eq!(bed.read("web-01", "/count"), "changed\nback\n");
    let why = desk.say(&["why", "last", "web-01"]).exits(0).out;
    assert!(why.contains("for rollback by health of wave all"), "{why}");
}

#[test]
fn a_wave_with_hosts_to_come_is_not_committed_before_it_soaked() {
    need_bed!("a_wave_with_hosts_to_come_is_not_committed_before_it_soaked");
    let bed = Bed::plain(&["web-01", "web-02"]);
    let rollout = "[[wave]]\nname = \"all\"\nhosts = \"@all\"\nparallel = 1\nsoak = \"1d\"\n";
    let desk = desk(&bed, rollout);
    let mut running = desk.start(&RUN);
    running.wait_for("the first host", starts("change", "web-01"));
    desk.say(&["stop", "last"]).exits(0);
    may(&bed, "web-01");
    running.end().exits(3);
    assert_eq!(desk.status()["counts"], serde_json::json!({ "migrated": 1, "pending": 1 }));
    let said = desk.say(&["commit", "--hosts", "web-01", "--yes"]).exits(4);
    assert!(said.err.contains("wave all soaks until"), "{said:?}");
}

/// An exporter of one number.
struct Exporter {
    port: u16,
    number: Arc<AtomicU64>,
}

impl Exporter {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let number = Arc::new(AtomicU64::new(0));
        let shown = Arc::clone(&number);
        // It ends with the process of the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let body = format!("test_errors {}\n", shown.load(Ordering::SeqCst));
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n";
                let answer = format!(
                    "{head}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        Self { port, number }
    }
}

/// A real Prometheus server that asks the exporter each half second.
struct Server {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Server {
    fn start(exporter: &Exporter) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "global:\n  scrape_interval: 500ms\n  scrape_timeout: 400ms\nscrape_configs:\n  - job_name: test\n    static_configs:\n      - targets: ['127.0.0.1:{}']\n",
            exporter.port
        );
        let file = dir.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let port = loop {
            let Some(Ok(line)) = lines.next() else { panic!("it does not listen:\n{seen}") };
            // `msg="Listening on" address=127.0.0.1:37215`
            let found = line.contains("Listening on").then(|| line.rsplit(':').next()).flatten();
            if let Some(port) = found.and_then(|port| port.trim().parse().ok()) {
                break port;
            }
            seen += &format!("{line}\n");
        };
        // What it says from here on is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port, _dir: dir }
    }

    /// Asks until the answer holds this.
    fn wait_for(&self, query: &str, wanted: &str) {
        for _ in 0..600 {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
            let head = format!("GET /api/v1/query?query={query} HTTP/1.0\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            if answer.contains(wanted) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{query} never says {wanted}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn has_prometheus(test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|dir| Path::new(&dir).join("prometheus").is_file()) {
        return true;
    }
    crate::support::skip(test, "it needs prometheus: apt-get install prometheus");
    false
}

#[test]
fn a_query_of_a_real_prometheus_pauses_the_run() {
    const NAME: &str = "a_query_of_a_real_prometheus_pauses_the_run";
    need_bed!(NAME);
    if !has_prometheus(NAME) {
        return;
    }
    let exporter = Exporter::start();
    let server = Server::start(&exporter);
    server.wait_for("test_errors", "\"0\"]");
    let bed = Bed::plain(&["web-01", "web-02", "web-03"]);
    let rollout = format!(
        "[defaults]\nparallel = 1\n[[wave]]\nname = \"all\"\nhosts = \"@all\"\n[[interrupt]]\n\
         name = \"errors\"\nprometheus = \"sum(test_errors) > 5 or absent(test_errors)\"\n\
         server = \"http://127.0.0.1:{}\"\nevery = \"1s\"\ntimeout = \"5s\"\n",
        server.port
    );
    let desk = desk(&bed, &rollout);
    let mut running = desk.start(&RUN);
    running.wait_for("the first host's change", starts("change", "web-01"));
    assert!(running.seen.iter().any(told("well")), "{:#?}", running.seen);
    // The number crosses its limit while a host is being changed: that one goes on to its end, and no other starts.
    exporter.number.store(7, Ordering::SeqCst);
    running.wait_for("the answer", told("bad"));
    assert_eq!(running.seen.last().unwrap()["told"]["said"], "{} is 7");
    may(&bed, "web-01");
    running.end().exits(3);
    let paused = desk.journal().pop().unwrap();
    assert_eq!(paused["reason"]["watch"]["interrupt"], "errors", "{paused:#}");
    assert_eq!(desk.status()["counts"], serde_json::json!({ "migrated": 1, "pending": 2 }));

    // It is well again, and then nobody knows any more: the server is gone.
    exporter.number.store(0, Ordering::SeqCst);
    server.wait_for("sum%28test_errors%29", "\"0\"]");
    let mut running = desk.start(&["resume"]);
    running.wait_for("the second host's change", starts("change", "web-02"));
    drop(server);
    running.wait_for("that nobody knows", told("unclear"));
    may(&bed, "web-02");
    running.end().exits(3);
    let paused = desk.journal().pop().unwrap();
    assert_eq!(paused["reason"]["told"]["kind"], "unclear", "{paused:#}");
    assert_eq!(desk.status()["counts"], serde_json::json!({ "migrated": 2, "pending": 1 }));
}
