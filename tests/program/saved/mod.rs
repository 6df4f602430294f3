//! Saved plans: `plan -o` and `apply`.

mod secrets;
mod stale;

use crate::{
    bed::Bed,
    desk::{Desk, Said},
    need_bed,
    pty::Pty,
};
use serde_json::Value;
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

const HOSTS: &str = r#"
# Who there is.
[connection]
user = "admin"
agent = false
sudo_password = "env:SUDO_A"

[vars]
backup_dir = "/var/backups"

[vars.token]
secret = "env:TOKEN_A"

[groups.web]
hosts = ["web-[01:03]"]
labels = { tier = "front" }

[groups.db]
hosts = ["db-01", "db-02"]
connection.port = 2222

[hosts.db-01]
address = "127.0.0.1"
"#;

const ROLLOUT: &str = r#"
[defaults]
parallel = 4
budget = { failures = "10%", consecutive = 3 }

[[wave]]
name = "web"
hosts = "@web"
canary = 1

[[wave]]
name = "db"
hosts = "@db"
after = ["web"]
"#;

const PLAYBOOK: &str = r#"
name = "Old to new"
support = "Nobody."

[from]
id = "debian"
version = "12"

[vars]
depth = 3

[[backup]]
name = "etc"
run = "mkdir -p {{ backup_dir | quote }} && tar -C / -cf {{ backup_dir | quote }}/etc.tar etc"
verify = "test -s {{ backup_dir | quote }}/etc.tar"
timeout = "30m"

[[precheck]]
name = "room"
run = "df -Pm / | tail -n 1"
severity = "warning"

[[migrate]]
name = "motd"
template = { from = "files/motd.j2", to = "/etc/motd", mode = "0644" }

[[migrate]]
name = "blob"
upload = { from = "files/blob", to = "/opt/blob" }

[[migrate]]
name = "convert"
script = "files/convert.sh"
env = { DEPTH = "{{ depth }}" }

[[migrate]]
name = "register"
run = "printf %s {{ token | quote }} | register --url {{ health_url | quote }}"

[[verify]]
name = "health"
run = """
set -e
curl -fsS {{ health_url | quote }}
"""
retries = 2
"#;

/// The files of a fleet with all that a plan can be made from. All hosts are at a port of the test.
const FILES: [(&str, &str); 9] = [
    ("fleet/hosts.toml", HOSTS),
    ("fleet/rollout.toml", ROLLOUT),
    ("fleet/group_vars/all.toml", "health_url = \"http://localhost/a\"\n"),
    ("fleet/group_vars/db/more.toml", "health_url = \"http://localhost/db\"\nslow = true\n"),
    ("fleet/host_vars/db-02.toml", "# The old one.\nhealth_url = \"http://localhost/old\"\n"),
    ("play/playbook.toml", PLAYBOOK),
    ("play/files/motd.j2", "Welcome to {{ host.name }}.\n\nBe careful.\n"),
    ("play/files/blob", "\u{1}\u{2}blob\n"),
    ("play/files/convert.sh", "#!/bin/sh\nset -e\nconvert --depth \"$DEPTH\"\n"),
];

const WHAT: [&str; 4] = ["-i", "fleet", "-p", "play/playbook.toml"];

/// A desk with that fleet, and its plan in `my.plan`.
fn planned() -> Desk {
    let desk = Desk::new();
    for (path, text) in FILES {
        desk.write(path, text);
    }
    save(&desk, &WHAT, "my.plan");
    desk
}

#[track_caller]
fn save(desk: &Desk, what: &[&str], file: &str) -> Said {
    desk.say(&[&["plan"], what, &["-o", file]].concat()).exits(0)
}

fn apply(desk: &Desk) -> Said {
    desk.say(&["apply", "my.plan", "--yes"])
}

#[test]
fn a_saved_plan_is_executed_as_it_is() {
    need_bed!("a_saved_plan_is_executed_as_it_is");
    let bed = Bed::plain(&["web-01", "web-02", "web-03"]);
    let playbook =
        "name = \"One\"\n[[migrate]]\nname = \"one\"\nrun = \"echo {{ word }} >>/count\"\n";
    let desk = bed.desk("[vars]\nword = \"first\"\n", playbook);
    let what = ["-i", "fleet", "-p", "playbook.toml", "--limit", "web-[01-02]"];
    let said = save(&desk, &what, "my.plan");
    assert!(said.err.contains("apply my.plan"), "{}", said.err);
    assert!(said.out.contains("web-[01-02]"), "the plan is shown too: {}", said.out);
    let head = head(&desk);

    // Whatever was touched meanwhile, and is as it was again, is no change.
    let hosts = fs::read_to_string(desk.path("fleet/hosts.toml")).unwrap();
    desk.write("fleet/hosts.toml", hosts.replace("first", "second"));
    let said = apply(&desk).exits(4);
    assert!(said.err.contains("web-[01-02]: variable word first → second"), "{}", said.err);
    assert!(!desk.path("state").exists(), "a run was made");
    desk.write("fleet/hosts.toml", &hosts);

    let shown = desk.say(&["apply", "--dry-run", "my.plan"]).exits(0);
    assert_eq!(shown.out, desk.say(&[&["plan"], &what[..]].concat()).exits(0).out);
    assert!(!desk.path("state").exists(), "a run was made");

    apply(&desk).exits(0);
    for (host, count) in [("web-01", "first\n"), ("web-02", "first\n"), ("web-03", "")] {
        assert_eq!(bed.read(host, "/count"), count, "{host}");
    }
    assert_eq!(desk.journal()[0]["plan"], head["digest"], "the run is of that plan");
    assert_eq!(desk.status()["plan"], head["digest"]);
}

/// The first line of the saved plan.
fn head(desk: &Desk) -> Value {
    let text = fs::read_to_string(desk.path("my.plan")).unwrap();
    serde_json::from_str(text.lines().next().unwrap()).unwrap()
}

#[test]
fn the_same_files_make_the_same_bytes_wherever_they_are_named_from() {
    let desk = planned();
    let first = fs::read(desk.path("my.plan")).unwrap();
    let at = |path: &str| desk.path(path).to_str().unwrap().to_owned();
    for (from, fleet, playbook) in [
        ("", "fleet".to_owned(), "play/playbook.toml".to_owned()),
        ("", at("fleet"), at("play/playbook.toml")),
        ("", "./fleet/".to_owned(), "./play//playbook.toml".to_owned()),
        ("", "fleet/hosts.toml".to_owned(), "fleet/../play/playbook.toml".to_owned()),
        ("fleet", ".".to_owned(), "../play/playbook.toml".to_owned()),
        ("play/files", "../../fleet/".to_owned(), "../playbook.toml".to_owned()),
        ("play", at("fleet/hosts.toml"), "./playbook.toml".to_owned()),
    ] {
        let mut command = desk.command(&["plan", "-i", &fleet, "-p", &playbook, "-o"]);
        command.arg(desk.path("other.plan")).current_dir(desk.path(from));
        Said::of(&command.output().unwrap()).exits(0);
        let other = fs::read(desk.path("other.plan")).unwrap();
        assert!(first == other, "from {from:?}: -i {fleet} -p {playbook}");
    }
    // Another selection is another plan.
    save(&desk, &[&WHAT[..], &["--limit", "@web"]].concat(), "other.plan");
    assert_ne!(fs::read(desk.path("other.plan")).unwrap(), first);
    // It is for its owner's eyes, also where another file stood before.
    fs::set_permissions(desk.path("other.plan"), fs::Permissions::from_mode(0o644)).unwrap();
    save(&desk, &WHAT, "other.plan");
    assert_eq!(fs::metadata(desk.path("other.plan")).unwrap().mode() & 0o777, 0o600);
    assert!(fs::read(desk.path("other.plan")).unwrap() == first);
    // It can be applied from everywhere.
    let mut command = desk.command(&["apply", "--dry-run", "../my.plan"]);
    Said::of(&command.current_dir(desk.path("play")).output().unwrap()).exits(0);
}

#[test]
fn a_file_that_is_no_sound_plan_is_refused_with_what_is_wrong() {
    let desk = planned();
    let whole = fs::read_to_string(desk.path("my.plan")).unwrap();
    let (head, plan) = whole.split_once('\n').unwrap();
    let half = &whole[..whole.len() / 2];
    let cases: [(&str, String, i32, &[&str]); 8] = [
        ("empty", String::new(), 2, &["not a saved plan"]),
        ("another file", HOSTS.to_owned(), 2, &["not a saved plan", "plan … -o FILE"]),
        ("the plan alone", plan.to_owned(), 2, &["not a saved plan"]),
        ("cut off", half.to_owned(), 2, &["cut off", "copy the file again"]),
        (
            "edited",
            whole.replacen("tar -C /", "tar -C .", 1),
            2,
            &["changed after it was saved", "is not edited"],
        ),
        (
            "a step taken out",
            whole.replacen("\"late\":false,", "", 1),
            2,
            &["changed after it was saved", "is not edited"],
        ),
        (
            "a later form",
            whole.replacen("\"format\":1", "\"format\":99", 1),
            4,
            &["form 99", "reads 1", "use the version"],
        ),
        (
            "another program's",
            format!("{}\n{plan}", head.replacen(env!("CARGO_PKG_VERSION"), "9.8.7", 1)),
            4,
            &["made by fleetlift 9.8.7", env!("CARGO_PKG_VERSION"), "-o my.plan"],
        ),
    ];
    for (name, text, code, words) in cases {
        assert_ne!(text, whole, "{name}");
        desk.write("my.plan", text);
        for args in [&["apply", "my.plan", "--yes"][..], &["apply", "--dry-run", "my.plan"]] {
            let said = desk.say(args);
            assert_eq!(said.code, code, "{name}: {said:?}");
            assert!(said.err.contains("hint: "), "{name}: {}", said.err);
            for word in words {
                assert!(said.err.contains(word), "{name}: no {word:?} in {}", said.err);
            }
        }
    }
    let said = desk.say(&["apply", "nowhere.plan", "--yes"]).exits(2);
    assert!(said.err.contains("there is no saved plan nowhere.plan"), "{}", said.err);
    let said = desk.say(&["apply", "fleet", "--yes"]).exits(2);
    assert!(said.err.contains("a folder"), "{}", said.err);
    assert!(!desk.path("state").exists(), "a run was made");
}

#[test]
fn a_plan_is_written_where_it_does_no_harm() {
    let desk = planned();
    let refused = |args: &[&str], word: &str| {
        let said = desk.say(&[&["plan"], args].concat()).exits(2);
        assert!(said.err.contains(word), "{args:?}: {}", said.err);
    };
    refused(&[&WHAT[..], &["-o", "fleet/../fleet/hosts.toml"]].concat(), "is made from");
    refused(&[&WHAT[..], &["-o", "fleet"]].concat(), "not a file");
    refused(&[&WHAT[..], &["-o", "nowhere/my.plan"]].concat(), "nowhere/my.plan");
    refused(&[&WHAT[..], &["-o", "/dev/null"]].concat(), "not a file");
    assert_eq!(fs::read_to_string(desk.path("fleet/hosts.toml")).unwrap(), HOSTS);
    // What cannot be read again cannot be compared.
    let mut command = desk.command(&["plan", "-i", "/dev/stdin", "-p", "play/playbook.toml"]);
    command.args(["-o", "other.plan"]).stdin(std::process::Stdio::piped());
    let mut child = command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let plain = HOSTS.replace("[vars]\n", "[vars]\nhealth_url = \"x\"\n");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), plain.as_bytes()).unwrap();
    let said = Said::of(&child.wait_with_output().unwrap());
    assert!(said.code == 2 && said.err.contains("read again"), "{said:?}");
    assert!(!desk.path("other.plan").exists());
    assert!(names_in(&desk.dir).iter().all(|name| !name.starts_with(".tmp")), "a part is left");
}

fn names_in(dir: &tempfile::TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).unwrap().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn apply_asks_as_run_does_and_contacts_nobody_before() {
    let desk = planned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    desk.write("fleet/hosts.toml", HOSTS.replace("2222", &port.to_string()));
    save(&desk, &[&WHAT[..], &["--limit", "db-01"]].concat(), "my.plan");
    let said = desk.say(&["apply", "my.plan"]).exits(2);
    assert!(said.err.contains("--yes") && said.err.contains("Waves"), "{}", said.err);
    desk.write("fleet/hosts.toml", HOSTS);
    apply(&desk).exits(4);
    desk.write("fleet/hosts.toml", HOSTS.replace("2222", &port.to_string()));
    // On a terminal: what is typed must be read somewhere first.
    let digest = head(&desk)["digest"].as_str().unwrap().to_owned();
    for typed in ["yes", "y", "2", "", &digest[7..14], "sha256:00000000"] {
        let text = Pty::answer(desk.command(&["apply", "my.plan"]), typed);
        assert!(text.contains("not confirmed"), "{typed}: {text}");
    }
    assert!(!desk.path("state").exists(), "a run was made");
    let knocked = listener.accept().map(|(_, from)| from);
    assert_eq!(knocked.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    // The number of hosts is a yes, and so is the beginning of the digest; then secrets are asked for, which are not set.
    for typed in ["1", &digest[7..15], &digest] {
        let text = Pty::answer(desk.command(&["apply", "my.plan"]), typed);
        assert!(text.contains("TOKEN_A") && !text.contains("not confirmed"), "{typed}: {text}");
    }
}

#[test]
fn a_shipped_playbook_is_an_input_too() {
    let desk = Desk::new();
    desk.say(&["init", "example"]).exits(0);
    let what = ["-i", "example", "-p", "centos7-to-rocky9"];
    let said = desk.say(&[&["plan"], &what[..], &["-o", "my.plan"]].concat());
    if said.code != 0 {
        // It asks for variables that the example does not have.
        save(&desk, &["-i", "example", "-p", "debian12-to-debian13"], "my.plan");
    }
    let text = fs::read_to_string(desk.path("my.plan")).unwrap();
    let (head, plan) = text.split_once('\n').unwrap();
    let mut plan: Value = serde_json::from_str(plan).unwrap();
    let input = plan["inputs"].as_array_mut().unwrap().iter_mut();
    let is_shipped = |input: &&mut Value| input["path"].as_str().unwrap().starts_with("shipped:");
    let input = input.into_iter().find(is_shipped).expect("the shipped playbook is an input");
    // As another build of the same version would have written it.
    input["digest"] = "sha256:00".into();
    let plan = plan.to_string();
    let mut head: Value = serde_json::from_str(head).unwrap();
    head["bytes"] = plan.len().into();
    head["digest"] = fleetlift::base::digest::digest(plan.as_bytes()).into();
    desk.write("my.plan", format!("{head}\n{plan}\n"));
    let said = apply(&desk).exits(4);
    assert!(said.err.contains("as this program brings it"), "{}", said.err);
}

/// Only the very same plan is as it was saved, also where nothing that has a name differs.
#[test]
fn a_plan_that_another_program_wrote_is_not_taken() {
    let desk = planned();
    let text = fs::read_to_string(desk.path("my.plan")).unwrap();
    let (head, plan) = text.split_once('\n').unwrap();
    let craft = |change: &dyn Fn(&mut Value)| {
        let mut plan: Value = serde_json::from_str(plan).unwrap();
        change(&mut plan);
        let plan = plan.to_string();
        let mut head: Value = serde_json::from_str(head).unwrap();
        head["bytes"] = plan.len().into();
        head["digest"] = fleetlift::base::digest::digest(plan.as_bytes()).into();
        desk.write("my.plan", format!("{head}\n{plan}\n"));
        apply(&desk)
    };
    let said = craft(&|plan| plan["hosts"][0]["vars"]["token"] = serde_json::json!({"plain": 1}));
    assert!(said.exits(4).err.contains("none of its files changed"));
    let said = craft(&|plan| plan["limits"]["parallel"] = 99.into());
    assert!(said.exits(4).err.contains("parallel 99 → 4"));
    let said = craft(&|plan| plan["origin"] = Value::Null);
    assert!(said.exits(2).err.contains("does not say what it was made from"));
    assert!(!desk.path("state").exists(), "a run was made");
}

#[test]
fn a_run_that_is_resumed_says_what_changed_and_keeps_to_its_plan() {
    need_bed!("a_run_that_is_resumed_says_what_changed_and_keeps_to_its_plan");
    let bed = Bed::plain(&["web-01", "web-02"]);
    let playbook = r#"
name = "Two"

[[backup]]
name = "wait"
run = "touch /waits; while ! test -e /go; do sleep 0.05; done"
verify = "true"

[[migrate]]
name = "count"
run = "echo old >>/count"
"#;
    let desk = bed.desk("", playbook);
    let mut running = desk.start(&["run", "-i", "fleet", "-p", "playbook.toml", "--yes"]);
    running.wait_for("a backup", |r| r["event"] == "attempt_started" && r["step"] == "wait");
    running.signal(rustix::process::Signal::INT);
    running.wait_for("the stop", |r| r["event"] == "stop_requested");
    for host in ["web-01", "web-02"] {
        fs::write(bed.file(host, "/go"), "").unwrap();
    }
    running.end().exits(3);
    desk.write("playbook.toml", playbook.replace("echo old", "echo new"));
    // From another folder the files are found all the same.
    let mut command = desk.command(&["resume"]);
    let said = Said::of(&command.current_dir(desk.path("fleet")).output().unwrap()).exits(0);
    for words in ["note: ", "playbook.toml", "step migrate/count: run echo old >>/count → echo new"]
    {
        assert!(said.err.contains(words), "{words}: {}", said.err);
    }
    assert_eq!(said.err.matches("  changed   ").count(), 1, "{}", said.err);
    assert_eq!(bed.read("web-01", "/count"), "old\n");
}
