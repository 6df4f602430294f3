//! What is wrong with a host from the beginning, or will be.

use super::{Fate, Happening, Host, POWER_CUT, step_name};
use crate::scenario::Kind;

/// Troubles that a host has from the beginning, or from some time on.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    pub unreachable: bool,
    pub sudo_refused: bool,
    /// From this boot on its key is another one.
    pub key_changes_at_boot: Option<u32>,
    /// From, to.
    pub disk_full: Option<(u64, u64)>,
    pub partitions: Vec<(u64, u64)>,
    /// From this time on its address leads to another machine.
    pub replaced_at: Option<u64>,
    /// Its service does not come back on another system.
    pub service_breaks: bool,
    /// Until then another run has its lock.
    pub locked_until: u64,
}

impl Host {
    pub(super) fn draw_troubles(&mut self) {
        let mut chance = self.chance("troubles");
        let trouble = self.scenario.trouble;
        let hops = self.scenario.plan.hops.len();
        for spec in self.scenario.specs.clone().iter().filter(|spec| spec.guarded) {
            // Some of the work was done before we came.
            let step = step_name(spec.hop, spec.phase, &spec.name);
            let there = self.chance(&format!("before/{step}")).percent(15);
            if there && spec.kind == Kind::Plain {
                self.done.insert(step);
            } else if there && spec.kind == Kind::Backup {
                let sound = self.chance(&format!("sound/{step}")).percent(60);
                self.copies.insert(step, sound);
            }
        }
        self.troubles.service_breaks = chance.percent(trouble.steps);
        let mut lock = self.chance("lock");
        if !trouble.pure && trouble.hosts > 0 && lock.percent(4) {
            self.troubles.locked_until = lock.between(1000, 240_000);
        }
        if !chance.percent(trouble.hosts) {
            return;
        }
        let last = if trouble.pure { 7 } else { 12 };
        let at = chance.between(1000, 240_000);
        let troubles = &mut self.troubles;
        match chance.between(0, last) {
            0 => troubles.unreachable = true,
            1 => troubles.sudo_refused = true,
            2 => troubles.key_changes_at_boot = Some(chance.between(1, 2) as u32),
            3 => troubles.disk_full = Some((0, u64::MAX)),
            4 => self.place = None,
            5 => self.place = Some(hops),
            6 | 7 => self.place = Some(chance.between(0, hops as u64) as usize),
            8 => troubles.disk_full = Some((at, at + chance.between(1000, 100_000))),
            9 | 10 => {
                for _ in 0..chance.between(1, 2) {
                    let from = chance.between(0, 300_000);
                    let length = chance.pick(&[5_000, 30_000, 100_000, 400_000, 1_500_000]);
                    troubles.partitions.push((from, from + length));
                }
            }
            11 => troubles.replaced_at = Some(at),
            _ => {
                for _ in 0..chance.between(1, 3) {
                    let at = chance.between(0, 200_000);
                    let dark = Some(chance.between(20_000, 90_000));
                    let fate = Fate::AsMeant;
                    self.will(at, Happening::Down { dark, fate, why: POWER_CUT });
                }
            }
        }
        self.first_place = self.place;
    }
}
