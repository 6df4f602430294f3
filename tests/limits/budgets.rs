//! The truth table of `docs/rollouts.md`, played row by row.

use crate::{
    spec::{Fate, name},
    support::{
        plans::{read_plan, system},
        tape::{Tape, facts, result},
    },
    world::ending,
};
use fleetlift::{
    base::{facts::System, time::Timestamp},
    journal::{Event, Moment, PauseReason},
    plan::{Plan, Task},
    run::{HostPhase, Result, RunPhase, Todo, decide},
};
use std::{fmt::Write as _, fs, time::Duration};

const PLAYBOOK: &str = r#"
name = "p"
from = { id = "old", version = "1" }
to = { id = "new", version = "2" }
[[backup]]
name = "copy"
run = "copy"
verify = "look"
[[precheck]]
name = "ask"
run = "ask"
[[migrate]]
name = "change"
run = "change"
[[rollback]]
name = "back"
run = "back"
"#;

/// A host of a row.
struct Told {
    word: String,
    rack: Option<String>,
    of_db: bool,
    wait: Duration,
}

struct Row {
    hosts: usize,
    of_wave: bool,
    budget: String,
    told: Vec<Told>,
    /// After so many ends; `None` for never.
    pauses_after: Option<usize>,
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string("docs/rollouts.md").unwrap();
    let head = "| hosts | budget | they end, one after the other | the run pauses |";
    let lines = text.lines().skip_while(|line| *line != head).skip(2);
    lines.take_while(|line| line.starts_with('|')).map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let [hosts, budget, told, pauses] = cells.as_slice() else { panic!("{line}") };
    let told = told.split(", ").map(|one| {
        let mut words = one.split(' ').peekable();
        let wait = words.next_if(|word| word.starts_with('+'));
        let minutes = wait.map_or(0, |w| w[1..].trim_end_matches('m').parse().unwrap());
        let mut told = Told {
            word: words.next().unwrap().to_owned(),
            rack: None,
            of_db: false,
            wait: Duration::from_secs(minutes * 60),
        };
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            match (key, value) {
                ("in", rack) => told.rack = Some(rack.to_owned()),
                ("of", "db") => told.of_db = true,
                _ => panic!("{line}"),
            }
        }
        told
    });
    Row {
        hosts: hosts.parse().unwrap(),
        of_wave: budget.starts_with("wave web: "),
        budget: budget.split('`').nth(1).unwrap().to_owned(),
        told: told.collect(),
        pauses_after: pauses.strip_prefix("after ").map(|n| n.parse().unwrap()),
    }
}

/// What ends well where a row says nothing more.
fn rest() -> Told {
    Told { word: "migrated".to_owned(), rack: None, of_db: false, wait: Duration::ZERO }
}

/// A plan in which hosts start one after the other, in the order of the row: each is a wave of its own after the one before.
fn plan(row: &Row, all: &[Told]) -> Plan {
    let mut hosts = String::new();
    for (index, told) in all.iter().enumerate() {
        let rack = told.rack.as_ref().map_or(String::new(), |rack| format!("rack = \"{rack}\""));
        writeln!(hosts, "[hosts.{}]\nlabels = {{ {rack} }}", name(index)).unwrap();
    }
    let names = |db: bool| -> Vec<String> {
        let own = all.iter().enumerate().filter(|(_, told)| told.of_db == db);
        own.map(|(index, _)| name(index)).collect()
    };
    let mut rollout = "[defaults]\nparallel = 1\n".to_owned();
    let fleet = if row.of_wave { "failures = \"100%\"" } else { &row.budget };
    writeln!(rollout, "budget = {{ {fleet} }}").unwrap();
    writeln!(rollout, "[[wave]]\nname = \"web\"\nhosts = \"{}\"", names(false).join(",")).unwrap();
    if row.of_wave {
        writeln!(rollout, "budget = {{ {} }}", row.budget).unwrap();
    }
    if all.iter().any(|told| told.of_db) {
        writeln!(rollout, "[[wave]]\nname = \"db\"\nhosts = \"{}\"", names(true).join(","))
            .unwrap();
    }
    read_plan(&hosts, PLAYBOOK, &rollout)
}

struct Play(Tape);

impl Play {
    /// One host from its start to its end. False where the run does not let it start.
    fn host(&mut self, told: &Told, index: usize) -> bool {
        self.0.now = self.0.now + told.wait;
        let host = self.0.state.host(&name(index).parse().unwrap()).unwrap();
        // The row's order is that of the hosts' ends: all others are kept back while this one goes.
        let others = || (0..self.0.plan.hosts.len()).filter(|other| *other != host);
        let others: Vec<_> = others().map(|other| self.0.plan.hosts[other].name.clone()).collect();
        let request = |what: &str| format!("{what}-{index}").parse().unwrap();
        let by = "op".to_owned();
        self.0.record(Event::HoldRequested { by, hosts: others, request: request("hold") });
        if told.word == "held" {
            return true;
        }
        let hosts = vec![self.0.plan.hosts[host].name.clone()];
        self.0.record(Event::ReleaseRequested {
            by: "op".to_owned(),
            hosts,
            request: request("let"),
        });
        while !matches!(self.0.state.hosts[host].phase, HostPhase::Ended(_)) {
            let decision = decide(&self.0.plan, &self.0.state, self.0.now);
            assert!(!decision.todo.is_empty(), "{:?}", decision.waiting_on);
            for todo in decision.todo {
                match todo {
                    Todo::Record(event @ Event::RunPaused { .. }) => {
                        self.0.record(event);
                        return false;
                    }
                    Todo::Record(event) => self.0.record(event),
                    Todo::Attempt { host, step, attempt } => {
                        self.attempt(told, host, step, attempt);
                    }
                }
            }
        }
        true
    }

    fn attempt(&mut self, told: &Told, host: usize, step: usize, attempt: u32) {
        self.0.attempt(host, step, attempt);
        let facts = match &self.0.plan.rendered(host, step).task {
            Task::Look { moment, .. } => facts(seen(*moment, told)),
            Task::Act(_) => None,
        };
        let ending = ending(fate(&told.word), self.0.plan.steps[step].id.step.as_str());
        self.0.judged(host, &Result { facts, ..result(ending) });
    }
}

/// What has to happen for a host to end with this word.
fn fate(word: &str) -> Fate {
    match word {
        "already" | "migrated" => Fate::Good,
        "blocked" => Fate::Blocked,
        "failed" => Fate::Failed,
        "rolled_back" => Fate::RolledBack,
        "needs_hands" => Fate::NeedsHands,
        "unreachable" => Fate::Unreachable,
        _ => panic!("no host ends with `{word}`"),
    }
}

fn seen(moment: Moment, told: &Told) -> System {
    match moment {
        Moment::Before if told.word == "already" => system("new", "2"),
        Moment::After => system("new", "2"),
        Moment::Before | Moment::RolledBack => system("old", "1"),
    }
}

#[test]
fn budgets_mean_what_the_table_says() {
    let rows = rows();
    assert!(rows.len() > 20, "the test sees the table");
    for (number, mut row) in rows.into_iter().enumerate() {
        let mut all = std::mem::take(&mut row.told);
        let said = all.len();
        all.resize_with(row.hosts, rest);
        let plan = plan(&row, &all);
        let mut play = Play(Tape::begin(plan, Timestamp::from_millis(0)));
        let mut ended = 0;
        for (index, told) in all.iter().enumerate() {
            if !play.host(told, index) {
                break;
            }
            ended += usize::from(told.word != "held");
        }
        // A budget that is spent by the last host that is told of pauses, too, before anybody else starts.
        let paused = match &play.0.state.phase {
            RunPhase::Paused(PauseReason::Held { .. }) | RunPhase::Running => None,
            RunPhase::Paused(_) => Some(ended),
            phase => panic!("row {}: {phase:?}", number + 1),
        };
        assert_eq!(paused, row.pauses_after, "row {}: {:?}", number + 1, play.0.state.phase);
        let words: Vec<&str> = all[..said].iter().map(|told| told.word.as_str()).collect();
        for (index, word) in words.into_iter().enumerate().take(ended) {
            let host = play.0.state.host(&name(index).parse().unwrap()).unwrap();
            assert_eq!(play.0.state.hosts[host].word(), word, "row {}, host {index}", number + 1);
        }
    }
}
