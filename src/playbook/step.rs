//! Steps: their common keys, and which keys have a sense where.

use super::{
    Action, OnLost, Reads, Severity, Step, action::read_action, files::Origin, read::Reader,
    shape::KINDS,
};
use crate::base::{
    name::StepName,
    phase::Phase,
    shape::{Collector, Node},
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

const TIMEOUT: Duration = Duration::from_secs(600);
const RETRY_DELAY: Duration = Duration::from_secs(10);

/// Kinds of steps that are a command with an exit code and output.
const COMMANDS: &[&str] = &["run", "script", "local"];

/// Commands that a host runs: what they leave behind lies there.
const ON_HOST: &[&str] = &["run", "script"];

/// All kinds but a reboot, which has a deadline of its own and is never tried twice.
const NOT_REBOOT: &[&str] =
    &["run", "script", "local", "upload", "template", "download", "wait", "compare"];

/// Keys that only some kinds of steps understand.
const KIND_KEYS: [(&str, &[&str]); 14] = [
    ("already", COMMANDS),
    ("ok_exit", COMMANDS),
    ("expect", COMMANDS),
    ("env", COMMANDS),
    ("register", COMMANDS),
    ("on_lost", COMMANDS),
    ("probe", COMMANDS),
    ("reads", ON_HOST),
    ("report", ON_HOST),
    ("ignore", &["compare"]),
    ("timeout", NOT_REBOOT),
    ("retries", NOT_REBOOT),
    ("retry_delay", NOT_REBOOT),
    ("sudo", &["run", "script", "upload", "template", "download", "reboot", "wait"]),
];

/// Keys, kinds among them, that only some phases understand.
const PHASE_KEYS: [(&str, &[Phase], &str); 9] = [
    (
        "already",
        &[Phase::Verify],
        "a host that is found on the target is asked for proof, and nothing else",
    ),
    ("severity", &[Phase::Precheck], "in the other phases a step that fails has failed"),
    ("remedy", &[Phase::Precheck], "it is printed with the finding of a precheck"),
    ("arms", &[Phase::Migrate], "only a migration arms a host"),
    ("disarm", &[Phase::Migrate], "it stands beside `arms`"),
    (
        "compare",
        &[Phase::Migrate, Phase::Verify, Phase::Rollback],
        "before that nothing has changed",
    ),
    ("reboot", NOT_PRECHECK, "prechecks are read-only"),
    ("upload", NOT_PRECHECK, "prechecks are read-only"),
    ("template", NOT_PRECHECK, "prechecks are read-only"),
];

const NOT_PRECHECK: &[Phase] =
    &[Phase::Backup, Phase::Migrate, Phase::Verify, Phase::Rollback, Phase::Commit];

/// Steps of a hop whose output later templates can ask for, and the phases that they are in.
pub(super) type Registered = BTreeMap<StepName, Phase>;

/// Reads the steps of a phase.
pub(super) fn read_steps(
    phase: Phase,
    tables: &Node,
    origin: &Origin,
    registered: &mut Registered,
    out: &mut Collector<'_>,
    reader: &mut Reader,
) -> Vec<Step> {
    let mut names: BTreeMap<StepName, usize> = BTreeMap::new();
    let mut steps = Vec::new();
    for (i, table) in tables.items().iter().enumerate() {
        check_keys(phase, table, out);
        let step = read_step(table, origin, out, reader);
        let name = table.get("name");
        if let Some((node, name)) = name.and_then(|n| Some((n, n.parse(str::parse::<StepName>)?))) {
            match names.entry(name) {
                Entry::Vacant(free) => {
                    free.insert(i);
                }
                Entry::Occupied(taken) => {
                    let message = format!("{phase} has two steps with the name `{}`", taken.key());
                    let hint = format!("it is the name of step {} already", taken.get() + 1);
                    out.add_with_hint(&node.range, message, hint);
                }
            }
        }
        let step = step.inspect(|step| check_register(phase, step, table, registered, out));
        steps.extend(step);
    }
    steps
}

/// `steps.NAME` must mean one step.
fn check_register(
    phase: Phase,
    step: &Step,
    table: &Node,
    registered: &mut Registered,
    out: &mut Collector<'_>,
) {
    if !step.register {
        return;
    }
    let other = registered.insert(step.name.clone(), phase).filter(|other| *other != phase);
    if let (Some(other), Some(entry)) = (other, table.entry("register")) {
        let message =
            format!("`steps.{}` would mean two steps: {other} registers one too", step.name);
        out.add_with_hint(&entry.key, message, "give one of them another name");
    }
}

/// Keys that have no sense here. They would be ignored, which is worse than a fault.
fn check_keys(phase: Phase, table: &Node, out: &mut Collector<'_>) {
    for (key, phases, hint) in PHASE_KEYS {
        if let Some(entry) = table.entry(key)
            && !phases.contains(&phase)
        {
            out.add_with_hint(&entry.key, format!("`{key}` has no sense in {phase}"), hint);
        }
    }
    let Some(kind) = KINDS.iter().copied().find(|kind| table.get(kind).is_some()) else { return };
    for (key, kinds) in KIND_KEYS {
        if let Some(entry) = table.entry(key)
            && !kinds.contains(&kind)
        {
            let hint = match (key, kind) {
                ("timeout", "reboot") => {
                    "a reboot has its own: reboot = { timeout = \"15m\" }".to_owned()
                }
                _ => format!("it belongs to {}", kinds.join(", ")),
            };
            out.add_with_hint(&entry.key, format!("`{key}` has no sense beside `{kind}`"), hint);
        }
    }
    if let Some(entry) = table.entry("disarm")
        && table.get("arms").and_then(Node::flag) != Some(true)
    {
        out.add_with_hint(&entry.key, "`disarm` undoes what `arms = true` says", "arms = true");
    }
    if let Some(entry) = table.entry("report")
        && !reads(table).is_some_and(Reads::has_file)
    {
        let hint = "reads = \"leapp\", or another migrator that writes one";
        out.add_with_hint(&entry.key, "`report` needs a `reads` that has a file", hint);
    }
    check_probe(table, out);
    if phase == Phase::Backup {
        check_backup(kind, table, out);
    }
}

/// A disarming is the beginning of a rollback. Where there is none, a host that fails while it is armed would stay so: the next
/// reboot would migrate it, whoever asks for it.
pub(super) fn check_disarms(root: &Node, out: &mut Collector<'_>) {
    let of = |phase: Phase| root.get(phase.as_str()).map_or(&[][..], Node::items);
    if !of(Phase::Rollback).is_empty() {
        return;
    }
    for step in of(Phase::Migrate) {
        if let Some(entry) = step.entry("disarm")
            && step.get("arms").and_then(Node::flag) == Some(true)
        {
            out.add_with_hint(
                &entry.key,
                "nobody would run this `disarm`: the playbook has no rollback, which begins with it",
                "[[rollback]] with a step that passes only where the host is still on the old system",
            );
        }
    }
}

/// A backup that nobody has read is not a backup. Files that are moved are compared with what was sent.
fn check_backup(kind: &str, table: &Node, out: &mut Collector<'_>) {
    let (proof, hint): (&[&str], _) = match kind {
        "run" | "script" => (
            &["verify"],
            "verify = \"…\", a command that reads what was written: `gzip -t`, `sha256sum -c`, `cmp`",
        ),
        "local" => (
            &["verify", "expect"],
            "expect = \"…\" asks for what the command says on the controller, verify = \"…\" asks the host",
        ),
        _ => return,
    };
    if let Some(entry) = table.entry(kind)
        && !proof.iter().any(|key| table.get(key).is_some())
    {
        out.add_with_hint(&entry.key, "a backup that is not verified is not a backup", hint);
    }
}

fn check_probe(table: &Node, out: &mut Collector<'_>) {
    let on_lost = table.entry("on_lost");
    let word = on_lost.and_then(|entry| entry.node.text());
    match (on_lost, word, table.entry("probe")) {
        (Some(on_lost), Some("probe"), None) => {
            let hint = "probe = \"…\", a command that passes where the step is done";
            out.add_with_hint(&on_lost.node.range, "`on_lost = \"probe\"` needs a `probe`", hint);
        }
        (_, Some(word @ ("rerun" | "hold")), Some(probe)) => {
            let message = format!("with `on_lost = \"{word}\"` nobody asks the probe");
            out.add_with_hint(&probe.key, message, "take out one of the two");
        }
        _ => {}
    }
}

fn read_step(
    table: &Node,
    origin: &Origin,
    out: &mut Collector<'_>,
    reader: &mut Reader,
) -> Option<Step> {
    let action = read_action(table, origin, out, reader);
    let text = |key: &str| table.get(key).and_then(Node::text).map(Arc::<str>::from);
    let length = |key: &str| table.get(key).and_then(Node::length);
    let flag = |key: &str| table.get(key).and_then(Node::flag);
    check_env(table, out);
    let env = table.get("env").into_iter().flat_map(Node::entries);
    let action = action?;
    let timeout = match &action {
        Action::Reboot(reboot) => reboot.timeout,
        _ => length("timeout").unwrap_or(TIMEOUT),
    };
    Some(Step {
        name: table.get("name")?.parse(str::parse)?,
        action,
        when: text("when"),
        unless: text("unless"),
        verify: text("verify"),
        expect: text("expect"),
        reads: reads(table),
        report: text("report"),
        timeout,
        retries: table.get("retries").and_then(Node::whole).unwrap_or(0),
        retry_delay: length("retry_delay").unwrap_or(RETRY_DELAY),
        ok_exit: match table.get("ok_exit") {
            Some(codes) => codes.items().iter().filter_map(Node::whole).collect(),
            None => vec![0],
        },
        sudo: flag("sudo"),
        env: env
            .filter_map(|(name, entry)| Some((name.to_owned(), entry.node.text()?.to_owned())))
            .collect(),
        register: flag("register").unwrap_or(false),
        on_lost: table.get("on_lost").and_then(on_lost),
        probe: text("probe"),
        arms: flag("arms").unwrap_or(false),
        already: flag("already").unwrap_or(false),
        disarm: text("disarm"),
        severity: match table.get("severity").and_then(Node::text) {
            Some("warning") => Severity::Warning,
            Some(_) | None => Severity::Blocker,
        },
        remedy: table.get("remedy").and_then(Node::text).map(str::to_owned),
        estimate: length("estimate"),
    })
}

fn reads(table: &Node) -> Option<Reads> {
    let word = table.get("reads")?.text()?;
    Reads::ALL.into_iter().find(|reads| reads.as_str() == word)
}

fn on_lost(node: &Node) -> Option<OnLost> {
    match node.text()? {
        "probe" => Some(OnLost::Probe),
        "rerun" => Some(OnLost::Rerun),
        "hold" => Some(OnLost::Hold),
        _ => None,
    }
}

fn check_env(table: &Node, out: &mut Collector<'_>) {
    for (name, entry) in table.get("env").into_iter().flat_map(Node::entries) {
        let starts = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let message = format!("`{name}` cannot be the name of an environment variable");
            out.add_with_hint(&entry.key, message, "letters, digits and underscores");
        }
    }
}
