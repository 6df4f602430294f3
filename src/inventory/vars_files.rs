//! `group_vars` and `host_vars`: files of variables, beside the hosts of a fleet.

use super::written::{ALL, UNGROUPED, Variables, Written, variables};
use crate::base::{
    anchor::Anchor,
    fault::{Fault, Source},
    name::{GroupName, HostName},
    shape::Collector,
    suggest::did_you_mean,
    variables::VARIABLES,
};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// What the files say.
#[derive(Debug, Default)]
pub(super) struct VarsFiles {
    pub(super) all: Variables,
    pub(super) groups: BTreeMap<GroupName, Variables>,
    pub(super) hosts: BTreeMap<HostName, Variables>,
}

/// Reads both folders, where they are there.
pub(super) fn read(
    anchor: &Anchor,
    shown: &Path,
    written: &Written,
    sources: &mut Vec<Source>,
    faults: &mut Vec<Fault>,
) -> VarsFiles {
    let mut files = VarsFiles::default();
    let mut reader = Reader { anchor, sources, faults };
    for (name, path) in reader.list(&shown.join("group_vars")) {
        let vars = reader.file(&path);
        if name == ALL {
            files.all.extend(vars);
            continue;
        }
        let known = written.groups.keys().map(GroupName::as_str).chain([ALL, UNGROUPED]);
        match written.groups.get_key_value(name.as_str()) {
            Some((group, _)) => files.groups.entry(group.clone()).or_default().extend(vars),
            None if name == UNGROUPED => {
                if let Ok(group) = name.parse() {
                    files.groups.insert(group, vars);
                }
            }
            None => reader.stranger(&path, "group", &name, known),
        }
    }
    let grouped = written.groups.values().flat_map(|group| &group.hosts);
    let hosts: BTreeMap<&str, &HostName> =
        written.hosts.keys().chain(grouped).map(|name| (name.as_str(), name)).collect();
    for (name, path) in reader.list(&shown.join("host_vars")) {
        let vars = reader.file(&path);
        match hosts.get(name.as_str()) {
            Some(host) => files.hosts.entry((*host).clone()).or_default().extend(vars),
            None => reader.stranger(&path, "host", &name, hosts.keys().copied()),
        }
    }
    files
}

struct Reader<'r> {
    anchor: &'r Anchor,
    sources: &'r mut Vec<Source>,
    faults: &'r mut Vec<Fault>,
}

impl Reader<'_> {
    /// The files of a folder with whom they are about, by name. `web.toml` and every file of `web/` are about `web`.
    fn list(&mut self, folder: &Path) -> Vec<(String, PathBuf)> {
        let mut found = Vec::new();
        for (name, path) in self.folder(folder) {
            if path.is_dir() {
                for (_, inner) in self.folder(&path) {
                    if self.is_ours(&inner) {
                        found.push((name.clone(), inner));
                    }
                }
            } else if self.is_ours(&path) {
                let name = name.strip_suffix(".toml").unwrap_or(&name).to_owned();
                found.push((name, path));
            }
        }
        found
    }

    /// What is in a folder, by name, without what is hidden or an editor's copy.
    fn folder(&mut self, folder: &Path) -> Vec<(String, PathBuf)> {
        let entries: io::Result<Vec<fs::DirEntry>> =
            fs::read_dir(folder).and_then(Iterator::collect);
        match entries {
            Ok(entries) => {
                let mut found: Vec<(String, PathBuf)> = entries
                    .into_iter()
                    .map(|e| (e.file_name().to_string_lossy().into_owned(), e.path()))
                    .filter(|(name, _)| !name.starts_with('.') && !name.ends_with('~'))
                    .collect();
                found.sort();
                found
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let message = format!("the folder cannot be read: {error}");
                self.faults.push(Fault::of_file(folder, message));
                Vec::new()
            }
        }
    }

    fn is_ours(&mut self, path: &Path) -> bool {
        let ours = path.extension().is_some_and(|extension| extension == "toml");
        if !ours {
            let fault = Fault::of_file(path, "this version reads only TOML here");
            self.faults.push(fault.hint("write its variables to a `.toml` file, or move it away"));
        }
        ours
    }

    fn file(&mut self, path: &Path) -> Variables {
        let source = match Source::from_read(path, fs::read(path)) {
            Ok(source) => source,
            Err(fault) => {
                self.faults.push(fault);
                return Variables::new();
            }
        };
        let mut out = Collector::new(&source);
        // Paths in these files begin where those in `hosts.toml` do: at the fleet's folder.
        let vars = out.read(&VARIABLES).map(|root| variables(&root, self.anchor, &mut out));
        self.faults.append(&mut out.faults);
        self.sources.push(source);
        vars.unwrap_or_default()
    }

    fn stranger<'n>(
        &mut self,
        path: &Path,
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        let hint = did_you_mean(name, known)
            .unwrap_or_else(|| format!("the inventory has no {what} of this name"));
        let message = format!("these variables are for the {what} `{name}`, which does not exist");
        self.faults.push(Fault::of_file(path, message).hint(hint));
    }
}
