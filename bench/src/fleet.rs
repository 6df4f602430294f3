//! The files of an operator, as many hosts and steps as a row needs.

use crate::{Result, serve::Server};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// A fleet folder and a playbook.
pub struct Fleet {
    pub folder: PathBuf,
    pub playbook: PathBuf,
}

/// What a playbook does on each host.
pub enum Work {
    /// So many steps that run this script, and an upload of so many bytes.
    Steps { script: &'static str, count: usize, upload: usize },
    /// A migration of about thirty steps, with texts of its own for each host.
    Long,
}

impl Fleet {
    /// Lays the files for hosts behind this server; without one, for hosts that are nowhere.
    pub fn lay(
        dir: &Path,
        server: Option<&Server>,
        hosts: usize,
        parallel: usize,
        work: &Work,
    ) -> Result<Self> {
        let folder = dir.join("fleet");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("hosts.toml"), inventory(server, hosts))?;
        let rollout = format!(
            "[defaults]\nparallel = {parallel}\n\n[[wave]]\nname = \"all\"\nhosts = \"@all\"\n"
        );
        fs::write(folder.join("rollout.toml"), rollout)?;
        let playbook = dir.join("work.toml");
        let text = match work {
            Work::Steps { script, count, upload } => steps(dir, script, *count, *upload)?,
            Work::Long => long(),
        };
        fs::write(&playbook, text)?;
        Ok(Self { folder, playbook })
    }
}

fn inventory(server: Option<&Server>, hosts: usize) -> String {
    let mut text = String::from("[connection]\nuser = \"admin\"\n");
    let mut address = String::new();
    if let Some(Server { dir, address: ip, port, .. }) = server {
        let dir = dir.display();
        let _ = write!(
            text,
            "agent = false\nidentity = \"{dir}/id_ed25519\"\n\
             known_hosts = \"{dir}/known_hosts\"\nallow_shared_machine = true\nport = {port}\n"
        );
        address = format!("address = \"{ip}\"\n");
    }
    text.push_str("\n[vars]\nbackup_dir = \"/var/backups/fleetlift\"\n");
    for host in 1..=hosts {
        let _ = write!(
            text,
            "\n[hosts.host-{host:05}]\n{address}labels = {{ rack = \"r{}\" }}\n",
            host / 40
        );
    }
    text
}

fn steps(dir: &Path, script: &str, count: usize, upload: usize) -> Result<String> {
    let mut text = String::from("name = \"Measured\"\n");
    for step in 1..=count {
        let _ = write!(text, "\n[[migrate]]\nname = \"step-{step}\"\nrun = \"{script}\"\n");
    }
    if upload > 0 {
        fs::write(dir.join("payload"), vec![b'x'; upload])?;
        text.push_str("\n[[migrate]]\nname = \"file\"\nupload = { from = \"payload\", to = \"/tmp/payload\" }\n");
    }
    Ok(text)
}

fn long() -> String {
    let mut text = String::from(
        "name = \"Thirty steps\"\n[from]\nid = \"centos\"\nversion = \"7\"\n[to]\nid = \"rocky\"\nversion = \"9\"\n",
    );
    for (phase, count) in [
        ("backup", 4),
        ("precheck", 8),
        ("migrate", 8),
        ("verify", 5),
        ("rollback", 2),
        ("commit", 1),
    ] {
        for step in 1..=count {
            let _ = write!(
                text,
                "\n[[{phase}]]\nname = \"{phase}-{step}\"\n\
                 run = \"mkdir -p {{{{ backup_dir | quote }}}} && work --on {{{{ host.name | quote }}}} --part {step}\"\n"
            );
            if phase == "backup" {
                text.push_str("verify = \"test -s /etc/os-release\"\n");
            }
            if phase == "migrate" {
                text.push_str(
                    "unless = \"test -e /etc/done\"\nverify = \"test -s /etc/os-release\"\n",
                );
            }
        }
    }
    text
}
