//! Reports of migrators: our own cases, files of the field where `FLEETLIFT_SAMPLES` names a folder with them, and damage.

use crate::cases::check;
use fleetlift::{
    base::{facts::System, name::HostName, time::Timestamp},
    inventory,
    migrator::{Content, Item, ReportFile, Said, weigh},
    plan::{Plan, build},
    playbook::{self, Reads, Severity},
    rollout,
    run::{Heard, hear},
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// All that a case says: a head of `reads`, `exit` and `to`, then files and outputs behind lines that begin with `===`.
struct Case {
    reads: Reads,
    exit: i32,
    /// The step's author takes the code for good.
    taken: bool,
    to: Option<System>,
    out: String,
    err: String,
    files: Vec<ReportFile>,
}

impl Case {
    fn of(reads: Reads, exit: i32, files: &[&str], out: &str) -> Self {
        let file = |text: &&str| ReportFile {
            path: "/report".to_owned(),
            content: Content::Whole((*text).to_owned()),
        };
        let files = files.iter().map(file).collect();
        Self { reads, exit, taken: false, to: None, out: out.to_owned(), err: String::new(), files }
    }

    fn parse(text: &str) -> Self {
        let mut parts = text.split("=== ");
        let head = parts.next().unwrap();
        let said = |key: &str| head.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let reads = said("reads ").unwrap();
        let mut case = Self {
            reads: Reads::ALL.into_iter().find(|one| one.as_str() == reads).unwrap(),
            exit: said("exit ").unwrap().parse().unwrap(),
            taken: said("taken for good").is_some(),
            to: said("to ").map(|to| {
                let (id, version) = to.split_once(' ').unwrap();
                System { id: id.to_owned(), version: version.to_owned() }
            }),
            out: String::new(),
            err: String::new(),
            files: Vec::new(),
        };
        for part in parts {
            let (name, text) = part.split_once('\n').unwrap_or((part, ""));
            let text = text.to_owned();
            let (path, content) = match name.split_once(' ') {
                _ if name == "out" => {
                    case.out = text;
                    continue;
                }
                _ if name == "err" => {
                    case.err = text;
                    continue;
                }
                Some((path, "absent")) => (path, Content::Absent),
                Some((path, "old")) => (path, Content::Old),
                Some((path, "closed")) => (path, Content::Closed),
                Some((path, "cut")) => (path, Content::Cut(text)),
                Some((_, other)) => panic!("{other}"),
                None => (name, Content::Whole(text)),
            };
            case.files.push(ReportFile { path: path.to_owned(), content });
        }
        case
    }

    fn weigh(&self) -> Vec<Item> {
        let said = Said {
            exit: self.exit,
            passes: self.taken || self.exit == 0,
            out: &self.out,
            err: &self.err,
            files: &self.files,
            to: self.to.as_ref(),
        };
        weigh(self.reads, &said)
    }
}

fn show(items: &[Item]) -> String {
    let mut text = String::new();
    for item in items {
        let doubt = if item.acceptable { "" } else { " (nobody can accept it)" };
        writeln!(text, "{:?} {}{doubt}\n  {}", item.severity, item.key, item.title).unwrap();
        if !item.summary.is_empty() {
            writeln!(text, "  | {}", item.summary).unwrap();
        }
        if let Some(remedy) = &item.remedy {
            writeln!(text, "  > {remedy}").unwrap();
        }
    }
    let blockers = items.iter().filter(|item| item.blocks()).count();
    writeln!(text, "{}", if blockers == 0 { "passes" } else { "does not pass" }).unwrap();
    text
}

#[test]
fn reports_become_findings() {
    check("reports", |path| show(&Case::parse(&fs::read_to_string(path).unwrap()).weigh()));
}

/// The report of a run that passed and of one that did not, for each that is read.
fn whole(reads: Reads) -> Case {
    let name = match reads {
        Reads::Leapp => "leapp-inhibitors",
        Reads::Convert2rhel => "convert2rhel-inhibitors",
        Reads::MigrationResults => "results-done",
        Reads::Apt => "apt-hidden-code",
        Reads::DoReleaseUpgrade => "upgrader-log",
    };
    Case::parse(&fs::read_to_string(format!("tests/cases/reports/{name}.txt")).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever of a report is cut off, flipped or doubled: nothing panics, and every limit holds.
    #[test]
    fn damage_is_read_without_harm(
        which in 0usize..Reads::ALL.len(),
        cut in 0.0f64..1.0,
        at in 0.0f64..1.0,
        with in prop::collection::vec(any::<u8>(), 0..6),
        exit in 0i32..3,
    ) {
        let mut case = whole(Reads::ALL[which]);
        case.exit = exit;
        let damage = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.truncate(bytes.len() - (bytes.len() as f64 * cut * cut) as usize);
            let place = (bytes.len() as f64 * at) as usize;
            bytes.splice(place..(place + with.len()).min(bytes.len()), with.iter().copied());
            String::from_utf8_lossy(&bytes).into_owned()
        };
        for file in &mut case.files {
            if let Content::Whole(text) = &mut file.content {
                *text = damage(text);
            }
        }
        case.out = damage(&case.out);
        for item in case.weigh() {
            prop_assert!(!item.key.is_empty() && item.key.chars().count() <= 120);
            prop_assert!(!item.title.is_empty() && item.title.chars().count() <= 160);
            prop_assert!(item.summary.chars().count() <= 400);
            prop_assert!(item.remedy.iter().all(|remedy| remedy.chars().count() <= 400));
            let texts = [Some(&item.title), Some(&item.summary), item.remedy.as_ref()];
            for text in texts.into_iter().flatten() {
                prop_assert!(!text.contains(|c: char| c.is_control()), "{text:?}");
            }
        }
    }

    /// A report that is cut off, as on a full disk, never turns a run that did not pass into one that did, even where the
    /// exit code says that all is well.
    #[test]
    fn a_cut_never_passes(which in 0usize..2, cut in 0.0f64..1.0, well in any::<bool>()) {
        let mut case = whole([Reads::Leapp, Reads::Convert2rhel][which]);
        for file in &mut case.files {
            if let Content::Whole(text) = &mut file.content {
                let end = text.floor_char_boundary((text.len() as f64 * cut) as usize);
                text.truncate(end);
            }
        }
        case.out.clear();
        if well {
            case.exit = 0;
        }
        prop_assert!(case.weigh().iter().any(Item::blocks), "{}", show(&case.weigh()));
    }
}

fn samples(kind: &str, named: impl Fn(&str) -> bool) -> Option<Vec<(String, String)>> {
    let Some(samples) = std::env::var_os("FLEETLIFT_SAMPLES") else {
        eprintln!("SKIPPED: FLEETLIFT_SAMPLES names no folder with {kind}/* from the field");
        return None;
    };
    let mut files: Vec<PathBuf> = fs::read_dir(Path::new(&samples).join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let files = files.into_iter().filter(|path| named(&name(path)));
    Some(files.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect())
}

/// Blockers, warnings, information.
fn counts(items: &[Item]) -> [usize; 3] {
    [Severity::Blocker, Severity::Warning, Severity::Info]
        .map(|severity| items.iter().filter(|item| item.severity == severity).count())
}

fn table(title: &str, found: &BTreeMap<String, [usize; 3]>) {
    println!("{title}: blockers, warnings, information");
    for (name, counts) in found {
        println!("  {counts:?}  {name}");
    }
}

#[test]
fn leapp_reports_of_the_field_are_read() {
    let wanted = |name: &str| !name.starts_with("schema-");
    let Some(files) = samples("leapp-report", wanted) else { return };
    let mut found = BTreeMap::new();
    for (name, text) in &files {
        let case = match name.ends_with("stdout.txt") {
            true => Case::of(Reads::Leapp, 1, &[], text),
            false => Case::of(Reads::Leapp, 0, &[text], ""),
        };
        found.insert(name.clone(), counts(&case.weigh()));
    }
    table("leapp", &found);
    let expected = [
        ("advisor-backend.error-no-flags.leapp-report.json", [1, 0, 0]),
        // What the console alone tells; that there is no report is told beside it.
        ("advisor-backend.leapp-preupgrade.stdout.txt", [2, 0, 0]),
        ("cpanel-elevate.t.leapp_upgrade.report.json", [2, 1, 0]),
        ("foreman_leapp.report_samples.leapp-report.json", [4, 6, 5]),
        ("insights-core.datasources.leapp-report.json", [4, 5, 3]),
        ("tasks-frontend.leapp_task_jobs.1.leapp-report.json", [2, 1, 2]),
        ("tasks-frontend.leapp_task_jobs.1.leapp-report.txt", [2, 1, 2]),
        ("tasks-frontend.leapp_task_jobs.4.leapp-report.json", [0, 1, 3]),
    ];
    for (name, counts) in expected {
        assert_eq!(found.get(name), Some(&counts), "{name}");
    }
    // Every mark in a file is a finding that blocks.
    for (name, text) in files.iter().filter(|(name, _)| name.ends_with("json")) {
        let marked = text.matches("\"inhibitor\"").count() + text.matches("\"error\"").count();
        assert!(found[name][0] >= marked, "{name}: {marked}");
    }
    // The same run in both forms says the same.
    let both = "tasks-frontend.leapp_task_jobs.1.leapp-report.";
    let items = ["json", "txt"].map(|form| {
        let (_, text) = files.iter().find(|(name, _)| *name == format!("{both}{form}")).unwrap();
        let mut items = Case::of(Reads::Leapp, 0, &[text], "").weigh();
        items.sort_by(|a, b| a.key.cmp(&b.key));
        items.into_iter().map(|item| (item.key, item.severity, item.title)).collect::<Vec<_>>()
    });
    assert_eq!(items[0], items[1]);
}

#[test]
fn an_error_that_an_older_schema_hides_is_found_on_the_console() {
    let Some(files) = samples("leapp-report", |name| name.starts_with("advisor-backend")) else {
        return;
    };
    let text = |end: &str| files.iter().find(|(name, _)| name.ends_with(end)).unwrap().1.as_str();
    let case = Case::of(Reads::Leapp, 1, &[text("json")], text("stdout.txt"));
    let items = case.weigh();
    assert_eq!(counts(&items), [1, 0, 0], "{}", show(&items));
    assert_eq!(items[0].key, "7ec8269784db1bba2ac54ae438689ef397e16833");
    assert!(items[0].remedy.as_ref().unwrap().contains("--no-rhsm"), "{}", show(&items));
}

#[test]
fn whole_consoles_of_upgrades_that_went_well_block_nothing() {
    let Some(files) = samples("misc", |name| name.ends_with("console.md")) else { return };
    assert_eq!(files.len(), 2);
    let report = r#"{"leapp_run_id": "1", "entries": []}"#;
    let mut found = BTreeMap::new();
    for (name, text) in &files {
        let items = Case::of(Reads::Leapp, 0, &[report], text).weigh();
        assert!(items.is_empty(), "{name}: {}", show(&items));
        found.insert(name.clone(), counts(&items));
    }
    table("leapp on consoles", &found);
}

#[test]
fn convert2rhel_reports_of_the_field_are_read() {
    let wanted = |name: &str| !name.starts_with("schema-");
    let Some(files) = samples("convert2rhel", wanted) else { return };
    let mut found = BTreeMap::new();
    for (name, text) in &files {
        let items = Case::of(Reads::Convert2rhel, 2, &[text], "").weigh();
        let levels = ["ERROR", "OVERRIDABLE", "SKIP"];
        let marked: usize = levels
            .map(|level| text.matches(&format!("\"level\": \"{level}\"")).count())
            .iter()
            .sum();
        found.insert(name.clone(), counts(&items));
        assert!(found[name][0] >= marked.max(1), "{name}: {}", show(&items));
    }
    table("convert2rhel", &found);
    assert_eq!(found["c2r-mock-utility.data.craft.kmod.json"], [2, 0, 0]);
    assert_eq!(found["tasks-frontend.convert2rhel_task_jobs.1.insights-entries.json"], [3, 0, 0]);
}

#[test]
fn histories_of_the_field_are_read() {
    let Some(files) = samples("migration-results", |_| true) else { return };
    let mut found = BTreeMap::new();
    for (name, text) in &files {
        found.insert(name.clone(), Case::of(Reads::MigrationResults, 0, &[text], "").weigh());
    }
    table("histories", &found.iter().map(|(name, items)| (name.clone(), counts(items))).collect());
    let keys = |name: &str| found[name].iter().map(|item| item.key.as_str()).collect::<Vec<_>>();
    // An upgrade that stands before its reboot, and an analysis.
    assert_eq!(keys("insights-core.MIGRATION_RESULTS_OK_1.json"), ["unfinished"]);
    assert_eq!(keys("insights-core.MIGRATION_RESULTS_OK_2.json"), ["not-begun"]);
}

/// A plan of one host whose precheck reads leapp's report.
fn plan(severity: &str, accept: &str) -> Plan {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let hosts = file("hosts.toml", "[groups.web]\nhosts = [\"web-01\"]\n");
    let steps = format!(
        "name = \"x\"\n[[precheck]]\nname = \"analysis\"\nrun = \"true\"\nreads = \"leapp\"\nseverity = \"{severity}\"\n"
    );
    let steps = file("playbook.toml", &steps);
    let rollout = rollout::read(&file("rollout.toml", accept)).unwrap();
    let inventory = inventory::read(&hosts).unwrap();
    let playbook = playbook::read(steps.to_str().unwrap()).unwrap();
    let all: BTreeSet<HostName> = inventory.hosts.keys().cloned().collect();
    build(&inventory, &playbook, &rollout, "@all", &all).unwrap()
}

fn heard(plan: &Plan, inhibitors: usize, others: usize) -> Heard {
    let entry = |n: usize, group: &str| {
        let risk = if n.is_multiple_of(2) { "high" } else { "info" };
        format!(
            r#"{{"key": "{n:08x}{n:08x}", "title": "Number {n}", "severity": "{risk}", "groups": ["{group}"]}}"#
        )
    };
    let mut entries: Vec<String> = (0..others).map(|n| entry(n, "x")).collect();
    entries.extend((0..inhibitors).map(|n| entry(1000 + n, "inhibitor")));
    let text = format!("{{\"entries\": [{}]}}", entries.join(", "));
    let case = Case::of(Reads::Leapp, i32::from(inhibitors > 0), &[&text], "");
    let said = Said {
        exit: case.exit,
        passes: case.exit == 0,
        out: "",
        err: "",
        files: &case.files,
        to: None,
    };
    let step = plan.steps.iter().position(|step| step.reads.is_some()).unwrap();
    hear(plan, 0, step, Reads::Leapp, &said, Timestamp::from_millis(1_700_000_000_000))
}

#[test]
fn what_is_kept_of_a_report_is_bounded_and_what_blocks_is_not_lost() {
    let plan_of = |accept: &str| plan("blocker", accept);
    for (inhibitors, others) in [(0, 0), (3, 36), (1, 39), (1, 400), (60, 10), (400, 400)] {
        let Heard { findings, failure, .. } = heard(&plan_of(""), inhibitors, others);
        assert_eq!(findings.len(), (inhibitors + others).min(40), "{inhibitors} {others}");
        assert_eq!(failure.is_some(), inhibitors > 0);
        let blocks = findings.iter().filter(|finding| finding.blocks()).count();
        assert_eq!(blocks, inhibitors.min(if inhibitors + others > 40 { 39 } else { 40 }));
        let more = findings.iter().any(|finding| finding.key() == Some("leapp:more"));
        assert_eq!(more, inhibitors + others > 40);
        if let Some(failure) = failure {
            let said = failure.to_string();
            assert!(said.contains(&format!("{inhibitors} blocker")), "{said}");
            assert!(said.chars().count() < 400, "{said}");
        }
        let size: usize = findings.iter().map(|f| serde_json::to_string(f).unwrap().len()).sum();
        assert!(size < 40 * 1024, "{size}");
    }
}

#[test]
fn a_report_without_end_is_a_doubt() {
    let Heard { findings, failure, .. } = heard(&plan("blocker", ""), 0, 5000);
    assert_eq!(findings[0].key(), Some("leapp:too-many"));
    assert!(failure.unwrap().to_string().contains("1 blocker: leapp has more than 1000 findings"));
    let lines = "2026-11-21 09:16:40,001 ERROR number N\n";
    let log: String = (0..50_000).map(|n| lines.replace('N', &n.to_string())).collect();
    let items = Case::of(Reads::DoReleaseUpgrade, 1, &[&log], "").weigh();
    assert!(items.iter().any(|item| item.key == "too-many") && items.len() < 1010);
}

#[test]
fn what_is_accepted_passes_and_what_is_over_blocks_again() {
    let accept = |until: &str| {
        format!(
            "[[accept]]\nfinding = [\"leapp:000003e8\", \"leapp:title:Number 1001\"]\nby = \"jane\"\nuntil = \"{until}\"\nreason = \"x\"\n"
        )
    };
    let all = plan("blocker", &accept("2099-12-31"));
    let Heard { findings, failure, .. } = heard(&all, 2, 1);
    assert_eq!(failure, None);
    assert_eq!(findings.iter().filter(|f| f.accepted.is_some()).count(), 2);
    let Heard { failure, .. } = heard(&all, 3, 1);
    assert!(failure.unwrap().to_string().contains("1 blocker: Number 1002"));
    let over = plan("blocker", &accept("2023-01-01"));
    let Heard { findings, failure, .. } = heard(&over, 2, 1);
    assert!(failure.is_some());
    assert!(findings.iter().filter(|f| f.blocks()).all(|f| f.accepted.as_ref().unwrap().expired));
    // The precheck's own name accepts all that it finds, and a precheck that only warns blocks nothing.
    let by_name = accept("2099-12-31")
        .replace("[\"leapp:000003e8\", \"leapp:title:Number 1001\"]", "\"analysis\"");
    assert_eq!(heard(&plan("blocker", &by_name), 3, 1).failure, None);
    let Heard { findings, failure, .. } = heard(&plan("warning", ""), 3, 1);
    assert_eq!(
        (failure, findings.iter().filter(|f| f.severity == Severity::Warning).count()),
        (None, 4)
    );
}
