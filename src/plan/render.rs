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

/// The step with every template rendered; expressions stay.
pub fn render(
    templates: &Templates,
    step: &Rendered,
    context: &minijinja::Value,
) -> Result<Rendered, TemplateError> {
    let maybe =
        |it: &Option<Arc<str>>| it.as_ref().map(|t| text(templates, t, context)).transpose();
    let task = match &step.task {
        Task::Look { .. } => step.task.clone(),
        Task::Act(action) => Task::Act(render_action(templates, action, context)?),
    };
    let env = step.env.iter().map(|(name, value)| {
        let value = templates.render(value, context)?;
        Ok((name.clone(), value))
    });
    Ok(Rendered {
        step: step.step,
        late: false,
        skip: step.skip.clone(),
        task,
        when: step.when.clone(),
        unless: maybe(&step.unless)?,
        verify: maybe(&step.verify)?,
        expect: step.expect.clone(),
        probe: maybe(&step.probe)?,
        disarm: maybe(&step.disarm)?,
        env: env.collect::<Result<_, TemplateError>>()?,
    })
}

fn text(
    templates: &Templates,
    template: &Arc<str>,
    context: &minijinja::Value,
) -> Result<Arc<str>, TemplateError> {
    Ok(templates.render(template, context)?.into())
}

fn render_action(
    templates: &Templates,
    action: &Action,
    context: &minijinja::Value,
) -> Result<Action, TemplateError> {
    let arc = |it: &Arc<str>| text(templates, it, context);
    let string = |it: &String| templates.render(it, context);
    Ok(match action {
        Action::Run(script) => Action::Run(arc(script)?),
        Action::Local(script) => Action::Local(arc(script)?),
        Action::Upload { from, to, mode, content } => Action::Upload {
            from: from.clone(),
            to: string(to)?,
            mode: *mode,
            content: Arc::clone(content),
        },
        Action::Template { text, to, mode } => {
            Action::Template { text: arc(text)?, to: string(to)?, mode: *mode }
        }
        Action::Download { from } => Action::Download { from: string(from)? },
        Action::Reboot(reboot) => Action::Reboot(Reboot {
            timeout: reboot.timeout,
            boots: reboot.boots,
            command: reboot.command.as_ref().map(arc).transpose()?,
            until: reboot.until.as_ref().map(arc).transpose()?,
        }),
        Action::Wait(WaitFor::Port(port)) => Action::Wait(WaitFor::Port(*port)),
        Action::Wait(WaitFor::Path(path)) => Action::Wait(WaitFor::Path(string(path)?)),
        Action::Wait(WaitFor::Command(script)) => Action::Wait(WaitFor::Command(arc(script)?)),
        Action::Compare { .. } => action.clone(),
    })
}

/// Every template text of a step.
fn texts(step: &Rendered) -> Vec<&str> {
    let mut texts: Vec<&str> = [&step.unless, &step.verify, &step.probe, &step.disarm]
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
