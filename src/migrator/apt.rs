//! What apt and dpkg print. Their exit codes are often lost on the way, in a pipe or a script, and `apt-get update` ends with 0
//! although a source could not be fetched: so their own words count.

use super::item::Item;
use crate::playbook::Severity;
use std::{collections::BTreeSet, iter::Peekable};

/// Words that stand in an error or a warning, the key of such a finding, and what helps. The first that fits counts.
const KNOWN: [(&str, &str, &str); 10] = [
    (
        "Could not get lock",
        "lock",
        "Wait for the other apt, or stop its timers: apt-daily, apt-daily-upgrade, unattended-upgrades.",
    ),
    ("dpkg was interrupted", "interrupted", "dpkg --configure -a"),
    ("Unmet dependencies", "unmet-dependencies", "apt-get -f install"),
    ("unmet dependencies", "unmet-dependencies", "apt-get -f install"),
    (
        "held broken packages",
        "held-broken",
        "apt-mark showhold names what is held; release it, or leave the host out.",
    ),
    ("NO_PUBKEY", "no-public-key", "Install the keyring of this source."),
    (
        "does not have a Release file",
        "no-release-file",
        "Correct the source, or take it out for the upgrade.",
    ),
    ("You don't have enough free space", "no-space", "Make room for the packages: apt-get clean."),
    ("No space left on device", "no-space", "Make room, then dpkg --configure -a."),
    (
        "Sub-process /usr/bin/dpkg returned an error code",
        "dpkg",
        "dpkg --audit names the packages; dpkg --configure -a.",
    ),
];

/// Warnings with which apt goes on with what it had before: what it prints afterwards is no proof of anything.
const OLD_STATE: [&str; 5] = [
    "Failed to fetch",
    "Some index files failed to download",
    "NO_PUBKEY",
    "does not have a Release file",
    "GPG error",
];

/// The items of an output. Each kind is told once for each subject that it names.
pub(super) fn read(texts: &[&str]) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    for text in texts {
        let lines = text.lines().map(shown_last);
        let mut lines = lines.peekable();
        while let Some(line) = lines.next() {
            let Some(item) = item(line, &mut lines) else { continue };
            if seen.insert((item.key.clone(), item.title.clone())) {
                items.push(item);
            }
        }
    }
    items
}

/// Of a line that was written over again and again, as progress is, what stood there last.
fn shown_last(line: &str) -> &str {
    line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or(line).trim_end()
}

/// One line, with those behind it that belong to it.
fn item<'a>(line: &str, next: &mut Peekable<impl Iterator<Item = &'a str>>) -> Option<Item> {
    if let Some(said) = line.strip_prefix("E: ").or_else(|| line.strip_prefix("E:")) {
        let (key, remedy) = known(said).unwrap_or(("error", ""));
        return Some(Item::new(key, Severity::Blocker, said, "").with_remedy(Some(remedy)));
    }
    if let Some(said) = line.strip_prefix("W: ") {
        let stale = OLD_STATE.iter().any(|word| said.contains(word));
        let severity = if stale { Severity::Blocker } else { Severity::Warning };
        let (key, remedy) = known(said).unwrap_or((if stale { "fetch" } else { "warning" }, ""));
        return Some(Item::new(key, severity, said, "").with_remedy(Some(remedy)));
    }
    if let Some(said) = line.strip_prefix("dpkg: error processing ") {
        let said = said.trim_end_matches(':');
        let title = format!("dpkg could not process {said}");
        let why = next.next_if(|line| line.starts_with(' ')).unwrap_or_default();
        let remedy = Some("dpkg --configure -a, and what the package's own message asks for.");
        return Some(Item::new("dpkg-package", Severity::Blocker, &title, why).with_remedy(remedy));
    }
    if line.starts_with("dpkg: error:") {
        let said = line.trim_start_matches("dpkg: error:");
        let (key, remedy) = known(said).unwrap_or(("dpkg", ""));
        return Some(Item::new(key, Severity::Blocker, said, "").with_remedy(Some(remedy)));
    }
    if line == "The following packages have been kept back:" {
        // An upgrade without new packages keeps back whatever needs some; whether anything is left at the end, a step asks.
        let names = below(next, " ").join(" ");
        let title = "packages have been kept back";
        return Some(Item::new("kept-back", Severity::Info, title, &names));
    }
    if let Some(file) = line.strip_prefix("Configuration file ") {
        let said = below(next, " ==>");
        let kept = said.iter().any(|line| line.contains("Keeping old config file"));
        let file = file.trim_matches('\'');
        let title = format!("{file} stays as it was changed on the host");
        let remedy = format!("Compare it with the package's own, {file}.dpkg-dist.");
        let item = Item::new("conffile-kept", Severity::Warning, &title, "");
        return kept.then(|| item.with_remedy(Some(&remedy)));
    }
    None
}

/// The lines that follow and begin so.
fn below<'a>(next: &mut Peekable<impl Iterator<Item = &'a str>>, with: &str) -> Vec<&'a str> {
    std::iter::from_fn(|| next.next_if(|line| line.starts_with(with))).collect()
}

fn known(said: &str) -> Option<(&'static str, &'static str)> {
    KNOWN.iter().find(|(words, _, _)| said.contains(words)).map(|(_, key, remedy)| (*key, *remedy))
}
