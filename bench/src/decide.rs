//! What a decision costs in a run of many hosts with failure domains, budgets and batches: the real `decide`, `judge` and fold,
//! without hosts. All decisions are measured, those with nothing to start too.

use super::Result;
use fleetlift::{
    base::{facts::Facts, name::HostName, time::Timestamp},
    inventory::{Connection, Host, Inventory},
    journal::{Event, Outcome, Record},
    plan::{Plan, Task, build},
    playbook,
    rollout::{Allowance, AtMost, Budget, Rollout, Wave},
    run::{Ending, HostPhase, Result as Came, RunPhase, RunState, Todo, decide, judge},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::{Duration, Instant},
};

/// So many hosts are in flight: many, so that the domains have something to say.
const PARALLEL: u32 = 200;
const RACK: usize = 40;

fn plan(hosts: usize) -> Result<Plan> {
    let connection = Arc::new(Connection::default());
    let mut inventory = Inventory::default();
    for index in 0..hosts {
        let name: HostName = format!("h{index:05}").parse()?;
        let labels = [("pair", index / 2), ("rack", index / RACK), ("room", index % 4)];
        let labels = labels.map(|(label, n)| (label.to_owned(), n.to_string()));
        let host = Host {
            name: name.clone(),
            groups: Vec::new(),
            vars: BTreeMap::new(),
            labels: BTreeMap::from(labels),
            connection: Arc::clone(&connection),
            addresses: vec![name.to_string()],
        };
        inventory.hosts.insert(name, host);
    }
    let playbook = playbook::read("centos7-to-rocky9").map_err(|faults| faults.render(false))?;
    let at_most = |hosts: u32, per: &str| AtMost { hosts, per: per.to_owned() };
    let mut wave = Wave::new("all".parse()?, "@all".to_owned());
    wave.canary = 1;
    wave.budget = Some(Budget::of(Allowance::Percent(50)));
    let rollout = Rollout {
        parallel: PARALLEL,
        at_most: vec![at_most(1, "pair"), at_most(4, "rack"), at_most(PARALLEL / 5, "room")],
        waves: vec![wave],
        ..Rollout::default()
    };
    let all = inventory.hosts.keys().cloned().collect();
    build(&inventory, &playbook, &rollout, "@all", &all)
        .map_err(|faults| faults.render(false).into())
}

/// `fleetlift-bench decide [HOSTS]`
pub fn main(arguments: &[String]) -> Result<()> {
    let hosts = arguments.get(1).map_or(Ok(10_000), |n| n.parse())?;
    let plan = plan(hosts)?;
    let began = Instant::now();
    let mut state = RunState::new(&plan);
    let mut now = Timestamp::from_millis(0);
    let mut costs: Vec<Duration> = Vec::new();
    let mut ends: BinaryHeap<Reverse<(Timestamp, usize)>> = BinaryHeap::new();
    let started = Event::RunStarted {
        plan: String::new(),
        playbook: String::new(),
        operator: String::new(),
        controller: String::new(),
        version: String::new(),
        hosts,
    };
    record(&plan, &mut state, now, started)?;
    while state.phase == RunPhase::Running {
        let asked = Instant::now();
        let decision = decide(&plan, &state, now);
        costs.push(asked.elapsed());
        for todo in decision.todo.iter().cloned() {
            match todo {
                Todo::Record(event) => record(&plan, &mut state, now, event)?,
                Todo::Attempt { host, step, attempt } => {
                    // Some steps of some hosts take longer, so that ends do not come together.
                    let length =
                        Duration::from_millis(1000 + (host * 7919 + step * 31) as u64 % 977);
                    ends.push(Reverse((now + length, host)));
                    let (name, id) = (plan.hosts[host].name.clone(), plan.steps[step].id.clone());
                    let event = Event::AttemptStarted { host: name, step: id, attempt };
                    record(&plan, &mut state, now, event)?;
                }
            }
        }
        if !decision.todo.is_empty() {
            continue;
        }
        let Some(Reverse((at, host))) = ends.pop() else {
            return Err(format!("the run stands still: {:?}", decision.waiting_on).into());
        };
        now = at;
        let HostPhase::Running { step, .. } = state.hosts[host].phase else { continue };
        // Each look finds the system that it wants.
        let facts = match &plan.rendered(host, step).task {
            Task::Look { want, .. } => {
                Some(Arc::new(Facts { system: want.clone(), ..Facts::default() }))
            }
            Task::Act(_) => None,
        };
        let passed = Ending::Passed { exit: Some(0), outcome: Outcome::Changed, stdout: None };
        let came = Came {
            ending: passed,
            duration: Duration::ZERO,
            tail: String::new(),
            facts,
            warnings: Vec::new(),
            findings: Vec::new(),
            never: false,
        };
        for event in judge(&plan, &state, host, &came, now) {
            record(&plan, &mut state, now, event)?;
        }
    }
    costs.sort_unstable();
    let whole: Duration = costs.iter().sum();
    let at = |of_thousand: usize| costs[(costs.len() - 1) * of_thousand / 1000];
    println!(
        "{hosts} hosts, {} in flight, {} domains' labels: {} decisions, {:?} each in the mean, {:?} 99 of 100, {:?} the dearest; {:.1} s in all, {:.1} s of them deciding; {:?}",
        PARALLEL,
        plan.limits.at_most.len(),
        costs.len(),
        whole / u32::try_from(costs.len())?,
        at(990),
        at(1000),
        began.elapsed().as_secs_f64(),
        whole.as_secs_f64(),
        state.counts,
    );
    Ok(())
}

fn record(plan: &Plan, state: &mut RunState, at: Timestamp, event: Event) -> Result<()> {
    Ok(state.apply(plan, &Record { seq: state.next_seq, at, event })?)
}
