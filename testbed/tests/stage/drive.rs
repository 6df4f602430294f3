//! Takes a host along a playbook, step by step, with none of the product's code.

use super::{
    host::Out,
    playbook::{Hop, Texts, text},
};
use std::{collections::BTreeSet, process::Command, thread, time::Duration};
use toml::{Table, Value};

/// A host, however it is reached.
pub trait Machine {
    /// Runs a script as root, with nothing on standard input.
    fn sh(&self, script: &str) -> Out;
    /// How often the host has booted, as far as can be seen.
    fn boots(&self) -> u32;
    /// Waits until the host has booted more often than `before`, and is up.
    fn wait_for_boot(&self, before: u32) -> bool;
    /// A file, by its path from the root.
    fn read(&self, path: &str) -> String;
}

#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Migrated,
    Blocked(String),
    /// Failed in the backup phase.
    Failed(String),
    /// Failed at this step and is back.
    RolledBack(String),
    /// Failed at this step, and the rollback failed at that one.
    NeedsHands(String, String),
}

#[derive(Default)]
pub struct Trip {
    /// Steps that ran, with their phase: `migrate.update`.
    pub ran: Vec<String>,
    pub skipped: Vec<String>,
    pub warnings: Vec<String>,
    /// What failed, in its own words.
    pub evidence: String,
    /// The step that has armed the host, and what undoes that.
    armed: Option<(String, String)>,
}

/// Sets of facts that `compare` steps compare.
#[derive(Default)]
pub struct Facts {
    services: BTreeSet<String>,
    failed: BTreeSet<String>,
    ports: BTreeSet<String>,
    mounts: BTreeSet<String>,
}

pub fn facts(host: &dyn Machine) -> Facts {
    let set = |script: &str| {
        let out = host.sh(script);
        assert_eq!(out.code, 0, "{script}: {}", out.stderr);
        out.stdout.lines().map(str::to_owned).collect()
    };
    let units = "systemctl list-units --no-legend --no-pager --plain --type=service --state=";
    Facts {
        services: set(&format!(
            "{units}active | awk '{{ sub(/[.]service$/, \"\", $1); print $1 }}'"
        )),
        failed: set(&format!("{units}failed | awk '{{ print $1 }}'")),
        ports: set(
            "ss -lntu | awk 'NR > 1 { n = split($5, part, \":\"); print $1 \"/\" part[n] }'",
        ),
        mounts: set("findmnt -rno TARGET"),
    }
}

fn compare(host: &dyn Machine, step: &Table, before: &Facts) -> Result<(), String> {
    let now = facts(host);
    let lost = |a: &BTreeSet<String>, b: &BTreeSet<String>| -> BTreeSet<String> {
        a.difference(b).cloned().collect()
    };
    let mut lost = match text(step, "compare").unwrap() {
        "services" => lost(&before.services, &now.services),
        "ports" => lost(&before.ports, &now.ports),
        "mounts" => lost(&before.mounts, &now.mounts),
        "failed-units" => lost(&now.failed, &before.failed),
        other => panic!("compare = {other}"),
    };
    for name in step.get("ignore").and_then(Value::as_array).into_iter().flatten() {
        lost.remove(name.as_str().unwrap());
    }
    if lost.is_empty() { Ok(()) } else { Err(format!("{lost:?}")) }
}

fn reboot(host: &dyn Machine, texts: &Texts, reboot: &Table) -> Result<Out, String> {
    let before = host.boots();
    let command = text(reboot, "command").map_or("systemctl reboot".into(), |c| texts.render(c));
    let asked = host.sh(&command);
    // A shell that went down with its host has no code of its own: that is what was asked for.
    if (1..=125).contains(&asked.code) {
        return Err(format!("exit {}: {}{}", asked.code, asked.stdout, asked.stderr));
    }
    if !host.wait_for_boot(before) {
        return Err(format!("no reboot: {} {}", asked.code, asked.stderr));
    }
    let boots = i64::from(host.boots() - before);
    let most = reboot["boots"].as_integer().unwrap();
    if boots > most {
        return Err(format!("{boots} boots instead of {most}"));
    }
    if let Some(until) = text(reboot, "until") {
        let until = texts.render(until);
        let mut tries = 0;
        while host.sh(&until).code != 0 {
            tries += 1;
            if tries > 200 {
                return Err("until never passed".into());
            }
            thread::park_timeout(Duration::from_millis(100));
        }
    }
    Ok(Out { code: 0, stdout: String::new(), stderr: String::new() })
}

/// The step's environment, as lines before its script.
fn exports(step: &Table) -> String {
    let env = step.get("env").and_then(Value::as_table).into_iter().flatten();
    env.map(|(name, value)| format!("export {name}='{}'\n", value.as_str().unwrap())).collect()
}

/// Runs one step: skipped (false), passed (true), or why it failed.
fn step(host: &dyn Machine, texts: &Texts, step: &Table, before: &Facts) -> Result<bool, String> {
    if text(step, "when").is_some_and(|when| !texts.holds(when, "", "", 0)) {
        return Ok(false);
    }
    if text(step, "unless").is_some_and(|guard| host.sh(&texts.render(guard)).code == 0) {
        return Ok(false);
    }
    let mut tries = step.get("retries").and_then(Value::as_integer).unwrap_or(0);
    loop {
        match attempt(host, texts, step, before) {
            Err(why) if tries == 0 => return Err(why),
            Err(_) => tries -= 1,
            Ok(()) => return Ok(true),
        }
    }
}

fn attempt(host: &dyn Machine, texts: &Texts, step: &Table, before: &Facts) -> Result<(), String> {
    let out = if let Some(run) = text(step, "run") {
        host.sh(&(exports(step) + &texts.render(run)))
    } else if let Some(local) = text(step, "local") {
        let out = Command::new("sh").arg("-c").arg(texts.render(local)).output().unwrap();
        Out {
            code: out.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    } else if let Some(what) = step.get("reboot") {
        reboot(host, texts, what.as_table().unwrap())?
    } else if let Some(what) = step.get("download") {
        let from = texts.render(text(what.as_table().unwrap(), "from").unwrap());
        let there = host.sh(&format!("test -s '{from}'")).code == 0;
        return if there { Ok(()) } else { Err(format!("{from} is not there")) };
    } else {
        return compare(host, step, before);
    };
    let said = format!("{}{}", out.stdout, out.stderr);
    let expected = text(step, "expect").is_none_or(|expect| {
        texts.holds(expect, out.stdout.trim_end_matches('\n'), &out.stderr, out.code)
    });
    if out.code != 0 || !expected {
        return Err(format!("exit {}: {said}", out.code));
    }
    if let Some(verify) = text(step, "verify") {
        let out = host.sh(&texts.render(verify));
        if out.code != 0 {
            return Err(format!("unverified ({}): {}{}", out.code, out.stdout, out.stderr));
        }
    }
    Ok(())
}

/// One step of a hop alone, which compares nothing: skipped (false), passed (true), or why it failed.
pub fn single(
    host: &dyn Machine,
    hop: &Hop,
    vars: &Table,
    phase: &str,
    name: &str,
) -> Result<bool, String> {
    let wanted = hop.steps[phase].iter().find(|step| text(step, "name") == Some(name));
    let wanted = wanted.unwrap_or_else(|| panic!("{}: no {phase}.{name}", hop.name));
    step(host, &Texts::new(hop, vars, "web-01"), wanted, &Facts::default())
}

fn system(host: &dyn Machine, wanted: &(String, String)) -> bool {
    let release = host.read("etc/os-release");
    let value = |key: &str| {
        release
            .lines()
            .find_map(|l| l.strip_prefix(key))
            .unwrap_or_default()
            .trim_matches('"')
            .to_owned()
    };
    let (id, version) = (value("ID="), value("VERSION_ID="));
    id == wanted.0 && (version == wanted.1 || version.starts_with(&format!("{}.", wanted.1)))
}

/// Whether a reboot has led where the step says.
fn landed(host: &dyn Machine, hop: &Hop, step: &Table) -> Result<(), String> {
    let into = step.get("reboot").and_then(|reboot| reboot.get("into")).and_then(Value::as_str);
    match into {
        Some("to") if !system(host, &hop.to) => Err(format!("it is not on {:?}", hop.to)),
        _ => Ok(()),
    }
}

/// One hop, with its rollback where it fails.
pub fn hop(host: &dyn Machine, hop: &Hop, vars: &Table, before: &Facts, trip: &mut Trip) -> End {
    let texts = Texts::new(hop, vars, "web-01");
    assert!(system(host, &hop.from), "{}: not on {:?}", hop.name, hop.from);
    let mut blocked = None;
    for phase in ["backup", "precheck", "migrate", "verify"] {
        for s in &hop.steps[phase] {
            let name = text(s, "name").unwrap().to_owned();
            if let Some(disarm) = text(s, "disarm") {
                // A step that fails may have armed the host before it failed.
                trip.armed = Some((name.clone(), texts.render(disarm)));
            }
            let came = step(host, &texts, s, before);
            match came.and_then(|ran| landed(host, hop, s).map(|()| ran)) {
                Ok(true) => {
                    if s.contains_key("reboot") {
                        trip.armed = None;
                    }
                    trip.ran.push(format!("{phase}.{name}"));
                }
                Ok(false) => trip.skipped.push(format!("{phase}.{name}")),
                Err(why) if phase == "precheck" => {
                    if text(s, "severity") == Some("warning") {
                        trip.warnings.push(name);
                    } else {
                        assert!(text(s, "remedy").is_some(), "{name} blocks without a remedy");
                        trip.evidence += &why;
                        blocked = blocked.or(Some(name));
                    }
                }
                Err(why) => {
                    trip.evidence += &format!("{phase}.{name}: {why}\n");
                    return if phase == "backup" {
                        End::Failed(name)
                    } else {
                        rollback(host, hop, &texts, before, trip, name)
                    };
                }
            }
        }
        if let Some(name) = blocked {
            return End::Blocked(name);
        }
    }
    assert!(system(host, &hop.to), "{}: not on {:?} at its end", hop.name, hop.to);
    End::Migrated
}

pub fn rollback(
    host: &dyn Machine,
    hop: &Hop,
    texts: &Texts,
    before: &Facts,
    trip: &mut Trip,
    failed: String,
) -> End {
    if hop.steps["rollback"].is_empty() {
        return End::NeedsHands(failed, "there is no way back".into());
    }
    if let Some((name, disarm)) = trip.armed.take() {
        let out = host.sh(&disarm);
        if out.code != 0 {
            trip.evidence += &format!("disarm of {name}: {}{}\n", out.stdout, out.stderr);
            return End::NeedsHands(failed, format!("disarm-{name}"));
        }
        trip.ran.push(format!("rollback.disarm-{name}"));
    }
    for s in &hop.steps["rollback"] {
        let name = text(s, "name").unwrap().to_owned();
        match step(host, texts, s, before) {
            Ok(true) => trip.ran.push(format!("rollback.{name}")),
            Ok(false) => trip.skipped.push(format!("rollback.{name}")),
            Err(why) => {
                trip.evidence += &format!("rollback.{name}: {why}\n");
                return End::NeedsHands(failed, name);
            }
        }
    }
    assert!(system(host, &hop.from), "{}: not back on {:?}\n{}", hop.name, hop.from, trip.evidence);
    End::RolledBack(failed)
}

/// The commit steps of a hop.
pub fn commit(host: &dyn Machine, hop: &Hop, vars: &Table, before: &Facts) {
    let texts = Texts::new(hop, vars, "web-01");
    for s in &hop.steps["commit"] {
        if let Err(why) = step(host, &texts, s, before) {
            panic!("commit.{}: {why}", text(s, "name").unwrap());
        }
    }
}
