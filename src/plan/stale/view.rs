//! A plan by names in place of indices, so that what was added in the middle does not make all that follows another.

use super::super::model::{Plan, Rendered, Task};
use crate::{
    base::digest::digest,
    base::name::{HostName, WaveName},
    journal::StepId,
    playbook::Action,
};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// The parts of a plan by their names, each with what is said of it and of nothing else.
pub struct View<'p> {
    pub plan: &'p Plan,
    /// What is said of the plan as a whole.
    pub whole: Json,
    pub hops: Vec<(String, Json)>,
    pub steps: Vec<(StepId, Json)>,
    pub waves: Vec<(WaveName, Json)>,
    pub hosts: BTreeMap<HostName, (usize, Json)>,
    pub rendered: Vec<Json>,
}

/// As much of a digest as tells two files apart: `sha256:` and twelve digits.
const DIGEST_CHARS: usize = 19;

/// Keys of a plan that are told by their parts, or are about how it was made.
const PARTS: [&str; 10] = [
    "format",
    "hops",
    "steps",
    "waves",
    "hosts",
    "rendered",
    "connections",
    "variables",
    "inputs",
    "origin",
];

impl<'p> View<'p> {
    pub fn of(plan: &'p Plan) -> Result<Self, serde_json::Error> {
        let mut whole = serde_json::to_value(plan)?;
        let parts = |whole: &mut Json, key: &str| match whole.get_mut(key).map(Json::take) {
            Some(Json::Array(parts)) => parts,
            Some(_) | None => Vec::new(),
        };
        let hops = parts(&mut whole, "hops");
        let hops = plan.hops.iter().zip(hops).map(|(hop, json)| {
            (hop.name.clone(), without(json, &["name", "forward", "rollback", "commit"]))
        });
        let steps = parts(&mut whole, "steps");
        let steps = plan.steps.iter().zip(steps);
        let steps =
            steps.map(|(step, json)| (step.id.clone(), without(json, &["hop", "phase", "step"])));
        let waves = parts(&mut whole, "waves");
        let waves = plan.waves.iter().zip(waves).map(|(wave, json)| {
            let mut json = without(json, &["name", "hosts"]);
            put(
                &mut json,
                "after",
                wave.after.iter().map(|i| plan.waves[*i].name.as_str()).collect(),
            );
            (wave.name.clone(), json)
        });
        let hosts = parts(&mut whole, "hosts");
        let (connections, variables) =
            (parts(&mut whole, "connections"), parts(&mut whole, "variables"));
        let at = |pool: &[Json], index: usize| pool.get(index).cloned().unwrap_or_default();
        let hosts = plan.hosts.iter().zip(hosts).enumerate().map(|(index, (host, json))| {
            let mut json = without(json, &["name", "steps", "vars"]);
            put(&mut json, "wave", json!(plan.waves[host.wave].name.as_str()));
            put(&mut json, "connection", at(&connections, host.connection));
            put(&mut json, "variables", at(&variables, host.variables));
            (host.name.clone(), (index, json))
        });
        let (hops, steps, waves) = (hops.collect(), steps.collect(), waves.collect());
        let hosts = hosts.collect();
        let rendered = parts(&mut whole, "rendered");
        let rendered = plan.rendered.iter().zip(rendered);
        let rendered =
            rendered.map(|(step, json)| content(step, without(json, &["step"]))).collect();
        Ok(Self { plan, whole: without(whole, &PARTS), hops, steps, waves, hosts, rendered })
    }

    /// The name of a step's hop, where that is worth telling.
    pub fn hop_of(&self, step: &StepId) -> Option<String> {
        let hop = self.plan.hops.get(usize::from(step.hop))?;
        (self.plan.hops.len() > 1).then(|| hop.name.clone())
    }
}

/// A step with what it uploads by its length and digest.
fn content(step: &Rendered, mut json: Json) -> Json {
    let place = json.pointer_mut("/task/act/upload/content");
    if let (Task::Act(Action::Upload { content, .. }), Some(place)) = (&step.task, place) {
        let digest: String = digest(content).chars().take(DIGEST_CHARS).collect();
        *place = json!(format!("{} bytes, {digest}…", content.len()));
    }
    json
}

fn without(mut json: Json, keys: &[&str]) -> Json {
    if let Some(table) = json.as_object_mut() {
        table.retain(|key, _| !keys.contains(&key.as_str()));
    }
    json
}

fn put(json: &mut Json, key: &str, value: Json) {
    let table: Option<&mut Map<String, Json>> = json.as_object_mut();
    if let Some(table) = table {
        table.insert(key.to_owned(), value);
    }
}
