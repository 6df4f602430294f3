//! What an attempt gathers beside its ending: rendered texts, evidence, facts, warnings.

use super::{
    lane::{Order, Shared, Stop, unverified},
    late,
};
use crate::{
    journal::{Failure, Finding, Notice, Skip},
    plan::{Rendered, render},
    run::Ending,
};
use std::sync::Arc;

/// What an attempt gathers beside its ending.
pub(super) struct Work {
    pub tail: String,
    pub facts: Option<Arc<crate::base::facts::Facts>>,
    pub warnings: Vec<Notice>,
    /// What a migrator's report has told.
    pub findings: Vec<Finding>,
    /// The ends of what the step printed on its two outputs, where they are read.
    pub said: [String; 2],
    /// What was there of each file of a report before the step, where that was asked now.
    pub before: Vec<String>,
    pub never: bool,
    context: Option<minijinja::Value>,
    host: usize,
}

impl Work {
    pub fn new(host: usize) -> Self {
        Self {
            tail: String::new(),
            facts: None,
            warnings: Vec::new(),
            findings: Vec::new(),
            said: Default::default(),
            before: Vec::new(),
            never: false,
            context: None,
            host,
        }
    }

    /// The step as it runs: as planned, or rendered now that more is known.
    pub fn render(&mut self, shared: &Shared, order: &Order) -> Result<Rendered, Stop> {
        let rendered = shared.plan.rendered(self.host, order.step);
        if !rendered.late {
            return Ok(rendered.clone());
        }
        let refused = |reason: String| Ending::Failed(Failure::Refused { reason });
        let host = &shared.plan.hosts[self.host];
        let hop = &shared.plan.hops[usize::from(shared.plan.steps[order.step].id.hop)];
        let context = late::context(host, hop, &order.known, &shared.secrets).map_err(refused)?;
        if let Some(when) = &rendered.when {
            let holds = shared.templates.holds(when, &context);
            if !holds.map_err(|e| refused(format!("`when` cannot be evaluated: {e}")))? {
                return Err(Ending::Skipped(Skip::Condition { when: when.to_string() }));
            }
        }
        let whole = render(&shared.templates, rendered, &context)
            .map_err(|e| refused(format!("a template cannot be rendered: {e}")))?;
        self.context = Some(context);
        Ok(whole)
    }

    /// Whether the output is what the step expects.
    pub fn expect(
        &self,
        shared: &Shared,
        expect: &str,
        exit: Option<i32>,
        stdout: &str,
        stderr: &str,
    ) -> Result<(), Stop> {
        let result = minijinja::context! { stdout, stderr, exit };
        let context = match &self.context {
            Some(known) => minijinja::context! { ..result, ..known.clone() },
            None => result,
        };
        let shown =
            || crate::base::text::shorten(stdout.lines().next().unwrap_or(""), 120).into_owned();
        let reason = match shared.templates.holds(expect, &context) {
            Ok(true) => return Ok(()),
            Ok(false) => match exit {
                None | Some(0) => format!("the host said `{}`", shown()),
                Some(code) => format!("the host said `{}`, exit code {code}", shown()),
            },
            Err(error) => {
                format!("the host said `{}`, which cannot be evaluated: {error}", shown())
            }
        };
        Err(unverified(expect, reason))
    }
}
