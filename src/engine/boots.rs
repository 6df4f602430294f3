//! In which boot a host is: what it says of its files is believed in the boot in which they were written.

use super::lane::{Lane, Order, Stop};
use crate::base::facts::Facts;

/// The boot of a host before a step. A power cut may take what is not on the disk yet: names as well as what stands in them.
pub(super) enum Before {
    Boot(String),
    /// It tells none.
    NoBootIds,
    /// It was in some boot when an earlier controller handed the step over.
    Unknown,
}

impl Before {
    /// Why a host is not believed that says *never*.
    pub(super) fn doubt(&self) -> &'static str {
        match self {
            Self::Boot(_) => {
                "the host knows nothing of it, and was started anew since: a power cut may have taken what it wrote"
            }
            Self::NoBootIds => {
                "the host knows nothing of it, and has no boot ids: a power cut may have taken what it wrote"
            }
            Self::Unknown => {
                "the host knows nothing of it, and nobody knows whether it was started anew since: a power cut may have \
                 taken what it wrote"
            }
        }
    }
}

impl Lane {
    /// Whether the host is in this boot, by its own word.
    pub(super) async fn is_in(&mut self, order: &Order, boot: &str) -> bool {
        self.ask_boot(order).await.is_ok_and(|answer| answer.boot_id == boot)
    }

    /// The boot in which a step is handed over. A host that nobody has seen since its reboot failed is asked.
    pub(super) async fn boot_before(&mut self, order: &Order) -> Result<Before, Stop> {
        let known = |facts: &Facts| !facts.boot_id.is_empty();
        if let Some(boot) = &order.boot_id {
            return Ok(Before::Boot(boot.clone()));
        }
        if order.known.before.as_deref().is_some_and(|facts| !known(facts)) {
            return Ok(Before::NoBootIds);
        }
        if order.begun {
            return Ok(Before::Unknown);
        }
        let answer = self.ask_boot(order).await?;
        Ok(if known(&answer) { Before::Boot(answer.boot_id) } else { Before::NoBootIds })
    }

    /// Whether the host is in the boot that it was in before, so that what it says of its files can be believed.
    pub(super) async fn is_still(&mut self, order: &Order, before: &Before) -> bool {
        match before {
            Before::Boot(boot) => self.is_in(order, boot).await,
            Before::NoBootIds | Before::Unknown => false,
        }
    }
}
