//! `do-release-upgrade`: what it prints, and its own log. Its exit code is 0 or 1 and says little: 1 is also "there is nothing
//! newer", and an upgrade that was given up may end with 0.

use super::{
    apt,
    item::{ITEMS_MAX, Item},
};
use crate::playbook::Severity;

/// Words of its messages, the key of such a finding, and what helps.
const SAID: [(&str, &str, &str); 9] = [
    ("No new release found", "no-new-release", NOT_OFFERED),
    // What it says where Prompt is `lts`.
    ("There is no development version of an LTS available", "no-new-release", NOT_OFFERED),
    (
        "Please install all available updates",
        "updates-first",
        "apt-get update && apt-get dist-upgrade",
    ),
    ("You have not rebooted after updating", "reboot-first", "Reboot, then ask again."),
    (
        "Could not calculate the upgrade",
        "cannot-calculate",
        "Its log names the packages: remove what is from third parties.",
    ),
    ("Not enough free disk space", "no-space", "Make room; its message says how much and where."),
    ("Upgrade infeasible", "infeasible", ""),
    ("The upgrade has aborted", "aborted", "Its log says why; dpkg --configure -a."),
    ("Could not install the upgrades", "aborted", "Its log says why; dpkg --configure -a."),
];

const NOT_OFFERED: &str = "An LTS release is offered after its first point release; see Prompt in /etc/update-manager/release-upgrades.";

/// Errors in its log after which it has given up, whatever its exit code. It calls much an error that it gets over: a download
/// that is tried again, a package of a third party without a priority.
const GIVEN_UP: [&str; 6] = [
    "view.abort called",
    "Dist-upgrade failed",
    "giving up on fetching",
    "SystemError from cache.commit()",
    "error from dpkg for pkg",
    "not handled exception",
];

/// So many errors that it got over are told.
const GOT_OVER_MAX: usize = 10;

/// The items of an output and of a log, where one was written.
pub(super) fn read(exit: i32, texts: &[&str], log: Option<&str>) -> Vec<Item> {
    let mut items = apt::read(texts);
    for line in texts.iter().flat_map(|text| text.lines()) {
        add_known(line, &mut items);
    }
    let mut got_over = 0;
    for line in log.unwrap_or_default().lines() {
        if items.len() > ITEMS_MAX {
            break;
        }
        let Some(said) = error_in_log(line) else { continue };
        // Without a terminal it writes its messages into its log alone.
        if add_known(said, &mut items) {
            continue;
        }
        let blocks = exit != 0 || GIVEN_UP.iter().any(|words| said.contains(words));
        let severity = if blocks { Severity::Blocker } else { Severity::Warning };
        let item = Item::new("log", severity, said, "it stands in its main.log");
        if items.iter().any(|other| other.title == item.title) {
            continue;
        }
        got_over += usize::from(!blocks);
        if blocks || got_over <= GOT_OVER_MAX {
            items.push(item);
        }
    }
    items
}

/// Whether a line has one of its messages; each is told once.
fn add_known(line: &str, items: &mut Vec<Item>) -> bool {
    let Some((_, key, remedy)) = SAID.iter().find(|(words, _, _)| line.contains(words)) else {
        return false;
    };
    if !items.iter().any(|item| item.key == *key) {
        let item = Item::new(key, Severity::Blocker, line.trim(), "");
        items.push(item.with_remedy(Some(remedy)));
    }
    true
}

/// `2024-05-01 10:00:00,123 ERROR Dist-upgrade failed: 'E:Unable to correct problems'`
fn error_in_log(line: &str) -> Option<&str> {
    let mut words = line.splitn(4, ' ');
    let (day, _, level) = (words.next()?, words.next()?, words.next()?);
    let dated = day.len() == 10 && day.starts_with(|c: char| c.is_ascii_digit());
    (dated && level == "ERROR").then(|| words.next().unwrap_or_default())
}
