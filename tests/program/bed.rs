//! The embedded fleet, in the test's own process.

use crate::{desk::Desk, support};
use fleetlift_testbed::{CannedAnswers, Fault, Fleet, FleetSpec, HostSpec, Profile};
use std::{fmt::Write as _, fs, path::PathBuf};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub struct Bed {
    pub runtime: Runtime,
    pub fleet: Option<Fleet>,
    dir: TempDir,
}

/// Ends the test as skipped where no simulated host can run.
#[macro_export]
macro_rules! need_bed {
    ($test:expr) => {
        if let Err(missing) = fleetlift_testbed::means() {
            $crate::support::skip($test, &format!("no simulated hosts here: {missing}"));
            return;
        }
    };
}

impl Bed {
    /// Hosts of the stage `plain`, which are in the group `web`.
    pub fn plain(names: &[&str]) -> Self {
        let hosts: Vec<(&str, Vec<Fault>)> = names.iter().map(|name| (*name, vec![])).collect();
        Self::new("plain", &hosts)
    }

    pub fn new(stage: &str, hosts: &[(&str, Vec<Fault>)]) -> Self {
        let dir = TempDir::with_prefix("fleetlift-bed-").unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let key = fleetlift::host::ssh::make_key(&dir.path().join("key")).unwrap();
        let hosts = hosts
            .iter()
            .map(|(name, faults)| HostSpec {
                name: (*name).to_owned(),
                role: "web".to_owned(),
                profile: Profile::Staged { stage: stage.to_owned() },
                faults: faults.clone(),
            })
            .collect();
        let spec = FleetSpec {
            hosts,
            authorized_key: key,
            dir: dir.path().join("hosts"),
            seed: 1,
            canned: CannedAnswers::default(),
        };
        let fleet = runtime.block_on(Fleet::start(spec)).unwrap();
        fs::write(dir.path().join("known_hosts"), fleet.known_hosts()).unwrap();
        Self { runtime, fleet: Some(fleet), dir }
    }

    pub fn fleet(&self) -> &Fleet {
        self.fleet.as_ref().unwrap()
    }

    /// A file of a host, seen from outside.
    pub fn file(&self, host: &str, path: &str) -> PathBuf {
        self.fleet().root(host).unwrap().join(path.trim_start_matches('/'))
    }

    /// What stands in a file of a host; nothing where there is none.
    pub fn read(&self, host: &str, path: &str) -> String {
        fs::read_to_string(self.file(host, path)).unwrap_or_default()
    }

    /// Waits until a word stands in a file of a host: a record says what is meant to be, the file what is.
    #[track_caller]
    pub fn wait_for(&self, host: &str, path: &str, word: &str) {
        let stands = || self.read(host, path).contains(word);
        support::wait_until(&format!("{host}: {path} says `{word}`"), stands);
    }

    /// The inventory of this fleet; `more` comes before its hosts.
    pub fn inventory(&self, more: &str) -> String {
        let word = |path: &str| format!("{:?}", self.dir.path().join(path));
        let mut text = format!(
            "[connection]\nuser = \"admin\"\nagent = false\nsudo = false\nidentity = {}\nknown_hosts = {}\n\n{more}\n",
            word("key"),
            word("known_hosts"),
        );
        let names: Vec<&str> = self.fleet().hosts().iter().map(|host| host.name.as_str()).collect();
        let _ = writeln!(text, "[groups.web]\nhosts = {names:?}\n");
        for host in self.fleet().hosts() {
            let _ = writeln!(
                text,
                "[hosts.{:?}]\naddress = \"{}\"\nconnection.port = {}",
                host.name, host.address, host.port
            );
        }
        text
    }

    /// The files that let this fleet's hosts be logged in to: our key, and the hosts' own.
    pub fn keys(&self) -> [PathBuf; 2] {
        ["key", "known_hosts"].map(|name| self.dir.path().join(name))
    }

    /// A desk with this fleet's inventory, a rollout that never pauses by itself, and a playbook.
    pub fn desk(&self, more: &str, playbook: &str) -> Desk {
        let desk = Desk::new();
        desk.write("fleet/hosts.toml", self.inventory(more));
        desk.write("fleet/rollout.toml", LENIENT);
        desk.write("playbook.toml", playbook);
        desk
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(fleet) = self.fleet.take() {
            self.runtime.block_on(fleet.stop());
        }
    }
}

/// All hosts at once, whatever becomes of them.
pub const LENIENT: &str = "\
[defaults]
parallel = 100
on_failure = \"rollback\"
budget = { failures = \"100%\", consecutive = 100 }

[[wave]]
name = \"all\"
hosts = \"@all\"
";

/// One host after the other, whatever becomes of them.
pub const NARROW: &str = r#"
[defaults]
parallel = 1
budget = { failures = "100%", consecutive = 100 }

[[wave]]
name = "all"
hosts = "@all"
"#;
