//! `init`, `validate`, `hosts`, `playbooks`: the files that an operator writes.

use super::{
    args::{Common, HostsArgs, InitArgs, PlaybooksArgs, ValidateArgs},
    common,
    error::CliError,
    exec_run::{rollout_of, select},
};
use crate::{
    base::{
        fault::Faults,
        name::{GroupName, HostName},
        text::one_line,
        value::Value,
    },
    inventory::{self, Host, Inventory},
    playbook,
};
use serde_json::json;
use std::{collections::BTreeSet, fmt::Write as _, fs, process::ExitCode};

const EXAMPLE: [(&str, &str); 2] = [
    ("hosts.toml", include_str!("../../inventories/example/hosts.toml")),
    ("rollout.toml", include_str!("../../inventories/example/rollout.toml")),
];

/// `init`: lays an example. What is there already is never written over.
pub fn init(_: &Common, args: &InitArgs) -> Result<ExitCode, CliError> {
    let dir = &args.dir;
    let fail = |error: &std::io::Error| {
        CliError::usage(format!("cannot write into {}", dir.display())).cause(error)
    };
    if let Some((name, _)) = EXAMPLE.iter().find(|(name, _)| dir.join(name).exists()) {
        return Err(CliError::usage(format!("{} is there already", dir.join(name).display()))
            .hint("choose an empty folder; nothing was written"));
    }
    fs::create_dir_all(dir).map_err(|e| fail(&e))?;
    for (name, text) in EXAMPLE {
        fs::write(dir.join(name), text).map_err(|e| fail(&e))?;
    }
    let shown = one_line(&dir.to_string_lossy()).into_owned();
    common::print(&format!(
        "Laid an example fleet in {shown}: hosts.toml, rollout.toml.\n\
         Next: edit them, then `fleetlift validate -i {shown}` and `fleetlift plan -i {shown} -p debian12-to-debian13`.\n"
    ));
    Ok(ExitCode::SUCCESS)
}

/// `validate`: every fault of every file at once.
pub fn validate(_: &Common, args: &ValidateArgs) -> Result<ExitCode, CliError> {
    let path = &args.fleet.inventory;
    let inventory = inventory::read(path);
    let rollout = rollout_of(path);
    let playbook = args.playbook.as_deref().map(playbook::read);
    let mut faults = Vec::new();
    faults.extend(inventory.as_ref().err().into_iter().flat_map(|f| f.0.clone()));
    faults.extend(rollout.as_ref().err().into_iter().flat_map(|f| f.0.clone()));
    faults.extend(playbook.iter().flat_map(|p| p.as_ref().err()).flat_map(|f| f.0.clone()));
    if let (true, Ok(inventory), Ok(rollout)) = (faults.is_empty(), &inventory, &rollout) {
        // What templates ask for is known only together with the hosts.
        if let Some(Ok(playbook)) = &playbook {
            let all = inventory.hosts.keys().cloned().collect();
            let built = crate::plan::build(inventory, playbook, rollout, "@all", &all);
            faults.extend(built.err().into_iter().flat_map(|f| f.0));
        }
    }
    let faults = Faults(faults);
    if args.json {
        common::print(&format!("{}\n", faults.json()));
    }
    match (inventory, faults.0.is_empty()) {
        (Ok(inventory), true) => {
            let written = |name: &&GroupName| !matches!(name.as_str(), "all" | "ungrouped");
            let groups = inventory.groups.keys().filter(written).count();
            let hosts = inventory.hosts.len();
            common::complain(&format!(
                "No faults: {hosts} host{} in {groups} group{}.\n",
                if hosts == 1 { "" } else { "s" },
                if groups == 1 { "" } else { "s" },
            ));
            Ok(ExitCode::SUCCESS)
        }
        (_, _) if args.json => Ok(ExitCode::from(super::error::USAGE)),
        (_, _) => Err(faults.into()),
    }
}

/// `hosts`: the inventory as resolved.
pub fn hosts(_: &Common, args: &HostsArgs) -> Result<ExitCode, CliError> {
    let inventory = inventory::read(&args.fleet.inventory)?;
    let chosen = select(&inventory, args.limit.as_deref().unwrap_or("@all"))?;
    if args.json {
        let chosen: Vec<&Host> =
            inventory.hosts.values().filter(|h| chosen.contains(&h.name)).collect();
        common::print(&format!("{:#}\n", ansible_list(&inventory, &chosen)));
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for host in inventory.hosts.values().filter(|host| chosen.contains(&host.name)) {
        let groups: Vec<&str> = host.groups.iter().map(|group| group.as_str()).collect();
        let user =
            host.connection.user.as_deref().map(|user| format!("{user}@")).unwrap_or_default();
        let at = format!("{user}{}:{}", host.addresses.join(" or "), host.connection.port);
        let line = format!("{:<24} {:<36} {}", host.name, at, groups.join(" "));
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", one_line(line.trim_end()));
    }
    common::print(&text);
    Ok(ExitCode::SUCCESS)
}

/// What `ansible-inventory --list` prints. Secrets are named by their source, never shown.
fn ansible_list(inventory: &Inventory, hosts: &[&Host]) -> serde_json::Value {
    let mut hostvars = serde_json::Map::new();
    for host in hosts {
        let mut vars = serde_json::Map::new();
        for (name, value) in &host.vars {
            let value = match value {
                Value::Plain(value) => value.clone(),
                Value::Secret(source) => json!({ "secret": source.to_string() }),
            };
            vars.insert(name.clone(), value);
        }
        if let Some(address) = host.addresses.first().filter(|a| *a != host.name.as_str()) {
            vars.insert("ansible_host".to_owned(), json!(address));
        }
        if host.connection.port != 22 {
            vars.insert("ansible_port".to_owned(), json!(host.connection.port));
        }
        if let Some(user) = &host.connection.user {
            vars.insert("ansible_user".to_owned(), json!(user));
        }
        hostvars.insert(host.name.to_string(), vars.into());
    }
    let mut list = serde_json::Map::new();
    list.insert("_meta".to_owned(), json!({ "hostvars": hostvars }));
    let is_child = |name: &GroupName| {
        // `all` is above every group; what it names is still at the top.
        let mut others = inventory.groups.iter().filter(|(parent, _)| parent.as_str() != "all");
        others.any(|(_, group)| group.children.contains(name))
    };
    let chosen: BTreeSet<&HostName> = hosts.iter().map(|host| &host.name).collect();
    let mut top: Vec<&str> = Vec::new();
    for (name, group) in &inventory.groups {
        if matches!(name.as_str(), "all" | "ungrouped") {
            continue;
        }
        if !is_child(name) {
            top.push(name.as_str());
        }
        let mut entry = serde_json::Map::new();
        let own: Vec<&str> =
            group.hosts.iter().filter(|own| chosen.contains(own)).map(|own| own.as_str()).collect();
        if !own.is_empty() {
            entry.insert("hosts".to_owned(), json!(own));
        }
        if !group.children.is_empty() {
            let children: Vec<&str> = group.children.iter().map(|c| c.as_str()).collect();
            entry.insert("children".to_owned(), json!(children));
        }
        list.insert(name.to_string(), entry.into());
    }
    let ungrouped: Vec<&str> = hosts
        .iter()
        .filter(|host| host.groups.iter().all(|g| matches!(g.as_str(), "all" | "ungrouped")))
        .map(|host| host.name.as_str())
        .collect();
    let mut children = vec!["ungrouped"];
    children.extend(top);
    list.insert("all".to_owned(), json!({ "children": children }));
    if !ungrouped.is_empty() {
        list.insert("ungrouped".to_owned(), json!({ "hosts": ungrouped }));
    }
    list.into()
}

/// `playbooks`: the shipped ones.
pub fn playbooks(_: &Common, args: &PlaybooksArgs) -> Result<ExitCode, CliError> {
    let shipped = playbook::shipped();
    if let Some(name) = &args.name {
        let Some((_, text)) = shipped.iter().find(|(known, _)| known == name) else {
            return Err(CliError::usage(format!("no shipped playbook is called {name}"))
                .hint("`fleetlift playbooks` lists them"));
        };
        common::print(text);
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for (name, _) in shipped {
        let playbook = playbook::read(name)?;
        let hops = match playbook.hops.len() {
            1 => String::new(),
            n => format!(" ({n} hops)"),
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<24} {}{hops}", playbook.title);
        if let Some(support) = &playbook.support {
            let _ = writeln!(text, "{:<24} {support}", "");
        }
    }
    common::print(&text);
    Ok(ExitCode::SUCCESS)
}
