//! How a step is called wherever people read of it.

use super::words::Words;
use crate::{
    base::text::one_line,
    journal::{Acceptance, Finding, StepId},
    plan::Plan,
};
use std::borrow::Cow;

/// `migrate / leapp-upgrade`, with its hop before it where there are several.
pub(super) fn step_name(plan: &Plan, id: &StepId) -> String {
    let hops = plan.hops.iter().map(|hop| hop.name.as_str());
    of_hops(hops, id)
}

/// The same, where only the names of the hops are at hand.
pub(super) fn of_hops<'h>(mut hops: impl ExactSizeIterator<Item = &'h str>, id: &StepId) -> String {
    let several = hops.len() > 1;
    let name = format!("{} / {}", id.phase, id.step);
    match hops.nth(usize::from(id.hop)).filter(|_| several) {
        Some(hop) => format!("{}: {name}", one_line(hop)),
        None => name,
    }
}

/// A finding's message, with the key of the migrator's report that it is from.
pub(super) fn keyed(finding: &Finding) -> Cow<'_, str> {
    match finding.key() {
        None => Cow::Borrowed(&finding.message),
        Some(key) => Cow::Owned(format!("{} [{key}]", finding.message)),
    }
}

/// By whose word a finding does not block, or did not until that expired.
pub(super) fn accepted_text(words: &Words, accepted: &Acceptance) -> String {
    let key = if accepted.expired { "value.accepted_over" } else { "value.accepted" };
    let said = [&accepted.by, &accepted.until, &accepted.reason].map(|text| one_line(text));
    words.say(key, &[("by", &said[0]), ("until", &said[1]), ("reason", &said[2])])
}
