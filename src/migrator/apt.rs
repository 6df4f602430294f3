//! What apt and dpkg print. Their exit codes are often lost on the way, in a pipe or a script, and `apt-get update` ends with 0
//! although a source could not be fetched: so their own words count.

use super::item::Item;
use crate::playbook::Severity;
use std::{
    collections::BTreeSet,
    iter::{self, Peekable},
};

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
        let mut lines = text
            .lines()
            .map(|line| line.rsplit('\r').find(|p| !p.is_empty()).unwrap_or(line))
            .peekable();
        while let Some(line) = lines.next() {
            let Some(item) = item(line.trim_end(), &mut lines) else { continue };
            if seen.insert((item.key.clone(), item.title.clone())) {
                items.push(item);
            }
        }
    }
    items
}

/// One line, with those behind it that are set in: they belong to it.
fn item<'a>(line: &str, next: &mut Peekable<impl Iterator<Item = &'a str>>) -> Option<Item> {
    let mut set_in = || next.next_if(|line| line.starts_with(' '));
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
        let why = set_in().unwrap_or_default();
        let remedy = Some("dpkg --configure -a, and what the package's own message asks for.");
        return Some(Item::new("dpkg-package", Severity::Blocker, &title, why).with_remedy(remedy));
    }
    if line.starts_with("dpkg: error:") {
        let said = line.trim_start_matches("dpkg: error:");
        let (key, remedy) = known(said).unwrap_or(("dpkg", ""));
        return Some(Item::new(key, Severity::Blocker, said, "").with_remedy(Some(remedy)));
    }
    if line == "The following packages have been kept back:" {
        let names: Vec<&str> = iter::from_fn(set_in).collect();
        let names = names.join(" ");
        return Some(Item::new(
            "kept-back",
            Severity::Warning,
            "packages have been kept back",
            &names,
        ));
    }
    None
}

fn known(said: &str) -> Option<(&'static str, &'static str)> {
    KNOWN.iter().find(|(words, _, _)| said.contains(words)).map(|(_, key, remedy)| (*key, *remedy))
}
