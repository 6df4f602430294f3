//! What became stale, for a terminal: which files, and what the plan would be now.

use crate::{
    base::{
        redact::veil,
        text::{fold_names, one_line, shorten},
    },
    journal::StepId,
    plan::{About, Change, FileChange, FileState, Shown, Stale, What},
};
use std::path::Path;

/// More differences than this nobody reads; the rest is counted.
const CHANGES_MAX: usize = 40;
/// More files than this, likewise.
const FILES_MAX: usize = 40;
const NAMES_MAX: usize = 100;
const WORD_MAX: usize = 60;
const LINE_MAX: usize = 140;
/// Forms of one text that are shown, where it is another for every host.
const FORMS_MAX: usize = 1;
/// Lines of a text that are shown of each side.
const LINES_MAX: usize = 3;

/// The files that changed, a line for each; those below `here` are called from there.
pub fn stale_files(files: &[FileChange], here: Option<&Path>) -> String {
    let mut lines: Vec<String> = files.iter().take(FILES_MAX).map(|f| file(f, here)).collect();
    if let Some(more @ 1..) = files.len().checked_sub(FILES_MAX) {
        lines.push(format!("… and {more} more"));
    }
    indented(&lines)
}

/// Which files changed, and what that changes.
pub fn stale_text(stale: &Stale, here: Option<&Path>) -> String {
    let mut text = stale_files(&stale.files, here);
    let lines = match stale.changes.as_deref() {
        None => return text,
        Some([]) if stale.files.is_empty() => return text,
        Some([]) if stale.files.iter().all(|file| file.what == FileState::SaysTheSame) => {
            vec!["nothing that matters changed".to_owned()]
        }
        Some([]) => vec!["nothing that the plan does would be different".into()],
        Some(changes) => {
            let mut lines = vec!["now it would be another plan:".to_owned()];
            lines.extend(differences(changes));
            lines
        }
    };
    text.push_str(&indented(&lines));
    text
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  {}\n", one_line(line))).collect()
}

fn file(file: &FileChange, here: Option<&Path>) -> String {
    let below = here.and_then(|here| file.path.strip_prefix(here).ok());
    let path = below.unwrap_or(&file.path).to_string_lossy();
    let path = match path.strip_prefix("shipped:") {
        Some(name) => format!("{name}, as this program brings it"),
        None => path.into_owned(),
    };
    let (word, note) = match &file.what {
        FileState::Changed => ("changed", ""),
        FileState::SaysTheSame => ("changed", ": only comments, white space or the order of keys"),
        FileState::New => ("new", ""),
        FileState::Unasked => ("left out", ": it is as it was, but nothing asks for it now"),
        FileState::Gone => ("gone", ""),
        FileState::Folder => ("changed", ": it is a folder now"),
        FileState::Unreadable { reason } => {
            return format!("{:<9} {path}: it cannot be read: {reason}", "changed");
        }
    };
    format!("{word:<9} {path}{note}")
}

/// The differences. A text that reads differently for every host is shown for the first of them.
fn differences(changes: &[Change]) -> Vec<String> {
    let form = |change: &Change| match (&change.about, &change.what) {
        (About::StepOf(step, ..), What::Key { key, .. }) => Some((step.clone(), key.clone())),
        (
            About::Plan
            | About::Wave(_)
            | About::Hop(_)
            | About::Step(..)
            | About::Hosts(_)
            | About::StepOf(..),
            What::Added | What::Removed | What::Order { .. } | What::Key { .. },
        ) => None,
    };
    let alike = |a: &Change, b: &Change| form(a).is_some() && form(a) == form(b);
    let groups: Vec<&[Change]> = changes.chunk_by(alike).collect();
    let mut lines = Vec::new();
    for group in groups.iter().take(CHANGES_MAX) {
        lines.extend(group.iter().take(FORMS_MAX).flat_map(change));
        if let Some(more @ 1..) = group.len().checked_sub(FORMS_MAX) {
            let forms = if more == 1 { "form" } else { "forms" };
            lines.push(format!("      … and {more} more {forms} of it, for other hosts"));
        }
    }
    if let Some(more @ 1..) = groups.len().checked_sub(CHANGES_MAX) {
        lines.push(format!("  … and {more} more"));
    }
    lines
}

/// One difference: a line, and the lines of texts below it.
fn change(change: &Change) -> Vec<String> {
    let about = about(&change.about);
    let subject = match about.is_empty() {
        true => String::new(),
        false => format!("{about}: "),
    };
    let was = match &change.about {
        About::Hosts(names) if names.len() > 1 => "were",
        About::Hosts(_)
        | About::Plan
        | About::Wave(_)
        | About::Hop(_)
        | About::Step(..)
        | About::StepOf(..) => "was",
    };
    match &change.what {
        What::Added => vec![format!("  {about} {was} added")],
        What::Removed => vec![format!("  {about} {was} removed")],
        What::Order { of, old, new } => {
            let list = |names: &[String]| shorten(&names.join(" "), NAMES_MAX).into_owned();
            vec![format!("  {subject}the order of {of}: {} → {}", list(old), list(new))]
        }
        What::Key { key, old, new } => {
            let (said, lines) = values(old.as_ref(), new.as_ref());
            let mut all = vec![format!("  {subject}{key}{said}")];
            all.extend(lines);
            all
        }
    }
}

fn about(about: &About) -> String {
    let names = |hosts: &[crate::base::name::HostName]| {
        shorten(&fold_names(hosts.iter().map(|host| host.as_str())), NAMES_MAX).into_owned()
    };
    let step = |id: &StepId, hop: &Option<String>| match hop {
        None => format!("step {}/{}", id.phase, id.step),
        Some(hop) => format!("step {}/{} of {hop}", id.phase, id.step),
    };
    match about {
        About::Plan => String::new(),
        About::Wave(name) => format!("wave {name}"),
        About::Hop(name) => format!("hop {name}"),
        About::Step(id, hop) => step(id, hop),
        About::Hosts(hosts) => names(hosts),
        About::StepOf(id, hop, hosts) if hosts.is_empty() => step(id, hop),
        About::StepOf(id, hop, hosts) => format!("{} for {}", step(id, hop), names(hosts)),
    }
}

/// What stands behind the key, and lines of texts where they are long.
fn values(old: Option<&Shown>, new: Option<&Shown>) -> (String, Vec<String>) {
    let long = |shown: Option<&Shown>| match shown {
        None | Some(Shown::Hidden) => false,
        Some(Shown::Word(word)) => word.chars().count() > WORD_MAX,
        Some(Shown::Text(_)) => true,
    };
    fn text(shown: Option<&Shown>) -> Option<&str> {
        match shown {
            None => Some(""),
            Some(Shown::Word(text) | Shown::Text(text)) => Some(text),
            Some(Shown::Hidden) => None,
        }
    }
    if let (true, Some(old), Some(new)) = (long(old) || long(new), text(old), text(new)) {
        return (String::new(), lines(old, new));
    }
    let word = |shown: &Shown| match shown {
        Shown::Word(text) | Shown::Text(text) => shorten(&veil(text), WORD_MAX).into_owned(),
        Shown::Hidden => "(not shown)".to_owned(),
    };
    let said = match (old, new) {
        (Some(Shown::Hidden), Some(Shown::Hidden)) => " has another value (not shown)".to_owned(),
        (Some(old), Some(new)) => format!(" {} → {}", word(old), word(new)),
        (None, Some(new)) => format!(" is new: {}", word(new)),
        (Some(old), None) => format!(" is gone: {}", word(old)),
        (None, None) => String::new(),
    };
    (said, Vec::new())
}

/// The lines in which two texts differ, without those that they begin and end with alike.
fn lines(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[head..], &new[head..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    if old.is_empty() && new.is_empty() {
        return vec!["      only its line ends differ".to_owned()];
    }
    let mut shown = Vec::new();
    for (mark, lines) in [('-', old), ('+', new)] {
        for line in lines.iter().take(LINES_MAX) {
            shown.push(format!("      {mark} {}", shorten(&veil(line), LINE_MAX)));
        }
        if let Some(more @ 1..) = lines.len().checked_sub(LINES_MAX) {
            shown.push(format!("      {mark} … {more} more"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(about: About, key: &str, old: Option<Shown>, new: Option<Shown>) -> String {
        let what = What::Key { key: key.to_owned(), old, new };
        change(&Change { about, what }).join("\n")
    }

    #[test]
    fn a_difference_reads_as_a_sentence() {
        let word = |text: &str| Some(Shown::Word(text.to_owned()));
        let hosts =
            |names: &[&str]| About::Hosts(names.iter().map(|n| n.parse().unwrap()).collect());
        let web = || hosts(&["web-01", "web-02"]);
        for (found, wanted) in [
            (key(About::Plan, "parallel", word("1"), word("2")), "  parallel 1 → 2"),
            (key(web(), "address", word("a"), word("b")), "  web-[01-02]: address a → b"),
            (key(web(), "label rack", None, word("r1")), "  web-[01-02]: label rack is new: r1"),
            (
                key(web(), "variable password", Some(Shown::Hidden), Some(Shown::Hidden)),
                "  web-[01-02]: variable password has another value (not shown)",
            ),
            (
                key(
                    About::Wave("web".parse().unwrap()),
                    "run",
                    Some(Shown::Text("a\nb\nc".into())),
                    Some(Shown::Text("a\nB\u{1b}\nDB_PASSWORD=x\nc".into())),
                ),
                "  wave web: run\n      - b\n      + B\u{1b}\n      + DB_PASSWORD=***",
            ),
        ] {
            assert_eq!(found, wanted);
        }
        let added = Change { about: hosts(&["db-01"]), what: What::Added };
        assert_eq!(change(&added), ["  db-01 was added"]);
        assert!(!indented(&["\u{1b}[2J".to_owned()]).contains('\u{1b}'));
    }
}
