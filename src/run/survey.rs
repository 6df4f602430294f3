//! What is known of a host before a run: what it said when it was only asked.

use super::{
    pace::{Basis, Mark, step_length},
    state::RunState,
};
use crate::{base::facts::Facts, journal::Finding, plan::Plan};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What a step will do on a host, as far as anybody can know now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Prospect {
    /// Its guard says that it is not done, or it has none.
    Runs,
    /// A precheck that was asked, and has found nothing.
    Passed,
    /// A precheck that has found something, which does not block.
    Found,
    /// Its guard says that it is done.
    Done { unless: Arc<str> },
    /// Its condition does not hold for this host.
    Skipped { when: Arc<str> },
    /// It is not reached: this step has found a blocker. It may be that step itself.
    Blocked { by: usize },
    /// Whether it runs is known only then.
    Unknown { until: Until },
    /// It belongs to a part of the way that the host has behind it.
    Behind,
}

impl Prospect {
    /// Whether the step may take time and change something.
    fn may_run(&self) -> bool {
        match self {
            Self::Runs | Self::Passed | Self::Found | Self::Unknown { .. } => true,
            Self::Done { .. } | Self::Skipped { .. } | Self::Blocked { .. } | Self::Behind => false,
        }
    }
}

/// Until when something is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// This step has run.
    Step(usize),
    /// The run has begun: its name is asked for.
    Run,
    /// The host answers.
    Asked,
}

/// How far the asking came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// All that can be known now is known.
    Asked,
    /// It runs the target system: there is nothing to do.
    Already,
    /// It does not answer, or not any more.
    Unreachable { reason: String },
    /// It answers, and one side said no: a key, a login, sudo.
    Refused { reason: String },
}

/// What was learned of one host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostSurvey {
    pub reach: Reach,
    pub facts: Option<Arc<Facts>>,
    /// By the step's place in the plan: the steps that a host passes by itself.
    pub steps: BTreeMap<usize, Prospect>,
    pub findings: Vec<Finding>,
}

impl HostSurvey {
    /// Of a host that said nothing.
    pub fn silent(plan: &Plan, reach: Reach) -> Self {
        let mut survey = Self { reach, facts: None, steps: BTreeMap::new(), findings: Vec::new() };
        survey.fill(plan, &Prospect::Unknown { until: Until::Asked });
        survey
    }

    /// Says this of every step of which nothing was said.
    pub fn fill(&mut self, plan: &Plan, prospect: &Prospect) {
        for step in plan.hops.iter().flat_map(|hop| hop.forward.clone()) {
            self.steps.entry(step).or_insert_with(|| prospect.clone());
        }
    }

    /// Whether a run could take this host to its end, for all that is known.
    pub fn is_good(&self) -> bool {
        matches!(self.reach, Reach::Asked | Reach::Already)
            && !self.findings.iter().any(Finding::blocks)
    }
}

/// How long a host is out of service, if nothing goes wrong: by the lengths that half of the hosts keep, and by those that
/// nine of ten do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Downtime {
    /// From the first step of a migration to its last proof.
    pub change: [Duration; 2],
    /// Within it: reboots, in which nothing answers.
    pub dark: [Duration; 2],
}

/// Lengths of a plan's steps, before any run.
#[derive(Debug)]
pub struct Lengths<'p> {
    plan: &'p Plan,
    state: RunState,
}

impl<'p> Lengths<'p> {
    pub fn of(plan: &'p Plan) -> Self {
        Self { plan, state: RunState::new(plan) }
    }

    /// Where the lengths come from.
    pub fn basis(&self) -> Basis {
        super::pace::basis(self.plan, &self.state)
    }

    /// Nothing for a host that is not changed. What is unknown is taken to run.
    pub fn downtime(&self, survey: &HostSurvey) -> Option<Downtime> {
        use crate::base::phase::Phase;
        if !survey.is_good() || survey.reach == Reach::Already {
            return None;
        }
        let mut downtime = Downtime::default();
        for (step, _) in survey.steps.iter().filter(|(_, prospect)| prospect.may_run()) {
            let planned = &self.plan.steps[*step];
            if !matches!(planned.id.phase, Phase::Migrate | Phase::Verify) {
                continue;
            }
            for (at, mark) in [Mark::P50, Mark::P90].into_iter().enumerate() {
                let length = step_length(self.plan, &self.state, *step, mark).0;
                downtime.change[at] += length;
                if planned.reboots {
                    downtime.dark[at] += length;
                }
            }
        }
        Some(downtime)
    }
}
