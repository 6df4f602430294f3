//! Building a plan: pure, offline, complete. Every fault of it is found, not only the first.

use super::{
    accept::accepts,
    care::check_care,
    inputs::{Variables, inputs},
    model::{Limits, PLAN_FORMAT, Plan, PlanHop, PlanHost, PlanStep, PlanWave, Rendered, Task},
    render::{LATE_NAMES, RenderError, host_value, names, render},
};
use crate::{
    base::{
        fault::{Fault, Faults, Refusal},
        name::{HostName, StepName},
        phase::Phase,
        template::{Templates, value_of},
        text::{fold_names, shorten},
        value::Value,
    },
    inventory::{Host, Inventory, Selection},
    journal::{Moment, StepId},
    playbook::{Action, Hop, HopSystem, OnLost, Playbook, Reboot, Step, fault_in_step},
    rollout::{Rollout, fault_in_wave},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

/// The step that every host begins with: who are you, and what do you run?
pub const IDENTITY: &str = "identity";
/// The step that ends a hop: is this the system that we wanted?
pub const SYSTEM: &str = "system";
/// What a step takes where its author says nothing.
const ESTIMATE: Duration = Duration::from_secs(5);

/// Builds a plan for these hosts of the inventory, or for all of them.
pub fn build(
    inventory: &Inventory,
    playbook: &Playbook,
    rollout: &Rollout,
    selection: &str,
    selected: &BTreeSet<HostName>,
) -> Result<Plan, Faults> {
    let mut builder = Builder::new(playbook);
    let waves = builder.waves(inventory, rollout, selected);
    for (wave, hosts) in waves.iter().enumerate() {
        for name in hosts {
            if let Some(host) = inventory.hosts.get(name) {
                builder.host(host, wave);
            }
        }
    }
    builder.explain(playbook);
    let accepts = accepts(inventory, playbook, rollout, &mut builder.faults);
    let Builder { hosts, hops, templates, faults, .. } = &mut builder;
    check_care(rollout, (hosts, hops, templates), faults);
    let Builder { faults, rendered, steps, hops, hosts, connections, variables, .. } = builder;
    if !faults.is_empty() {
        return Err(Faults(faults));
    }
    Ok(Plan {
        format: PLAN_FORMAT,
        playbook: playbook.name.clone(),
        title: playbook.title.clone(),
        support: playbook.support.clone(),
        selection: selection.to_owned(),
        hops,
        steps,
        waves: plan_waves(rollout, &waves),
        hosts,
        rendered,
        connections,
        limits: Limits {
            parallel: rollout.parallel.max(1) as usize,
            on_failure: rollout.on_failure,
            budget: rollout.budget.clone(),
            at_most: rollout.at_most.clone(),
        },
        interrupts: rollout.interrupts.clone(),
        variables: variables.sets,
        accepts,
        inputs: inputs(inventory, playbook, rollout),
        origin: None,
    })
}

/// The waves, with hosts by their places in the plan, which has them wave after wave.
fn plan_waves(rollout: &Rollout, waves: &[Vec<HostName>]) -> Vec<PlanWave> {
    let mut next = 0;
    let planned = rollout.waves.iter().zip(waves).map(|(wave, members)| {
        let first = next;
        next += members.len();
        PlanWave {
            name: wave.name.clone(),
            hosts: (first..next).collect(),
            after: rollout
                .waves
                .iter()
                .enumerate()
                .filter(|(_, w)| wave.after.contains(&w.name))
                .map(|(i, _)| i)
                .collect(),
            canary: (wave.canary as usize).min(members.len()),
            parallel: wave.parallel.unwrap_or(rollout.parallel).max(1) as usize,
            windows: wave.windows.clone(),
            approval: wave.approval.clone(),
            budget: wave.budget.clone(),
            at_most: wave.at_most.clone(),
            barrier: wave.barrier.map(|n| n.max(1) as usize),
            soak: wave.soak,
            health: wave.health.clone(),
            rehearse_rollback: wave.rehearse_rollback,
            rest_between_hops: wave.rest_between_hops,
        }
    });
    planned.collect()
}

/// A step of the way before any host: its templates, and what they ask for.
struct Draft {
    rendered: Rendered,
    names: BTreeSet<String>,
    hop: usize,
}

struct Builder {
    templates: Templates,
    drafts: Vec<Draft>,
    hop_vars: Vec<BTreeMap<String, Value>>,
    /// Whether each hop names its `from` and its `to`.
    ends: Vec<(bool, bool)>,
    steps: Vec<PlanStep>,
    hops: Vec<PlanHop>,
    hosts: Vec<PlanHost>,
    rendered: Vec<Rendered>,
    /// By step and by the values that it asks for. Only looked up, never walked.
    cache: HashMap<String, u32>,
    connections: Vec<Arc<crate::inventory::Connection>>,
    connection_of: HashMap<usize, usize>,
    variables: Variables,
    faults: Vec<Fault>,
    /// What cannot be rendered, and for whom: by the step's index, the text's key and what is wrong with it.
    unrendered: BTreeMap<(usize, String, String), (RenderError, Vec<HostName>)>,
}

impl Builder {
    fn new(playbook: &Playbook) -> Self {
        let mut builder = Self {
            templates: Templates::default(),
            drafts: Vec::new(),
            hop_vars: playbook.hops.iter().map(|hop| hop.vars.clone()).collect(),
            ends: playbook.hops.iter().map(|h| (h.from.is_some(), h.to.is_some())).collect(),
            steps: Vec::new(),
            hops: Vec::new(),
            hosts: Vec::new(),
            rendered: Vec::new(),
            cache: HashMap::new(),
            connections: Vec::new(),
            connection_of: HashMap::new(),
            variables: Variables::default(),
            faults: Vec::new(),
            unrendered: BTreeMap::new(),
        };
        for (index, hop) in playbook.hops.iter().enumerate() {
            builder.hop(index, hop);
        }
        builder
    }

    fn hop(&mut self, index: usize, hop: &Hop) {
        let steps = |phase: Phase| hop.steps.get(&phase).map(Vec::as_slice).unwrap_or_default();
        let start = self.steps.len();
        if index == 0 {
            self.look(index, Phase::Precheck, IDENTITY, Moment::Before, hop.from.clone());
        }
        for phase in Phase::ALL.into_iter().filter(|phase| phase.is_forward()) {
            for step in steps(phase) {
                self.step(index, phase, step);
            }
        }
        self.look(index, Phase::Verify, SYSTEM, Moment::After, hop.to.clone());
        let forward = start..self.steps.len();
        if !steps(Phase::Rollback).is_empty() {
            for step in steps(Phase::Migrate) {
                self.disarm(index, step);
            }
            for step in steps(Phase::Rollback) {
                self.step(index, Phase::Rollback, step);
            }
            self.look(index, Phase::Rollback, SYSTEM, Moment::RolledBack, hop.from.clone());
        }
        let rollback = forward.end..self.steps.len();
        for step in steps(Phase::Commit) {
            self.step(index, Phase::Commit, step);
        }
        let commit = rollback.end..self.steps.len();
        let (name, title) = (hop.name.clone(), hop.title.clone());
        let (from, to) = (hop.from.clone(), hop.to.clone());
        let vars = hop.vars.clone();
        self.hops.push(PlanHop { name, title, from, to, forward, rollback, commit, vars });
    }

    /// A built-in look at the host.
    fn look(
        &mut self,
        hop: usize,
        phase: Phase,
        name: &str,
        moment: Moment,
        want: Option<crate::base::facts::System>,
    ) {
        let Ok(name) = name.parse::<StepName>() else { return };
        let id = StepId { hop: hop as u16, phase, step: name };
        let task = Task::Look { moment, want };
        // A host that has just booted may not be ready for a login at once.
        let retries = if moment == Moment::Before { 0 } else { 2 };
        let step = PlanStep { retries, ..PlanStep::new(id) };
        self.add(hop, step, Rendered::new(0, task));
    }

    /// Undoes `arms` at the head of a rollback; left out for hosts that are not armed.
    fn disarm(&mut self, hop: usize, step: &Step) {
        let Some(disarm) = &step.disarm else { return };
        let Ok(name) = format!("disarm-{}", step.name).parse::<StepName>() else { return };
        let id = StepId { hop: hop as u16, phase: Phase::Rollback, step: name };
        let planned =
            PlanStep { timeout: step.timeout, sudo: step.sudo, disarms: true, ..PlanStep::new(id) };
        let task = Task::Act(Action::Run(Arc::clone(disarm)));
        self.add(hop, planned, Rendered { env: step.env.clone(), ..Rendered::new(0, task) });
    }

    fn step(&mut self, hop: usize, phase: Phase, step: &Step) {
        let id = StepId { hop: hop as u16, phase, step: step.name.clone() };
        let timeout = match &step.action {
            Action::Reboot(reboot) => reboot.timeout,
            _ => step.timeout,
        };
        let on_lost = step.on_lost.unwrap_or(match step.probe {
            Some(_) => OnLost::Probe,
            None => OnLost::Hold,
        });
        self.check_reboot(hop, &id, step);
        let planned = PlanStep {
            id,
            timeout,
            retries: step.retries,
            retry_delay: step.retry_delay,
            ok_exit: step.ok_exit.clone(),
            sudo: step.sudo,
            register: step.register,
            on_lost,
            arms: step.arms,
            already: step.already,
            disarms: false,
            reboots: matches!(step.action, Action::Reboot(_)),
            severity: step.severity,
            remedy: step.remedy.clone(),
            reads: step.reads,
            estimate: step.estimate.unwrap_or(ESTIMATE),
            measured: None,
        };
        let draft = Rendered {
            when: step.when.clone(),
            unless: step.unless.clone(),
            verify: step.verify.clone(),
            expect: step.expect.clone(),
            probe: step.probe.clone(),
            disarm: step.disarm.clone(),
            report: step.report.clone(),
            env: step.env.clone(),
            ..Rendered::new(0, Task::Act(step.action.clone()))
        };
        self.add(hop, planned, draft);
    }

    /// A reboot that leads into a system needs one to compare with.
    fn check_reboot(&mut self, hop: usize, id: &StepId, step: &Step) {
        let Action::Reboot(Reboot { into: Some(into), .. }) = &step.action else { return };
        let (key, named) = match into {
            HopSystem::From => ("from", self.ends[hop].0),
            HopSystem::To => ("to", self.ends[hop].1),
        };
        if !named {
            let message = format!("step {id}: `into = \"{key}\"` needs the playbook's `{key}`");
            let hint = Some(format!("{key} = {{ id = \"…\", version = \"…\" }}"));
            self.faults.push(Fault { message, place: None, hint });
        }
    }

    fn add(&mut self, hop: usize, step: PlanStep, mut rendered: Rendered) {
        let twin = self.steps.iter().any(|other| other.id == step.id);
        if twin {
            self.faults.push(Fault {
                message: format!("step {} is named twice, or has a name that is built in", step.id),
                place: None,
                hint: Some(format!("`{IDENTITY}` and `{SYSTEM}` are fleetlift's own names")),
            });
        }
        rendered.step = self.steps.len();
        let names = names(&self.templates, &rendered).unwrap_or_else(|error| {
            let message = format!("step {}: {error}", step.id);
            self.faults.push(Fault { message, place: None, hint: None });
            BTreeSet::new()
        });
        self.steps.push(step);
        self.drafts.push(Draft { rendered, names, hop });
    }

    /// Which hosts are in which wave, in the order in which they start. A host is in the first wave that names it.
    fn waves(
        &mut self,
        inventory: &Inventory,
        rollout: &Rollout,
        selected: &BTreeSet<HostName>,
    ) -> Vec<Vec<HostName>> {
        let mut left = selected.clone();
        let mut waves = Vec::new();
        for wave in &rollout.waves {
            let found = Selection::parse(&wave.hosts).and_then(|s| s.select(inventory));
            match found {
                Ok(hosts) => {
                    waves.push(hosts.into_iter().filter(|host| left.remove(host)).collect())
                }
                Err(error) => {
                    self.faults.push(fault_in_wave(rollout, &wave.name, error));
                }
            }
        }
        if !left.is_empty() && self.faults.is_empty() {
            let names = fold_names(left.iter().map(HostName::as_str));
            self.faults.push(Fault {
                message: format!("no wave has {names}"),
                place: None,
                hint: Some(
                    "add a wave for them to the rollout, or leave them out with --limit".to_owned(),
                ),
            });
        }
        waves
    }

    fn host(&mut self, host: &Host, wave: usize) {
        let connection = self.connection(host);
        let mut needed = BTreeMap::new();
        let mut steps = Vec::with_capacity(self.drafts.len());
        for index in 0..self.drafts.len() {
            steps.push(self.rendered_for(index, host, &mut needed));
        }
        let variables = self.variables.place(&host.vars);
        self.hosts.push(PlanHost {
            name: host.name.clone(),
            groups: host.groups.clone(),
            labels: host.labels.clone(),
            wave,
            addresses: host.addresses.clone(),
            connection,
            steps,
            vars: needed,
            variables,
        });
    }

    fn connection(&mut self, host: &Host) -> usize {
        let address = Arc::as_ptr(&host.connection) as usize;
        if let Some(known) = self.connection_of.get(&address) {
            return *known;
        }
        let known = self.connections.iter().position(|c| **c == *host.connection);
        let index = known.unwrap_or_else(|| {
            self.connections.push(Arc::clone(&host.connection));
            self.connections.len() - 1
        });
        self.connection_of.insert(address, index);
        index
    }

    /// The step for this host: rendered now, or kept back with the variables that it will need.
    fn rendered_for(
        &mut self,
        index: usize,
        host: &Host,
        needed: &mut BTreeMap<String, Value>,
    ) -> u32 {
        let draft = &self.drafts[index];
        let defaults = &self.hop_vars[draft.hop];
        let value = |name: &String| host.vars.get(name).or_else(|| defaults.get(name));
        let late = draft.names.iter().any(|name| {
            LATE_NAMES.contains(&name.as_str()) || matches!(value(name), Some(Value::Secret(_)))
        });
        if late {
            for name in &draft.names {
                needed.extend(host.vars.get(name).map(|value| (name.clone(), value.clone())));
            }
        }
        let key = cache_key(index, late, draft, host, value);
        if let Some(known) = self.cache.get(&key) {
            return *known;
        }
        let rendered = if late {
            Rendered { late: true, ..draft.rendered.clone() }
        } else {
            match self.render_now(index, host) {
                Ok(rendered) => rendered,
                Err(error) => {
                    let key = (index, error.key.clone(), error.error.message.clone());
                    let (_, hosts) = self.unrendered.entry(key).or_insert((error, Vec::new()));
                    hosts.push(host.name.clone());
                    return 0;
                }
            }
        };
        let place = self.rendered.len() as u32;
        self.rendered.push(rendered);
        self.cache.insert(key, place);
        place
    }

    fn render_now(&self, index: usize, host: &Host) -> Result<Rendered, RenderError> {
        let draft = &self.drafts[index];
        let mut values: BTreeMap<String, minijinja::Value> = BTreeMap::new();
        for name in &draft.names {
            let value = host.vars.get(name).or_else(|| self.hop_vars[draft.hop].get(name));
            if let Some(Value::Plain(value)) = value {
                values.insert(name.clone(), value_of(value));
            }
        }
        if draft.names.contains("host") {
            let about = host_value(&host.name, &host.groups, &host.labels, &host.addresses);
            values.insert("host".to_owned(), about);
        }
        let context = minijinja::Value::from(values);
        let wrong = |error| RenderError { key: "when".to_owned(), error };
        if let Some(when) = &draft.rendered.when
            && !self.templates.holds(when, &context).map_err(wrong)?
        {
            return Ok(Rendered { skip: Some(Arc::clone(when)), ..draft.rendered.clone() });
        }
        let rendered = render(&self.templates, &draft.rendered, &context)?;
        Ok(Rendered { when: None, ..rendered })
    }

    /// Turns what could not be rendered into faults, at their places in the playbook.
    fn explain(&mut self, playbook: &Playbook) {
        for ((index, _, _), (wrong, hosts)) in std::mem::take(&mut self.unrendered) {
            let id = &self.steps[index].id;
            let given = &self.drafts[index].names;
            let missing: Vec<String> = given
                .iter()
                .filter(|name| {
                    let hop = &self.hop_vars[self.drafts[index].hop];
                    !hop.contains_key(*name) && *name != "host"
                })
                .map(|name| format!("`{name}`"))
                .collect();
            let names = shorten(&fold_names(hosts.iter().map(HostName::as_str)), 120).into_owned();
            let message = format!("{}, for {names}", wrong.error.message);
            let mut refusal = Refusal::new(message);
            if wrong.error.message.starts_with("undefined value") {
                let asks = match missing.as_slice() {
                    [] => "set it".to_owned(),
                    names => {
                        format!("this step asks for {}: set what is missing", names.join(", "))
                    }
                };
                refusal = refusal.hint(format!(
                    "{asks} under [vars] in the playbook, or in the inventory for these hosts"
                ));
            }
            if let Some(range) = wrong.error.range {
                refusal = refusal.at(range);
            }
            let (hop, step) = (usize::from(id.hop), id.step.as_str());
            let fault = fault_in_step(playbook, hop, id.phase, step, &wrong.key, refusal);
            self.faults.push(fault);
        }
    }
}

/// Hosts for which a step asks for equal values share one rendering.
fn cache_key<'v>(
    index: usize,
    late: bool,
    draft: &Draft,
    host: &Host,
    value: impl Fn(&String) -> Option<&'v Value>,
) -> String {
    use std::fmt::Write as _;
    let mut key = format!("{index}");
    if late {
        key.push('L');
        return key;
    }
    for name in &draft.names {
        let written = match (name.as_str(), value(name)) {
            ("host", _) => write!(key, "\0h{}", host.name),
            (_, Some(Value::Plain(value))) => write!(key, "\0{value}"),
            (_, Some(Value::Secret(_)) | None) => write!(key, "\0-"),
        };
        // Writing to a string does not fail.
        debug_assert!(written.is_ok());
    }
    key
}
