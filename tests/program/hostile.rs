//! Strings that would like to be commands, and output that would like to steer the operator's terminal.

use crate::{
    bed::{Bed, LENIENT},
    desk::{Desk, cases, end_of},
    need_bed,
    pty::Pty,
};
use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

/// The texts, by the names of their files.
fn texts() -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = fs::read_dir(cases("hostile"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .collect();
    files.sort();
    let name = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

fn toml_text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Whether an inventory may have a host of that name: it says so itself, of this name alone.
fn may_be_a_name(text: &str) -> bool {
    let desk = Desk::new();
    let name = toml_text(text);
    desk.write("fleet/hosts.toml", format!("[groups.{name}]\n[hosts.{name}]\n"));
    let said = desk.say(&["validate", "-i", "fleet"]);
    match said.code {
        0 => true,
        2 => {
            assert!(said.err.contains("hosts.toml:"), "{}", said.err);
            assert_tame(&said.err);
            false
        }
        code => panic!("{code}: {}", said.err),
    }
}

/// A text for people: no character in it steers a terminal, hides or reorders what stands beside it.
#[track_caller]
pub fn assert_tame(text: &str) {
    let wild = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let line = text.lines().find(|line| line.contains(wild));
    assert!(line.is_none(), "{line:?}");
}

/// No file of this name below the folder.
fn assert_nothing_ran(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        assert!(entry.file_name() != "ran", "{} was run", entry.path().display());
        if kind.is_dir() && !kind.is_fifo() {
            assert_nothing_ran(&entry.path());
        }
    }
}

struct Case {
    host: String,
    text: String,
    name: String,
}

/// Where a text cannot be a name, something plain stands for it.
fn inventory(bed: &Bed, cases: &[Case]) -> (String, String) {
    let plain = bed.inventory("");
    let (head, _) = plain.split_once("[groups.web]").unwrap();
    let (mut hosts, mut groups, mut waves) = (head.to_owned(), String::new(), LENIENT.to_owned());
    waves.truncate(waves.find("[[wave]]").unwrap());
    for (case, info) in cases.iter().zip(bed.fleet().hosts()) {
        let (name, text) = (toml_text(&case.name), toml_text(&case.text));
        // A path has no `/` in a name; NUL is in none of the texts.
        let file = toml_text(&case.text.replace('/', "_"));
        let _ = writeln!(
            hosts,
            "[hosts.{name}]\naddress = \"{}\"\nconnection.port = {}\nlabels = {{ rack = {text} }}\n\
             vars = {{ text = {text}, file = {file} }}\n",
            info.address, info.port,
        );
        // The group's members are a list of ranges, so that the name of a host with brackets stands in its own table only.
        if !case.name.contains(['[', ']']) {
            let _ = writeln!(groups, "[groups.{name}]\nhosts = [{name}]");
        }
    }
    let _ = writeln!(waves, "[[wave]]\nname = {}\nhosts = \"@all\"", toml_text(&cases[0].name));
    (hosts + &groups, waves)
}

fn playbook(cases: &[Case]) -> String {
    let mut text = r#"
name = "Hostile"

[[backup]]
name = "write"
run = """
mkdir -p /out && cd /out
printf %s {{ text | quote }} >var
printf %s {{ host.name | quote }} >host
printf %s {{ host.labels.rack | quote }} >label
printf %s "$TEXT" >env
printf %s {{ text | quote }} >"named $TEXT_FILE"
"""
env = { TEXT = "{{ text }}", TEXT_FILE = "{{ file }}" }
verify = "test -e {{ ('/out/named ' ~ file) | quote }}"

[[migrate]]
name = "place"
template = { from = "body", to = "/out/placed {{ file }}" }

[[migrate]]
name = "take-along"
download = { from = "/out/placed {{ file }}" }
"#
    .to_owned();
    for (n, case) in cases.iter().enumerate() {
        let _ = write!(
            text,
            "\n[[precheck]]\nname = \"warn-{n}\"\nrun = \"printf '%s\\\\n' {{{{ text | quote }}}}; exit 1\"\n\
             severity = \"warning\"\nremedy = {}\n",
            toml_text(&case.text),
        );
    }
    text
}

#[test]
fn hostile_strings_arrive_unharmed_and_never_run() {
    need_bed!("hostile_strings_arrive_unharmed_and_never_run");
    let cases: Vec<Case> = texts()
        .into_iter()
        .enumerate()
        .map(|(n, (_, text))| {
            let name = if may_be_a_name(&text) { text.clone() } else { format!("plain-{n}") };
            Case { host: format!("h-{n}"), text, name }
        })
        .collect();
    assert!(cases.len() >= 10);
    assert!(cases.iter().filter(|case| case.name == case.text).count() >= 4, "some are names");
    let hosts: Vec<&str> = cases.iter().map(|case| case.host.as_str()).collect();
    let bed = Bed::plain(&hosts);
    let desk = bed.desk("", &playbook(&cases));
    let (hosts, waves) = inventory(&bed, &cases);
    desk.write("fleet/hosts.toml", hosts);
    desk.write("fleet/rollout.toml", waves);
    desk.write("body", "{{ text }}");

    let mut shown = vec![
        desk.say(&["validate", "-i", "fleet", "-p", "playbook.toml"]).exits(0),
        desk.say(&["hosts", "-i", "fleet"]).exits(0),
        desk.say(&["plan", "-i", "fleet", "-p", "playbook.toml", "-v"]).exits(0),
        desk.run(),
    ];
    let status = desk.status();
    for case in &cases {
        let (state, touched, _) = end_of(&status, &case.name);
        let why = desk.say(&["why", "last", "--", &case.name]).exits(0);
        assert_eq!((state, touched), ("migrated", true), "{:?}: {}", case.text, why.out);
        shown.push(why);
        let file = case.text.replace('/', "_");
        let placed = format!("/out/placed {file}");
        let named = format!("/out/named {file}");
        for (path, wanted) in [
            ("/out/var", &case.text),
            ("/out/env", &case.text),
            ("/out/label", &case.text),
            ("/out/host", &case.name),
            (named.as_str(), &case.text),
            (placed.as_str(), &case.text),
        ] {
            assert_eq!(&bed.read(&case.host, path), wanted, "{path}");
        }
        assert_nothing_ran(&bed.fleet().root(&case.host).unwrap());
        let log = desk.log(&case.name, "warn-0");
        assert_eq!(log, format!("{}\n", case.text).into_bytes());
    }
    for args in [
        &["status", "last"][..],
        &["runs"],
        &["report", "last", "--format", "md"],
        &["report", "last", "--format", "html"],
        &["report", "last", "--format", "json"],
        &["journal", "last"],
    ] {
        shown.push(desk.say(args).exits(0));
    }
    assert_eq!(shown[3].code, 0, "{}", shown[3].err);
    for said in &shown {
        assert_tame(&said.out);
        assert_tame(&said.err);
    }
    // What was taken along lies below the run, each in its own folder.
    assert_eq!(artifacts(&desk.path("state")), cases.len());
    assert_nothing_ran(desk.dir.path());
}

fn artifacts(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => artifacts(&entry.path()),
            false => usize::from(entry.path().to_string_lossy().contains("artifacts")),
        })
        .sum()
}

/// What a host may say to a terminal: a title, a cleared screen, one-byte controls, text in the other direction, text that is
/// written over.
const WILD: &[u8] = b"\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\n\
    c1 \xc2\x9b2J \xc2\x9d0;owned\xc2\x9c raw \x9b2J\n\
    bidi \xe2\x80\xaeexe.txt\xe2\x80\xac zero\xe2\x80\x8bwidth\n\
    100% done\rfake  \n\
    \x1bc\x08\x08back \x7f delete \x1b_apc\x1b\\ \x1bP dcs \x1b\\\n\
    last without an end \xff\xfe";

const LOUD: &str = r#"
name = "Loud"

[[precheck]]
name = "warns"
run = "cat /wild; exit 1"
severity = "warning"

[[migrate]]
name = "says"
run = "cat /wild; cat /wild >&2"
register = true

[[verify]]
name = "fails"
run = "cat /wild >&2; exit 3"
"#;

#[test]
fn the_output_of_a_host_never_steers_the_terminal() {
    need_bed!("the_output_of_a_host_never_steers_the_terminal");
    let bed = Bed::plain(&["web-01"]);
    fs::write(bed.file("web-01", "/wild"), WILD).unwrap();
    let desk = bed.desk("", LOUD);
    let mut shown = vec![desk.run().exits(1)];
    // Into a pipe goes what the host said, byte for byte; on a terminal it is made safe.
    let log = desk.bytes(&["log", "last", "web-01", "says"]);
    assert!(log.stdout == WILD && log.stderr.ends_with(WILD), "{log:?}");
    for args in [
        &["why", "last", "web-01"][..],
        &["status"],
        &["status", "--json"],
        &["report", "--format", "md"],
        &["report", "--format", "html"],
        &["report", "--format", "json"],
        &["journal"],
    ] {
        shown.push(desk.say(args).exits(0));
    }
    for said in &shown {
        assert_tame(&said.out);
        assert_tame(&said.err);
    }
    // The evidence is there all the same.
    assert!(
        shown[1].out.contains("100% done") || shown[1].out.contains("fake"),
        "{}",
        shown[1].out
    );
    for args in [
        &["run", "-i", "fleet", "-p", "playbook.toml", "--yes"][..],
        &["log", "last", "web-01"],
        &["why", "last", "web-01"],
        &["status", "last"],
    ] {
        let said = Pty::run(desk.command(args));
        let coloured = said.windows(2).any(|pair| pair == b"\x1b[");
        assert!(
            said.len() > 20 && (coloured || matches!(args[0], "log" | "why")),
            "{args:?}: {said:?}"
        );
        assert_own_controls_only(&said);
    }
}

/// What our own display may do: colours, moving and clearing within its lines, hiding the cursor. Nothing else.
fn assert_own_controls_only(bytes: &[u8]) {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let mut rest = text.as_str();
    let mut plain = String::new();
    while let Some(at) = rest.find('\u{1b}') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest.len() - 1);
        let sequence = &rest[..=end];
        let inner = sequence.strip_prefix("\u{1b}[").unwrap_or_else(|| panic!("{sequence:?}"));
        let (numbers, last) = inner.split_at(inner.len() - 1);
        let known = match last {
            "m" | "A" | "B" | "C" | "D" | "G" | "K" => {
                numbers.chars().all(|c| c.is_ascii_digit() || c == ';')
            }
            "J" => matches!(numbers, "" | "0"),
            "h" | "l" => numbers == "?25",
            _ => false,
        };
        assert!(known, "{sequence:?}");
        rest = &rest[end + 1..];
    }
    plain.push_str(rest);
    assert_tame(&plain.replace("\r\n", "\n").replace('\r', ""));
}
