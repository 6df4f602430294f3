//! What changed since a plan was saved is found, and told as operators think of it.

use super::{FILES, HOSTS, WHAT, apply, planned, save};
use std::{fs, os::unix::fs::PermissionsExt};

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
