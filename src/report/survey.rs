//! What hosts said when they were only asked, folded: hosts that are alike are told once.

use super::{
    findings::{Found, Item, grouped},
    naming::step_name,
};
use crate::{
    base::text::one_line,
    plan::Plan,
    run::{HostSurvey, Prospect, Reach, Until},
};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// The findings of all hosts.
pub(super) fn findings(surveys: &[HostSurvey]) -> Vec<Found<'_>> {
    let items = surveys.iter().enumerate().flat_map(|(host, survey)| {
        let findings = survey.findings.iter();
        findings.map(move |finding| Item { host, at: (), step: &finding.step, finding })
    });
    grouped(items)
}

/// Hosts that were not asked to the end, by why.
pub(super) fn silent(surveys: &[HostSurvey]) -> BTreeMap<(&'static str, &str), Vec<usize>> {
    let mut silent: BTreeMap<(&'static str, &str), Vec<usize>> = BTreeMap::new();
    for (host, survey) in surveys.iter().enumerate() {
        let key = match &survey.reach {
            Reach::Asked | Reach::Already => continue,
            Reach::Unreachable { reason } => ("unreachable", reason.as_str()),
            Reach::Refused { reason } => ("refused", reason.as_str()),
        };
        silent.entry(key).or_default().push(host);
    }
    silent
}

/// What a step will do, with the hosts on which it will, in the order of the prospects.
pub(super) fn prospects(surveys: &[HostSurvey], step: usize) -> BTreeMap<&Prospect, Vec<usize>> {
    let mut by: BTreeMap<&Prospect, Vec<usize>> = BTreeMap::new();
    for (host, survey) in surveys.iter().enumerate() {
        if let Some(prospect) = survey.steps.get(&step) {
            by.entry(prospect).or_default().push(host);
        }
    }
    by
}

/// The word of the contract for a prospect.
pub(super) fn word(prospect: &Prospect) -> &'static str {
    match prospect {
        Prospect::Runs => "will_run",
        Prospect::Passed => "passed",
        Prospect::Found => "found",
        Prospect::Done { .. } => "done",
        Prospect::Skipped { .. } => "does_not_apply",
        Prospect::Blocked { .. } => "blocked",
        Prospect::Unknown { .. } => "unknown",
        Prospect::Behind => "behind",
    }
}

/// The survey as data: a list of steps with the hosts of each prospect, findings by step, and each host's own state.
pub fn survey_json(plan: &Plan, surveys: &[HostSurvey]) -> Json {
    let names = |hosts: &[usize]| -> Vec<&str> {
        hosts.iter().map(|host| plan.hosts[*host].name.as_str()).collect()
    };
    let id = |step: usize| json!(plan.steps[step].id);
    let prospect = |prospect: &Prospect, hosts: &[usize]| {
        let mut said = json!({ "prospect": word(prospect), "hosts": names(hosts) });
        match prospect {
            Prospect::Done { unless } => said["unless"] = json!(unless),
            Prospect::Skipped { when } => said["when"] = json!(when),
            Prospect::Blocked { by } => said["by"] = id(*by),
            Prospect::Unknown { until: Until::Step(step) } => said["until"] = id(*step),
            Prospect::Unknown { until: Until::Run } => said["until"] = json!("run"),
            Prospect::Unknown { until: Until::Asked } => said["until"] = json!("asked"),
            Prospect::Runs | Prospect::Passed | Prospect::Found | Prospect::Behind => {}
        }
        said
    };
    let forward = plan.hops.iter().flat_map(|hop| hop.forward.clone());
    let steps: Vec<Json> = forward
        .map(|step| {
            let by = prospects(surveys, step);
            let mut said = id(step);
            said["prospects"] = by.iter().map(|(p, hosts)| prospect(p, hosts)).collect();
            said
        })
        .collect();
    let findings: Vec<Json> = findings(surveys)
        .iter()
        .map(|found| {
            let mut said = json!(found.finding.step);
            if let Some(reported) = &found.finding.reported {
                said["key"] = json!(reported.key);
                said["summary"] = json!(reported.summary);
            }
            said["severity"] = json!(found.finding.severity);
            said["blocks"] = json!(found.finding.blocks());
            said["remedy"] = json!(found.finding.remedy);
            said["accepted"] = json!(found.finding.accepted);
            said["hosts"] = json!(names(&found.hosts));
            let messages = found.messages.iter();
            said["messages"] =
                messages.map(|(text, hosts)| json!({ "text": text, "hosts": hosts })).collect();
            said
        })
        .collect();
    let lengths = crate::run::Lengths::of(plan);
    let hosts: serde_json::Map<String, Json> = plan
        .hosts
        .iter()
        .zip(surveys)
        .map(|(host, survey)| (host.name.to_string(), host_json(survey, &lengths)))
        .collect();
    json!({ "hosts": hosts, "steps": steps, "findings": findings, "downtime_basis": lengths.basis() })
}

fn host_json(survey: &HostSurvey, lengths: &crate::run::Lengths<'_>) -> Json {
    let facts = survey.facts.as_ref();
    let (state, reason) = match &survey.reach {
        Reach::Asked if survey.is_good() => ("ready", None),
        Reach::Asked => ("blocked", None),
        Reach::Already => ("already", None),
        Reach::Unreachable { reason } => ("unreachable", Some(reason)),
        Reach::Refused { reason } => ("refused", Some(reason)),
    };
    let downtime = lengths.downtime(survey).map(|downtime| {
        json!({
            "p50_s": downtime.change[0].as_secs(), "p90_s": downtime.change[1].as_secs(),
            "dark_p50_s": downtime.dark[0].as_secs(), "dark_p90_s": downtime.dark[1].as_secs(),
        })
    });
    json!({
        "state": state,
        "reason": reason,
        "system": facts.and_then(|facts| facts.system.as_ref()).map(ToString::to_string),
        "machine_id": facts.map(|facts| &facts.machine_id),
        "downtime": downtime,
    })
}

/// A prospect for people.
pub(super) fn prospect_text(plan: &Plan, prospect: &Prospect) -> String {
    match prospect {
        Prospect::Runs => "will run".to_owned(),
        Prospect::Passed => "asked, and passed".to_owned(),
        Prospect::Found => "asked; see its finding".to_owned(),
        Prospect::Done { unless } => {
            let guard = crate::base::text::first_command(unless);
            format!("guard says done: `{}`", one_line(&guard))
        }
        Prospect::Skipped { when } => {
            format!("does not apply: `{}` does not hold", one_line(when))
        }
        Prospect::Blocked { .. } => "blocked: see its finding".to_owned(),
        Prospect::Unknown { until: Until::Step(step) } => {
            format!("unknown until {}", step_name(plan, &plan.steps[*step].id))
        }
        Prospect::Unknown { until: Until::Run } => "unknown until the run has a name".to_owned(),
        Prospect::Unknown { until: Until::Asked } => "unknown until it can be asked".to_owned(),
        Prospect::Behind => "nothing to do any more".to_owned(),
    }
}
