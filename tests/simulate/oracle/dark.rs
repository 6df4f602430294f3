//! The time of reboots: it begins with the command, however long ago that was decided.

use super::Oracle;
use crate::host::Host;
use fleetlift::journal::{Failure, RebootVerdict};

/// Between the decision to reboot a host and its command, where that is given at the first try; and between what happens
/// and its record.
const SLACK_MS: u64 = 60_000;

impl Oracle {
    /// How long ago the host was told to reboot, at most. One that went down by itself was not told, and clocks that do not agree
    /// count nothing across two controllers.
    fn since_command(&self, truth: &Host) -> Option<u64> {
        let told = truth.told_to_reboot.filter(|_| !self.clocks)?;
        Some(truth.now().saturating_sub(told) + SLACK_MS)
    }

    pub(super) fn was_dark(&self, dark_ms: u64, truth: &Host, said: &mut Vec<String>) {
        let Some(most) = self.since_command(truth).filter(|most| dark_ms > *most) else { return };
        said.push(format!("was dark for {dark_ms} ms, and was told to reboot {most} ms ago"));
    }

    /// A reboot is given up: has it had its time?
    pub(super) fn gave_up(&self, failure: &Failure, truth: &Host, said: &mut Vec<String>) {
        let Failure::Reboot(
            RebootVerdict::NeverBack { limit_ms, .. } | RebootVerdict::NotOver { limit_ms, .. },
        ) = failure
        else {
            return;
        };
        let Some(had) = self.since_command(truth).filter(|had| had < limit_ms) else { return };
        said.push(format!("is given up {had} ms after its command: {failure:?}"));
    }
}
