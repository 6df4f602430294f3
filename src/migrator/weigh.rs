//! The verdict over a migrator's run: from its report and its exit code together. Where they disagree, the careful one counts.

use super::{
    apt, convert2rhel,
    item::{ITEMS_MAX, Item},
    leapp::{self, Left},
    results, upgrader,
};
use crate::{
    base::facts::System,
    playbook::{Reads, Severity},
};

/// A file that a migrator should have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFile {
    pub path: String,
    pub content: Content,
}

/// What was found of it on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Absent,
    /// It is there as it was before the attempt: it tells of another run.
    Old,
    /// It is there, and cannot be read.
    Closed,
    Whole(String),
    /// It is longer than is read: its beginning.
    Cut(String),
}

/// Since when a report must have been written to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Since this attempt began.
    Attempt,
    /// Since the hop began on this host: it was written by a step before this one, or by a boot.
    Hop,
}

/// All that a migrator has said.
#[derive(Clone, Debug)]
pub struct Said<'a> {
    pub exit: i32,
    /// Whether the step takes this exit code for good.
    pub passes: bool,
    /// The ends of its two outputs.
    pub out: &'a str,
    pub err: &'a str,
    pub files: &'a [ReportFile],
    /// The system that the hop leads to.
    pub to: Option<&'a System>,
}

/// Where the report lies, where the step does not say so.
pub fn paths(reads: Reads) -> &'static [&'static str] {
    match reads {
        Reads::Leapp => &["/var/log/leapp/leapp-report.json", "/var/log/leapp/leapp-report.txt"],
        Reads::Convert2rhel => &[
            "/var/log/convert2rhel/convert2rhel-pre-conversion.json",
            "/var/log/convert2rhel/convert2rhel-post-conversion.json",
        ],
        Reads::MigrationResults => &["/etc/migration-results"],
        Reads::DoReleaseUpgrade => &["/var/log/dist-upgrade/main.log"],
        Reads::Apt => &[],
    }
}

pub fn age(reads: Reads) -> Age {
    match reads {
        Reads::MigrationResults => Age::Hop,
        Reads::Leapp | Reads::Convert2rhel | Reads::Apt | Reads::DoReleaseUpgrade => Age::Attempt,
    }
}

/// Whether a run without a report has told nothing.
pub fn is_needed(reads: Reads) -> bool {
    match reads {
        Reads::Leapp | Reads::Convert2rhel | Reads::MigrationResults => true,
        // Their words are in their output; a log is only more of them.
        Reads::Apt | Reads::DoReleaseUpgrade => false,
    }
}

/// What a run has found, doubts among it. Nothing that blocks means that it passed, and nothing else means that.
pub fn weigh(reads: Reads, said: &Said<'_>) -> Vec<Item> {
    let (mut items, read) = read(reads, said);
    match read {
        true => items.extend(said.files.iter().filter_map(|file| damaged(reads, file))),
        false if is_needed(reads) => items.push(nothing_read(reads, said)),
        false => {}
    }
    if items.len() > ITEMS_MAX {
        let title = format!("{reads} has more than {ITEMS_MAX} findings: the rest was not read");
        items.insert(0, Item::doubt("too-many", &title, ""));
    }
    // Exit codes by which a migrator says that what blocks stands in its report.
    let explains = match (reads, said.exit) {
        (_, 0) => false,
        (Reads::Leapp | Reads::DoReleaseUpgrade, code) => code == 1,
        (Reads::Convert2rhel, code) => code == 2,
        (Reads::Apt, code) => code == 100 || code == 1,
        (Reads::MigrationResults, _) => false,
    };
    // Theirs mean what they mean, also where the step's author takes another code for good.
    let strict = said.exit != 0 && matches!(reads, Reads::Leapp | Reads::Convert2rhel);
    let found = items.iter().any(Item::blocks);
    if (strict || !said.passes) && !(found && explains) {
        items.push(unexplained_exit(reads, said, found));
    }
    // What blocks comes first; then as the migrator has it.
    items.sort_by_key(|item| std::cmp::Reverse(item.severity));
    items
}

/// What a run has told that was ended, or whose end nobody saw. It has failed whatever it told, so what is missing is no
/// doubt here.
pub fn told(reads: Reads, said: &Said<'_>) -> Vec<Item> {
    let (mut items, _) = read(reads, said);
    let damaged = said.files.iter().filter_map(|file| damaged(reads, file));
    items.extend(damaged.map(|item| Item { severity: Severity::Warning, ..item }));
    items.sort_by_key(|item| std::cmp::Reverse(item.severity));
    items
}

fn read(reads: Reads, said: &Said<'_>) -> (Vec<Item>, bool) {
    let texts = || {
        said.files.iter().filter_map(|file| match &file.content {
            Content::Whole(text) => Some(text.as_str()),
            // Half a report is none: what blocks may stand in the other half. A log is read as far as it goes.
            Content::Cut(text) if !is_needed(reads) => Some(text.as_str()),
            Content::Absent | Content::Old | Content::Closed | Content::Cut(_) => None,
        })
    };
    match reads {
        Reads::Leapp => {
            let is_json = |text: &&str| {
                text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '['])
            };
            let left = Left {
                json: texts().find(is_json),
                text: texts().find(|text| !is_json(text)),
                out: said.out,
            };
            leapp::read(&left)
        }
        Reads::Convert2rhel => {
            let reports: Vec<Vec<Item>> = texts().filter_map(convert2rhel::read).collect();
            let read = !reports.is_empty();
            (reports.into_iter().flatten().collect(), read)
        }
        Reads::MigrationResults => {
            let read = texts().find_map(|text| results::read(text, said.to));
            let is_read = read.is_some();
            (read.unwrap_or_default(), is_read)
        }
        Reads::Apt => (apt::read(&[said.out, said.err]), true),
        Reads::DoReleaseUpgrade => {
            (upgrader::read(said.exit, &[said.out, said.err], texts().next()), true)
        }
    }
}

/// A report beside others that was written by this run, and cannot be understood: a full disk, or a migrator that was ended in
/// the middle. What it does not say any more may be what blocks.
fn damaged(reads: Reads, file: &ReportFile) -> Option<Item> {
    let path = &file.path;
    let understood = |text: &str| match reads {
        // The text beside the JSON has no form that could be broken.
        Reads::Leapp => !path.ends_with(".json") || leapp::entries(text).is_some(),
        Reads::Convert2rhel => convert2rhel::read(text).is_some(),
        Reads::MigrationResults | Reads::Apt | Reads::DoReleaseUpgrade => true,
    };
    match &file.content {
        Content::Whole(text) if !understood(text) => {
            let title = format!("{path} is no whole report: only what lies beside it was read");
            Some(Item::doubt("damaged", &title, ""))
        }
        // Its other report is of something else.
        Content::Cut(_) if reads == Reads::Convert2rhel => {
            Some(Item::doubt("damaged", &format!("{path} is too long to be read"), ""))
        }
        Content::Cut(_) if is_needed(reads) => {
            let title = format!("{path} is too long: only what lies beside it was read");
            Some(Item::new("too-long", Severity::Warning, &title, ""))
        }
        Content::Absent | Content::Old | Content::Closed | Content::Whole(_) | Content::Cut(_) => {
            None
        }
    }
}

fn nothing_read(reads: Reads, said: &Said<'_>) -> Item {
    let why = |file: &ReportFile| {
        let path = &file.path;
        match &file.content {
            Content::Absent => format!("{path} is not there"),
            Content::Old => match age(reads) {
                Age::Attempt => format!("{path} was not written by this attempt"),
                Age::Hop => format!("{path} was not written in this hop"),
            },
            Content::Closed => format!("{path} cannot be read"),
            Content::Whole(text) if text.trim().is_empty() => format!("{path} is empty"),
            Content::Whole(_) => format!("{path} is not such a report"),
            Content::Cut(_) => format!("{path} is too long to be read"),
        }
    };
    let why: Vec<String> = said.files.iter().map(why).collect();
    let title = format!("{reads} ended with exit code {}, and left no report", said.exit);
    Item::doubt("no-report", &title, &why.join("; "))
}

fn unexplained_exit(reads: Reads, said: &Said<'_>, found: bool) -> Item {
    let code = said.exit;
    let summary = match (reads, code) {
        (Reads::Leapp, 1) => "an error or a crash: what it printed and its log say more",
        (Reads::Leapp, 2) => "it did not understand how it was called",
        (Reads::Convert2rhel, 1) => {
            "an internal error, a rollback that failed, or another one at work"
        }
        (
            Reads::Leapp
            | Reads::Convert2rhel
            | Reads::MigrationResults
            | Reads::Apt
            | Reads::DoReleaseUpgrade,
            _,
        ) => "",
    };
    let title = match found {
        false => {
            format!("{reads} ended with exit code {code}, and nothing that it says explains that")
        }
        true => format!("{reads} ended with exit code {code}, which is not that of findings"),
    };
    Item::doubt("exit", &title, summary)
}
