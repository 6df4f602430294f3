//! Chains: one hop must begin with the system that the one before it ends with.

use super::{Hop, files::Origin};
use crate::base::{
    facts::System,
    shape::{Collector, Node},
};
use std::ops::Range;

/// A chain as written.
pub(super) struct Chain<'a> {
    pub(super) origin: &'a Origin,
    /// The list of its hops.
    pub(super) hops: &'a Node,
    /// What it says itself of its first and its last system.
    pub(super) from: Option<System>,
    pub(super) to: Option<System>,
}

impl Chain<'_> {
    /// What a chain says of its ends must be what its hops say.
    pub(super) fn check_ends(&self, hops: &[Hop], out: &mut Collector<'_>) {
        let first = hops.first().and_then(|hop| hop.from.as_ref());
        if let (Some(said), Some(first)) = (&self.from, first)
            && !said.meets(first)
        {
            let message = format!("the chain begins with {said}, and its first hop with {first}");
            out.add(&self.hops.range, message);
        }
        let last = hops.last().and_then(|hop| hop.to.as_ref());
        if let (Some(said), Some(last)) = (&self.to, last)
            && !last.meets(said)
        {
            let message = format!("the chain ends with {said}, and its last hop with {last}");
            out.add(&self.hops.range, message);
        }
    }
}

/// Whether hops can follow those before them. A hop that names no system follows any.
pub(super) fn check_order(
    before: &[Hop],
    after: &[Hop],
    place: &Range<usize>,
    out: &mut Collector<'_>,
) {
    let (Some(last), Some(next)) = (before.last(), after.first()) else { return };
    if let (Some(to), Some(from)) = (&last.to, &next.from)
        && !to.meets(from)
    {
        let message =
            format!("`{}` begins with {from}, but the hop before it ends with {to}", next.name);
        out.add_with_hint(
            place,
            message,
            "put hops in the order in which systems follow each other",
        );
    }
}
