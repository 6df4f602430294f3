//! `demo`: a simulated fleet in this process, migrated over real SSH with the shipped playbook.

use super::{
    args::{Common, DemoArgs},
    common, driving,
    error::CliError,
    exec_run::{self, rollout_of, seal},
    reports::{Mode, write_whole},
};
use crate::{
    base::text::one_line,
    inventory,
    journal::Store,
    plan, playbook,
    report::{self, Report},
};
use fleetlift_testbed::{Fault, Fleet, FleetSpec, HostSpec, Profile};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

const PLAYBOOK: &str = "centos7-to-rocky9";
const STAGE: &str = "centos7";
const ROLLOUT: &str = include_str!("../../inventories/demo/rollout.toml");
/// What the stage's pretended hypervisor offers in place of a real one.
const SNAPSHOTS: &str = include_str!("../../testbed/stage/vars.toml");

/// The groups of the reference report: how many of each in fifteen.
const ROLES: [(&str, &str, u32); 4] =
    [("monitoring", "mon", 1), ("cache", "cache", 2), ("web", "web", 8), ("db", "db", 4)];
/// Fails its upgrade, and is rolled back.
const FAILS: &str = "web-05";
/// Has a driver that the new system does not know, which leapp's own report tells.
const INHIBITED: &str = "web-07";
/// Has too little room in /boot, which its precheck finds.
const BLOCKED: &str = "db-03";

pub fn demo(common: &Common, args: &DemoArgs) -> Result<ExitCode, CliError> {
    let means = fleetlift_testbed::means().map_err(|missing| {
        CliError::usage(format!("the simulated fleet cannot run here: {missing}"))
            .hint("run the demo as root, or on a machine that allows unprivileged user namespaces")
    })?;
    tracing::info!(?means, "simulated hosts");
    driving::block_on(migrate(common, args))?
}

async fn migrate(common: &Common, args: &DemoArgs) -> Result<ExitCode, CliError> {
    let io =
        |what: &str, error: &dyn std::error::Error| CliError::usage(what.to_owned()).cause(error);
    let work = tempfile::tempdir().map_err(|e| io("no temporary folder can be made", &e))?;
    let key = make_key(&work.path().join("id_ed25519"))?;
    let spec = FleetSpec {
        hosts: hosts(args.hosts),
        authorized_key: key,
        dir: work.path().join("hosts"),
        seed: args.seed,
        canned: fleetlift_testbed::CannedAnswers::default(),
    };
    let names = spec.hosts.len();
    common::complain(&format!(
        "Simulated fleet: {names} hosts on loopback. Real SSH, real shells; their operating systems are a stage set.\n"
    ));
    let fleet = Fleet::start(spec).await.map_err(|e| io("the simulated fleet cannot start", &e))?;
    let folder = args.out.join("fleet");
    lay_fleet(&folder, work.path(), &fleet)
        .map_err(|e| io("the fleet's files cannot be written", &e))?;
    let done = migrate_fleet(common, args, &folder).await;
    fleet.stop().await;
    done
}

async fn migrate_fleet(
    common: &Common,
    args: &DemoArgs,
    folder: &Path,
) -> Result<ExitCode, CliError> {
    let inventory = inventory::read(folder)?;
    let playbook = playbook::read(PLAYBOOK)?;
    let rollout = rollout_of(folder)?;
    let all: BTreeSet<_> = inventory.hosts.keys().cloned().collect();
    let mut plan = plan::build(&inventory, &playbook, &rollout, "@all", &all)?;
    // Nobody shall take this run's report for that of real servers.
    plan.title.push_str(" (simulated fleet)");
    let planned = seal(plan)?;
    // The demo's runs stand beside its report, so that they are never mistaken for real ones.
    let state_dir = common.state_dir.clone().unwrap_or_else(|| args.out.join("state"));
    let store = Store::new(&state_dir);
    let ready = exec_run::begin(store.clone(), planned)?;
    let run = ready.run.clone();
    let code = driving::drive(common, ready).await?;
    let (seen, records) = common::read_whole(&store, run)?;
    let made = Report::build(&seen.plan, &seen.digest, &seen.run, &records);
    let texts = [
        ("html", report::html(&made)),
        ("md", report::markdown(&made)),
        ("json", report::json(&made)),
    ];
    for (ending, text) in texts {
        write_whole(&args.out.join(format!("report.{ending}")), &text, Mode::Shared)?;
    }
    let shown = |path: PathBuf| one_line(&path.to_string_lossy()).into_owned();
    common::complain(&format!(
        "Report: {}
",
        shown(args.out.join("report.html"))
    ));
    Ok(code)
}

/// The fifteen hosts of the reference report, or as many in the same proportions.
fn hosts(wanted: Option<u32>) -> Vec<HostSpec> {
    let mut hosts = Vec::new();
    let total = wanted.unwrap_or(15);
    let mut left = total;
    for (index, (role, short, of_15)) in ROLES.into_iter().enumerate() {
        let after = (ROLES.len() - 1 - index) as u32;
        let share = match after {
            0 => left,
            _ => (total * of_15 / 15).clamp(1, left - after),
        };
        left -= share;
        for n in 1..=share {
            let name = format!("{short}-{n:02}");
            let faults = match name.as_str() {
                FAILS => vec![Fault::Stage("upgrade-fails".to_owned())],
                INHIBITED => vec![Fault::Stage("leapp-inhibitor".to_owned())],
                BLOCKED => vec![Fault::Stage("boot-full".to_owned())],
                _ => Vec::new(),
            };
            let profile = Profile::Staged { stage: STAGE.to_owned() };
            hosts.push(HostSpec { name, role: role.to_owned(), profile, faults });
        }
    }
    hosts
}

/// Makes a key that only this demo knows. Returns its public half.
fn make_key(path: &Path) -> Result<String, CliError> {
    let fail = |error: &dyn std::error::Error| CliError::usage("no key can be made").cause(error);
    crate::host::ssh::make_key(path).map_err(|e| fail(&e))
}

/// Writes the fleet's files, as an operator would have written them.
fn lay_fleet(folder: &Path, work: &Path, fleet: &Fleet) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let known_hosts = work.join("known_hosts");
    fs::write(&known_hosts, fleet.known_hosts())?;
    let mut text = String::new();
    let word = |path: PathBuf| toml::Value::from(path.to_string_lossy().into_owned()).to_string();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "# The simulated fleet of one demo. Its hosts are gone when the demo has ended.\n"
    );
    let _ = writeln!(text, "[connection]\nuser = \"admin\"\nagent = false");
    let _ = writeln!(text, "identity = {}", word(work.join("id_ed25519")));
    let _ = writeln!(text, "known_hosts = {}\n", word(known_hosts));
    let _ = writeln!(text, "{SNAPSHOTS}");
    for (role, short, _) in ROLES {
        let members: Vec<&str> = fleet
            .hosts()
            .iter()
            .map(|host| host.name.as_str())
            .filter(|name| name.rsplit_once('-').is_some_and(|(head, _)| head == short))
            .collect();
        let _ = writeln!(text, "[groups.{role}]\nhosts = {}\n", serde_json::json!(members));
    }
    for host in fleet.hosts() {
        let _ = writeln!(
            text,
            "[hosts.{}]\naddress = \"{}\"\nconnection.port = {}\n",
            host.name, host.address, host.port
        );
    }
    fs::write(folder.join("hosts.toml"), text)?;
    fs::write(folder.join("rollout.toml"), ROLLOUT)
}
