//! Reading who may open a gate.

use crate::base::{
    anchor::Anchor,
    approval::{EXPIRES, Rule, Signer, read_revoked, read_signers},
    fault::{Fault, Source},
    name::Principal,
    shape::{Collector, Node, Tree},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What a key `approval` says.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// `false`: nobody is asked, whatever the defaults say.
    Nobody,
    Of(Rule),
}

impl Asked {
    pub fn rule(self) -> Option<Rule> {
        match self {
            Self::Nobody => None,
            Self::Of(rule) => Some(rule),
        }
    }
}

/// Reads rules, and the files of keys that they name.
pub(super) struct Approvals {
    folder: PathBuf,
    /// Files that were read, each once.
    pub sources: Vec<Source>,
    /// Faults of these files.
    pub faults: Vec<Fault>,
}

impl Approvals {
    pub fn new(rollout: &Path) -> Self {
        let folder = rollout.parent().map(Path::to_owned).unwrap_or_default();
        Self { folder, sources: Vec::new(), faults: Vec::new() }
    }

    /// `None` where a fault has been reported.
    pub fn read(&mut self, node: &Node, out: &mut Collector<'_>) -> Option<Asked> {
        if let Tree::Flag(flag) = node.tree {
            if flag {
                let hint = "`approval = { of = [\"cto\"] }`; `false` asks nobody";
                out.add_with_hint(&node.range, "`approval` says who is asked", hint);
                return None;
            }
            return Some(Asked::Nobody);
        }
        let of = self.people(node.get("of")?, out)?;
        let quorum = node.get("quorum").and_then(Node::whole).unwrap_or(1);
        if quorum > of.len() {
            let place = node.get("quorum").unwrap_or(node);
            let message = format!("{quorum} must approve, and only {} may", of.len());
            out.add_with_hint(&place.range, message, "name more in `of`, or lower `quorum`");
            return None;
        }
        let expires = node.get("expires").and_then(Node::length).unwrap_or(EXPIRES);
        let signers = match node.get("signed").and_then(Node::flag).unwrap_or(false) {
            true => Some(self.signers(node, &of, quorum, out)?),
            false => {
                for key in ["allowed_signers", "revoked_keys"] {
                    if let Some(entry) = node.entry(key) {
                        let message = format!("`{key}` is for approvals that are signed");
                        out.add_with_hint(&entry.key, message, "add `signed = true`");
                        return None;
                    }
                }
                None
            }
        };
        Some(Asked::Of(Rule { of, quorum, expires, signers }))
    }

    fn people(&self, node: &Node, out: &mut Collector<'_>) -> Option<Vec<Principal>> {
        let mut people: Vec<Principal> = Vec::new();
        for item in node.items() {
            let principal: Principal = item.parse(str::parse)?;
            if people.contains(&principal) {
                let message = format!("{principal} is named twice");
                out.add_with_hint(&item.range, message, "one person approves once");
                return None;
            }
            people.push(principal);
        }
        (!people.is_empty()).then_some(people)
    }

    /// The keys of these people. Each must have one, and where several must approve none is two people's.
    fn signers(
        &mut self,
        node: &Node,
        of: &[Principal],
        quorum: usize,
        out: &mut Collector<'_>,
    ) -> Option<Vec<Signer>> {
        let Some(file) = node.get("allowed_signers") else {
            let hint = "a file in the form of ssh-keygen: `cto ssh-ed25519 AAAA…` on each line";
            out.add_with_hint(&node.range, "`signed` asks for `allowed_signers`", hint);
            return None;
        };
        let allowed = self.file(file, out, read_signers)?;
        let revoked = match node.get("revoked_keys") {
            Some(file) => self.file(file, out, read_revoked)?,
            None => Vec::new(),
        };
        let mut signers = Vec::new();
        let before = out.faults.len();
        for principal in of {
            let own: Vec<_> = allowed.iter().filter(|line| line.is_for(principal)).collect();
            if own.is_empty() {
                let message = format!("no key in this file is that of {principal}");
                let hint = "add a line with their name and public key; lines for other `namespaces` do not count";
                out.add_with_hint(&file.range, message, hint);
            }
            for line in own {
                let mut key = line.key.clone();
                key.set_comment("");
                let revoked = revoked.iter().any(|known| known.key_data() == key.key_data());
                // A key that was read can be written.
                let Ok(text) = key.to_openssh() else { continue };
                let key = text.trim().to_owned();
                let principal = principal.clone();
                signers.push(Signer {
                    principal,
                    key,
                    after: line.after,
                    before: line.before,
                    revoked,
                });
            }
        }
        for (at, signer) in signers.iter().enumerate() {
            let twin =
                |other: &&Signer| other.key == signer.key && other.principal != signer.principal;
            if quorum > 1
                && let Some(other) = signers[..at].iter().find(twin)
            {
                let message = format!(
                    "one key is that of {} and of {}: who has it would count twice",
                    other.principal, signer.principal
                );
                out.add_with_hint(&file.range, message, "give each person a key of their own");
            }
        }
        (out.faults.len() == before).then_some(signers)
    }

    /// Reads a file that stands beside the rollout, or where an absolute path says.
    fn file<T>(
        &mut self,
        node: &Node,
        out: &mut Collector<'_>,
        read: fn(&Source, &mut Collector<'_>) -> Vec<T>,
    ) -> Option<Vec<T>> {
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        let path = Anchor { folder: self.folder.clone(), home }.path(node.text()?);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let message = format!("{} cannot be read: {error}", path.display());
                out.add_with_hint(&node.range, message, "a path is relative to the rollout's file");
                return None;
            }
        };
        if bytes.starts_with(b"SSHKRL\n") {
            let hint = "list the public keys, one on a line";
            out.add_with_hint(&node.range, "a KRL cannot be read", hint);
            return None;
        }
        let source = match Source::from_read(&path, Ok(bytes)) {
            Ok(source) => source,
            Err(fault) => {
                self.faults.push(fault);
                return None;
            }
        };
        let is_new = !self.sources.iter().any(|known| known.path == source.path);
        let mut collector = Collector::new(&source);
        let found = read(&source, &mut collector);
        let sound = collector.faults.is_empty();
        if is_new {
            self.faults.append(&mut collector.faults);
            self.sources.push(source);
        }
        sound.then_some(found)
    }
}
