//! An inventory as written: what each table says, not yet merged.

use super::{
    connection::Settings,
    shape::{INVENTORY, check_ends, check_host_range},
};
use crate::base::{
    anchor::Anchor,
    fault::Refusal,
    name::{GroupName, HostName},
    range::{NAMES_MAX, expand},
    shape::{Collector, Entry, Node},
    value::Value,
    variables::read_variables,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    str::FromStr,
};

pub(super) type Variables = BTreeMap<String, Value>;
pub(super) type Labels = BTreeMap<String, String>;

/// Groups that every inventory has, whether it names them or not.
pub(super) const ALL: &str = "all";
pub(super) const UNGROUPED: &str = "ungrouped";

#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) settings: Settings,
    pub(super) vars: Variables,
    pub(super) groups: BTreeMap<GroupName, WrittenGroup>,
    pub(super) hosts: BTreeMap<HostName, WrittenHost>,
}

#[derive(Debug, Default)]
pub(super) struct WrittenGroup {
    pub(super) hosts: Vec<HostName>,
    pub(super) children: Vec<(GroupName, Range<usize>)>,
    pub(super) own: Own,
}

#[derive(Debug, Default)]
pub(super) struct WrittenHost {
    pub(super) addresses: Vec<String>,
    pub(super) own: Own,
}

/// What groups and hosts alike may say.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) vars: Variables,
    pub(super) labels: Labels,
    pub(super) settings: Settings,
}

/// Reads `hosts.toml`. `None` where it is not TOML.
pub(super) fn read(out: &mut Collector<'_>, anchor: &Anchor) -> Option<Written> {
    let root = out.read(&INVENTORY)?;
    let mut written = Written {
        settings: Settings::read(&root, anchor),
        vars: root.get("vars").map(|vars| variables(vars, anchor, out)).unwrap_or_default(),
        ..Written::default()
    };
    for (name, entry) in root.get("groups").into_iter().flat_map(Node::entries) {
        if name == ALL || name == UNGROUPED {
            let hint = "what holds for all hosts stands in `[vars]` and `[connection]`";
            out.refuse_key(
                entry,
                Refusal::new(format!("the group `{name}` makes itself")).hint(hint),
            );
        } else if let Some(name) = key::<GroupName>(name, entry, out) {
            let group = group(&entry.node, anchor, out);
            written.groups.insert(name, group);
        }
    }
    for (name, entry) in root.get("hosts").into_iter().flat_map(Node::entries) {
        if name.contains('[') {
            let hint = format!("name them in a group: [groups.NAME] with hosts = [\"{name}\"]");
            let message = "a table is for one host, and not for a range";
            out.refuse_key(entry, Refusal::new(message).hint(hint));
        } else if let Some(name) = key::<HostName>(name, entry, out) {
            let addresses = entry.node.get("address").map_or(&[][..], Node::one_or_many);
            let addresses = addresses.iter().filter_map(Node::text).map(str::to_owned).collect();
            let own = own(&entry.node, anchor, out);
            written.hosts.insert(name, WrittenHost { addresses, own });
        }
    }
    check_children(&written, out);
    Some(written)
}

/// A table's key as a name; what is no name is a fault at the key.
fn key<N: FromStr<Err = crate::base::name::NameError>>(
    name: &str,
    entry: &Entry,
    out: &mut Collector<'_>,
) -> Option<N> {
    let parsed = check_ends(name).and_then(|()| {
        name.parse().map_err(|error: crate::base::name::NameError| Refusal::new(error.to_string()))
    });
    parsed.map_err(|refusal| out.refuse_key(entry, refusal)).ok()
}

fn group(table: &Node, anchor: &Anchor, out: &mut Collector<'_>) -> WrittenGroup {
    let mut hosts = Vec::new();
    let mut seen = BTreeSet::new();
    for item in table.get("hosts").map_or(&[][..], Node::items) {
        // What is no name or range has been reported.
        let names = item.parse(|text| check_host_range(text).and_then(|()| expand(text)));
        for name in names.unwrap_or_default() {
            match host_name(&name) {
                Err(refusal) => {
                    out.refuse(item, Refusal { range: None, ..refusal });
                    break;
                }
                Ok(name) if seen.contains(&name) => {
                    let message = format!("the host `{name}` is in this group twice");
                    out.add_with_hint(&item.range, message, "name it once");
                    break;
                }
                Ok(_) if hosts.len() == NAMES_MAX => {
                    out.add(&item.range, format!("a group has at most {NAMES_MAX} hosts"));
                    break;
                }
                Ok(name) => {
                    seen.insert(name.clone());
                    hosts.push(name);
                }
            }
        }
    }
    let children = table
        .get("children")
        .map_or(&[][..], Node::items)
        .iter()
        .filter_map(|item| Some((item.parse(str::parse)?, item.range.clone())))
        .collect();
    WrittenGroup { hosts, children, own: own(table, anchor, out) }
}

fn host_name(name: &str) -> Result<HostName, Refusal> {
    check_ends(name)?;
    name.parse().map_err(|error: crate::base::name::NameError| {
        let refusal = Refusal::new(error.to_string());
        if name.contains(',') {
            refusal.hint("every host is an entry of its own: hosts = [\"a\", \"b\"]")
        } else {
            refusal
        }
    })
}

fn own(table: &Node, anchor: &Anchor, out: &mut Collector<'_>) -> Own {
    let labels = table.get("labels").into_iter().flat_map(Node::entries);
    Own {
        vars: table.get("vars").map(|vars| variables(vars, anchor, out)).unwrap_or_default(),
        labels: labels
            .filter_map(|(name, entry)| Some((name.to_owned(), entry.node.text()?.to_owned())))
            .collect(),
        settings: Settings::read(table, anchor),
    }
}

/// Variables that mean something to Ansible, and the key that means it here.
const ANSIBLE: [(&str, &str); 11] = [
    ("ansible_host", "address = …"),
    ("ansible_ssh_host", "address = …"),
    ("ansible_port", "connection.port = …"),
    ("ansible_ssh_port", "connection.port = …"),
    ("ansible_user", "connection.user = …"),
    ("ansible_ssh_user", "connection.user = …"),
    ("ansible_password", "connection.password = \"env:…\""),
    ("ansible_ssh_private_key_file", "connection.identity = …"),
    ("ansible_become", "connection.sudo = …"),
    ("ansible_become_password", "connection.sudo_password = \"env:…\""),
    ("ansible_connection", "every host is reached over SSH"),
];

/// Variables of the inventory. Those that only Ansible understands would be ignored, which is worse than a fault.
pub(super) fn variables(table: &Node, anchor: &Anchor, out: &mut Collector<'_>) -> Variables {
    for (name, hint) in ANSIBLE {
        if let Some(entry) = table.entry(name) {
            let message = format!("`{name}` is only a variable here, and connects nothing");
            out.refuse_key(entry, Refusal::new(message).hint(hint));
        }
    }
    read_variables(table, anchor, out)
}

fn check_children(written: &Written, out: &mut Collector<'_>) {
    for group in written.groups.values() {
        for (child, place) in &group.children {
            if !written.groups.contains_key(child) {
                let message = format!("there is no group `{child}`");
                let known = written.groups.keys().map(GroupName::as_str);
                let near = crate::base::suggest::did_you_mean(child.as_str(), known);
                let hint = near.unwrap_or_else(|| format!("make one: [groups.{child}]"));
                out.add_with_hint(place, message, hint);
            }
        }
    }
}
