//! Rendering: a step's templates become texts, once for all hosts with the same values, or later on the host's turn.

use super::model::{Rendered, Task};
use crate::{
    base::{
        name::{GroupName, HostName},
        template::{TemplateError, Templates, value_of},
    },
    playbook::{Action, Reboot, WaitFor},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Names that are known only while the run goes on.
pub const LATE_NAMES: [&str; 3] = ["facts", "steps", "run"];
/// Names that an `expect` finds beside the variables.
pub const RESULT_NAMES: [&str; 3] = ["stdout", "stderr", "exit"];

/// `host` in templates.
pub fn host_value(
    name: &HostName,
    groups: &[GroupName],
    labels: &BTreeMap<String, String>,
    addresses: &[String],
) -> minijinja::Value {
    minijinja::context! {
        name => name.as_str(),
        groups => value_of(&groups),
        labels => value_of(labels),
        address => addresses.first().map(String::as_str),
    }
}

/// A text of a step that cannot be rendered. `key` is where the text stands in the playbook's step: `run`, `env.PATH`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct RenderError {
    pub key: String,
    pub error: TemplateError,
}

/// Renders the texts of one step, each under its key.
struct Renderer<'r> {
    templates: &'r Templates,
    context: &'r minijinja::Value,
}

impl Renderer<'_> {
    fn string(&self, key: &str, text: &str) -> Result<String, RenderError> {
        let wrong = |error| RenderError { key: key.to_owned(), error };
        self.templates.render(text, self.context).map_err(wrong)
    }

    fn text(&self, key: &str, text: &str) -> Result<Arc<str>, RenderError> {
        self.string(key, text).map(Arc::from)
    }

    fn maybe(&self, key: &str, text: Option<&Arc<str>>) -> Result<Option<Arc<str>>, RenderError> {
        text.map(|text| self.text(key, text)).transpose()
    }

    fn action(&self, action: &Action) -> Result<Action, RenderError> {
        Ok(match action {
            Action::Run(script) => Action::Run(self.text("run", script)?),
            Action::Local(script) => Action::Local(self.text("local", script)?),
            Action::Upload { from, to, mode, content } => Action::Upload {
                from: from.clone(),
                to: self.string("upload.to", to)?,
                mode: *mode,
                content: Arc::clone(content),
            },
            Action::Template { text, to, mode } => Action::Template {
                text: self.text("template.from", text)?,
                to: self.string("template.to", to)?,
                mode: *mode,
            },
            Action::Download { from } => {
                Action::Download { from: self.string("download.from", from)? }
            }
            Action::Reboot(reboot) => Action::Reboot(Reboot {
                command: self.maybe("reboot.command", reboot.command.as_ref())?,
                until: self.maybe("reboot.until", reboot.until.as_ref())?,
                ..reboot.clone()
            }),
            Action::Wait(WaitFor::Port(port)) => Action::Wait(WaitFor::Port(*port)),
            Action::Wait(WaitFor::Path(path)) => {
                Action::Wait(WaitFor::Path(self.string("wait.path", path)?))
            }
            Action::Wait(WaitFor::Command(script)) => {
                Action::Wait(WaitFor::Command(self.text("wait.command", script)?))
            }
            Action::Compare { .. } => action.clone(),
        })
    }
}

/// The step with every template rendered; expressions stay.
pub fn render(
    templates: &Templates,
    step: &Rendered,
    context: &minijinja::Value,
) -> Result<Rendered, RenderError> {
    let renderer = Renderer { templates, context };
    let task = match &step.task {
        Task::Look { .. } => step.task.clone(),
        Task::Act(action) => Task::Act(renderer.action(action)?),
    };
    let env = step.env.iter().map(|(name, value)| {
        let value = renderer.string(&format!("env.{name}"), value)?;
        Ok((name.clone(), value))
    });
    Ok(Rendered {
        step: step.step,
        late: false,
        skip: step.skip.clone(),
        task,
        when: step.when.clone(),
        unless: renderer.maybe("unless", step.unless.as_ref())?,
        verify: renderer.maybe("verify", step.verify.as_ref())?,
        expect: step.expect.clone(),
        probe: renderer.maybe("probe", step.probe.as_ref())?,
        disarm: renderer.maybe("disarm", step.disarm.as_ref())?,
        report: renderer.maybe("report", step.report.as_ref())?,
        env: env.collect::<Result<_, RenderError>>()?,
    })
}

/// Every template text of a step.
fn texts(step: &Rendered) -> Vec<&str> {
    let mut texts: Vec<&str> =
        [&step.unless, &step.verify, &step.probe, &step.disarm, &step.report]
            .into_iter()
            .filter_map(|it| it.as_deref())
            .collect();
    texts.extend(step.env.values().map(String::as_str));
    match &step.task {
        Task::Look { .. } | Task::Act(Action::Compare { .. } | Action::Wait(WaitFor::Port(_))) => {}
        Task::Act(Action::Run(text) | Action::Local(text)) => texts.push(text),
        Task::Act(Action::Wait(WaitFor::Command(text))) => texts.push(text),
        Task::Act(Action::Upload { to, .. }) => texts.push(to),
        Task::Act(Action::Template { text, to, .. }) => texts.extend([&**text, to.as_str()]),
        Task::Act(Action::Download { from }) => texts.push(from),
        Task::Act(Action::Wait(WaitFor::Path(path))) => texts.push(path),
        Task::Act(Action::Reboot(reboot)) => {
            texts.extend(
                [&reboot.command, &reboot.until].into_iter().filter_map(|it| it.as_deref()),
            );
        }
    }
    texts
}

/// Every name that the step's templates and expressions ask for, except an expectation's own.
pub fn names(templates: &Templates, step: &Rendered) -> Result<BTreeSet<String>, TemplateError> {
    let mut names = BTreeSet::new();
    for text in texts(step) {
        names.extend(templates.names(text)?);
    }
    if let Some(when) = &step.when {
        names.extend(templates.expression_names(when)?);
    }
    if let Some(expect) = &step.expect {
        let wanted = templates.expression_names(expect)?;
        names.extend(wanted.into_iter().filter(|name| !RESULT_NAMES.contains(&name.as_str())));
    }
    Ok(names)
}
