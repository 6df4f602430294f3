//! From what is written to what holds for every host.

use super::{
    Connection, Group, Host, Inventory,
    connection::Settings,
    vars_files::VarsFiles,
    written::{ALL, Labels, UNGROUPED, Variables, Written},
};
use crate::base::{
    name::{GroupName, HostName},
    shape::Collector,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Merges everything. Cycles of groups are reported, and make `None`.
pub(super) fn resolve(
    written: Written,
    files: VarsFiles,
    out: &mut Collector<'_>,
) -> Option<Inventory> {
    let depths = depths(&written, out)?;
    // Parents come before their children, groups at the same depth by name.
    let mut order: Vec<&GroupName> = written.groups.keys().collect();
    order.sort_by_key(|name| (depths.get(name).copied().unwrap_or(0), *name));
    let ungrouped: GroupName = UNGROUPED.parse().ok()?;
    let parents = parents(&written);
    let memberships = memberships(&written, &parents);

    let mut merge = Merge {
        written: &written,
        files: &files,
        order: &order,
        ungrouped: &ungrouped,
        merged: BTreeMap::new(),
        connections: BTreeMap::new(),
    };
    let hosts: BTreeMap<HostName, Host> = memberships
        .iter()
        .map(|(name, groups)| ((*name).clone(), merge.host(name, groups)))
        .collect();
    let alone = memberships.iter().filter(|(_, groups)| groups.is_empty());
    let alone: Vec<HostName> = alone.map(|(name, _)| (*name).clone()).collect();
    let all_vars = merge.all_vars();
    let groups = groups(&written, &files, &parents, alone, &all_vars, ungrouped.clone());
    Some(Inventory { hosts, groups, vars: all_vars, sources: Vec::new() })
}

/// How deep groups may be nested. Real fleets need three or four levels.
const DEPTH_MAX: usize = 100;

/// How far every group is from `all`: the longest way.
fn depths<'w>(
    written: &'w Written,
    out: &mut Collector<'_>,
) -> Option<BTreeMap<&'w GroupName, usize>> {
    let mut heights = BTreeMap::new();
    let mut sound = true;
    for name in written.groups.keys() {
        sound &= find_cycles(written, name, &mut Vec::new(), &mut heights, out);
    }
    if !sound {
        return None;
    }
    // From the tallest group down, every parent has its depth before its children ask for it.
    let mut order: Vec<&GroupName> = written.groups.keys().collect();
    order.sort_by_key(|name| std::cmp::Reverse(heights.get(name).copied().flatten()));
    let mut depths: BTreeMap<&GroupName, usize> = order.iter().map(|name| (*name, 1)).collect();
    for name in order {
        let depth = depths.get(name).copied().unwrap_or(1);
        for (child, _) in written.groups.get(name).into_iter().flat_map(|g| &g.children) {
            if let Some(known) = depths.get_mut(child) {
                *known = (*known).max(depth + 1);
            }
        }
    }
    Some(depths)
}

/// Walks down from a group and notes how tall each is. A group on the way to itself is a fault.
fn find_cycles<'w>(
    written: &'w Written,
    name: &'w GroupName,
    way: &mut Vec<&'w GroupName>,
    heights: &mut BTreeMap<&'w GroupName, Option<usize>>,
    out: &mut Collector<'_>,
) -> bool {
    if heights.contains_key(name) {
        return true;
    }
    heights.insert(name, None);
    way.push(name);
    let mut sound = true;
    let mut height = 0;
    for (child, place) in written.groups.get(name).into_iter().flat_map(|group| &group.children) {
        if let Some(start) = way.iter().position(|on_way| *on_way == child) {
            let mut names: Vec<&str> = way[start..].iter().map(|name| name.as_str()).collect();
            names.push(child.as_str());
            let message = format!("a group cannot be in itself: {}", names.join(" > "));
            out.add_with_hint(place, message, format!("take `{child}` out of these children"));
            sound = false;
        } else if way.len() == DEPTH_MAX {
            out.add(place, format!("groups are nested deeper than {DEPTH_MAX} levels"));
            sound = false;
        } else if let Some((child, _)) = written.groups.get_key_value(child) {
            sound &= find_cycles(written, child, way, heights, out);
            height = height.max(heights.get(child).copied().flatten().map_or(0, |h| h + 1));
        }
    }
    way.pop();
    heights.insert(name, Some(height));
    sound
}

fn parents(written: &Written) -> BTreeMap<&GroupName, Vec<&GroupName>> {
    let mut parents: BTreeMap<&GroupName, Vec<&GroupName>> = BTreeMap::new();
    for (name, group) in &written.groups {
        for (child, _) in &group.children {
            parents.entry(child).or_default().push(name);
        }
    }
    parents
}

/// Every host, with the groups that it is in, also through other groups. The groups are few, and shared by many hosts.
fn memberships<'w>(
    written: &'w Written,
    parents: &BTreeMap<&'w GroupName, Vec<&'w GroupName>>,
) -> BTreeMap<&'w HostName, Arc<BTreeSet<&'w GroupName>>> {
    let mut direct: BTreeMap<&HostName, Vec<&GroupName>> =
        written.hosts.keys().map(|name| (name, Vec::new())).collect();
    for (name, group) in &written.groups {
        for host in &group.hosts {
            direct.entry(host).or_default().push(name);
        }
    }
    let mut shared: BTreeMap<Vec<&GroupName>, Arc<BTreeSet<&GroupName>>> = BTreeMap::new();
    direct
        .into_iter()
        .map(|(host, groups)| {
            let all = shared.entry(groups).or_insert_with_key(|groups| {
                let mut all = BTreeSet::new();
                let mut open: Vec<&GroupName> = groups.clone();
                while let Some(name) = open.pop() {
                    if all.insert(name) {
                        open.extend(parents.get(name).into_iter().flatten());
                    }
                }
                Arc::new(all)
            });
            (host, Arc::clone(all))
        })
        .collect()
}

struct Merge<'w> {
    written: &'w Written,
    files: &'w VarsFiles,
    order: &'w [&'w GroupName],
    ungrouped: &'w GroupName,
    /// What holds for the hosts of the same groups.
    merged: BTreeMap<Vec<GroupName>, Arc<Merged>>,
    /// Connections by what is said of them, so that hosts share them.
    connections: BTreeMap<Settings, Arc<Connection>>,
}

struct Merged {
    vars: Variables,
    labels: Labels,
    settings: Settings,
    /// Groups of files speak after the tables of groups.
    file_vars: Variables,
}

impl Merge<'_> {
    fn host(&mut self, name: &HostName, groups: &BTreeSet<&GroupName>) -> Host {
        let mut groups: Vec<GroupName> = groups.iter().map(|name| (*name).clone()).collect();
        if groups.is_empty() {
            groups.push(self.ungrouped.clone());
        }
        let shared = match self.merged.get(&groups) {
            Some(shared) => Arc::clone(shared),
            None => {
                let shared = Arc::new(self.of_groups(&groups));
                self.merged.insert(groups.clone(), Arc::clone(&shared));
                shared
            }
        };
        let mut vars = shared.vars.clone();
        vars.extend(shared.file_vars.clone());
        let mut labels = shared.labels.clone();
        let mut settings = None;
        let mut addresses = Vec::new();
        if let Some(host) = self.written.hosts.get(name) {
            vars.extend(host.own.vars.clone());
            labels.extend(host.own.labels.clone());
            addresses.clone_from(&host.addresses);
            if !host.own.settings.is_silent() {
                let mut own = shared.settings.clone();
                host.own.settings.put_over(&mut own);
                settings = Some(own);
            }
        }
        if let Some(more) = self.files.hosts.get(name) {
            vars.extend(more.clone());
        }
        if addresses.is_empty() {
            addresses.push(name.to_string());
        }
        let connection = self.connection(settings.as_ref().unwrap_or(&shared.settings));
        Host { name: name.clone(), groups, vars, labels, connection, addresses }
    }

    fn of_groups(&self, groups: &[GroupName]) -> Merged {
        let mut merged = Merged {
            vars: self.written.vars.clone(),
            labels: Labels::new(),
            settings: self.written.settings.clone(),
            file_vars: self.files.all.clone(),
        };
        let ordered = self.order.iter().copied().filter(|name| groups.contains(name));
        for name in ordered {
            let Some(group) = self.written.groups.get(name) else { continue };
            merged.vars.extend(group.own.vars.clone());
            merged.labels.extend(group.own.labels.clone());
            group.own.settings.put_over(&mut merged.settings);
            merged.file_vars.extend(self.files.groups.get(name).cloned().unwrap_or_default());
        }
        if groups.contains(self.ungrouped) {
            let more = self.files.groups.get(self.ungrouped).cloned();
            merged.file_vars.extend(more.unwrap_or_default());
        }
        merged
    }

    fn connection(&mut self, settings: &Settings) -> Arc<Connection> {
        if let Some(connection) = self.connections.get(settings) {
            return Arc::clone(connection);
        }
        let connection = Arc::new(settings.resolve());
        self.connections.insert(settings.clone(), Arc::clone(&connection));
        connection
    }

    fn all_vars(&self) -> Variables {
        let mut vars = self.written.vars.clone();
        vars.extend(self.files.all.clone());
        vars
    }
}

/// The groups for those who ask, with `all` and `ungrouped` among them.
fn groups(
    written: &Written,
    files: &VarsFiles,
    parents: &BTreeMap<&GroupName, Vec<&GroupName>>,
    alone: Vec<HostName>,
    all_vars: &Variables,
    ungrouped: GroupName,
) -> BTreeMap<GroupName, Group> {
    let file_vars = |name: &GroupName| files.groups.get(name).cloned().unwrap_or_default();
    let mut groups: BTreeMap<GroupName, Group> = written
        .groups
        .iter()
        .map(|(name, group)| {
            let mut vars = group.own.vars.clone();
            vars.extend(file_vars(name));
            let children = group.children.iter().map(|(child, _)| child.clone()).collect();
            (name.clone(), Group { hosts: group.hosts.clone(), children, vars })
        })
        .collect();
    let mut top: Vec<GroupName> =
        groups.keys().filter(|name| !parents.contains_key(name)).cloned().collect();
    top.push(ungrouped.clone());
    let vars = file_vars(&ungrouped);
    groups.insert(ungrouped, Group { hosts: alone, children: Vec::new(), vars });
    if let Ok(all) = ALL.parse() {
        groups.insert(all, Group { hosts: Vec::new(), children: top, vars: all_vars.clone() });
    }
    groups
}
