//! What hosts said when they were only asked, for a terminal: as short for 10,000 hosts as for 15.

use super::{
    findings::Found,
    naming::{accepted_text, step_name},
    paint::Paint,
    survey::{findings, prospect_text, prospects, silent},
    words::Words,
};
use crate::{
    base::{
        text::{fold_names, one_line, shorten},
        time::format_length,
    },
    plan::Plan,
    playbook::Severity,
    run::{Basis, Downtime, HostSurvey, Lengths, Prospect, Reach, Until},
};
use std::{collections::BTreeMap, fmt::Write as _};

/// More names than this are shortened, in characters.
const NAMES_MAX: usize = 120;
/// A message or a reason, in characters.
const SAID_MAX: usize = 160;
/// Messages of one finding, and ways in which a step will go; the rest is counted.
const KINDS_MAX: usize = 4;

/// The survey as text: who did not answer, what was found, and what each step will do.
pub fn survey_text(plan: &Plan, surveys: &[HostSurvey], colour: bool) -> String {
    let mut text = String::new();
    let view = View { plan, surveys, paint: Paint { color: colour }, words: Words::english() };
    // Writing to a string does not fail.
    let _ = view.head(&mut text);
    let _ = view.silent(&mut text);
    let _ = view.findings(&mut text);
    let _ = view.steps(&mut text);
    let _ = view.downtime(&mut text);
    text
}

struct View<'p> {
    plan: &'p Plan,
    surveys: &'p [HostSurvey],
    paint: Paint,
    words: &'static Words,
}

impl View<'_> {
    fn names(&self, hosts: &[usize]) -> String {
        let names = hosts.iter().map(|host| self.plan.hosts[*host].name.as_str());
        one_line(&shorten(&fold_names(names), NAMES_MAX)).into_owned()
    }

    fn count(&self, hosts: usize) -> String {
        match hosts {
            1 => "1 host".to_owned(),
            n => format!("{} hosts", self.words.number(n)),
        }
    }

    fn head(&self, out: &mut String) -> std::fmt::Result {
        let mut by: BTreeMap<&str, usize> = BTreeMap::new();
        for survey in self.surveys {
            let word = match &survey.reach {
                Reach::Asked if survey.is_good() => "ready",
                Reach::Asked => "blocked",
                Reach::Already => "already done",
                Reach::Unreachable { .. } => "unreachable",
                Reach::Refused { .. } => "refused",
            };
            *by.entry(word).or_default() += 1;
        }
        let order = ["ready", "already done", "blocked", "unreachable", "refused"];
        let counts = order.iter().filter_map(|word| Some(format!("{} {word}", by.get(word)?)));
        let counts: Vec<String> = counts.collect();
        writeln!(out, "\n{}", self.paint.bold("Asked just now, and nothing was changed"))?;
        writeln!(out, "  {}: {}", self.count(self.surveys.len()), counts.join(", "))
    }

    fn silent(&self, out: &mut String) -> std::fmt::Result {
        for ((word, reason), hosts) in silent(self.surveys) {
            writeln!(out, "  {word}  {}  {}", self.count(hosts.len()), self.names(&hosts))?;
            writeln!(out, "    {}", one_line(&shorten(reason, SAID_MAX)))?;
        }
        Ok(())
    }

    fn findings(&self, out: &mut String) -> std::fmt::Result {
        let found = findings(self.surveys);
        let (info, found): (Vec<&Found<'_>>, Vec<&Found<'_>>) =
            found.iter().partition(|found| found.finding.severity == Severity::Info);
        let (new, accepted): (Vec<&Found<'_>>, Vec<&Found<'_>>) =
            found.into_iter().partition(|found| {
                found.finding.blocks() || found.finding.severity == Severity::Warning
            });
        for (title, found) in [("Findings", new), ("Accepted findings", accepted)] {
            if found.is_empty() {
                continue;
            }
            writeln!(out, "\n{}", self.paint.bold(title))?;
            for found in found {
                self.finding(out, found)?;
            }
        }
        match info.len() {
            0 => Ok(()),
            1 => writeln!(out, "  and 1 that is only for information: --json has it"),
            n => writeln!(out, "  and {n} that are only for information: --json has them"),
        }
    }

    fn finding(&self, out: &mut String, found: &Found<'_>) -> std::fmt::Result {
        let finding = found.finding;
        let kind = match finding.severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Blocker if finding.blocks() => "blocker",
            Severity::Blocker => "accepted",
        };
        let name = step_name(self.plan, &finding.step);
        let (count, names) = (self.count(found.hosts.len()), self.names(&found.hosts));
        writeln!(out, "  {kind:<9} {name}  {count}  {names}")?;
        if let Some(key) = finding.key() {
            writeln!(out, "    {}", one_line(key))?;
        }
        for (message, hosts) in found.messages.iter().take(KINDS_MAX) {
            let message = one_line(&shorten(message, SAID_MAX)).into_owned();
            match found.messages.len() {
                1 => writeln!(out, "    {message}")?,
                _ => writeln!(out, "    {message}  ({})", self.count(*hosts))?,
            }
        }
        if found.messages.len() > KINDS_MAX {
            writeln!(out, "    and {} other messages", found.messages.len() - KINDS_MAX)?;
        }
        if let Some(reported) = finding.reported.as_ref().filter(|it| !it.summary.is_empty()) {
            writeln!(out, "    {}", one_line(&shorten(&reported.summary, SAID_MAX)))?;
        }
        if let Some(accepted) = &finding.accepted {
            writeln!(out, "    {}", shorten(&accepted_text(self.words, accepted), SAID_MAX))?;
        }
        if let Some(remedy) = &finding.remedy {
            writeln!(out, "    remedy: {}", one_line(remedy))?;
        }
        Ok(())
    }

    /// A line for each step, with a line more for each way in which it goes on some of the hosts.
    fn steps(&self, out: &mut String) -> std::fmt::Result {
        // Who does not answer, and what blocks, was named above, once.
        let is_told = |step: usize, prospect: &Prospect, host: usize| match prospect {
            Prospect::Unknown { until: Until::Asked } => !self.is_reached(host),
            Prospect::Blocked { by } => *by != step,
            Prospect::Unknown { until: Until::Step(_) | Until::Run }
            | Prospect::Runs
            | Prospect::Passed
            | Prospect::Found
            | Prospect::Done { .. }
            | Prospect::Skipped { .. }
            | Prospect::Behind => false,
        };
        let mut left_out = false;
        writeln!(out, "\n{}", self.paint.bold("What each step will do"))?;
        for step in self.plan.hops.iter().flat_map(|hop| hop.forward.clone()) {
            let mut by: Vec<(&Prospect, Vec<usize>)> =
                prospects(self.surveys, step).into_iter().collect();
            for (prospect, hosts) in &mut by {
                let all = hosts.len();
                hosts.retain(|host| !is_told(step, prospect, *host));
                left_out |= hosts.len() < all;
            }
            by.retain(|(_, hosts)| !hosts.is_empty());
            let alike = by.len() == 1;
            by.sort_by_key(|(prospect, hosts)| (std::cmp::Reverse(hosts.len()), *prospect));
            let id = &self.plan.steps[step].id;
            for (number, (prospect, hosts)) in by.iter().enumerate() {
                let (phase, name) = match number {
                    0 => (id.phase.as_str(), id.step.as_str()),
                    _ => ("", ""),
                };
                if number == KINDS_MAX {
                    let rest: usize = by[number..].iter().map(|(_, hosts)| hosts.len()).sum();
                    let rest = self.count(rest);
                    writeln!(out, "  {:<9} {:<26} and otherwise for {rest}", "", "")?;
                    break;
                }
                let whom = match alike {
                    true => String::new(),
                    false => format!("[{}] ", self.names(hosts)),
                };
                let does = shorten(&prospect_text(self.plan, prospect), SAID_MAX / 2).into_owned();
                let line = format!("  {phase:<9} {name:<26} {whom}{does}");
                writeln!(out, "{}", one_line(line.trim_end()))?;
            }
        }
        writeln!(
            out,
            "  guards were asked as the hosts are now; what a step before them changes, they do not know"
        )?;
        if left_out {
            let what = "hosts that could not be asked, and what a blocker keeps others from";
            writeln!(out, "  left out: {what}")?;
        }
        Ok(())
    }

    fn is_reached(&self, host: usize) -> bool {
        match self.surveys[host].reach {
            Reach::Asked | Reach::Already => true,
            Reach::Unreachable { .. } | Reach::Refused { .. } => false,
        }
    }

    fn downtime(&self, out: &mut String) -> std::fmt::Result {
        let lengths = Lengths::of(self.plan);
        let mut by: BTreeMap<Downtime, Vec<usize>> = BTreeMap::new();
        for (host, survey) in self.surveys.iter().enumerate() {
            if let Some(downtime) = lengths.downtime(survey) {
                by.entry(downtime).or_default().push(host);
            }
        }
        if by.is_empty() {
            return Ok(());
        }
        let basis = match lengths.basis() {
            Basis::Playbook => "by the playbook's word",
            Basis::PastRuns | Basis::ThisRun => "by runs before",
        };
        writeln!(out, "\n{} {basis}", self.paint.bold("Downtime of a host,"))?;
        let groups = by.len();
        for (downtime, hosts) in by.into_iter().rev().take(KINDS_MAX) {
            let span = |[usual, slow]: [std::time::Duration; 2]| match usual == slow {
                true => format!("about {}", format_length(usual)),
                false => format!("{} to {}", format_length(usual), format_length(slow)),
            };
            let dark = match downtime.dark[1].is_zero() {
                true => "no reboot".to_owned(),
                false => format!("dark in it {}", span(downtime.dark)),
            };
            let names = self.names(&hosts);
            writeln!(out, "  {}, {dark}  {names}", span(downtime.change))?;
        }
        if groups > KINDS_MAX {
            writeln!(out, "  and {} other lengths, all shorter", groups - KINDS_MAX)?;
        }
        Ok(())
    }
}
