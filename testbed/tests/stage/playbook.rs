//! Reads the shipped playbooks as plain TOML: as much of them as it takes to try every step by hand.

use minijinja::{Environment, UndefinedBehavior, context};
use std::{collections::BTreeMap, fs, path::PathBuf};
use toml::{Table, Value};

pub const PHASES: [&str; 6] = ["backup", "precheck", "migrate", "verify", "rollback", "commit"];

pub struct Hop {
    pub name: String,
    pub from: (String, String),
    pub to: (String, String),
    pub vars: Table,
    pub steps: BTreeMap<&'static str, Vec<Table>>,
}

pub fn shipped() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../playbooks")
}

pub fn stage() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("stage")
}

fn table(path: PathBuf) -> Table {
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn text<'a>(step: &'a Table, key: &str) -> Option<&'a str> {
    step.get(key).and_then(Value::as_str)
}

fn system(playbook: &Table, key: &str) -> (String, String) {
    let system = playbook[key].as_table().unwrap();
    (text(system, "id").unwrap().into(), text(system, "version").unwrap().into())
}

/// The hops of a shipped playbook, a chain resolved.
pub fn hops(name: &str) -> Vec<Hop> {
    let file = table(shipped().join(format!("{name}.toml")));
    assert!(text(&file, "name").is_some() && text(&file, "support").is_some(), "{name}");
    if let Some(chain) = file.get("hops") {
        return chain.as_array().unwrap().iter().flat_map(|n| hops(n.as_str().unwrap())).collect();
    }
    let steps = PHASES
        .into_iter()
        .map(|phase| {
            let steps = file.get(phase).and_then(Value::as_array).cloned().unwrap_or_default();
            (phase, steps.into_iter().map(|s| s.as_table().unwrap().clone()).collect())
        })
        .collect();
    let vars = file.get("vars").and_then(Value::as_table).cloned().unwrap_or_default();
    let (from, to) = (system(&file, "from"), system(&file, "to"));
    vec![Hop { name: name.into(), from, to, vars, steps }]
}

/// What a fleet on the stage set gives as variables to a host of this role.
pub fn stage_vars(role: &str) -> Table {
    let file = table(stage().join("vars.toml"));
    let mut vars = file["vars"].as_table().unwrap().clone();
    let group = file["groups"].get(role).map(|group| group["vars"].as_table().unwrap().clone());
    vars.extend(group.into_iter().flatten());
    vars
}

/// Every playbook that is shipped.
pub fn names() -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(shipped())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Templates and expressions as the product evaluates them.
pub struct Texts {
    env: Environment<'static>,
    vars: minijinja::Value,
}

impl Texts {
    pub fn new(hop: &Hop, given: &Table, host: &str) -> Self {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.add_filter("quote", |text: String| format!("'{}'", text.replace('\'', r"'\''")));
        let mut vars = hop.vars.clone();
        vars.extend(given.clone());
        let host = context! { name => host };
        let vars =
            context! { host => host, ..minijinja::Value::from(minijinja::value::Serde(&vars)) };
        Self { env, vars }
    }

    pub fn render(&self, template: &str) -> String {
        let rendered = self.env.render_str(template, &self.vars);
        rendered.unwrap_or_else(|e| panic!("{e:#}\n{template}"))
    }

    pub fn holds(&self, expression: &str, stdout: &str, stderr: &str, exit: i32) -> bool {
        let context = context! { stdout, stderr, exit, ..self.vars.clone() };
        let compiled = self.env.compile_expression(expression);
        compiled
            .and_then(|e| e.eval(context))
            .unwrap_or_else(|e| panic!("{expression}: {e:#}"))
            .is_true()
    }
}
