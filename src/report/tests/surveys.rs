//! What hosts said when they were only asked: as short for ten thousand as for fifteen.

use super::story;
use crate::{
    journal::{Acceptance, Finding},
    plan::Plan,
    playbook::Severity,
    report::{survey_json, survey_text},
    run::{HostSurvey, Prospect, Reach, Until},
};
use std::sync::Arc;

/// Every seventh host is blocked, every fifth was done before, every hundredth does not answer.
fn surveys(plan: &Plan) -> Vec<HostSurvey> {
    let survey = |host: usize| {
        if host % 100 == 99 {
            let reason = "no answer\u{1b}[31m".to_owned();
            return HostSurvey::silent(plan, Reach::Unreachable { reason });
        }
        let mut survey = HostSurvey::silent(plan, Reach::Asked);
        for (step, prospect) in &mut survey.steps {
            *prospect = match step {
                0 => Prospect::Passed,
                1 if host % 7 == 6 => Prospect::Blocked { by: 1 },
                _ if host % 7 == 6 => Prospect::Blocked { by: 1 },
                3 if host % 5 == 4 => Prospect::Done { unless: Arc::from("test -e /done") },
                5 => Prospect::Unknown { until: Until::Step(4) },
                _ => Prospect::Runs,
            };
        }
        if host % 7 == 6 {
            let accepted = (host.is_multiple_of(2)).then(|| Acceptance {
                by: "jane\u{7}".to_owned(),
                until: "2020-01-01".to_owned(),
                reason: "none".to_owned(),
                expired: true,
            });
            survey.findings.push(Finding {
                step: plan.steps[1].id.clone(),
                severity: Severity::Blocker,
                message: format!("{} MiB free\u{1b}[2J", host % 1000),
                remedy: Some("make room".to_owned()),
                accepted: accepted.map(Box::new),
                notice: None,
                reported: None,
            });
        }
        survey
    };
    (0..plan.hosts.len()).map(survey).collect()
}

#[test]
fn a_survey_of_ten_thousand_hosts_fits_on_two_screens() {
    let plan = story::plan(&[
        ("web", story::numbered("web", 9_000)),
        ("db", story::numbered("db", 1_000)),
    ]);
    let surveys = surveys(&plan);
    let text = survey_text(&plan, &surveys, false);
    assert!(text.lines().count() < 80, "{} lines\n{text}", text.lines().count());
    assert!(text.lines().all(|line| line.chars().count() < 250), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    assert!(text.contains("10,000 hosts: "), "{text}");
    assert!(text.contains("other messages") && text.contains("make room"), "{text}");
    // The same hosts are counted once, whatever they are called.
    let json = survey_json(&plan, &surveys);
    for step in json["steps"].as_array().unwrap() {
        let of = |one: &serde_json::Value| one["hosts"].as_array().unwrap().len();
        let all: usize = step["prospects"].as_array().unwrap().iter().map(of).sum();
        assert_eq!(all, 10_000, "{}", step["step"]);
    }
    let blocked = json["hosts"].as_object().unwrap().values().filter(|h| h["state"] == "blocked");
    assert_eq!(blocked.count(), surveys.iter().filter(|s| !s.findings.is_empty()).count());
}
