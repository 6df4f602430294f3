//! How a host ends, and whether that is true.

use super::{At, Oracle};
use crate::host::Host;
use fleetlift::journal::End;

impl Oracle {
    /// A host's end: is it true?
    pub(super) fn ended(
        &mut self,
        name: &str,
        end: End,
        touched: bool,
        truth: &Host,
        said: &mut Vec<String>,
    ) {
        let last = self.plan.hops.len();
        let told = &self.hosts[name];
        if let Some(open) = &told.open {
            said.push(format!("ends while {open:?} is open"));
        }
        if truth.changed && !touched {
            said.push("was changed, and ends as not touched".to_owned());
        }
        let place = truth.place;
        let back = if told.reopened { told.lowest } else { told.back.or(told.rehearsed_on) };
        match end {
            End::Migrated | End::Already if place != Some(last) => {
                said.push(format!("ends {end:?} on system {place:?} of {last}"));
            }
            End::RolledBack if place != back => {
                said.push(format!("ends rolled back on {place:?}, not on {back:?}"));
            }
            End::Migrated
                if self.plan.waves[told.wave].rehearse_rollback
                    && self.waves[told.wave].good < self.plan.waves[told.wave].canary
                    && !told.rehearsed =>
            {
                said.push("is a canary, migrated without a rehearsal".to_owned());
            }
            End::Blocked if touched || truth.changed || told.rehearsed => {
                said.push("ends blocked, and was changed".to_owned());
            }
            End::RolledBack | End::Migrated if truth.armed.is_some() => {
                said.push(format!("ends {end:?} and is armed"));
            }
            _ => {}
        }
        let (wave, reopened) = (told.wave, told.reopened);
        let told = self.told(name);
        (told.at, told.reopened, told.failed) = (At::Ended(end), false, None);
        told.held = false;
        let canary = self.plan.waves[wave].canary;
        let wave = &mut self.waves[wave];
        if !reopened {
            wave.in_flight -= 1;
            wave.ended += 1;
        }
        let good = matches!(end, End::Migrated | End::Already | End::Committed);
        let bad = matches!(end, End::Failed | End::RolledBack | End::NeedsHands | End::Unreachable);
        if good {
            self.row = 0;
            wave.good += 1;
        }
        if bad {
            self.bad += 1;
            self.row += 1;
            wave.bad_canary |= wave.good < canary;
        }
    }
}
