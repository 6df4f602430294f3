//! Reading limits: budgets and failure domains.

use super::{Allowance, AtMost, Budget, shape::parse_percentage};
use crate::base::shape::{Collector, Node};

/// A budget. What it does not say is as in the one that is given.
pub(super) fn budget(node: Option<&Node>, usual: &Budget) -> Budget {
    let key = |key: &str| node.and_then(|table| table.get(key));
    let per = key("per").into_iter().flat_map(Node::entries);
    Budget {
        failures: key("failures").and_then(allowance).unwrap_or(usual.failures),
        consecutive: key("consecutive").and_then(Node::whole).or(usual.consecutive),
        per_hour: key("per_hour").and_then(Node::whole).or(usual.per_hour),
        per: per.filter_map(|(l, entry)| Some((l.to_owned(), allowance(&entry.node)?))).collect(),
    }
}

fn allowance(node: &Node) -> Option<Allowance> {
    node.whole().map(Allowance::Hosts).or_else(|| node.parse(parse_percentage))
}

/// Limits of failure domains. Two for one label contradict each other.
pub(super) fn at_most(node: Option<&Node>, out: &mut Collector<'_>) -> Vec<AtMost> {
    let mut limits: Vec<AtMost> = Vec::new();
    for table in node.map_or(&[][..], Node::one_or_many) {
        let (Some(hosts), Some(per)) = (table.get("hosts"), table.get("per")) else { continue };
        let (Some(hosts), Some(label)) = (hosts.whole(), per.text()) else { continue };
        if limits.iter().any(|limit| limit.per == label) {
            let message = format!("`at_most` has two limits for the label `{label}`");
            out.add_with_hint(&per.range, message, "the smaller one is enough");
            continue;
        }
        limits.push(AtMost { hosts, per: label.to_owned() });
    }
    limits
}
