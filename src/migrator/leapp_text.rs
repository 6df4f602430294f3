//! leapp's texts: the report as text, and what it prints.

use super::{
    item::{ITEMS_MAX, Item},
    leapp::{joined, severity_of_risk},
};
use crate::playbook::Severity;

/// What a text says of one finding.
#[derive(Debug)]
pub(super) struct Marked {
    pub item: Item,
    /// The text names its key.
    pub keyed: bool,
}

/// What leapp says on its console.
#[derive(Debug, Default)]
pub(super) struct Console {
    pub errors: Vec<Marked>,
    pub inhibitors: Vec<Marked>,
    /// Inhibitors and errors by its own count; 0 where it does not count.
    pub counted: usize,
}

const LABELS: [&str; 6] =
    ["Risk Factor:", "Title:", "Summary:", "Related links:", "Remediation:", "Key:"];

/// The blocks of a report as text.
pub(super) fn report(text: &str) -> Vec<Marked> {
    let text = plain(text);
    let mut blocks = vec![Vec::new()];
    for line in text.lines() {
        if line.len() >= 20 && line.bytes().all(|b| b == b'-') {
            blocks.push(Vec::new());
        } else if let Some(block) = blocks.last_mut() {
            block.push(line);
        }
    }
    blocks.iter().filter_map(|lines| block(lines)).take(ITEMS_MAX + 1).collect()
}

/// A value goes on over lines until the next label.
fn block(lines: &[&str]) -> Option<Marked> {
    let mut values: [String; LABELS.len()] = Default::default();
    let mut at = None;
    for line in lines {
        let label = LABELS.iter().position(|label| line.starts_with(label));
        let rest = match label {
            Some(found) => {
                at = Some(found);
                line[LABELS[found].len()..].trim()
            }
            None => line,
        };
        if let Some(at) = at {
            let value = &mut values[at];
            if !value.is_empty() {
                value.push('\n');
            }
            value.push_str(rest);
        }
    }
    let [risk, title, summary, _, remedy, key] = values;
    if risk.is_empty() && title.is_empty() {
        return None;
    }
    let risk = risk.to_lowercase();
    let severity = match risk.contains("(inhibitor)") || risk.contains("(error)") {
        true => Severity::Blocker,
        false => severity_of_risk(risk.split_whitespace().next().unwrap_or_default()),
    };
    let remedies: Vec<String> = remedy.lines().map(remedy_line).collect();
    let item = Item::new(&key, severity, &title, &summary).with_remedy(Some(&joined(&remedies)));
    Some(Marked { keyed: !key.is_empty(), item })
}

fn remedy_line(line: &str) -> String {
    match (line.strip_prefix("[hint] "), line.strip_prefix("[command] ")) {
        (Some(hint), _) => hint.to_owned(),
        (None, Some(command)) => format!("Run: {command}"),
        (None, None) => line.to_owned(),
    }
}

/// Reads what leapp printed, also where a serial console or a journal has put its own words before each line.
pub(super) fn console(text: &str) -> Console {
    let text = plain(text);
    let mut console = Console::default();
    let mut listing = false;
    let mut lines = text.lines().map(without_prefix).peekable();
    while let Some(line) = lines.next() {
        if console.errors.len() + console.inhibitors.len() > ITEMS_MAX {
            break;
        }
        if let Some(actor) = error_of(line) {
            let mut said = [String::new(), String::new()];
            let mut at = None;
            while let Some(next) = lines.peek().copied() {
                if error_of(next).is_some() || next.starts_with("====") {
                    break;
                }
                if let Some(message) = next.strip_prefix("Message:") {
                    (said[0], at) = (message.trim().to_owned(), Some(0));
                } else if let Some(summary) = next.strip_prefix("Summary:") {
                    (said[1], at) = (summary.trim().to_owned(), Some(1));
                } else if let Some(at) = at {
                    said[at].push(' ');
                    said[at].push_str(next.trim());
                }
                lines.next();
            }
            console.errors.push(error(actor, &said));
        } else if let Some(title) = inhibitor_of(line) {
            console.inhibitors.push(named(title));
        } else if listing && let Some(title) = numbered(line) {
            console.inhibitors.push(named(title));
        }
        listing = line.starts_with("Upgrade has been inhibited due to the following problems")
            || (listing && numbered(line).is_some());
        for what in ["Errors:", "Inhibitors:"] {
            let count = line.trim().strip_prefix(what).and_then(|n| n.trim().parse::<usize>().ok());
            console.counted = console.counted.saturating_add(count.unwrap_or(0));
        }
    }
    console
}

fn error(actor: &str, said: &[String; 2]) -> Marked {
    let title = match said[0].is_empty() {
        true => format!("the actor {actor} failed"),
        false => said[0].clone(),
    };
    let (summary, hint) = match said[1].split_once("Hint:") {
        Some((summary, hint)) => (summary, Some(hint)),
        None => (said[1].as_str(), None),
    };
    let item = Item::new(&format!("error:{actor}"), Severity::Blocker, &title, summary);
    Marked { item: item.with_remedy(hint), keyed: false }
}

fn named(title: &str) -> Marked {
    Marked { item: Item::new("", Severity::Blocker, title, ""), keyed: false }
}

/// `2022-10-06 13:57:06.093131 [ERROR] Actor: scan_subscription_manager_info`
fn error_of(line: &str) -> Option<&str> {
    let (before, actor) = line.split_once(" [ERROR] Actor: ")?;
    let dated = before.len() <= 32 && before.starts_with(|c: char| c.is_ascii_digit());
    dated.then(|| actor.split_whitespace().next().unwrap_or("unknown"))
}

/// `    1. Inhibitor: Use of NFS detected. Upgrade can't proceed`
fn inhibitor_of(line: &str) -> Option<&str> {
    numbered(line)?.strip_prefix("Inhibitor:").map(str::trim).filter(|title| !title.is_empty())
}

fn numbered(line: &str) -> Option<&str> {
    let (number, rest) = line.trim_start().split_once(". ")?;
    let counts = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    counts.then(|| rest.trim()).filter(|rest| !rest.is_empty())
}

/// Takes away what a console puts before a line: `[  304.524494] upgrade[552]: `.
fn without_prefix(line: &str) -> &str {
    let Some((time, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) else {
        return line;
    };
    if !time.trim().bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return line;
    }
    match rest.split_once("]: ") {
        Some((process, said)) if !process.contains(' ') => said,
        Some(_) | None => rest,
    }
}

/// The text without the colours that leapp gives it on a terminal, and each line as it was last overwritten.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                for c in chars.by_ref() {
                    if ('\u{40}'..='\u{7e}').contains(&c) {
                        break;
                    }
                }
            }
            '\r' => plain.push('\n'),
            c => plain.push(c),
        }
    }
    plain
}
