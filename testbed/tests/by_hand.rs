//! The program that starts a fleet by hand.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

#[test]
fn it_prints_an_inventory_and_ends_with_its_standard_input() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_fleetlift-testbed"))
        .args(["--hosts", "2", "--canned", "1", "--fault", "host-2=refuses"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
    let inventory: Vec<String> =
        lines.by_ref().take_while(|line| !line.starts_with("# ready: ")).collect();
    for wanted in ["[connection]", "user = \"admin\"", "[hosts.\"host-1\"]", "[hosts.\"canned-1\"]"]
    {
        assert!(inventory.iter().any(|line| line == wanted), "{wanted} is not in {inventory:#?}");
    }
    let identity = inventory.iter().find_map(|line| line.strip_prefix("identity = \"")).unwrap();
    let identity = Path::new(identity.trim_end_matches('"')).to_owned();
    assert!(identity.exists());
    drop(program.stdin.take());
    assert!(program.wait().unwrap().success());
    assert!(!identity.parent().unwrap().exists(), "it left its files behind");
}

#[test]
fn a_wrong_argument_is_refused_with_the_usage() {
    for arguments in [&["--hosts"][..], &["--hosts", "many"], &["--beds", "2"], &["--fault", "x"]] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_fleetlift-testbed"));
        let output = program.args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("Usage: "), "{arguments:?}");
    }
}
