//! Accepted findings, for the hosts and the prechecks of a plan.

use super::model::PlanAccept;
use crate::{
    base::{
        fault::{Fault, Refusal},
        phase::Phase,
        suggest::did_you_mean,
    },
    inventory::{Inventory, Selection},
    playbook::{Playbook, Reads},
    rollout::{Rollout, fault_in_accept},
};
use std::collections::BTreeSet;

/// So much of a key names it, where it is cut: eight digits of a checksum, or the beginning of a title.
const KEY_MIN: usize = 8;
/// What stands before a title in place of a key.
const TITLE: &str = "title:";

/// What the rollout accepts. A name that no precheck has would silently accept nothing, so it is a fault.
pub fn accepts(
    inventory: &Inventory,
    playbook: &Playbook,
    rollout: &Rollout,
    faults: &mut Vec<Fault>,
) -> Vec<PlanAccept> {
    let known = Known::of(playbook);
    let mut accepts = Vec::new();
    for (number, accept) in rollout.accepts.iter().enumerate() {
        let mut fault = |key, refusal| faults.push(fault_in_accept(rollout, number, key, refusal));
        for finding in &accept.findings {
            if let Err(refusal) = known.check(finding) {
                fault("finding", refusal);
            }
        }
        match Selection::parse(&accept.hosts).and_then(|s| s.select(inventory)) {
            Ok(hosts) => {
                let hosts: BTreeSet<_> = hosts.into_iter().collect();
                accepts.extend(accept.findings.iter().map(|finding| PlanAccept {
                    finding: finding.clone(),
                    hosts: hosts.clone(),
                    by: accept.by.clone(),
                    until: accept.until.clone(),
                    ends: accept.ends,
                    reason: accept.reason.clone(),
                }));
            }
            Err(refusal) => fault("hosts", refusal),
        }
    }
    accepts
}

/// Whether a rule names this finding of a migrator's report: by its key, whole or its beginning, or by the beginning of its
/// title, which stays the same more often than a key does.
pub(super) fn names(rule: &str, key: &str, title: &str) -> bool {
    let (Some((rule_by, rule)), Some((by, key))) = (rule.split_once(':'), key.split_once(':'))
    else {
        return false;
    };
    if rule_by != by {
        return false;
    }
    if let Some(beginning) = rule.strip_prefix(TITLE) {
        return beginning.len() >= KEY_MIN && title.starts_with(beginning);
    }
    rule == key || (is_sum(rule) && is_sum(key) && key.starts_with(rule))
}

/// Whether this is a checksum as leapp writes it, or enough of the beginning of one.
fn is_sum(text: &str) -> bool {
    text.len() >= KEY_MIN && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// What findings of a playbook can be called.
struct Known<'p> {
    playbook: &'p str,
    prechecks: BTreeSet<&'p str>,
    reads: BTreeSet<Reads>,
}

impl<'p> Known<'p> {
    fn of(playbook: &'p Playbook) -> Self {
        let prechecks = playbook.hops.iter().filter_map(|hop| hop.steps.get(&Phase::Precheck));
        let steps = playbook.hops.iter().flat_map(|hop| hop.steps.values()).flatten();
        Self {
            playbook: &playbook.name,
            prechecks: prechecks.flatten().map(|step| step.name.as_str()).collect(),
            reads: steps.filter_map(|step| step.reads).collect(),
        }
    }

    fn check(&self, finding: &str) -> Result<(), Refusal> {
        match finding.split_once(':') {
            Some((by, key)) => self.check_key(finding, by, key),
            None if self.prechecks.contains(finding) => Ok(()),
            None => Err(self.unknown(finding)),
        }
    }

    fn check_key(&self, finding: &str, by: &str, key: &str) -> Result<(), Refusal> {
        let playbook = self.playbook;
        if !self.reads.iter().any(|reads| reads.as_str() == by) {
            let read: Vec<&str> = self.reads.iter().map(|reads| reads.as_str()).collect();
            let hint =
                did_you_mean(by, read.iter().copied()).unwrap_or_else(|| match read.is_empty() {
                    true => "none of its steps has `reads`".to_owned(),
                    false => format!("its steps read {}", read.join(", ")),
                });
            let message = format!("no step of {playbook} reads a report of `{by}`");
            return Err(Refusal::new(message).hint(hint));
        }
        let refused = |message: String| {
            let hint = "a key as the report has it, at least its first 8 characters, or `title:` and how its title begins";
            Err(Refusal::new(message).hint(hint))
        };
        let said = key.strip_prefix(TITLE).unwrap_or(key);
        let is_title = key.starts_with(TITLE);
        let by_sum = by == Reads::Leapp.as_str() && !is_title;
        if said.is_empty() || ((by_sum || is_title) && said.len() < KEY_MIN) {
            return refused(format!("`{finding}` is too short to name one kind of finding"));
        }
        // Its keys are checksums: anything else would name nothing, without a word.
        if by_sum && !is_sum(key) {
            return refused(format!("`{finding}` is no key of a report of {by}"));
        }
        Ok(())
    }

    fn unknown(&self, finding: &str) -> Refusal {
        let names = || self.prechecks.iter().copied().collect::<Vec<_>>().join(", ");
        let hint = did_you_mean(finding, self.prechecks.iter().copied()).unwrap_or_else(|| {
            match self.prechecks.is_empty() {
                true => "this playbook has no prechecks".to_owned(),
                false => format!("its prechecks are {}", names()),
            }
        });
        let playbook = self.playbook;
        Refusal::new(format!("no precheck of {playbook} is called `{finding}`")).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_a_key_its_beginning_or_a_title() {
        let (key, title) =
            ("leapp:9881b25faceeeaa7a6478bcdac29afd7f6baaaed", "Use of NFS detected");
        for (rule, named) in [
            ("leapp:9881b25faceeeaa7a6478bcdac29afd7f6baaaed", true),
            ("leapp:9881b25facee", true),
            ("leapp:9881b25", false),
            ("leapp:", false),
            ("leapp:9881b25faceeeaa7a6478bcdac29afd7f6baaaee", false),
            ("leapp:title:Use of NFS", true),
            ("leapp:title:Use of CIFS", false),
            ("leapp:title:", false),
            ("apt:9881b25facee", false),
            ("preupgrade", false),
        ] {
            assert_eq!(names(rule, key, title), named, "{rule}");
        }
        let kmods = "convert2rhel:TAINTED_KMODS::DETECTED";
        assert!(names(kmods, kmods, "Tainted"));
        assert!(!names("convert2rhel:TAINTED_KMODS", kmods, "Tainted"));
        assert!(!names("convert2rhel:TAINTED_KMODS::DET", kmods, "Tainted"));
    }
}
