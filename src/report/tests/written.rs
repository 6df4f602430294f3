//! The report as written: reviewed snapshots, and what must hold for every one of them.

use super::{
    stories,
    story::{self, Story},
};
use crate::{
    base::time::Timestamp,
    report::{Report, Standing, html, json, markdown, status, status_json, summary, why},
    run::decide,
};

#[test]
fn markdown_of_every_story() {
    for (name, story) in stories::all() {
        insta::assert_snapshot!(format!("markdown_{name}"), markdown(&story.report()));
    }
    insta::assert_snapshot!("markdown_empty", markdown(&stories::empty()));
}

#[test]
fn the_end_screen_of_every_story() {
    for (name, story) in stories::all() {
        insta::assert_snapshot!(
            format!("summary_{name}"),
            summary(&story.report(), "fleetlift", false)
        );
    }
    insta::assert_snapshot!(
        "summary_large",
        summary(&stories::large(1000).report(), "fleetlift", false)
    );
}

#[test]
fn the_evidence_for_a_host() {
    let told = |story: &Story, host: &str| why(&story.plan, &story.records(), &story::name(host));
    insta::assert_snapshot!("why_rolled_back", told(&stories::some_failed(), "web-03"));
    insta::assert_snapshot!("why_blocked", told(&stories::some_failed(), "db-03"));
    insta::assert_snapshot!("why_lost", told(&stories::needs_hands(), "cache-02"));
    insta::assert_snapshot!("why_retried", told(&stories::all_migrated(), "web-03"));
    insta::assert_snapshot!("why_skipped", told(&stories::all_migrated(), "db-01"));
    insta::assert_snapshot!("why_held", told(&stories::held(), "db-04"));
    insta::assert_snapshot!("why_hostile", told(&stories::hostile(), "<script>alert(1)<"));
    insta::assert_snapshot!("why_unknown", told(&stories::some_failed(), "nobody"));
}

#[test]
fn where_every_host_stands() {
    for (name, story) in [
        ("still_running", stories::still_running()),
        ("over_budget", stories::over_budget()),
        ("held", stories::held()),
        ("large", stories::large(1000)),
    ] {
        let state = story.state();
        let run = story::run_id();
        let now = Timestamp::from_millis(story::START + story.last() + 5000);
        let waiting_on = decide(&story.plan, &state, now).waiting_on;
        let standing = Standing {
            plan: &story.plan,
            digest: story::digest(),
            run: &run,
            state: &state,
            waiting_on: &waiting_on,
            abandoned: false,
            now,
        };
        insta::assert_snapshot!(format!("status_{name}"), status(&standing, false));
        if name != "large" {
            let json = serde_json::to_string_pretty(&status_json(&standing)).unwrap();
            insta::assert_snapshot!(format!("status_json_{name}"), json);
        }
    }
}

/// Writes every story's report where `REPORT_SAMPLES` says, to be looked at, and says how long ten thousand hosts took.
#[test]
fn samples() {
    let Some(folder) = std::env::var_os("REPORT_SAMPLES") else { return };
    let folder = std::path::Path::new(&folder);
    for (name, story) in stories::all() {
        std::fs::write(folder.join(format!("{name}.html")), html(&story.report())).unwrap();
    }
    let story = stories::large(10_000);
    let records = story.records();
    let clock = std::time::Instant::now;
    let begin = clock();
    let report = Report::build(&story.plan, story::digest(), &story::run_id(), &records);
    let built = clock();
    std::fs::write(folder.join("large.html"), html(&report)).unwrap();
    let written = clock();
    std::fs::write(folder.join("large.json"), json(&report)).unwrap();
    let (build, page, data) = (built - begin, written - built, written.elapsed());
    println!("{} records: build {build:?}, HTML {page:?}, JSON {data:?}", records.len());
}
