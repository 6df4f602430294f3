//! `do-release-upgrade`: what it prints, and its own log. Its exit code is 0 or 1 and says little: 1 is also "there is nothing
//! newer", and an upgrade that was given up may end with 0.

use super::{
    apt,
    item::{ITEMS_MAX, Item},
};
use crate::playbook::Severity;

/// Words of its messages, the key of such a finding, and what helps.
const SAID: [(&str, &str, &str); 7] = [
    (
        "No new release found",
        "no-new-release",
        "An LTS release is offered after its first point release; see Prompt in /etc/update-manager/release-upgrades.",
    ),
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
];

/// Words of an error in its log after which there is no upgrade, whatever its exit code. Other errors there are of things on
/// the way: where it ends with 0, these are told and do not block.
const GIVEN_UP: [&str; 4] = ["Dist-upgrade failed", "aborted", "'E:", "error from dpkg"];

/// The items of an output and of a log, where one was written.
pub(super) fn read(texts: &[&str], log: Option<&str>, exit: i32) -> Vec<Item> {
    let mut items = apt::read(texts);
    for line in texts.iter().flat_map(|text| text.lines()) {
        let known = SAID.iter().find(|(words, _, _)| line.contains(words));
        let Some((_, key, remedy)) = known else { continue };
        if !items.iter().any(|item| item.key == *key) {
            let item = Item::new(key, Severity::Blocker, line.trim(), "");
            items.push(item.with_remedy(Some(remedy)));
        }
    }
    for line in log.unwrap_or_default().lines() {
        if items.len() > ITEMS_MAX {
            break;
        }
        let Some(said) = error_in_log(line) else { continue };
        let grave = exit != 0 || GIVEN_UP.iter().any(|words| said.contains(words));
        let severity = if grave { Severity::Blocker } else { Severity::Warning };
        let item = Item::new("log", severity, said, "it stands in its main.log");
        if !items.iter().any(|other| other.title == item.title) {
            items.push(item);
        }
    }
    items
}

/// `2024-05-01 10:00:00,123 ERROR Dist-upgrade failed: 'E:Unable to correct problems'`
fn error_in_log(line: &str) -> Option<&str> {
    let mut words = line.splitn(4, ' ');
    let (day, _, level) = (words.next()?, words.next()?, words.next()?);
    let dated = day.len() == 10 && day.starts_with(|c: char| c.is_ascii_digit());
    (dated && level == "ERROR").then(|| words.next().unwrap_or_default())
}
