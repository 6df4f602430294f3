//! The files that an operator writes: checked, resolved, refused, without any host being contacted.

use crate::desk::{Desk, Said, cases, expect_case};
use serde_json::Value;
use std::{fs, net::TcpListener, path::Path};

/// On the case files, named as from the project's own folder, so that paths in messages are the same everywhere.
fn on_cases(desk: &Desk, args: &[&str]) -> Said {
    let output = desk.command(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    Said::of(&output)
}

#[test]
fn every_fault_of_every_file_is_told_at_once_with_its_place() {
    let desk = Desk::new();
    let folder = "tests/cases/bad-fleet";
    let playbook = format!("{folder}/playbook.toml");
    let args = ["validate", "-i", folder, "-p", &playbook];
    let said = on_cases(&desk, &args).exits(2);
    assert!(said.out.is_empty(), "{}", said.out);
    expect_case("bad-fleet.expected", &said.err);
    // The same as data: each fault has its file, and its line and column where it has one.
    let mut json = args.to_vec();
    json.push("--json");
    let faults = on_cases(&desk, &json).exits(2).json();
    let faults = faults.as_array().unwrap();
    assert_eq!(said.err.lines().filter(|line| line.starts_with("error: ")).count(), faults.len());
    for fault in faults {
        let file = fault["path"].as_str().unwrap();
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists(), "{fault}");
        if let (Some(line), Some(column)) = (fault["line"].as_u64(), fault["column"].as_u64()) {
            let place = format!("{file}:{line}:{column}");
            assert!(said.err.contains(&place), "{place}");
        }
    }
    // `plan` and `run` say the same, and begin nothing.
    for verb in [&["plan"][..], &["run", "--yes"]] {
        let mut args = verb.to_vec();
        args.extend(["-i", folder, "-p", &playbook]);
        assert_eq!(on_cases(&desk, &args).exits(2).err, said.err);
    }
    assert!(!desk.path("state").exists());
}

/// A fleet whose hosts are all at a port of the test, and that port.
fn listening(desk: &Desk) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    desk.write(
        "fleet/hosts.toml",
        format!(
            "[connection]\nport = {port}\nuser = \"admin\"\nagent = false\n\n[groups.web]\nhosts = [\"web-[01:03]\"]\n\
             \n[groups.empty]\n\n\
             [hosts.web-01]\naddress = \"127.0.0.1\"\n[hosts.web-02]\naddress = \"127.0.0.1\"\n\
             [hosts.web-03]\naddress = \"127.0.0.1\"\n"
        ),
    );
    desk.write("playbook.toml", "name = \"One\"\n[[migrate]]\nname = \"one\"\nrun = \"true\"\n");
    listener
}

#[test]
fn what_does_not_run_contacts_no_host_and_makes_no_run() {
    let desk = Desk::new();
    let listener = listening(&desk);
    let what = ["-i", "fleet", "-p", "playbook.toml"];
    let say = |verb: &[&str], more: &[&str]| desk.say(&[verb, &what, more].concat());
    say(&["validate"], &[]).exits(0);
    say(&["plan"], &[]).exits(0);
    say(&["plan", "--json"], &[]).exits(0).json();
    say(&["run", "--dry-run"], &[]).exits(0);
    // A selection that matches nothing is an error, never all.
    for (limit, words) in [
        ("", "selection"),
        (",", "selection"),
        ("web-09", "web-09"),
        ("web-0*,!web-*", "no host"),
        ("@wbe", "@web"),
        ("@empty", "no host"),
        ("state=failed", "state"),
        ("web-[01", "web-[01"),
    ] {
        for verb in [&["plan"][..], &["run", "--yes"]] {
            let said = say(verb, &["--limit", limit]).exits(2);
            assert!(said.err.contains(words), "{limit:?}: {}", said.err);
            assert!(said.out.is_empty(), "{}", said.out);
        }
        desk.say(&["hosts", "-i", "fleet", "--limit", limit]).exits(2);
    }
    // Without a terminal nobody can say yes.
    let said = say(&["run"], &[]).exits(2);
    assert!(said.err.contains("--yes"), "{}", said.err);
    assert!(said.err.contains("web-[01-03]"), "the plan is shown all the same: {}", said.err);
    let said = desk.say(&["run", "-i", "nowhere", "-p", "playbook.toml", "--yes"]).exits(2);
    assert!(said.err.contains("nowhere"), "{}", said.err);
    let said = desk.say(&["run", "-i", "fleet", "-p", "debian12-to-debian31", "--yes"]).exits(2);
    assert!(said.err.contains("debian12-to-debian13"), "did you mean: {}", said.err);

    assert!(!desk.path("state").exists(), "a run was made");
    let knocked = listener.accept().map(|(_, from)| from);
    assert_eq!(knocked.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn hosts_as_json_are_what_ansible_inventory_lists() {
    let desk = Desk::new();
    let said = on_cases(&desk, &["hosts", "-i", "tests/cases/hosts-json/hosts.toml", "--json"]);
    let expected = fs::read_to_string(cases("hosts-json/expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    assert_eq!(said.exits(0).json(), expected);
    // A limit leaves out hosts, and no group that has one left.
    let args = ["hosts", "-i", "tests/cases/hosts-json/hosts.toml", "--json", "--limit", "@db"];
    let some = on_cases(&desk, &args).exits(0).json();
    assert_eq!(some["_meta"]["hostvars"].as_object().unwrap().len(), 1);
    assert_eq!(some["db"], expected["db"]);
}

#[test]
fn the_example_is_laid_once_and_is_sound() {
    let desk = Desk::new();
    let said = desk.say(&["init", "example"]).exits(0);
    assert!(said.out.contains("fleetlift validate -i example"), "{}", said.out);
    desk.say(&["validate", "-i", "example", "-p", "debian12-to-debian13"]).exits(0);
    let hosts = desk.say(&["hosts", "-i", "example"]).exits(0).out;
    assert_eq!(hosts.lines().count(), 15, "{hosts}");
    let before = fs::read(desk.path("example/hosts.toml")).unwrap();
    fs::write(desk.path("example/hosts.toml"), [&before[..], b"# mine\n"].concat()).unwrap();
    let said = desk.say(&["init", "example"]).exits(2);
    assert!(said.err.contains("nothing was written"), "{}", said.err);
    assert!(fs::read(desk.path("example/hosts.toml")).unwrap().ends_with(b"# mine\n"));
    // Every shipped playbook can be printed, written down, and read again as it is.
    let list = desk.say(&["playbooks"]).exits(0).out;
    let names =
        list.lines().filter_map(|line| line.split(' ').next()).filter(|n| n.contains("-to-"));
    for name in names {
        let text = desk.say(&["playbooks", name]).exits(0).out;
        desk.write(&format!("{name}.toml"), text);
        let file = format!("{name}.toml");
        let said = desk.say(&["validate", "-i", "example", "-p", &file]);
        assert!(said.code == 0 || said.err.contains("nothing gives"), "{name}: {}", said.err);
    }
}
