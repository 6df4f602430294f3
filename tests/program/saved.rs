//! Saved plans: `plan -o` and `apply`.

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

/// Numbers without end from a seed.
fn chance(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn a_byte_that_changed_is_found_and_its_file_named() {
    use std::hash::{BuildHasher, Hasher};
    let desk = planned();
    let given = std::env::var("FLEETLIFT_SEED").ok().and_then(|seed| seed.parse().ok());
    let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    let first: u64 = given.unwrap_or_else(random);
    let mut seed = first;
    for (file, text) in FILES {
        let path = desk.path(file);
        let places = 5.min(text.len() as u64);
        let mut places: Vec<usize> =
            (0..places).map(|_| chance(&mut seed) as usize % text.len()).collect();
        places.extend([0, text.len() - 1]);
        for place in places {
            let mut bytes = text.as_bytes().to_vec();
            bytes[place] ^= 1 << (chance(&mut seed) % 8);
            fs::write(&path, &bytes).unwrap();
            let said = apply(&desk);
            let named = format!("  changed   {file}");
            assert!(
                said.code == 4 && said.err.contains(&named),
                "FLEETLIFT_SEED={first}: byte {place} of {file}: {said:?}"
            );
        }
        // A byte more, and a byte less.
        for other in [format!("{text}\n"), text[..text.len() - 1].to_owned()] {
            fs::write(&path, &other).unwrap();
            let said = apply(&desk).exits(4);
            assert!(said.err.contains(&format!("  changed   {file}")), "{file}: {}", said.err);
        }
        fs::write(&path, text).unwrap();
    }
    assert!(!desk.path("state").exists(), "a run was made");
    desk.say(&["apply", "--dry-run", "my.plan"]).exits(0);
}

/// A file, a text in it and what is put in its place, and what must be said of it.
const EDITS: &[(&str, &str, &str, &[&str])] = &[
    // Hosts.
    (
        "fleet/hosts.toml",
        "\"127.0.0.1\"",
        "\"127.0.0.2\"",
        &["db-01: address 127.0.0.1 → 127.0.0.2"],
    ),
    ("fleet/hosts.toml", "web-[01:03]", "web-[01:05]", &["web-[04-05] were added"]),
    ("fleet/hosts.toml", "[01:03]\"", "[01:02]\"", &["web-03 was removed"]),
    (
        "fleet/hosts.toml",
        "[\"db-01\", \"db-02\"]",
        "[\"db-02\", \"db-01\"]",
        &["wave db: the order of hosts: db-01 db-02 → db-02 db-01"],
    ),
    ("fleet/hosts.toml", "front", "back", &["web-[01-03]: label tier front → back"]),
    (
        "fleet/hosts.toml",
        "\"admin\"",
        "\"root\"",
        &["db-[01-02] web-[01-03]: connection.user admin → root"],
    ),
    (
        "fleet/hosts.toml",
        "port = 2222",
        "port = 2223",
        &["db-[01-02]: connection.port 2222 → 2223"],
    ),
    ("fleet/hosts.toml", "connection.port = 2222", "", &["db-[01-02]: connection.port 2222 → 22"]),
    (
        "fleet/hosts.toml",
        "agent = false",
        "agent = false\nidentity = \"/k\"",
        &["connection.identity", "/k"],
    ),
    (
        "fleet/hosts.toml",
        "env:SUDO_A",
        "env:SUDO_B",
        &["connection.sudo_password env:SUDO_A → env:SUDO_B"],
    ),
    (
        "fleet/hosts.toml",
        "env:TOKEN_A",
        "env:TOKEN_B",
        &["variable token secret env:TOKEN_A → secret env:TOKEN_B"],
    ),
    (
        "fleet/hosts.toml",
        "/var/backups",
        "/srv",
        &["variable backup_dir /var/backups → /srv", "step backup/etc: run", "+ mkdir -p /srv"],
    ),
    (
        "fleet/hosts.toml",
        "# Who there is.",
        "# Who is there.",
        &["only comments, white space", "nothing that matters changed"],
    ),
    (
        "fleet/hosts.toml",
        "user = \"admin\"\nagent = false",
        "agent   = false\nuser = 'admin'",
        &["only comments, white space", "nothing that matters changed"],
    ),
    (
        "fleet/hosts.toml",
        "[hosts.db-01]",
        "[groups.empty]\n[hosts.db-01]",
        &["nothing that the plan does would be different"],
    ),
    // Variables beside them.
    (
        "fleet/group_vars/all.toml",
        "/a",
        "/b",
        &[
            "web-[01-03]: variable health_url http://localhost/a → http://localhost/b",
            "step verify/health for web-[01-03]: run",
            "- curl -fsS http://localhost/a",
        ],
    ),
    ("fleet/group_vars/db/more.toml", "true", "false", &["db-[01-02]: variable slow true → false"]),
    (
        "fleet/group_vars/db/more.toml",
        "slow",
        "fast",
        &["variable slow is gone: true", "variable fast is new: true"],
    ),
    (
        "fleet/host_vars/db-02.toml",
        "/old",
        "/older",
        &["db-02: variable health_url", "step verify/health for db-02"],
    ),
    ("fleet/host_vars/db-02.toml", "# The old one.\n", "", &["only comments, white space"]),
    // The rollout.
    ("fleet/rollout.toml", "parallel = 4", "parallel = 5", &["parallel 4 → 5"]),
    ("fleet/rollout.toml", "\"10%\"", "2", &["budget.failures 10% → 2"]),
    ("fleet/rollout.toml", "consecutive = 3", "consecutive = 4", &["budget.consecutive 3 → 4"]),
    (
        "fleet/rollout.toml",
        "[defaults]",
        "[defaults]\non_failure = \"hold\"",
        &["on_failure rollback → hold"],
    ),
    ("fleet/rollout.toml", "canary = 1", "canary = 2", &["wave web: canary 1 → 2"]),
    ("fleet/rollout.toml", "after = [\"web\"]", "", &["wave db: after web → none"]),
    ("fleet/rollout.toml", "hosts = \"@web\"", "hosts = \"@web,db-01\"", &["db-01: wave db → web"]),
    (
        "fleet/rollout.toml",
        "name = \"db\"",
        "name = \"data\"",
        &["wave db was removed", "wave data was added"],
    ),
    (
        "fleet/rollout.toml",
        "hosts = \"@db\"",
        "hosts = \"@db,!web-01\"",
        &["nothing that the plan does would be different"],
    ),
    // The playbook.
    ("play/playbook.toml", "Old to new", "Old to newer", &["title Old to new → Old to newer"]),
    (
        "play/playbook.toml",
        "version = \"12\"",
        "version = \"11\"",
        &[
            "hop playbook: from.version 12 → 11",
            "step precheck/identity",
            "wanted system version 12 → 11",
        ],
    ),
    (
        "play/playbook.toml",
        "depth = 3",
        "depth = 4",
        &["hop playbook: variable depth 3 → 4", "step migrate/convert: env.DEPTH 3 → 4"],
    ),
    ("play/playbook.toml", "30m", "31m", &["step backup/etc: timeout 30m 00s → 31m 00s"]),
    ("play/playbook.toml", "30m", "1800s", &["nothing that the plan does would be different"]),
    ("play/playbook.toml", "retries = 2", "retries = 3", &["step verify/health: retries 2 → 3"]),
    (
        "play/playbook.toml",
        "severity = \"warning\"",
        "",
        &["step precheck/room: severity warning → blocker"],
    ),
    (
        "play/playbook.toml",
        "tail -n 1",
        "tail -n 2",
        &["step precheck/room: run df -Pm / | tail -n 1 → df -Pm / | tail -n 2"],
    ),
    (
        "play/playbook.toml",
        "curl -fsS",
        "curl -sS",
        &[
            "step verify/health",
            "- curl -fsS http://localhost/a",
            "+ curl -sS http://localhost/a",
            "more forms of it",
        ],
    ),
    (
        "play/playbook.toml",
        "/etc/motd",
        "/etc/issue",
        &["step migrate/motd: template.to /etc/motd → /etc/issue"],
    ),
    (
        "play/playbook.toml",
        "\"0644\"",
        "\"0600\"",
        &["step migrate/motd: template.mode 0644 → 0600"],
    ),
    (
        "play/playbook.toml",
        "retries = 2",
        "retries = 2\nunless = \"true\"",
        &["step verify/health: unless is new: true"],
    ),
    (
        "play/playbook.toml",
        "name = \"room\"",
        "name = \"space\"",
        &["step precheck/room was removed", "step precheck/space was added"],
    ),
    (
        "play/playbook.toml",
        "[[migrate]]\nname = \"motd\"\ntemplate = { from = \"files/motd.j2\", to = \"/etc/motd\", mode = \"0644\" }\n\n[[migrate]]\nname = \"blob\"\nupload = { from = \"files/blob\", to = \"/opt/blob\" }\n",
        "[[migrate]]\nname = \"blob\"\nupload = { from = \"files/blob\", to = \"/opt/blob\" }\n\n[[migrate]]\nname = \"motd\"\ntemplate = { from = \"files/motd.j2\", to = \"/etc/motd\", mode = \"0644\" }\n",
        &["the order of migrate: motd blob convert register → blob motd convert register"],
    ),
    (
        "play/playbook.toml",
        "name = \"blob\"\nupload = { from = \"files/blob\", to = \"/opt/blob\" }",
        "name = \"blob\"\nrun = \"true\"",
        &["left out  play/files/blob", "step migrate/blob: run is new: true"],
    ),
    ("play/playbook.toml", "\n[from]", "\n# Where from.\n[from]", &["only comments, white space"]),
    // What steps ask for: every byte of it counts.
    (
        "play/files/motd.j2",
        "careful",
        "brave",
        &["step migrate/motd for db-01: the template's text", "- Be careful.", "+ Be brave."],
    ),
    (
        "play/files/motd.j2",
        "careful.\n",
        "careful. \n",
        &["step migrate/motd for db-01: the template's text"],
    ),
    (
        "play/files/blob",
        "blob",
        "BLOB",
        &["step migrate/blob: the uploaded file's content 7 bytes, sha256:"],
    ),
    (
        "play/files/convert.sh",
        "--depth",
        "--deep",
        &["step migrate/convert: run", "- convert --depth", "+ convert --deep"],
    ),
];

#[test]
fn what_changed_is_told_as_operators_think_of_it() {
    let desk = planned();
    for (file, from, to, wanted) in EDITS {
        let text = FILES.iter().find(|(path, _)| path == file).unwrap().1;
        assert!(text.contains(from), "{file} has no {from:?}");
        desk.write(file, text.replacen(from, to, 1));
        let said = apply(&desk).exits(4);
        let named = format!("  changed   {file}");
        for words in [&[named.as_str(), "hint: no host was contacted"], *wanted].concat() {
            assert!(said.err.contains(words), "{file}: {from:?}: no {words:?} in\n{}", said.err);
        }
        let files = said.err.lines().filter(|line| line.starts_with("  changed   "));
        assert_eq!(files.count(), 1, "{}", said.err);
        desk.write(file, text);
    }
    assert!(!desk.path("state").exists(), "a run was made");
    desk.say(&["apply", "--dry-run", "my.plan"]).exits(0);
}

#[test]
fn inputs_that_come_and_go_are_told() {
    let desk = planned();
    let told = |words: &[&str]| {
        let said = apply(&desk).exits(4);
        for word in words {
            assert!(said.err.contains(word), "no {word:?} in\n{}", said.err);
        }
    };
    // What was not there when the plan was made.
    for (file, text, words) in [
        ("fleet/host_vars/web-02.toml", "x = 1\n", "web-02: variable x is new: 1"),
        ("fleet/group_vars/web.toml", "x = 1\n", "web-[01-03]: variable x is new: 1"),
        ("fleet/group_vars/web/a.toml", "# nothing\n", "nothing that the plan does"),
        ("fleet/host_vars/nobody.toml", "x = 1\n", "nobody"),
        ("fleet/hosts.ini", "[web]\n", "hosts.ini"),
    ] {
        desk.write(file, text);
        told(&[words, file]);
        fs::remove_file(desk.path(file)).unwrap();
    }
    fs::remove_dir(desk.path("fleet/group_vars/web")).unwrap();
    // What is not there any more, or is something else.
    for (file, words) in [
        (
            "fleet/host_vars/db-02.toml",
            "variable health_url http://localhost/old → http://localhost/db",
        ),
        ("fleet/rollout.toml", "wave all was added"),
        ("fleet/hosts.toml", "no plan can be made of them now"),
        ("play/playbook.toml", "no plan can be made of them now"),
        ("play/files/motd.j2", "there is no file `files/motd.j2`"),
    ] {
        fs::rename(desk.path(file), desk.path("aside")).unwrap();
        told(&[&format!("  gone      {file}"), words]);
        fs::create_dir(desk.path(file)).unwrap();
        told(&[&format!("{file}: it is a folder now")]);
        fs::remove_dir(desk.path(file)).unwrap();
        fs::rename(desk.path("aside"), desk.path(file)).unwrap();
    }
    if !rustix::process::geteuid().is_root() {
        let path = desk.path("play/files/blob");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        told(&["play/files/blob: it cannot be read"]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    // A link that leads elsewhere since.
    fs::rename(desk.path("play/files/blob"), desk.path("aside")).unwrap();
    std::os::unix::fs::symlink(desk.path("aside"), desk.path("play/files/blob")).unwrap();
    desk.say(&["apply", "--dry-run", "my.plan"]).exits(0);
    fs::write(desk.path("aside"), "other").unwrap();
    told(&["  changed   play/files/blob"]);
    assert!(!desk.path("state").exists(), "a run was made");
}

#[test]
fn a_home_of_another_is_a_change_that_no_file_shows() {
    let mut desk = planned();
    let hosts = HOSTS.replace("agent = false", "identity = \"~/.ssh/id_fleet\"");
    desk.write("fleet/hosts.toml", hosts);
    save(&desk, &WHAT, "my.plan");
    desk.set("HOME", "/elsewhere");
    let said = apply(&desk).exits(4);
    assert!(said.err.contains("none of its files changed"), "{}", said.err);
    assert!(
        said.err.contains("connection.identity") && said.err.contains("/elsewhere/.ssh/id_fleet")
    );
}

#[test]
fn a_change_outside_of_the_selection_is_refused_and_told_as_what_it_is() {
    let desk = planned();
    save(&desk, &[&WHAT[..], &["--limit", "@web"]].concat(), "my.plan");
    desk.write("fleet/hosts.toml", HOSTS.replace("127.0.0.1", "127.0.0.2"));
    let said = apply(&desk).exits(4);
    assert!(said.err.contains("nothing that the plan does would be different"), "{}", said.err);
    assert!(said.err.contains("--limit @web -o my.plan"), "{}", said.err);
    // What the hint says can be typed.
    let hint = said.err.split("apply that: ").nth(1).unwrap().trim();
    let words = shlex_words(hint);
    let words: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    desk.say(&words).exits(0);
    desk.say(&["apply", "--dry-run", "my.plan"]).exits(0);
    // A selection that matches nobody now.
    desk.write("fleet/hosts.toml", HOSTS.replace("groups.web", "groups.wob"));
    let said = apply(&desk).exits(4);
    assert!(said.err.contains("no plan can be made") && said.err.contains("@web"), "{}", said.err);
}

fn shlex_words(line: &str) -> Vec<String> {
    line.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect()
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

/// With what tells it apart in each of its forms.
const CANARY: &str = "C4n4ry/w1th+s0me=signs&more?";
/// A password that somebody wrote down, which is not a secret for fleetlift, and is not shown all the same.
const WRITTEN: &str = "wr1tten-d0wn";

#[test]
fn no_secret_is_in_a_saved_plan_in_any_form() {
    let mut desk = planned();
    desk.set("TOKEN_A", CANARY);
    desk.set("SUDO_A", CANARY);
    desk.write("secret", format!("{CANARY}\n"));
    let hosts = format!(
        "{}\n[vars.from_file]\nsecret = \"file:{}\"\n[vars.from_command]\nsecret = \"command:cat {}\"\n",
        HOSTS.replace(
            "[vars]\n",
            &format!("[vars]\ndb_password = \"{WRITTEN}\"\ndb = {{ token = \"{WRITTEN}\" }}\n")
        ),
        desk.path("secret").display(),
        desk.path("secret").display(),
    );
    desk.write("fleet/hosts.toml", &hosts);
    let playbook = format!(
        "{PLAYBOOK}\n[[verify]]\nname = \"more\"\nrun = \"echo {{{{ from_file | quote }}}} {{{{ from_command }}}} >/x\"\n"
    );
    desk.write("play/playbook.toml", playbook);
    let said = save(&desk, &[&WHAT[..], &["-v"]].concat(), "my.plan");
    let saved = fs::read(desk.path("my.plan")).unwrap();
    let dry = desk.say(&["apply", "--dry-run", "-vv", "my.plan"]).exits(0);
    // Each secret changed by its place, and the written one by its value.
    let other = hosts.replace("cat ", "tail -n 1 ").replace(WRITTEN, "wr1tten-0therw1se");
    desk.write("fleet/hosts.toml", other);
    let stale = apply(&desk).exits(4);
    assert!(
        stale.err.contains("variable db_password has another value (not shown)"),
        "{}",
        stale.err
    );
    assert!(stale.err.contains("variable from_command secret command:cat"), "{}", stale.err);
    let texts = [said.out, said.err, dry.out, dry.err, stale.out, stale.err];
    let texts = texts.iter().map(|text| text.as_bytes()).chain([&saved[..]]);
    for text in texts {
        for form in forms(CANARY).into_iter().chain(forms(WRITTEN)).chain(["0therw1se".into()]) {
            let found = text.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!found, "{form}: {}", String::from_utf8_lossy(text));
        }
    }
}

/// A secret as it is, and as programs write it: in base64 at each offset, in hexadecimal, in a URL, in JSON.
fn forms(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let url = |byte: u8| match byte {
        b if b.is_ascii_alphanumeric() || b == b'-' => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    let mut forms = vec![secret.to_owned(), hex, secret.bytes().map(url).collect()];
    forms.push(secret.replace('/', "\\/"));
    for offset in 0..3 {
        // The digits that depend on the secret alone, whatever stands before and after it.
        let padded = [&vec![0; offset][..], secret.as_bytes()].concat();
        let whole = base64(&padded[..padded.len() / 3 * 3]);
        forms.push(whole[if offset == 0 { 0 } else { 4 }..].to_owned());
        forms.push(forms.last().unwrap().replace('+', "-").replace('/', "_"));
    }
    forms
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let triple = |t: &[u8]| u32::from(t[0]) << 16 | u32::from(t[1]) << 8 | u32::from(t[2]);
    let digits = |n: u32| [18, 12, 6, 0].map(|by| char::from(DIGITS[(n >> by & 63) as usize]));
    bytes.chunks_exact(3).flat_map(|t| digits(triple(t))).collect()
}

#[test]
fn the_forms_of_a_secret_are_what_they_are_called() {
    assert_eq!(base64(b"Man"), "TWFu");
    assert!(forms("secret!").contains(&"c2VjcmV0".to_owned()));
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
