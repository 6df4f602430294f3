//! The rules of the house that a machine can check.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The rooms, from the ground up, as in ARCHITECTURE.md. A room uses those of lower floors, and itself.
const ROOMS: [(&str, u32); 11] = [
    ("base", 0),
    ("inventory", 1),
    ("playbook", 1),
    ("rollout", 1),
    ("migrator", 2),
    ("journal", 2),
    ("plan", 3),
    ("run", 4),
    ("host", 5),
    ("report", 5),
    ("engine", 6),
];
/// Above all others.
const TOP: (&str, u32) = ("cli", 7);

/// A file of more lines is a room that wants a wall. Tests beside the code count.
const FILE_LINES_MAX: usize = 620;
/// A longer function does not fit on a screen; the few that are tables of one `match` may be longer.
const FUNCTION_LINES_MAX: usize = 75;
/// One `match` over every event or arm, and nothing else.
const TABLES: [&str; 6] = ["next", "say", "tell", "settle", "act", "host_event"];

fn floor(room: &str) -> Option<u32> {
    ROOMS.iter().chain([&TOP]).find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

struct File {
    path: PathBuf,
    text: String,
}

impl File {
    /// The room that the file stands in; none for `lib.rs` and `main.rs`.
    fn room(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src").ok()?;
        let first = below.components().next()?.as_os_str().to_str()?;
        floor(first).map(|_| first)
    }
}

fn sources(dir: &str) -> Vec<File> {
    fn walk(dir: &Path, found: &mut Vec<File>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(File { path, text });
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(dir), &mut found);
    assert!(found.len() > 10, "the sources are where this test looks for them");
    found
}

/// Every room that a text names after `crate::`, also in a nested `use crate::{…}`, with its line.
fn rooms_used(text: &str) -> Vec<(usize, String)> {
    let code: String =
        text.lines().flat_map(|line| [line.split("//").next().unwrap_or_default(), "\n"]).collect();
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + 7..];
        let Some(list) = rest.strip_prefix('{') else {
            used.push((line, word(rest)));
            continue;
        };
        let (mut depth, mut fresh) = (1, true);
        for (i, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' => fresh = depth == 1,
                c if c.is_whitespace() => {}
                _ if fresh && depth == 1 => {
                    let lines = list[..i].matches('\n').count();
                    used.push((line + lines, word(&list[i..])));
                    fresh = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    used
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
}

#[test]
fn rooms_look_only_down() {
    let mut seen = 0;
    for file in sources("src") {
        let Some(room) = file.room() else { continue };
        let own = floor(room).unwrap();
        for (line, used) in rooms_used(&file.text) {
            let Some(other) = floor(&used) else { continue };
            seen += 1;
            assert!(
                used == room || other < own,
                "{}:{line}: {room} may not use {used}",
                file.path.display()
            );
        }
    }
    assert!(seen > 200, "the test sees what is used: {seen}");
}

#[test]
fn an_upward_use_is_seen() {
    let text = "use crate::{\n    base::x,\n    cli::{\n        run,\n    },\n    plan::Plan,\n};\nlet a = crate::engine::x();";
    let names: Vec<String> = rooms_used(text).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["base", "cli", "plan", "engine"]);
}

#[test]
fn the_middle_is_free_of_clocks_chance_and_threads() {
    const FORBIDDEN: [&str; 7] =
        ["SystemTime", "Instant", "HashMap", "RandomState", "std::thread", "tokio", "async fn"];
    for file in sources("src").iter().filter(|file| file.room() == Some("run")) {
        for word in FORBIDDEN {
            assert!(!file.text.contains(word), "{}: {word}", file.path.display());
        }
    }
}

#[test]
fn every_select_is_biased() {
    for file in sources("src").iter().chain(&sources("testbed/src")) {
        for (at, _) in file.text.match_indices("select! {") {
            let inside = file.text[at + 9..].trim_start();
            assert!(
                inside.starts_with("biased;"),
                "{}: select! without biased",
                file.path.display()
            );
        }
    }
}

/// What can be installed has to be there where everything was. Real hosts, rights of a machine and files of the field cannot.
#[test]
fn a_skip_is_a_failure_where_everything_was_installed() {
    const ALLOWED: [&str; 4] = [
        "no virtual machine here",
        "no container here",
        "the right to a mount",
        "FLEETLIFT_SAMPLES",
    ];
    for dir in ["src", "tests", "testbed/tests"] {
        for file in sources(dir) {
            let lines: Vec<&str> = file.text.lines().collect();
            for (at, line) in
                lines.iter().enumerate().filter(|(_, l)| l.contains(concat!('"', "SKIP", "PED")))
            {
                let guarded = lines[at.saturating_sub(2)..at].iter().any(|l| l.contains("on_ci"));
                let allowed = ALLOWED.iter().any(|words| line.contains(words));
                let place = format!("{}:{}", file.path.display(), at + 1);
                assert!(guarded || allowed, "{place}: with FLEETLIFT_CI=1 this must fail");
            }
        }
    }
}

#[test]
fn files_and_functions_fit() {
    for file in sources("src") {
        let lines: Vec<&str> = file.text.lines().collect();
        assert!(lines.len() <= FILE_LINES_MAX, "{}: {} lines", file.path.display(), lines.len());
        for (start, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let mut head = line.trim_start();
            for word in
                ["pub ", "pub(super) ", "pub(crate) ", "pub(in crate::run) ", "async ", "const "]
            {
                head = head.strip_prefix(word).unwrap_or(head);
            }
            let Some(name) = head.strip_prefix("fn ") else { continue };
            let name: String =
                name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let opens = (start..lines.len()).find(|n| lines[*n].ends_with(['{', ';', '}']));
            if opens.is_some_and(|n| lines[n].ends_with(';')) {
                continue;
            }
            let closing = format!("{}}}", " ".repeat(indent));
            let end = (start..lines.len()).find(|n| lines[*n] == closing).unwrap_or(start);
            let length = end - start + 1;
            assert!(
                length <= FUNCTION_LINES_MAX || TABLES.contains(&name.as_str()),
                "{}:{}: {name} has {length} lines",
                file.path.display(),
                start + 1
            );
        }
    }
}

/// Every key that a file may have, with what its form says of it: `(key, description)`.
fn keys_of(schema: &serde_json::Value, found: &mut Vec<(String, String)>) {
    for (word, inner) in schema.as_object().into_iter().flatten() {
        if word == "properties" {
            for (key, value) in inner.as_object().into_iter().flatten() {
                if let Some(text) = value["description"].as_str() {
                    found.push((key.clone(), text.to_owned()));
                }
            }
        }
        keys_of(inner, found);
    }
}

#[test]
fn the_documents_name_every_key_as_its_form_does() {
    for (file, schema) in [
        ("docs/playbooks.md", fleetlift::playbook::schema()),
        ("docs/rollouts.md", fleetlift::rollout::schema()),
    ] {
        let text = fs::read_to_string(file).unwrap();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        let mut keys = Vec::new();
        keys_of(&schema, &mut keys);
        assert!(keys.len() > 8, "{file}: the test sees the keys");
        // These are told in the text: a step has a name, a system an id and a version.
        for (key, said) in
            keys.iter().filter(|(key, _)| !["name", "id", "version"].contains(&key.as_str()))
        {
            let told = |row: &&str| row.contains(&format!("{key}` | {said}"));
            // A row for each of the keys of a wave, a rollout, a step; tables with tables inside have rows of their own.
            let inside = ["defaults", "wave"].contains(&key.as_str());
            assert!(inside || rows.iter().any(told), "{file} has no row | `{key}` | {said} |");
        }
    }
}

#[test]
fn documents_link_to_what_is_there() {
    let mut files: Vec<PathBuf> = Vec::new();
    for dir in [".", "docs", "docs/decisions", "playbooks", "testbed"] {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    let mut seen = 0;
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("](") {
            let link = text[at + 2..].split(')').next().unwrap_or_default();
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            seen += 1;
            let there = file.parent().unwrap_or(Path::new(".")).join(path);
            assert!(there.exists(), "{}: {link} is not there", file.display());
        }
    }
    assert!(seen > 5, "the test sees links: {seen}");
}
