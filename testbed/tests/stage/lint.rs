//! Every script of the stage set and every shell text of the shipped playbooks, read by shellcheck.

use super::{
    playbook::{self, Texts, text},
    skip::skip,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use toml::{Table, Value};

/// Files that are not there when shellcheck reads the script that sources them: os-release, the stage's own library.
const NOT_FOLLOWED: &str = "SC1091";

fn shellcheck(files: &[PathBuf]) {
    let Ok(out) = Command::new("shellcheck")
        .args(["--shell=sh", "--exclude", NOT_FOLLOWED, "--"])
        .args(files)
        .output()
    else {
        skip("shellcheck is not on this machine");
        return;
    };
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

fn scripts(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            scripts(&path, found);
        } else if fs::read(&path).unwrap().starts_with(b"#!") {
            found.push(path);
        }
    }
}

#[test]
fn the_stage_set_is_clean_and_says_that_it_is_one() {
    let mut found = Vec::new();
    for stage in ["common", "centos7", "debian12"] {
        scripts(&playbook::stage().join(stage), &mut found);
    }
    assert!(found.len() > 30, "{} scripts", found.len());
    for path in &found {
        let script = fs::read_to_string(path).unwrap();
        let second = script.lines().nth(1).unwrap_or_default();
        assert!(second.starts_with("# Part of the stage set"), "{}: {second}", path.display());
        assert!(script.starts_with("#!/bin/sh\n"), "{}", path.display());
    }
    shellcheck(&found);
}

#[test]
fn the_scripts_of_the_real_hosts_are_clean() {
    let real = playbook::stage().join("../real");
    let out = Command::new("shellcheck")
        .args(["-x", "--exclude", NOT_FOLLOWED, "testbed", "lib/boot-loop", "vm/install"])
        .args([
            "el/build",
            "el/boot",
            "el/upgrade",
            "el/first-boot",
            "el/migrate2rocky9.sh",
            "el/uname",
        ])
        .current_dir(real)
        .output();
    match out {
        Ok(out) => assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout)),
        Err(_) => skip("shellcheck is not on this machine"),
    }
}

/// The shell texts of a step: its own, and those of its tables.
fn texts_of(step: &Table) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (key, value) in step {
        match (key.as_str(), value) {
            (
                "run" | "local" | "unless" | "verify" | "probe" | "disarm" | "command" | "until",
                Value::String(text),
            ) => {
                found.push((key.clone(), text.clone()));
            }
            ("reboot" | "wait", Value::Table(table)) => found.extend(texts_of(table)),
            _ => {}
        }
    }
    found
}

#[test]
fn the_shell_of_the_playbooks_is_clean() {
    let dir = tempfile::tempdir().unwrap();
    let mut vars = playbook::stage_vars("web");
    for hook in ["drain", "quiesce", "undrain", "health"] {
        vars.insert(hook.into(), Value::String("true".into()));
    }
    let mut files = Vec::new();
    for hop in playbook::names().iter().flat_map(|name| playbook::hops(name)) {
        let texts = Texts::new(&hop, &vars, "web-01");
        for (phase, steps) in &hop.steps {
            for step in steps {
                for (key, script) in texts_of(step) {
                    let name =
                        format!("{}.{phase}.{}.{key}.sh", hop.name, text(step, "name").unwrap());
                    let file = dir.path().join(name);
                    fs::write(&file, texts.render(&script)).unwrap();
                    files.push(file);
                }
            }
        }
    }
    files.sort();
    files.dedup();
    assert!(files.len() > 150, "{} texts", files.len());
    shellcheck(&files);
}

#[test]
fn every_step_keeps_the_rules() {
    for name in playbook::names() {
        for hop in playbook::hops(&name) {
            for (phase, steps) in &hop.steps {
                let mut seen = Vec::new();
                for step in steps {
                    let name = text(step, "name").unwrap();
                    let at = format!("{}: {phase}.{name}", hop.name);
                    assert!(!seen.contains(&name), "{at} twice");
                    seen.push(name);
                    let kinds = [
                        "run", "local", "reboot", "compare", "wait", "template", "upload",
                        "download",
                    ];
                    assert_eq!(
                        kinds.iter().filter(|k| step.contains_key(**k)).count(),
                        1,
                        "{at}: one kind"
                    );
                    assert_eq!(
                        step.contains_key("arms"),
                        step.contains_key("disarm"),
                        "{at}: arms and disarm"
                    );
                    // What was brought here is compared with what was sent by fleetlift itself.
                    if *phase == "backup" && !step.contains_key("download") {
                        assert!(
                            step.contains_key("verify"),
                            "{at}: a backup that is not verified is none"
                        );
                    }
                    if *phase == "precheck" {
                        assert!(step.contains_key("remedy"), "{at}: no remedy");
                    }
                    if text(step, "on_lost") == Some("probe") {
                        assert!(step.contains_key("probe"), "{at}: nothing to probe with");
                    }
                    if *phase == "migrate" && step.contains_key("run") {
                        assert!(step.contains_key("on_lost"), "{at}: what if its result is lost?");
                    }
                }
            }
        }
    }
}

/// leapp's own word is asked before its files go, with patience; and a machine that a hypervisor has taken back is given time to
/// come up before anything else is asked of it.
#[test]
fn what_comes_a_moment_later_is_waited_for() {
    for hop in playbook::names().iter().flat_map(|name| playbook::hops(name)) {
        let place = |phase: &str, name: &str| {
            hop.steps[phase].iter().position(|step| text(step, "name") == Some(name))
        };
        let retries = |phase: &str, at: usize| {
            hop.steps[phase][at].get("retries").and_then(Value::as_integer).unwrap_or(0)
        };
        for step in &hop.steps["migrate"] {
            let script = text(step, "run").unwrap_or_default();
            if ["leapp preupgrade", "leapp upgrade"].iter().any(|words| script.contains(words)) {
                assert_eq!(text(step, "reads"), Some("leapp"), "{}: {script}", hop.name);
            }
        }
        if let Some(removed) = place("migrate", "remove-leapp") {
            let at = place("migrate", "leapp-finished").unwrap_or_else(|| panic!("{}", hop.name));
            assert!(at < removed && retries("migrate", at) >= 3, "{}", hop.name);
            let step = &hop.steps["migrate"][at];
            assert_eq!(text(step, "reads"), Some("migration-results"), "{}", hop.name);
        }
        if let Some(restored) = place("rollback", "restore-snapshot-from-outside") {
            assert!(retries("rollback", restored + 1) >= 10, "{}: it needs time", hop.name);
        }
    }
}

#[test]
fn the_checksum_of_the_stand_in_is_the_one_that_fleets_are_given() {
    let file = playbook::stage().join("centos7/usr/lib/testbed/mirror/migrate2rocky9.sh");
    let out = Command::new("sha256sum").arg(&file).output().unwrap().stdout;
    let sum = String::from_utf8(out).unwrap();
    let given = playbook::stage_vars("web")["migrate2rocky_sha256"].as_str().unwrap().to_owned();
    assert_eq!(
        sum.split_whitespace().next(),
        Some(given.as_str()),
        "put it into testbed/stage/vars.toml"
    );
}
