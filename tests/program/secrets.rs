//! Secrets: they reach the host's script, and nothing that anyone could read afterwards.

use crate::{
    bed::Bed,
    desk::{Desk, end_of},
    need_bed, support,
};
use std::{fs, path::Path};

/// With everything in it that a shell could stumble over.
const SECRET: &str = r#"s3cr3t 'quoted" $HOME `x` \n end"#;

const VARS: &str = "[vars.token]\nsecret = \"env:FLEET_TOKEN\"\n";

const PLAYBOOK: &str = r#"
name = "Secrets"

[[migrate]]
name = "store"
run = """
printf %s {{ token | quote }} >/stored
printf %s "$TOKEN" >/from-env
"""
env = { TOKEN = "{{ token }}" }

[[migrate]]
name = "print"
run = """
t={{ token | quote }}
printf '%s\\n' "out $t" 
printf '%s\\n' "err $t" >&2
printf %s "${t%end}"; sleep 0.3; printf '%s\\n' end
# A long line without an end, and the secret just where a buffer of 64 KiB would break.
head -c 65530 /dev/zero | tr '\\0' x; printf %s "$t"; head -c 100 /dev/zero | tr '\\0' y
"""
register = true

[[migrate]]
name = "look-at-processes"
run = "touch /waits; while ! test -e /go; do sleep 0.05; done; : {{ token | quote }}"

[[verify]]
name = "fails"
run = "printf '%s\\n' {{ token | quote }} {{ steps.print.stdout | quote }} >&2; exit 7"
"#;

fn contains(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}

/// No file below a folder has the text in it, plain or as JSON writes it.
fn assert_nowhere_below(folder: &Path, secret: &str) {
    let json = serde_json::to_string(secret).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_nowhere_below(&path, secret);
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for text in [secret, &json[1..json.len() - 1], "s3cr3t"] {
            assert!(!contains(&bytes, text), "{} holds the secret", path.display());
        }
    }
}

/// What every process of this machine was started with: arguments only, as `ps` shows them to everybody.
fn all_arguments() -> Vec<u8> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let of = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
    processes.flat_map(of).collect()
}

#[test]
fn a_secret_reaches_the_host_and_nothing_else() {
    need_bed!("a_secret_reaches_the_host_and_nothing_else");
    let bed = Bed::plain(&["web-01"]);
    let mut desk = bed.desk(VARS, PLAYBOOK);
    desk.set("FLEET_TOKEN", SECRET);
    let plan = desk.say(&["plan", "-i", "fleet", "-p", "playbook.toml", "--json"]).exits(0);
    let shown = desk.say(&["plan", "-i", "fleet", "-p", "playbook.toml", "-v"]).exits(0);
    let hosts = desk.say(&["hosts", "-i", "fleet", "--json"]).exits(0);
    assert!(hosts.out.contains("env:FLEET_TOKEN"), "{}", hosts.out);

    let mut running = desk.start(&["run", "-i", "fleet", "-p", "playbook.toml", "--yes", "-vv"]);
    running.wait_for("the last change", |r| {
        r["event"] == "attempt_started" && r["step"] == "look-at-processes"
    });
    support::wait_until("the step waits", || bed.file("web-01", "/waits").exists());
    let arguments = all_arguments();
    fs::write(bed.file("web-01", "/go"), "").unwrap();
    let records = serde_json::to_string(&running.seen).unwrap();
    let said = running.end().exits(1);
    assert!(!contains(&arguments, "s3cr3t"), "a process was started with it");

    // It arrived, byte for byte.
    assert_eq!(bed.read("web-01", "/stored"), SECRET);
    assert_eq!(bed.read("web-01", "/from-env"), SECRET);
    assert_eq!(end_of(&desk.status(), "web-01"), ("needs_hands", true, "exited"));

    // And is nowhere else: on paper, on screens, in files.
    let log = desk.bytes(&["log", "last", "web-01"]);
    assert!(contains(&log.stdout, "out [redacted]"), "{}", String::from_utf8_lossy(&log.stdout));
    let notes = String::from_utf8_lossy(&log.stderr);
    assert!(!notes.contains("left out"), "two streams side by side are no gap: {notes:.400}");
    let mut shown = vec![plan.out, shown.out, hosts.out, records, said.out, said.err];
    for args in [
        &["why", "last", "web-01"][..],
        &["status", "last"],
        &["report", "last", "--format", "html"],
        &["report", "last", "--format", "json"],
        &["report", "last", "--format", "md"],
        &["journal", "last"],
    ] {
        let said = desk.say(args).exits(0);
        shown.extend([said.out, said.err]);
    }
    for bytes in [&log.stdout, &log.stderr] {
        shown.push(String::from_utf8_lossy(bytes).into_owned());
    }
    for text in shown {
        let at = text.find("s3cr3t").map(|at| &text[at.saturating_sub(80)..]);
        assert!(at.is_none(), "{}", at.unwrap_or_default().chars().take(200).collect::<String>());
    }
    assert_nowhere_below(&desk.path("state"), SECRET);
}

#[test]
fn a_secret_that_cannot_be_read_ends_before_anything_is_touched() {
    need_bed!("a_secret_that_cannot_be_read_ends_before_anything_is_touched");
    let bed = Bed::plain(&["web-01", "web-02"]);
    let desk = bed.desk(VARS, PLAYBOOK);
    let said = desk.run().exits(2);
    assert!(said.err.contains("FLEET_TOKEN") && said.err.contains("not set"), "{}", said.err);
    assert!(said.err.contains("hint: "), "{}", said.err);
    for host in ["web-01", "web-02"] {
        assert!(
            !bed.file(host, "/var/lib/fleetlift").exists() && !bed.file(host, "/stored").exists()
        );
    }
    assert_eq!(desk.say(&["runs", "--json"]).exits(0).json(), serde_json::json!([]));
    // Plans and checks need no secret.
    desk.say(&["validate", "-i", "fleet", "-p", "playbook.toml"]).exits(0);
    desk.say(&["plan", "-i", "fleet", "-p", "playbook.toml"]).exits(0);
}

/// Another process goes on with the run, and its first step prints what an earlier one had stored.
#[test]
fn a_resumed_run_still_knows_what_is_secret() {
    need_bed!("a_resumed_run_still_knows_what_is_secret");
    let bed = Bed::plain(&["web-01"]);
    let playbook = r#"
name = "Secrets"

[[backup]]
name = "store"
run = "printf '%s\n' {{ token | quote }} >/stored; while ! test -e /go; do sleep 0.05; done"
verify = "test -s /stored"
retry_delay = "1s"

[[migrate]]
name = "print"
run = "cat /stored"
"#;
    let mut desk = bed.desk(VARS, playbook);
    desk.set("FLEET_TOKEN", "hunter22hunter22");
    let mut running = desk.start(&["run", "-i", "fleet", "-p", "playbook.toml", "--yes"]);
    running.wait_for("the backup", |r| r["event"] == "attempt_started" && r["step"] == "store");
    support::wait_until("the step has stored", || !bed.read("web-01", "/stored").is_empty());
    running.signal(rustix::process::Signal::INT);
    running.wait_for("the stop", |r| r["event"] == "stop_requested");
    fs::write(bed.file("web-01", "/go"), "").unwrap();
    running.end().exits(3);
    desk.say(&["resume"]).exits(0);
    assert_eq!(log_text(&desk, "print"), "[redacted]\n");
}

fn log_text(desk: &Desk, step: &str) -> String {
    String::from_utf8(desk.log("web-01", step)).unwrap()
}
