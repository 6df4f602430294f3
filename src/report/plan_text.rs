//! A plan for a terminal: readable for 15 hosts and for 10,000, since hosts that are alike are folded.

use super::{limits_text, paint::Paint, watch_text};
use crate::{
    base::{
        name::HostName,
        text::{first_command, fold_names, one_line, shorten},
        time::format_length,
    },
    journal::Moment,
    plan::{Plan, PlanStep, Rendered, Task},
    playbook::{Action, Severity, WaitFor},
    rollout::{Allowance, OnFailure},
};
use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

/// More names than this are shortened: a fold that long tells nobody anything.
const NAMES_MAX: usize = 120;
const COMMAND_MAX: usize = 72;

/// The plan as text. `scripts` shows each step's whole script.
pub fn plan_text(plan: &Plan, digest: &str, scripts: bool, colour: bool) -> String {
    let mut text = String::new();
    let view = View { plan, scripts, paint: Paint { color: colour } };
    // Writing to a string does not fail.
    let _ = view.head(&mut text, digest);
    let _ = view.waves(&mut text);
    let _ = view.watches(&mut text);
    let _ = view.accepts(&mut text);
    let _ = view.way(&mut text);
    let _ = view.unknown(&mut text);
    text
}

/// How a step reads for some of the hosts.
struct Form<'p> {
    does: String,
    notes: String,
    script: String,
    hosts: Vec<&'p str>,
}

struct View<'p> {
    plan: &'p Plan,
    scripts: bool,
    paint: Paint,
}

impl View<'_> {
    fn head(&self, out: &mut String, digest: &str) -> std::fmt::Result {
        let plan = self.plan;
        writeln!(out, "{}", self.paint.bold(&one_line(&plan.title)))?;
        writeln!(out, "playbook {}, plan {digest}", one_line(&plan.playbook))?;
        if let Some(support) = &plan.support {
            writeln!(out, "support: {}", one_line(support))?;
        }
        let hosts = plan.hosts.len();
        let allowed = plan.limits.budget.failures.of(hosts);
        let budget = match plan.limits.budget.failures {
            Allowance::Hosts(_) => String::new(),
            Allowance::Percent(p) => format!(" ({p} % of {hosts})"),
        };
        let bad = match allowed {
            0 => "the first bad end pauses the run".to_owned(),
            1 => format!("1 bad end is allowed{budget}"),
            n => format!("{n} bad ends are allowed{budget}"),
        };
        let fails = match plan.limits.on_failure {
            OnFailure::Rollback => "is rolled back",
            OnFailure::Hold => "is held for a person",
        };
        writeln!(
            out,
            "{}, at most {} in flight; {bad}; a host that fails {fails}",
            counted(hosts, "host"),
            plan.limits.parallel
        )
    }

    fn waves(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n{}", self.paint.bold("Waves"))?;
        for (number, wave) in self.plan.waves.iter().enumerate() {
            let names = wave.hosts.iter().map(|host| self.plan.hosts[*host].name.as_str());
            let mut notes = Vec::new();
            if wave.canary > 0 && wave.hosts.len() > wave.canary {
                notes.push(format!("canary {}", wave.canary));
            }
            if wave.parallel < self.plan.limits.parallel {
                notes.push(format!("{} in flight", wave.parallel));
            }
            notes.extend(limits_text::of_wave(wave));
            if let Some(rule) = &wave.approval {
                let signed = if rule.signers.is_some() { "signed " } else { "" };
                let word = if rule.quorum == 1 { "approval" } else { "approvals" };
                notes.push(format!("{} {signed}{word} of {}", rule.quorum, rule.names()));
            }
            let after: Vec<&str> =
                wave.after.iter().map(|before| self.plan.waves[*before].name.as_str()).collect();
            if !after.is_empty() {
                notes.push(format!("after {}", after.join(" and ")));
            }
            let line = format!(
                "{:>3}  {:<14} {:>5} {:<5}  {:<28} {}",
                number + 1,
                wave.name,
                wave.hosts.len(),
                if wave.hosts.len() == 1 { "host" } else { "hosts" },
                shorten(&fold_names(names), NAMES_MAX),
                notes.join(", ")
            );
            writeln!(out, "{}", one_line(line.trim_end()))?;
        }
        for line in limits_text::of_fleet(self.plan) {
            writeln!(out, "     {}", one_line(&line))?;
        }
        Ok(())
    }

    /// What is asked again and again, and what an answer does.
    fn watches(&self, out: &mut String) -> std::fmt::Result {
        let watches = watch_text::of_plan(self.plan);
        if !watches.is_empty() {
            writeln!(out, "\n{}", self.paint.bold("Asked while it runs"))?;
        }
        watches.iter().try_for_each(|line| writeln!(out, "  {line}"))
    }

    /// Findings that will not block, by whose word.
    fn accepts(&self, out: &mut String) -> std::fmt::Result {
        if !self.plan.accepts.is_empty() {
            writeln!(out, "\n{}", self.paint.bold("Accepted findings"))?;
        }
        for accept in &self.plan.accepts {
            let all = self.plan.hosts.iter().map(|host| &host.name);
            let names = all.filter(|host| accept.hosts.contains(*host)).map(HostName::as_str);
            let names = shorten(&fold_names(names), NAMES_MAX).into_owned();
            let (finding, by, until) = (&accept.finding, &accept.by, &accept.until);
            let line =
                format!("  {finding:<26} [{names}] by {by} until {until}: {}", accept.reason);
            writeln!(out, "{}", one_line(&line))?;
        }
        Ok(())
    }

    fn way(&self, out: &mut String) -> std::fmt::Result {
        for (number, hop) in self.plan.hops.iter().enumerate() {
            let steps = &self.plan.steps[hop.forward.clone()];
            let estimate: Duration = steps.iter().map(|step| step.estimate).sum();
            let mut title = one_line(&hop.title).into_owned();
            if let (Some(from), Some(to)) = (&hop.from, &hop.to) {
                let _ = write!(title, " ({from} to {to})");
            }
            let count = hop.forward.len();
            writeln!(
                out,
                "\n{} {}",
                self.paint.bold(&format!("Hop {}: {title}", number + 1)),
                self.paint.dim(&format!(
                    "{count} steps, about {} a host by the playbook's word",
                    format_length(estimate)
                ))
            )?;
            for index in hop.forward.clone() {
                self.step(out, index)?;
            }
            for (range, what) in [(&hop.rollback, "On failure"), (&hop.commit, "On commit")] {
                if !range.is_empty() {
                    writeln!(out, "  {}", self.paint.dim(what))?;
                }
                for index in range.clone() {
                    self.step(out, index)?;
                }
            }
        }
        Ok(())
    }

    /// One line for a step, with a line more for each way in which it reads differently for some hosts.
    fn step(&self, out: &mut String, index: usize) -> std::fmt::Result {
        let step = &self.plan.steps[index];
        let forms = self.forms(index);
        let alike = forms.len() == 1;
        for (number, form) in forms.iter().enumerate() {
            let (phase, name) = match number {
                0 => (step.id.phase.as_str(), step.id.step.as_str()),
                _ => ("", ""),
            };
            let hosts = form.hosts.iter().copied();
            let whom = match alike {
                true => String::new(),
                false => format!("[{}] ", shorten(&fold_names(hosts), NAMES_MAX)),
            };
            let line = format!("  {phase:<9} {name:<26} {whom}{}", form.does);
            let notes = match form.notes.is_empty() {
                true => String::new(),
                false => format!(" {}", self.paint.dim(&form.notes)),
            };
            writeln!(out, "{}{notes}", one_line(line.trim_end()))?;
            out.push_str(&form.script);
            if number == 3 && forms.len() > 5 {
                writeln!(out, "  {:<9} {:<26} and {} more forms", "", "", forms.len() - 4)?;
                break;
            }
        }
        Ok(())
    }

    /// The ways in which a step reads, in the order of their first hosts. Texts that differ only where nothing is shown of
    /// them are one.
    fn forms(&self, index: usize) -> Vec<Form<'_>> {
        let step = &self.plan.steps[index];
        let mut forms: Vec<Form<'_>> = Vec::new();
        let mut by_text: BTreeMap<(String, String, String), usize> = BTreeMap::new();
        let mut by_rendered: BTreeMap<u32, usize> = BTreeMap::new();
        for host in &self.plan.hosts {
            let at = *by_rendered.entry(host.steps[index]).or_insert_with(|| {
                let rendered = &self.plan.rendered[host.steps[index] as usize];
                let mut script = String::new();
                if self.scripts {
                    // Writing to a string does not fail.
                    let _ = self.script(&mut script, rendered);
                }
                let text = (command(rendered), notes(step, rendered), script);
                *by_text.entry(text).or_insert_with_key(|(does, notes, script)| {
                    let (does, notes, script) = (does.clone(), notes.clone(), script.clone());
                    forms.push(Form { does, notes, script, hosts: Vec::new() });
                    forms.len() - 1
                })
            });
            forms[at].hosts.push(host.name.as_str());
        }
        forms
    }

    fn script(&self, out: &mut String, rendered: &Rendered) -> std::fmt::Result {
        let texts = [
            ("unless", rendered.unless.as_deref()),
            ("run", script_of(&rendered.task)),
            ("expect", rendered.expect.as_deref()),
            ("verify", rendered.verify.as_deref()),
            ("probe", rendered.probe.as_deref()),
        ];
        for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text?))) {
            for (number, line) in text.trim_end().lines().enumerate() {
                let head = if number == 0 { name } else { "" };
                writeln!(
                    out,
                    "            {}",
                    self.paint.dim(&format!("{head:<7}| {}", one_line(line)))
                )?;
            }
        }
        Ok(())
    }

    /// What can only be known on the hosts.
    fn unknown(&self, out: &mut String) -> std::fmt::Result {
        let late: std::collections::BTreeSet<usize> =
            self.plan.rendered.iter().filter(|r| r.late).map(|r| r.step).collect();
        let guarded = self.plan.rendered.iter().filter(|r| r.unless.is_some()).count();
        writeln!(out, "\n{}", self.paint.bold("Not known before the run"))?;
        writeln!(out, "  what each host runs now; what its prechecks find")?;
        if guarded > 0 {
            writeln!(out, "  which steps a guard (`unless`) skips")?;
        }
        if !late.is_empty() {
            let names: Vec<&str> =
                late.iter().map(|step| self.plan.steps[*step].id.step.as_str()).collect();
            writeln!(out, "  texts that ask for facts, outputs or secrets: {}", names.join(", "))?;
        }
        Ok(())
    }
}

fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// What a step does, in one line.
fn command(rendered: &Rendered) -> String {
    if let Some(when) = &rendered.skip {
        return format!("skipped: `{when}` does not hold");
    }
    let said = match &rendered.task {
        Task::Look { moment: Moment::Before, want: None } => "asks the host what it is".to_owned(),
        Task::Look { moment: Moment::Before, want: Some(from) } => {
            format!("the host checks itself: machine id, system {from}")
        }
        Task::Look { want: Some(want), .. } => format!("proves that the system is {want}"),
        Task::Look { want: None, .. } => "gathers facts".to_owned(),
        Task::Act(Action::Run(_) | Action::Local(_)) => {
            let text = script_of(&rendered.task).unwrap_or_default();
            first_command(text)
        }
        Task::Act(Action::Upload { from, to, .. }) => format!("upload {from} to {to}"),
        Task::Act(Action::Template { to, .. }) => format!("write {to}"),
        Task::Act(Action::Download { from }) => format!("download {from}"),
        Task::Act(Action::Reboot(reboot)) => {
            let mut text = format!("reboot, back within {}", format_length(reboot.timeout));
            if reboot.new_host_key {
                text.push_str(", with a new host key");
            }
            text
        }
        Task::Act(Action::Wait(WaitFor::Port(port))) => format!("wait for port {port}"),
        Task::Act(Action::Wait(WaitFor::Path(path))) => format!("wait for {path}"),
        Task::Act(Action::Wait(WaitFor::Command(text))) => {
            format!("wait until {}", first_command(text))
        }
        Task::Act(Action::Compare { what, .. }) => {
            let what = serde_json::to_value(what).ok();
            let what = what.as_ref().and_then(|w| w.as_str()).unwrap_or("facts");
            format!("compare {what} with those before")
        }
    };
    shorten(&said, COMMAND_MAX).into_owned()
}

fn script_of(task: &Task) -> Option<&str> {
    match task {
        Task::Act(Action::Run(text) | Action::Local(text)) => Some(text),
        Task::Act(Action::Template { text, .. }) => Some(text),
        Task::Act(Action::Wait(WaitFor::Command(text))) => Some(text),
        Task::Act(Action::Reboot(reboot)) => reboot.command.as_deref().or(reboot.until.as_deref()),
        Task::Look { .. }
        | Task::Act(
            Action::Upload { .. }
            | Action::Download { .. }
            | Action::Wait(WaitFor::Port(_) | WaitFor::Path(_))
            | Action::Compare { .. },
        ) => None,
    }
}

fn notes(step: &PlanStep, rendered: &Rendered) -> String {
    let mut notes = Vec::new();
    if rendered.skip.is_some() {
        return String::new();
    }
    if let (Task::Act(_), crate::base::phase::Phase::Precheck) = (&rendered.task, step.id.phase) {
        notes.push(match step.severity {
            Severity::Blocker => "blocker".to_owned(),
            Severity::Info | Severity::Warning => "warning".to_owned(),
        });
    }
    if let Some(reads) = step.reads {
        notes.push(format!("reads {reads}"));
    }
    if rendered.unless.is_some() {
        notes.push("guarded".to_owned());
    }
    if rendered.verify.is_some() {
        notes.push("verified".to_owned());
    }
    if step.arms {
        notes.push("arms".to_owned());
    }
    if step.already {
        notes.push("asked on the target too".to_owned());
    }
    if rendered.when.is_some() {
        notes.push("conditional".to_owned());
    }
    if step.retries > 0 {
        notes.push(match step.retries {
            1 => "1 retry".to_owned(),
            n => format!("{n} retries"),
        });
    }
    match notes.is_empty() {
        true => String::new(),
        false => format!("({})", notes.join(", ")),
    }
}
