//! The host's lock: who may begin something, and how the host is left.

use super::{Dir, Host};
use fleetlift::host::{LEASE, Leave};
use std::collections::BTreeSet;

/// Another run may take a lock of which nothing was heard for longer than its lease.
pub(super) const LEASE_MS: u64 = LEASE.as_millis() as u64;

impl Host {
    /// Takes or renews the host's lock for a script in this directory, or says why not.
    pub fn take_lock(&mut self, dir: &str, epoch: Option<u32>, at: u64) -> Result<(), String> {
        let Some(epoch) = epoch else { return Ok(()) };
        let (folder, _) = dir.rsplit_once('/').unwrap_or((dir, ""));
        if self.ended.contains(folder) {
            return Err("the run has ended with this host".to_owned());
        }
        if at < self.troubles.locked_until {
            return Err("locked by run another of 1@there since before".to_owned());
        }
        if self.lock.is_some_and(|taken| taken > epoch) {
            return Err(
                "locked by run ours of a later one, which has taken this run over".to_owned()
            );
        }
        self.hear(epoch, at);
        self.lock = Some(epoch);
        self.heard = at;
        folder.clone_into(&mut self.lock_of);
        Ok(())
    }

    /// Its controller is heard of, and renews what it has. Where nothing keeps the two apart the lease has not run out.
    pub fn hear(&mut self, epoch: u32, at: u64) {
        if self.lock != Some(epoch) {
            return;
        }
        let silent = at.saturating_sub(self.heard);
        let runs = |dir: &Dir| matches!(dir, Dir::Begun(begun) if begun.runs());
        let free = silent > LEASE_MS && !self.dirs.values().any(runs);
        if free && self.scenario.trouble.network == 0 && self.troubles.partitions.is_empty() {
            let name = &self.name;
            self.wrong.push(format!("{name}: nothing was heard for {silent} ms of its lock"));
        }
        self.heard = at;
    }

    /// Folders of scripts in which something may still begin.
    pub fn open_folders(&self) -> impl Iterator<Item = &str> {
        let folders = self.dirs.keys().filter_map(|dir| dir.rsplit_once('/'));
        let folders: BTreeSet<&str> = folders.map(|(folder, _)| folder).collect();
        folders.into_iter().filter(|folder| *folder != "local" && !self.ended.contains(*folder))
    }

    /// Gives the lock back; after its end the folder is closed, and emptied where nothing of it is needed any more.
    pub fn leave(&mut self, folder: &str, epoch: u32, how: Leave) {
        if how != Leave::Rests {
            self.ended.insert(folder.to_owned());
        }
        let inside = |dir: &str| dir.rsplit_once('/').is_some_and(|(of, _)| of == folder);
        let runs = |(name, dir): (&String, &Dir)| {
            inside(name) && matches!(dir, Dir::Begun(begun) if begun.runs())
        };
        if how == Leave::Clean && !self.dirs.iter().any(runs) {
            self.dirs.retain(|name, _| !inside(name));
        }
        if self.lock.is_some_and(|taken| taken <= epoch) {
            if self.lock_of != folder {
                let wrong = format!("{folder} gives back the lock of {}", self.lock_of);
                self.wrong.push(wrong);
            }
            self.lock = None;
        }
        self.tell(|| format!("is left: {how:?}"));
    }

    /// Whether nothing keeps a controller from its door, for good or now and then.
    pub fn can_be_left(&self) -> bool {
        let troubles = &self.troubles;
        !troubles.unreachable
            && troubles.key_changes_at_boot.is_none()
            && troubles.partitions.is_empty()
            && troubles.replaced_at.is_none()
            && self.up
    }
}
