//! Approvals on the command line: given ahead and to a live run, signed by us and by `ssh-keygen`, and refused.

use crate::{
    bed::Bed,
    desk::{Desk, RUN},
    need_bed,
};
use serde_json::Value;
use std::{fs, process::Command};

const HOSTS: &str =
    "[groups.db]\nhosts = [\"db-1\"]\n[hosts.db-1]\naddress = \"127.0.0.1\"\nconnection.port = 9\n";
const PLAYBOOK: &str = "name = \"p\"\n[[migrate]]\nname = \"change\"\nrun = \"true\"\n";
/// A fleet of one host that no test contacts, behind a gate; and a wave without one.
fn desk(rule: &str) -> Desk {
    let desk = Desk::new();
    desk.write("fleet/hosts.toml", HOSTS);
    desk.write("playbook.toml", PLAYBOOK);
    let rollout = format!(
        "[[wave]]\nname = \"db\"\nhosts = \"@db\"\napproval = {rule}\n[[wave]]\nname = \"web\"\nhosts = \"@db\"\n"
    );
    desk.write("fleet/rollout.toml", rollout);
    desk
}

const SIGNED: &str =
    "{ of = [\"cto\", \"dba\"], quorum = 2, signed = true, allowed_signers = \"signers\" }";

fn keygen(desk: &Desk, args: &[&str]) -> String {
    let said = Command::new("ssh-keygen").args(args).current_dir(desk.dir.path()).output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success(), "{args:?}: {text}");
    String::from_utf8_lossy(&said.stdout).into_owned()
}

/// Makes a key, and returns its public half.
fn key(desk: &Desk, name: &str, kind: &[&str]) -> String {
    keygen(desk, &[&["-q", "-N", "", "-C", "x", "-f", name], kind].concat());
    fs::read_to_string(desk.path(&format!("{name}.pub"))).unwrap().trim().to_owned()
}

/// A fleet whose gate wants the signatures of both.
fn signed() -> Desk {
    let desk = desk(SIGNED);
    let cto = key(&desk, "cto", &["-t", "ed25519"]);
    let dba = key(&desk, "dba", &["-t", "ecdsa"]);
    let old = key(&desk, "old", &["-t", "ed25519"]);
    key(&desk, "stranger", &["-t", "ed25519"]);
    desk.write(
        "fleet/signers",
        format!("# who signs\ncto {cto}\ncto valid-before=\"20200101Z\" {old}\ndba namespaces=\"git,fleetlift-*\" {dba}\n"),
    );
    desk
}

fn paused(desk: &Desk) {
    let said = desk.say(&[&RUN[..], &["--no-wait"]].concat()).exits(3);
    assert!(
        said.err.contains("the gate of wave db is closed: 2 approvals, of cto and dba"),
        "{said:?}"
    );
    let next = said.err.lines().chain(said.out.lines()).find(|line| line.contains(" approve "));
    assert!(next.is_some_and(|line| line.contains(" db --reason TEXT ")), "{said:?}");
}

fn approve(desk: &Desk, more: &[&str]) -> crate::desk::Said {
    desk.say(&[&["approve", "last", "db", "--reason", "CHG0042"], more].concat())
}

fn kind(status: &Value) -> &str {
    status["gates"][0]["lack"]["wanted"].as_u64().map_or("open", |_| "closed")
}

#[test]
fn a_gate_opens_with_two_signatures_and_says_who_is_missing() {
    let desk = signed();
    paused(&desk);
    let said = approve(&desk, &["--key", "cto"]).exits(0);
    assert!(said.out.starts_with("cto approves wave db of run "), "{said:?}");
    assert!(said.out.contains("The gate is closed: 1 approval, of dba."), "{said:?}");
    assert!(said.out.contains("with the key SHA256:"), "{said:?}");
    let status = desk.status();
    assert_eq!(status["gates"][0]["lack"]["of"], serde_json::json!(["dba"]));
    assert_eq!(status["gates"][0]["words"][0]["principal"], "cto");
    desk.say(&["resume", "--no-wait"]).exits(3);
    let text = desk.say(&["status"]).exits(0).out;
    assert!(
        text.contains("db: closed, 1 approval, of dba") && text.contains("approved by cto"),
        "{text}"
    );

    let said = approve(&desk, &["--key", "dba"]).exits(0);
    assert!(said.out.contains("The gate is open."), "{said:?}");
    assert_eq!(kind(&desk.status()), "open");
    let text = desk.say(&["status"]).exits(0).out;
    assert!(text.contains("paused at the gate of wave db, which is open now; "), "{text}");
    // Nobody answers at the host's address, so that it ends unreachable: the gate let it through.
    let said = desk.say(&["resume", "--no-wait"]);
    assert!(said.code == 1 || said.code == 3, "{said:?}");
    assert!(desk.journal().iter().any(|record| record["event"] == "host_started"));
    let said = desk.say(&["journal", "--verify"]).exits(0);
    assert!(said.out.contains("2 words about gates, 2 with a signature that is right"), "{said:?}");
    let print = keygen(&desk, &["-l", "-f", "cto.pub"]);
    let print = print.split_whitespace().nth(1).unwrap();
    for words in [&["why", "last", "db-1"][..], &["report", "last", "--format", "md"]] {
        let said = desk.say(words).exits(0);
        assert!(
            said.out.contains(print) && said.out.contains("CHG0042"),
            "{words:?}: {}",
            said.out
        );
    }
}

#[test]
fn each_refusal_has_its_own_words() {
    let desk = signed();
    paused(&desk);
    for (words, code, told) in [
        (
            &["--key", "stranger", "--as", "cto"][..],
            4,
            "is not that of cto: it is not among the allowed signers",
        ),
        (&["--key", "stranger"], 4, "is that of nobody who may: cto, dba"),
        (&["--key", "dba", "--as", "cto"], 4, "is that of dba, and not that of cto"),
        (&["--key", "cto", "--as", "boss"], 4, "boss is not one of those who may: cto, dba"),
        (&["--key", "old"], 4, "was not valid at"),
        (&["--as", "cto"], 4, "takes signed approvals only"),
        (&[], 2, "tester is not asked here"),
        (&["--key", "nowhere", "--as", "cto"], 2, "the key cannot be read"),
        (&["--key", "cto", "--expires", "30d"], 4, "this gate takes 7d 0h at most"),
    ] {
        let said = approve(&desk, words).exits(code);
        assert!(said.err.contains(told), "{words:?}: {}", said.err);
        assert!(said.err.contains("hint: "), "{words:?}: {}", said.err);
    }
    for (words, code, told) in [
        (
            &["approve", "last", "dbb", "--reason", "x", "--key", "cto"][..],
            2,
            "there is no gate dbb",
        ),
        (
            &["approve", "last", "web", "--reason", "x", "--key", "cto"],
            4,
            "wave web needs no approval",
        ),
        (
            &["approve", "last", "db", "--reason", " ", "--key", "cto"],
            2,
            "a reason must not be empty",
        ),
        (&["approve", "last", "db", "--reason", "a\nb", "--key", "cto"], 2, "a reason is one line"),
        (&["approve", "last", "db", "--key", "cto"], 2, "--reason"),
        (&["approve", "nothing", "db", "--reason", "x"], 2, "there is no run nothing"),
    ] {
        let said = desk.say(words).exits(code);
        assert!(said.err.contains(told), "{words:?}: {}", said.err);
    }
    let records = desk.journal();
    assert!(!records.iter().any(|record| record["event"] == "gate_decided"), "{records:#?}");
}

/// Writes the text, and signs it with ssh-keygen.
fn sign_elsewhere(desk: &Desk, target: &str, who: &str, file: &str, namespace: &str) -> String {
    let printed = desk
        .say(&["approve", target, "db", "--reason", "by hand", "--as", who, "--print"])
        .exits(0);
    desk.write(file, &printed.out);
    keygen(desk, &["-q", "-Y", "sign", "-f", who, "-n", namespace, file]);
    format!("{file}.sig")
}

#[test]
fn what_ssh_keygen_signs_is_taken_and_what_we_sign_it_verifies() {
    let desk = signed();
    paused(&desk);
    let signature = sign_elsewhere(&desk, "last", "cto", "words", "fleetlift-approval");
    let hand_in = |file: &str| desk.say(&["approve", "last", "db", "--signature", file]);

    // One byte of the text, a signature for another purpose, another wave's, another run's.
    let text = fs::read_to_string(desk.path("words")).unwrap();
    desk.write("changed", text.replace("by hand", "by Hand"));
    let said = desk
        .say(&["approve", "last", "db", "--signature", &signature, "--text", "changed"])
        .exits(4);
    assert!(said.err.contains("the signature is not of this text"), "{said:?}");
    let other = sign_elsewhere(&desk, "last", "cto", "git-words", "git");
    assert!(hand_in(&other).exits(4).err.contains("was made for `git`"));
    desk.write("other-wave", text.replace("wave db", "wave web"));
    desk.write("other-wave.sig", fs::read(desk.path(&signature)).unwrap());
    assert!(
        hand_in("other-wave.sig")
            .exits(4)
            .err
            .contains("it is about wave web, and not about wave db")
    );
    let run = text.lines().find_map(|line| line.strip_prefix("run ")).unwrap();
    desk.write("other-run", text.replace(run, "20200101-0000-2222"));
    desk.write("other-run.sig", fs::read(desk.path(&signature)).unwrap());
    assert!(hand_in("other-run.sig").exits(4).err.contains("it is about run 20200101-0000-2222"));
    desk.write(
        "expired",
        text.replace("issued 20", "issued 19").replace("expires 20", "expires 19"),
    );
    // Rightly signed, and yet too old.
    keygen(&desk, &["-q", "-Y", "sign", "-f", "cto", "-n", "fleetlift-approval", "expired"]);
    let said = hand_in("expired.sig").exits(4);
    assert!(said.err.contains("it has expired: it was good until 19"), "{said:?}");
    desk.write("junk", "hello\n");
    assert!(hand_in("junk.sig").exits(2).err.contains("not what `--print` wrote"));

    let said = hand_in(&signature).exits(0);
    assert!(said.out.contains("cto approves"), "{said:?}");
    let said = hand_in(&signature).exits(4);
    assert!(said.err.contains("cto has said something later"), "{said:?}");

    // The other way: our signature, as ssh-keygen judges it.
    approve(&desk, &["--key", "dba"]).exits(0);
    let records = desk.journal();
    let word = records.iter().rev().find(|record| record["event"] == "gate_decided").unwrap();
    let of = |key: &str| word[key].as_str().unwrap().to_owned();
    let text = format!(
        "fleetlift approval 1\nplan {}\nrun {}\nwave db\ndecision approve\nprincipal dba\nissued {}\nexpires {}\nreason CHG0042\n",
        of("plan"),
        of("run"),
        of("issued"),
        of("expires")
    );
    let verify = |text: &str| {
        let text_file = fs::File::open(desk.write("ours", text)).unwrap();
        desk.write("ours.sig", of("signature"));
        Command::new("ssh-keygen")
            .args([
                "-Y",
                "verify",
                "-f",
                "fleet/signers",
                "-I",
                "dba",
                "-n",
                "fleetlift-approval",
                "-s",
                "ours.sig",
            ])
            .current_dir(desk.dir.path())
            .stdin(text_file)
            .output()
            .unwrap()
    };
    let said = verify(&text);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(!verify(&text.replace("CHG0042", "CHG0043")).status.success());
}

#[test]
fn a_rejection_stands_until_the_same_person_approves() {
    let desk = signed();
    paused(&desk);
    let early = sign_elsewhere(&desk, "last", "cto", "early", "fleetlift-approval");
    approve(&desk, &["--key", "dba"]).exits(0);
    let said =
        desk.say(&["reject", "last", "db", "--reason", "not tonight", "--key", "cto"]).exits(0);
    assert!(said.out.contains("closed: rejected by cto"), "{said:?}");
    // An approval that was given before the rejection does not undo it, whoever hands it in.
    let said = desk.say(&["approve", "last", "db", "--signature", &early]).exits(4);
    assert!(said.err.contains("has said something later"), "{said:?}");
    let said = desk.say(&["resume", "--no-wait"]).exits(3);
    assert!(said.err.contains("rejected by cto"), "{said:?}");
    let said = approve(&desk, &["--key", "cto"]).exits(0);
    assert!(said.out.contains("The gate is open."), "{said:?}");
}

#[test]
fn a_saved_plan_is_approved_ahead_of_its_run() {
    let desk = signed();
    let plan = |file: &str| {
        desk.say(&["plan", "-i", "fleet", "-p", "playbook.toml", "-o", file]).exits(0);
    };
    plan("night.plan");
    let said = desk.say(&["approve", "day.plan", "db", "--reason", "CHG7"]).exits(2);
    assert!(said.err.contains("there is no saved plan day.plan"), "{said:?}");
    let ahead = |file: &str, who: &str| {
        desk.say(&["approve", file, "db", "--reason", "CHG7", "--key", who])
    };
    let said = ahead("night.plan", "cto").exits(0);
    assert!(said.out.contains("closed: 1 approval, of dba"), "{said:?}");
    let signature = sign_elsewhere(&desk, "night.plan", "dba", "ahead", "fleetlift-approval");
    let said = desk.say(&["approve", "night.plan", "db", "--signature", &signature]).exits(0);
    assert!(said.out.contains("The gate is open."), "{said:?}");
    desk.say(&["apply", "night.plan", "--yes", "--no-wait"]);
    let records = desk.journal();
    let words: Vec<&Value> = records.iter().filter(|r| r["event"] == "gate_decided").collect();
    assert_eq!(words.len(), 2, "{records:#?}");
    assert!(records.iter().any(|record| record["event"] == "host_started"), "{records:#?}");
    desk.say(&["journal", "last", "--verify"]).exits(0);

    // For a plan that is another one they open nothing.
    desk.write("playbook.toml", PLAYBOOK.replace("true", "false"));
    plan("other.plan");
    fs::copy(desk.path("night.plan.approvals"), desk.path("other.plan.approvals")).unwrap();
    let said = desk.say(&["apply", "other.plan", "--yes", "--no-wait"]).exits(3);
    assert!(said.err.contains("it is about another plan"), "{said:?}");
    let said = desk.say(&["approve", "other.plan", "db", "--signature", &signature]).exits(4);
    assert!(said.err.contains("it is about another plan"), "{said:?}");
}

#[test]
fn a_journal_with_another_word_in_it_is_told() {
    let desk = signed();
    paused(&desk);
    approve(&desk, &["--key", "cto"]).exits(0);
    let run = desk.status()["run"].as_str().unwrap().to_owned();
    let database =
        rusqlite::Connection::open(desk.path(&format!("state/runs/{run}/journal.db"))).unwrap();
    database
        .execute("update records set json = replace(json, 'CHG0042', 'CHG0043') where json like '%gate_decided%'", [])
        .unwrap();
    drop(database);
    desk.say(&["journal", "last", "--verify"]).exits(2);
    // Also where nobody asks for the chain: the signature is not of this text.
    let said = desk.say(&["status", "last"]).exits(2);
    assert!(said.err.contains("the signature is not of this text"), "{said:?}");
}

#[test]
fn a_live_run_waits_while_other_waves_go_on() {
    need_bed!("a_live_run_waits_while_other_waves_go_on");
    let bed = Bed::plain(&["web-1", "db-1"]);
    let desk = bed.desk("", PLAYBOOK);
    desk.write(
        "fleet/rollout.toml",
        "[[wave]]\nname = \"web\"\nhosts = \"web-1\"\n[[wave]]\nname = \"db\"\nhosts = \"db-1\"\napproval = { of = [\"tester\", \"cto\"] }\n",
    );
    let mut run = desk.start(&RUN);
    run.wait_for("the end of the other wave", |r| {
        r["event"] == "wave_finished" && r["wave"] == "web"
    });
    let status = desk.status();
    let waits = &status["waiting_on"][0];
    assert_eq!((&waits["kind"], &waits["gate"]), (&"approval".into(), &"db".into()), "{status:#}");
    assert_eq!(waits["of"], serde_json::json!(["tester", "cto"]));
    desk.say(&["reject", "last", "db", "--reason", "wait for me", "--as", "cto"]).exits(0);
    run.wait_for("the rejection", |r| r["event"] == "gate_decided" && r["decision"] == "reject");
    let said = desk.say(&["approve", "last", "db", "--reason", "CHG1"]).exits(0);
    assert!(said.out.contains("closed: rejected by cto"), "{said:?}");
    desk.say(&["approve", "last", "db", "--reason", "here I am", "--as", "cto"]).exits(0);
    run.wait_for("the wave behind the gate", |r| r["event"] == "wave_started" && r["wave"] == "db");
    run.end().exits(0);
}
