//! `plan --connect`: asks every host what a run would meet there, and changes none.

use crate::{
    bed::{Bed, LENIENT},
    desk::{Desk, Said, end_of},
    need, need_bed,
    support::{self, Sshd},
};
use fleetlift_testbed::Fault;
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write as _, fs, os::unix::fs::MetadataExt, path::Path};

const PLAYBOOK: &str = r#"
name = "Connect"

[[backup]]
name = "copy"
run = "echo copied | tee /copy"
verify = "test -e /copy"
register = true

[[precheck]]
name = "room"
run = "cat /room 2>/dev/null || echo 500"
expect = "stdout | int >= 200"
remedy = "Remove old kernels."

[[precheck]]
name = "chatter"
run = "test ! -e /chatter"
severity = "warning"

[[precheck]]
name = "copied"
run = "test -n '{{ steps.copy.stdout }}'"

[[migrate]]
name = "only-db"
when = "host.name == 'db-01'"
run = "true"

[[migrate]]
name = "convert"
unless = "test -e /converted"
run = "echo x >>/count; echo yes >/converted"
estimate = "10m"

[[migrate]]
name = "restart"
reboot = { timeout = "1m" }
estimate = "2m"

[[migrate]]
name = "tidy"
unless = "test -e /tidy"
run = "echo yes >/tidy"

[[verify]]
name = "converted"
run = "test -e /converted"
"#;

const PLAN: [&str; 6] = ["plan", "-i", "fleet", "-p", "playbook.toml", "--connect"];

fn ask(desk: &Desk) -> Said {
    desk.say(&PLAN)
}

fn survey(desk: &Desk, code: i32) -> Value {
    let json = desk.say(&[&PLAN[..], &["--json"]].concat()).exits(code).json();
    json["survey"].clone()
}

/// What a step will do on a host.
fn prospect<'s>(survey: &'s Value, step: &str, host: &str) -> &'s Value {
    let steps = survey["steps"].as_array().unwrap();
    let step = steps.iter().find(|one| one["step"] == step).unwrap();
    let mut all = step["prospects"].as_array().unwrap().iter();
    all.find(|one| one["hosts"].as_array().unwrap().contains(&host.into())).unwrap()
}

fn word<'s>(survey: &'s Value, step: &str, host: &str) -> &'s str {
    prospect(survey, step, host)["prospect"].as_str().unwrap()
}

#[test]
fn every_step_says_what_it_would_do_on_every_host() {
    need_bed!("every_step_says_what_it_would_do_on_every_host");
    let hosts = [
        ("web-01", vec![]),
        ("web-02", vec![]),
        ("web-03", vec![]),
        ("web-04", vec![Fault::Refuses]),
        ("web-05", vec![Fault::DropsDuringScript { containing: "/room".to_owned() }]),
    ];
    let bed = Bed::new("plain", &hosts);
    fs::write(bed.file("web-02", "/converted"), "before\n").unwrap();
    fs::write(bed.file("web-03", "/room"), "40 MB left\n").unwrap();
    fs::write(bed.file("web-01", "/chatter"), "").unwrap();
    let desk = bed.desk("", PLAYBOOK);
    let survey = survey(&desk, 1);
    let words = |host: &str| {
        ["identity", "copy", "room", "chatter", "copied", "only-db", "convert", "tidy", "system"]
            .map(|step| word(&survey, step, host))
    };
    let (runs, unknown, blocked) = ("will_run", "unknown", "blocked");
    let skipped = "does_not_apply";
    assert_eq!(
        words("web-01"),
        ["passed", runs, "passed", "found", unknown, skipped, runs, unknown, runs]
    );
    assert_eq!(
        words("web-02"),
        ["passed", runs, "passed", "passed", unknown, skipped, "done", unknown, runs]
    );
    assert_eq!(
        words("web-03"),
        ["passed", runs, blocked, "passed", unknown, skipped, blocked, blocked, blocked]
    );
    assert_eq!(words("web-04"), {
        let mut words = [unknown; 9];
        // What the plan knows without the host is not forgotten.
        words[5] = skipped;
        words
    });
    // A connection that is cut once costs nothing: what only asks is asked again.
    assert_eq!(
        words("web-05"),
        words("web-02").map(|word| if word == "done" { runs } else { word })
    );
    assert_eq!(prospect(&survey, "copied", "web-01")["until"]["step"], "copy");
    assert_eq!(prospect(&survey, "tidy", "web-02")["until"]["step"], "restart");
    assert_eq!(prospect(&survey, "convert", "web-03")["by"]["step"], "room");
    assert_eq!(prospect(&survey, "convert", "web-02")["unless"], "test -e /converted");
    assert_eq!(survey["hosts"]["web-03"]["state"], "blocked");
    assert_eq!(survey["hosts"]["web-04"]["state"], "unreachable");
    let downtime = &survey["hosts"]["web-01"]["downtime"];
    assert!(downtime["p50_s"].as_u64().unwrap() > 720, "{downtime}");
    assert_eq!(downtime["dark_p50_s"], 120);
    assert!(survey["hosts"]["web-02"]["downtime"]["p50_s"].as_u64().unwrap() < 300);
    // Nothing was done anywhere, and no run was made.
    for host in ["web-01", "web-02", "web-03"] {
        assert_eq!((bed.read(host, "/copy"), bed.read(host, "/count")), ("".into(), "".into()));
        assert!(!bed.file(host, "/var/lib/fleetlift").exists(), "{host}");
    }
    assert!(desk.say(&["runs"]).exits(0).out.is_empty());

    let text = ask(&desk).exits(1).out;
    for line in [
        "5 hosts: 3 ready, 1 blocked, 1 unreachable",
        "blocker   precheck / room  1 host  web-03",
        "remedy: Remove old kernels.",
        "guard says done: `test -e /converted`",
        "unknown until backup / copy",
        "unknown until migrate / restart",
        "blocked: see its finding",
        "left out: hosts that could not be asked, and what a blocker keeps others from",
        "will run",
        "dark in it about 2m",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    // What it foretold is what happens.
    desk.run().exits(1);
    let status = desk.status();
    for (host, state) in [("web-01", "migrated"), ("web-02", "migrated"), ("web-03", "blocked")] {
        assert_eq!(end_of(&status, host).0, state, "{host}");
    }
}

/// A host that says it is on the target is asked for its proofs, and is told to be there where a run would say so too.
#[test]
fn hosts_that_are_there_already_prove_it_before_a_run() {
    need_bed!("hosts_that_are_there_already_prove_it_before_a_run");
    let playbook = "name = \"p\"\nfrom = { id = \"old\" }\nto = { id = \"plain\" }\n\
        [[migrate]]\nname = \"convert\"\nrun = \"echo yes >/converted\"\n\
        [[verify]]\nname = \"later\"\nrun = \"test -e /converted\"\n\
        [[verify]]\nname = \"elsewhere\"\nalready = true\nwhen = \"host.name == 'db-01'\"\nrun = \"false\"\n\
        [[verify]]\nname = \"whole\"\nalready = true\nrun = \"cat /half 2>/dev/null || true\"\nexpect = \"stdout == ''\"\n\
        [[verify]]\nname = \"sound\"\nalready = true\nrun = \"true\"\n";
    let bed = Bed::plain(&["web-01", "web-02"]);
    fs::write(bed.file("web-02", "/half"), "libc6 half-installed\n").unwrap();
    let desk = bed.desk("", playbook);
    let survey = survey(&desk, 1);
    let words = |host: &str| {
        ["convert", "later", "elsewhere", "whole", "sound"].map(|step| word(&survey, step, host))
    };
    let skipped = "does_not_apply";
    assert_eq!(words("web-01"), ["behind", "behind", skipped, "passed", "passed"]);
    assert_eq!(words("web-02"), ["behind", "behind", skipped, "blocked", "blocked"]);
    assert_eq!(survey["hosts"]["web-01"]["state"], "already");
    assert_eq!(survey["hosts"]["web-02"]["state"], "blocked");
    let text = ask(&desk).exits(1).out;
    for line in ["1 already done, 1 blocked", "verify / whole", "libc6 half-installed"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    // What it foretold is what happens.
    desk.run().exits(1);
    let status = desk.status();
    assert_eq!(end_of(&status, "web-01"), ("already", false, ""));
    assert_eq!(end_of(&status, "web-02"), ("failed", false, "unverified"));
    fs::remove_file(bed.file("web-02", "/half")).unwrap();
    assert!(ask(&desk).exits(0).out.contains("2 hosts: 2 already done"));
}

/// All below a folder: its kind, size, mode, times, and what is in it.
fn everything_below(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let about = fs::symlink_metadata(&path).unwrap();
        let times = [(about.mtime(), about.mtime_nsec()), (about.ctime(), about.ctime_nsec())];
        let what = format!("{} {:o} {} {times:?}", about.ino(), about.mode(), about.size());
        found.insert(path.display().to_string(), what);
        if about.is_dir() {
            everything_below(&path, found);
        }
    }
}

/// Processes that have this word in their environment.
fn marked(word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        if environment.windows(word.len()).any(|window| window == word.as_bytes()) {
            found.push(fs::read_to_string(path.join("cmdline")).unwrap_or_default());
        }
    }
    found
}

const REAL: &str = r#"
name = "Real"

[[backup]]
name = "copy"
run = "cp {{ home | quote }}/data {{ home | quote }}/kept"
verify = "cmp {{ home | quote }}/data {{ home | quote }}/kept"

[[precheck]]
name = "room"
run = "cat {{ home | quote }}/room; test ! -e {{ home | quote }}/full"
env = { FL_MARK = "{{ mark }}" }

[[precheck]]
name = "in-time"
run = "if test -e {{ home | quote }}/hangs; then sleep 600 & sleep 600; fi"
timeout = "1s"
env = { FL_MARK = "{{ mark }}" }

[[precheck]]
name = "key"
run = "echo key {{ token | quote }}; echo $FL_TOKEN >&2; test ! -e {{ home | quote }}/leaks"
env = { FL_MARK = "{{ mark }}", FL_TOKEN = "{{ token }}" }

[[migrate]]
name = "convert"
unless = "grep -qs converted {{ home | quote }}/data"
run = "echo converted >{{ home | quote }}/data"
env = { FL_MARK = "{{ mark }}" }
"#;

#[test]
fn twenty_real_hosts_are_asked_and_nothing_of_it_stays() {
    const TEST: &str = "twenty_real_hosts_are_asked_and_nothing_of_it_stays";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    let servers = [Sshd::with(10, ""), Sshd::with(10, "")];
    let mark = format!("connect-{}", std::process::id());
    let mut desk = Desk::new();
    desk.set("FL_SECRET", "hunter22-canary");
    let mut hosts = format!(
        "[connection]\nagent = false\nsudo = false\nallow_shared_machine = true\nknown_hosts = [{:?}, {:?}]\n\
         user = {:?}\n\n[vars]\nmark = {mark:?}\n\
         token = {{ secret = \"env:FL_SECRET\" }}\n",
        servers[0].known_hosts(),
        servers[1].known_hosts(),
        support::me()
    );
    let home = |name: &str| desk.path("homes").join(name);
    let names: Vec<String> = (1..=20).map(|n| format!("h{n:02}")).collect();
    for (n, name) in names.iter().enumerate() {
        let (server, address) = (&servers[n % 2], &servers[n % 2].addresses[n / 2]);
        fs::create_dir_all(home(name)).unwrap();
        fs::write(home(name).join("data"), "original\n").unwrap();
        let remote = home(name).join("remote");
        let _ = writeln!(
            hosts,
            "[hosts.{name}]\naddress = {address:?}\nconnection.port = {}\nconnection.identity = {:?}\n\
             connection.remote_dir = {remote:?}\nvars.home = {:?}",
            server.port,
            server.key,
            home(name)
        );
    }
    for (name, file) in [("h03", "full"), ("h04", "full"), ("h05", "hangs"), ("h06", "leaks")] {
        fs::write(home(name).join(file), "").unwrap();
    }
    fs::write(home("h07").join("data"), "converted\n").unwrap();
    desk.write("fleet/hosts.toml", hosts);
    desk.write("fleet/rollout.toml", LENIENT);
    desk.write("playbook.toml", REAL);
    let mut before = BTreeMap::new();
    everything_below(&desk.path("homes"), &mut before);
    let survey = survey(&desk, 1);
    let text = ask(&desk).exits(1);
    let mut after = BTreeMap::new();
    everything_below(&desk.path("homes"), &mut after);
    assert_eq!(before, after);
    assert_eq!(marked(&mark), Vec::<String>::new());

    let states = survey["hosts"].as_object().unwrap().values();
    let ready = states.filter(|host| host["state"] == "ready").count();
    assert_eq!(ready, 16, "{}", text.out);
    let findings = survey["findings"].as_array().unwrap();
    let found = |step: &str| findings.iter().find(|finding| finding["step"] == step).unwrap();
    assert_eq!(found("room")["hosts"], serde_json::json!(["h03", "h04"]));
    assert_eq!(found("in-time")["hosts"], serde_json::json!(["h05"]));
    assert_eq!(found("in-time")["messages"][0]["text"], "timed out after 1s, stopped");
    assert_eq!(found("key")["hosts"], serde_json::json!(["h06"]));
    assert_eq!(found("key")["messages"][0]["text"], "key [redacted]");
    assert_eq!(word(&survey, "convert", "h07"), "done");
    assert_eq!(word(&survey, "convert", "h08"), "will_run");
    let all = format!("{survey}{}{}", text.out, text.err);
    assert!(!all.contains("hunter22"), "{all}");
    // Hosts that are alike are told once.
    assert!(text.out.contains("precheck / room  2 hosts  h[03-04]"), "{}", text.out);
}

#[test]
fn a_host_that_dies_while_it_is_asked_holds_nobody_up() {
    const TEST: &str = "a_host_that_dies_while_it_is_asked_holds_nobody_up";
    need!(TEST, "sshd" => "openssh-server", "ssh-keygen" => "openssh-client");
    let (server, doomed) = (Sshd::with(1, ""), Sshd::with(1, ""));
    let desk = Desk::new();
    let playbook = "name = \"Dies\"\n[[precheck]]\nname = \"alive\"\nrun = {{ RUN }}\n\
                    [[migrate]]\nname = \"convert\"\nunless = \"false\"\nrun = \"true\"\n";
    // Its server, and then every session of that: who asks is one of them.
    let run = "test -z '{{ doomed }}' || { for p in {{ doomed }} $(cat /proc/{{ doomed }}/task/*/children); do kill -9 $p; done; sleep 60; }";
    desk.write("playbook.toml", playbook.replace("{{ RUN }}", &format!("{run:?}")));
    let mut hosts = format!(
        "[connection]\nagent = false\nsudo = false\nallow_shared_machine = true\nuser = {:?}\n\
         known_hosts = [{:?}, {:?}]\n[vars]\ndoomed = \"\"\n",
        support::me(),
        server.known_hosts(),
        doomed.known_hosts()
    );
    for (name, server, pid) in
        [("good", &server, String::new()), ("dies", &doomed, doomed.pid().to_string())]
    {
        let _ = writeln!(
            hosts,
            "[hosts.{name}]\naddress = {:?}\nconnection.port = {}\nconnection.identity = {:?}\nvars.doomed = {pid:?}",
            server.addresses[0], server.port, server.key
        );
    }
    desk.write("fleet/hosts.toml", hosts);
    desk.write("fleet/rollout.toml", LENIENT);
    let survey = survey(&desk, 1);
    assert_eq!(survey["hosts"]["good"]["state"], "ready");
    assert_eq!(survey["hosts"]["dies"]["state"], "unreachable", "{survey}");
    assert_eq!(word(&survey, "identity", "dies"), "passed");
    for step in ["alive", "convert", "system"] {
        assert_eq!(prospect(&survey, step, "dies")["until"], "asked", "{step}");
    }
}

#[test]
fn a_sudo_that_refuses_is_found_before_anything_needs_it() {
    need_bed!("a_sudo_that_refuses_is_found_before_anything_needs_it");
    let asks = || vec![Fault::SudoAsks { password: "open sesame".to_owned() }];
    let bed = Bed::new("plain", &[("silent", asks()), ("answers", asks())]);
    let playbook = "name = \"Sudo\"\n[[precheck]]\nname = \"any\"\nrun = \"true\"\nsudo = false\n\
                    [[migrate]]\nname = \"convert\"\nrun = \"true\"\nsudo = true\n";
    let mut desk = bed.desk("", playbook);
    let inventory = bed.inventory("");
    let answers = "[hosts.\"answers\"]\n";
    let with = format!("{answers}connection.sudo_password = \"env:RIGHT\"\n");
    desk.write("fleet/hosts.toml", inventory.replace(answers, &with));
    desk.set("RIGHT", "open sesame");
    let survey = survey(&desk, 1);
    assert_eq!(survey["hosts"]["silent"]["state"], "refused", "{survey}");
    let reason = survey["hosts"]["silent"]["reason"].as_str().unwrap();
    assert!(reason.contains("sudo"), "{reason}");
    assert_eq!(survey["hosts"]["answers"]["state"], "ready", "{survey}");
    assert!(!survey.to_string().contains("sesame"));
}

const ACCEPTED: &str = "
[[accept]]
finding = \"room\"
hosts = \"web-01\"
by = \"jane.doe\"
until = \"UNTIL\"
reason = \"its disk grows next week\"
";

#[test]
fn a_finding_is_accepted_by_name_until_a_day() {
    need_bed!("a_finding_is_accepted_by_name_until_a_day");
    let bed = Bed::plain(&["web-01", "web-02"]);
    for host in ["web-01", "web-02"] {
        fs::write(bed.file(host, "/room"), "40 MB left\n").unwrap();
    }
    let playbook = PLAYBOOK.replace("{{ steps.copy.stdout }}", "x");
    let playbook = playbook.replace(
        "[[migrate]]\nname = \"restart\"\nreboot = { timeout = \"1m\" }\nestimate = \"2m\"\n",
        "",
    );
    let desk = bed.desk("", &playbook);
    let accept = |until: &str| {
        let said = ACCEPTED.replace("UNTIL", until);
        desk.write("fleet/rollout.toml", format!("{LENIENT}{said}"));
    };

    // Expired: a blocker again, and both texts say so.
    accept("2020-02-29");
    let text = ask(&desk).exits(1).out;
    assert!(text.contains("2 hosts: 2 blocked"), "{text}");
    assert!(text.contains("was accepted by jane.doe until 2020-02-29, which is over"), "{text}");

    // Accepted: only what is new stands first, and only that blocks.
    accept("9000-12-31");
    let text = ask(&desk).exits(1).out;
    assert!(text.contains("2 hosts: 1 ready, 1 blocked"), "{text}");
    assert!(text.contains("[web-01] by jane.doe until 9000-12-31: its disk"), "{text}");
    let new = text.find("blocker   precheck / room  1 host  web-02").unwrap();
    let old = text.find("accepted  precheck / room  1 host  web-01").unwrap();
    assert!(new < old, "{text}");
    let said = desk.run().exits(1);
    let status = desk.status();
    assert_eq!(end_of(&status, "web-01"), ("migrated", true, ""));
    assert_eq!(end_of(&status, "web-02"), ("blocked", false, "unverified"));
    let words = "accepted by jane.doe until 9000-12-31: its disk grows next week";
    let why = desk.say(&["why", "last", "web-01"]).exits(0).out;
    let report = desk.say(&["report", "last", "--format", "md"]).exits(0).out;
    for text in [&why, &report, &said.err] {
        assert!(text.contains(words), "{text}");
    }
    let json = desk.say(&["report", "last", "--format", "json"]).exits(0).json();
    let findings = json["findings"].as_array().unwrap();
    assert_eq!(
        (&findings[0]["accepted"], &findings[0]["hosts"][0]),
        (&Value::Null, &"web-02".into())
    );
    assert_eq!(findings[1]["accepted"]["by"], "jane.doe");
}

#[test]
fn an_accepted_finding_that_nobody_finds_is_a_fault() {
    let desk = Desk::new();
    desk.write("fleet/hosts.toml", "[groups.web]\nhosts = [\"web-01\"]\n");
    desk.write("playbook.toml", PLAYBOOK);
    for (from, to, said) in [
        ("\"room\"", "\"roon\"", "did you mean `room`"),
        ("\"room\"", "\"convert\"", "no precheck of playbook is called `convert`"),
        ("\"web-01\"", "\"web-07\"", "web-07"),
        ("UNTIL", "next year", "this is no date"),
        ("\"jane.doe\"", "\" \"", "nothing is said here"),
    ] {
        let accept = ACCEPTED.replace(from, to).replace("UNTIL", "2030-01-01");
        desk.write("fleet/rollout.toml", format!("{LENIENT}{accept}"));
        let error = desk.say(&["plan", "-i", "fleet", "-p", "playbook.toml"]).exits(2).err;
        assert!(error.contains(said) && error.contains("rollout.toml:"), "{said}\n{error}");
    }
    // Without the flag that asks, the one that says how many has no sense.
    let said = desk.say(&["plan", "-i", "fleet", "-p", "playbook.toml", "--parallel", "3"]);
    assert!(said.exits(2).err.contains("--connect"));
}
