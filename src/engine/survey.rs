//! Asking a fleet before a run: who answers, what its prechecks find, what its guards say. Nothing is changed, and nothing is
//! left on any host.

use super::{
    lane::{Lane, Order, Shared, Stop},
    late::{self, Known},
    read_only::ReadOnly,
    work::Work,
};
use crate::{
    base::{name::HostName, phase::Phase, time::Timestamp},
    host::Exit,
    journal::{Failure, Finding, Part, Skip},
    plan::{Plan, Rendered, Task, names, render},
    playbook::{Action, Severity},
    run::{
        Ending, HostSurvey, Prospect, Reach, Registered, Until, acceptance, found, tells,
        wrong_system,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::{sync::mpsc, task::JoinSet, time::sleep};

/// Asks every host of the plan, so many at once, and tells of each that was asked.
pub async fn survey(
    shared: Shared,
    parallel: usize,
    mut asked: impl FnMut(usize),
) -> Vec<HostSurvey> {
    let now = shared.clock.wall();
    let transport = Arc::new(ReadOnly(Arc::clone(&shared.transport)));
    let shared = Arc::new(Shared { transport, outputs: None, ..shared });
    let plan = Arc::clone(&shared.plan);
    let mut found: BTreeMap<usize, HostSurvey> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut hosts = 0..plan.hosts.len();
    loop {
        while tasks.len() < parallel.max(1)
            && let Some(host) = hosts.next()
        {
            let shared = Arc::clone(&shared);
            tasks.spawn(async move { (host, Walk::new(shared, host, now).go().await) });
        }
        match tasks.join_next().await {
            None => break,
            Some(Ok((host, survey))) => {
                found.insert(host, survey);
                asked(found.len());
            }
            // A bug of ours costs one host its answer, and no other.
            Some(Err(error)) => tracing::error!(%error, "a host could not be asked"),
        }
    }
    let missing = || Reach::Refused { reason: "it could not be asked".to_owned() };
    let mut surveys: Vec<HostSurvey> = (0..plan.hosts.len())
        .map(|host| found.remove(&host).unwrap_or_else(|| HostSurvey::silent(&plan, missing())))
        .collect();
    find_twins(&plan, &mut surveys);
    surveys
}

/// Two names for one machine, where that is not meant: only the first of them would be migrated.
fn find_twins(plan: &Plan, surveys: &mut [HostSurvey]) {
    let mut machines: BTreeMap<String, &HostName> = BTreeMap::new();
    for (host, survey) in plan.hosts.iter().zip(surveys) {
        let Some(id) = survey.facts.as_ref().map(|facts| facts.machine_id.clone()) else {
            continue;
        };
        let Some(first) = machines.get(&id).filter(|_| !id.is_empty()) else {
            machines.insert(id, &host.name);
            continue;
        };
        if !plan.connections[host.connection].allow_shared_machine {
            let message = format!("{id} is also that of {first}: two names for one machine");
            block_at_once(plan, survey, message);
        }
    }
}

/// The host is not the one that is meant: nothing of the way is for it.
fn block_at_once(plan: &Plan, survey: &mut HostSurvey, message: String) {
    let identity = 0;
    survey.steps.clear();
    survey.fill(plan, &Prospect::Blocked { by: identity });
    survey.findings.push(Finding {
        step: plan.steps[identity].id.clone(),
        severity: Severity::Blocker,
        message,
        remedy: None,
        accepted: None,
        notice: None,
        reported: None,
    });
}

/// One host's way, in questions.
struct Walk {
    shared: Arc<Shared>,
    host: usize,
    now: Timestamp,
    lane: Lane,
    known: Known,
    survey: HostSurvey,
    /// The first step that found a blocker.
    blocked: Option<usize>,
    /// The first reboot that will come, or may: what guards say now is not what they say after it.
    reboot: Option<usize>,
}

impl Walk {
    fn new(shared: Arc<Shared>, host: usize, now: Timestamp) -> Self {
        // Nothing is told on the way: only reboots do that.
        let (messages, _) = mpsc::channel(1);
        let survey = HostSurvey {
            reach: Reach::Asked,
            facts: None,
            steps: BTreeMap::new(),
            findings: Vec::new(),
        };
        let lane = Lane::new(Arc::clone(&shared), (host, 0), None, messages);
        let known = Known::default();
        Self { shared, host, now, lane, known, survey, blocked: None, reboot: None }
    }

    async fn go(mut self) -> HostSurvey {
        let plan = Arc::clone(&self.shared.plan);
        if let Err(reach) = self.ask_all(&plan).await {
            self.survey.reach = reach;
        }
        // What the plan knows without the host is known also where it does not answer.
        for step in plan.hops.iter().flat_map(|hop| hop.forward.clone()) {
            if let Some(when) = &plan.rendered(self.host, step).skip {
                let skipped = Prospect::Skipped { when: Arc::clone(when) };
                self.survey.steps.entry(step).or_insert(skipped);
            }
        }
        self.survey.fill(&plan, &Prospect::Unknown { until: Until::Asked });
        if let Some(session) = self.lane.session.take() {
            session.close().await;
        }
        self.survey
    }

    /// An error where the asking ends early.
    async fn ask_all(&mut self, plan: &Plan) -> Result<(), Reach> {
        let identity = 0;
        let looked = self.lane.attempt(&self.order(identity)).await;
        if let Ending::Failed(failure) = looked.ending {
            return Err(self.gone(failure));
        }
        let Some(facts) = looked.facts else {
            return Err(Reach::Refused { reason: "it could not say what it is".to_owned() });
        };
        self.survey.facts = Some(Arc::clone(&facts));
        self.known.facts = Some(Arc::clone(&facts));
        self.known.before = Some(Arc::clone(&facts));
        if let Some(failure) = wrong_system(plan, &facts) {
            block_at_once(plan, &mut self.survey, failure.to_string());
            return Ok(());
        }
        if plan.is_already(facts.system.as_ref()) {
            return self.prove(plan).await;
        }
        self.survey.steps.insert(identity, Prospect::Passed);
        let entry = plan.entry_hop(facts.system.as_ref()).unwrap_or(0);
        self.try_sudo(plan, entry).await?;
        for (number, hop) in plan.hops.iter().enumerate() {
            for step in hop.forward.clone().filter(|step| *step != identity) {
                let prospect = match number.cmp(&entry) {
                    std::cmp::Ordering::Less => Prospect::Behind,
                    std::cmp::Ordering::Equal => self.step(plan, step).await?,
                    std::cmp::Ordering::Greater => self.step_later(plan, hop.forward.start, step),
                };
                self.survey.steps.insert(step, prospect);
            }
        }
        Ok(())
    }

    /// What a later step would be refused for is better known now.
    async fn try_sudo(&mut self, plan: &Plan, entry: usize) -> Result<(), Reach> {
        let usual = self.lane.target.connection.sudo;
        let on_way = |step: &usize| plan.rendered(self.host, *step).skip.is_none();
        let mut steps = plan.hops[entry..].iter().flat_map(|hop| hop.forward.clone());
        let is_look =
            |step: &usize| matches!(plan.rendered(self.host, *step).task, Task::Look { .. });
        let wants = |step: &usize| {
            on_way(step) && !is_look(step) && plan.steps[*step].sudo.unwrap_or(usual)
        };
        let Some(step) = steps.find(wants) else { return Ok(()) };
        let order = self.order(step);
        let rendered = Rendered { env: BTreeMap::new(), ..plan.rendered(self.host, step).clone() };
        let mut work = Work::new(self.host);
        let nothing = Arc::from(":");
        match self.lane.ask(&order, &rendered, &nothing, Part::Look, &mut work).await {
            Ok(_) => Ok(()),
            Err(stop) => Err(self.gone(failure_of(stop))),
        }
    }

    /// A step of the hop that the host enters by.
    async fn step(&mut self, plan: &Plan, step: usize) -> Result<Prospect, Reach> {
        let planned = &plan.steps[step];
        let rendered = plan.rendered(self.host, step);
        let is_precheck = planned.id.phase == Phase::Precheck;
        if let Some(when) = &rendered.skip {
            return Ok(Prospect::Skipped { when: Arc::clone(when) });
        }
        if let Some(by) = self.blocked.filter(|_| !is_precheck) {
            return Ok(Prospect::Blocked { by });
        }
        let prospect = match (&rendered.task, is_precheck) {
            (Task::Look { .. }, _) => Prospect::Runs,
            // A file of the host would be fetched, and nobody has asked for that yet.
            (Task::Act(Action::Download { .. }), true) => Prospect::Runs,
            (Task::Act(_), true) => self.question(plan, step).await?,
            (Task::Act(_), false) => self.guarded(plan, step).await?,
        };
        let may_run = matches!(prospect, Prospect::Runs | Prospect::Unknown { .. });
        if planned.reboots && may_run {
            self.reboot.get_or_insert(step);
        }
        Ok(prospect)
    }

    /// A step of a later hop: what it asks, it asks another system.
    fn step_later(&self, plan: &Plan, start: usize, step: usize) -> Prospect {
        let rendered = plan.rendered(self.host, step);
        if let Some(when) = &rendered.skip {
            return Prospect::Skipped { when: Arc::clone(when) };
        }
        if let Some(by) = self.blocked {
            return Prospect::Blocked { by };
        }
        let asks = plan.steps[step].id.phase == Phase::Precheck
            || rendered.when.is_some()
            || rendered.unless.is_some();
        // The last step of a hop proves its system; rollback and commit stand behind it.
        let before = plan.hops.iter().rfind(|hop| hop.forward.end <= start);
        let last = before.map_or(0, |hop| hop.forward.end.saturating_sub(1));
        match asks {
            true => Prospect::Unknown { until: Until::Step(last) },
            false => Prospect::Runs,
        }
    }

    /// A host on the target is asked what the playbook wants proven there, as in a run: the first proof that fails ends it.
    async fn prove(&mut self, plan: &Plan) -> Result<(), Reach> {
        let mut step = plan.next_proof(0);
        while plan.hops.last().is_some_and(|hop| hop.forward.contains(&step)) {
            let prospect = match (&plan.rendered(self.host, step).skip, self.blocked) {
                (Some(when), _) => Prospect::Skipped { when: Arc::clone(when) },
                (None, Some(by)) => Prospect::Blocked { by },
                (None, None) => self.question(plan, step).await?,
            };
            self.survey.steps.insert(step, prospect);
            step = plan.next_proof(step + 1);
        }
        self.survey.fill(plan, &Prospect::Behind);
        match self.blocked {
            None => Err(Reach::Already),
            Some(_) => Ok(()),
        }
    }

    /// A step that only asks: a precheck, or a proof.
    async fn question(&mut self, plan: &Plan, step: usize) -> Result<Prospect, Reach> {
        let planned = &plan.steps[step];
        if let Some(until) = self.missing(plan, step, plan.rendered(self.host, step)) {
            return Ok(Prospect::Unknown { until });
        }
        let mut tries = 0;
        let (failure, tail, told) = loop {
            let result = self.lane.attempt(&self.order(step)).await;
            tries += 1;
            match result.ending {
                Ending::Passed { exit, stdout, .. } => {
                    if let Some(stdout) = stdout {
                        let name = planned.id.step.to_string();
                        self.known.registered.insert(name, Registered { stdout, exit });
                    }
                    return Ok(match self.tell(result.findings) {
                        0 => Prospect::Passed,
                        _ => Prospect::Found,
                    });
                }
                Ending::Skipped(Skip::Guard { unless }) => return Ok(self.done(&unless)),
                Ending::Skipped(Skip::Condition { when }) => {
                    return Ok(Prospect::Skipped { when: Arc::from(when) });
                }
                Ending::Skipped(Skip::Proven { .. }) => return Ok(Prospect::Passed),
                Ending::Failed(
                    failure @ (Failure::Unreachable { .. } | Failure::Refused { .. }),
                ) => return Err(self.gone(failure)),
                Ending::Failed(_) if tries <= planned.retries => sleep(planned.retry_delay).await,
                Ending::Failed(failure) => {
                    let told = tells(planned, &result.findings);
                    self.tell(result.findings);
                    break (failure, result.tail, told);
                }
            }
        };
        if told {
            self.blocked.get_or_insert(step);
            return Ok(Prospect::Blocked { by: step });
        }
        let accepted = acceptance(plan, self.host, step, &failure, self.now);
        let mut finding = found(planned, &failure, &tail, accepted);
        finding.message = self.safe(&finding.message);
        let blocks = finding.blocks();
        self.survey.findings.push(finding);
        if blocks {
            self.blocked.get_or_insert(step);
            return Ok(Prospect::Blocked { by: step });
        }
        Ok(Prospect::Found)
    }

    /// Takes in what a migrator's report has told, and says how much of it is more than information.
    fn tell(&mut self, findings: Vec<Finding>) -> usize {
        let grave = findings.iter().filter(|finding| finding.severity > Severity::Info).count();
        self.survey.findings.extend(findings);
        grave
    }

    /// A step that changes something: only its condition and its guard are asked.
    async fn guarded(&mut self, plan: &Plan, step: usize) -> Result<Prospect, Reach> {
        let whole = plan.rendered(self.host, step);
        let backup = plan.steps[step].id.phase == Phase::Backup;
        let question = Rendered {
            task: plan.rendered(self.host, 0).task.clone(),
            verify: whole.verify.clone().filter(|_| backup && whole.unless.is_some()),
            expect: None,
            probe: None,
            disarm: None,
            env: if whole.unless.is_some() { whole.env.clone() } else { BTreeMap::new() },
            ..whole.clone()
        };
        let condition =
            Rendered { unless: None, verify: None, env: BTreeMap::new(), ..question.clone() };
        if let Some(when) = &condition.when {
            if let Some(until) = self.missing(plan, step, &condition) {
                return Ok(Prospect::Unknown { until });
            }
            let context = self.context(plan, step)?;
            let holds = self.shared.templates.holds(when, &context);
            if !holds.map_err(|error| self.refused(&format!("`when` of a step: {error}")))? {
                return Ok(Prospect::Skipped { when: Arc::clone(when) });
            }
        }
        if question.unless.is_none() {
            return Ok(Prospect::Runs);
        }
        if let Some(reboot) = self.reboot {
            return Ok(Prospect::Unknown { until: Until::Step(reboot) });
        }
        if let Some(until) = self.missing(plan, step, &question) {
            return Ok(Prospect::Unknown { until });
        }
        let rendered = match question.late {
            false => question,
            true => {
                let context = self.context(plan, step)?;
                render(&self.shared.templates, &question, &context)
                    .map_err(|error| self.refused(&format!("a guard: {}", error.error)))?
            }
        };
        self.guard(plan, step, &rendered).await
    }

    async fn guard(
        &mut self,
        plan: &Plan,
        step: usize,
        rendered: &Rendered,
    ) -> Result<Prospect, Reach> {
        let Some(guard) = &rendered.unless else { return Ok(Prospect::Runs) };
        let order = self.order(step);
        let mut work = Work::new(self.host);
        let answer = match self.lane.ask(&order, rendered, guard, Part::Guard, &mut work).await {
            Ok((Exit::Code(0), _)) => self.lane.is_sound(&order, rendered, &mut work).await,
            Ok(_) => Ok(false),
            Err(stop) => Err(stop),
        };
        match answer.map_err(failure_of) {
            Ok(true) => Ok(self.done(guard)),
            Ok(false) => Ok(Prospect::Runs),
            Err(failure @ (Failure::Unreachable { .. } | Failure::Refused { .. })) => {
                Err(self.gone(failure))
            }
            Err(failure) => {
                // In a run the step would fail of it.
                let message = self.safe(&format!("its guard: {failure}"));
                let step = plan.steps[step].id.clone();
                let (severity, remedy, accepted) = (Severity::Warning, None, None);
                let (notice, reported) = (None, None);
                self.survey.findings.push(Finding {
                    step,
                    severity,
                    message,
                    remedy,
                    accepted,
                    notice,
                    reported,
                });
                Ok(Prospect::Unknown { until: Until::Asked })
            }
        }
    }

    /// Until when it is unknown what these texts ask for; nothing where all of it is known.
    fn missing(&self, plan: &Plan, step: usize, rendered: &Rendered) -> Option<Until> {
        if !rendered.late {
            return None;
        }
        // What cannot be read here was refused when the plan was built.
        let asked: BTreeSet<String> = names(&self.shared.templates, rendered).unwrap_or_default();
        if asked.contains("run") {
            return Some(Until::Run);
        }
        if !asked.contains("steps") {
            return None;
        }
        let texts = serde_json::to_string(rendered).unwrap_or_default();
        let known = &self.known.registered;
        let unknown = (0..step).rev().find(|earlier| {
            let name = plan.steps[*earlier].id.step.as_str();
            plan.steps[*earlier].register && !known.contains_key(name) && texts.contains(name)
        });
        unknown.map(Until::Step)
    }

    fn context(&self, plan: &Plan, step: usize) -> Result<minijinja::Value, Reach> {
        let hop = &plan.hops[usize::from(plan.steps[step].id.hop)];
        late::context(&plan.hosts[self.host], hop, &self.known, &self.shared.secrets)
            .map_err(|reason| self.refused(&reason))
    }

    fn order(&self, step: usize) -> Order {
        let boot_id = self.known.facts.as_ref().map(|facts| facts.boot_id.clone());
        Order {
            step,
            attempt: 1,
            known: self.known.clone(),
            touched: false,
            begun: false,
            unseen: None,
            epoch: 0,
            left_boot: None,
            boot_id: boot_id.filter(|boot| !boot.is_empty()),
            armed: false,
            key_taken: false,
            reopened: 0,
        }
    }

    fn done(&self, unless: &str) -> Prospect {
        Prospect::Done { unless: Arc::from(self.safe(unless)) }
    }

    fn gone(&self, failure: Failure) -> Reach {
        match failure {
            Failure::Unreachable { reason } => Reach::Unreachable { reason: self.safe(&reason) },
            Failure::Refused { reason } => self.refused(&reason),
            failure @ (Failure::Exited { .. }
            | Failure::Killed { .. }
            | Failure::TimedOut { .. }
            | Failure::Lost { .. }
            | Failure::Unverified { .. }
            | Failure::Reboot(_)) => self.refused(&failure.to_string()),
        }
    }

    fn refused(&self, reason: &str) -> Reach {
        Reach::Refused { reason: self.safe(reason) }
    }

    /// The text without secrets.
    fn safe(&self, text: &str) -> String {
        self.shared.secrets.redactor().redact(text)
    }
}

/// A question only ends early by a failure.
fn failure_of(stop: Stop) -> Failure {
    match stop {
        Ending::Failed(failure) => failure,
        Ending::Passed { .. } | Ending::Skipped(_) => {
            Failure::Lost { reason: "its answer was not understood".to_owned() }
        }
    }
}
