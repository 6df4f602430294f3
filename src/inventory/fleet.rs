//! Where an inventory is: a file, or a fleet's folder.

use super::{Inventory, resolve::resolve, vars_files, vars_files::VarsFiles, written};
use crate::base::{
    anchor::{Anchor, absolute, folder_of},
    fault::{Fault, Faults, Source},
    shape::Collector,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The file of a fleet's hosts.
const HOSTS_FILE: &str = "hosts.toml";

/// What other tools' inventories are called in a fleet's folder.
const FOREIGN: [&str; 6] =
    ["hosts.ini", "hosts.yml", "hosts.yaml", "hosts.json", "hosts", "inventory"];

/// The folder of a fleet: the path itself where it is a folder, and the folder of a file named `hosts.toml`. Any other file
/// stands for itself, without what lies beside it.
pub fn fleet_folder(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.to_owned());
    }
    let named = path.file_name().is_some_and(|name| name == HOSTS_FILE);
    named.then(|| folder_of(path).to_owned())
}

/// Reads the inventory of a fleet: a file, or a folder with `hosts.toml`, `group_vars` and `host_vars`.
pub fn read(path: &Path) -> Result<Inventory, Faults> {
    let folder = fleet_folder(path);
    let file = if path.is_dir() { path.join(HOSTS_FILE) } else { path.to_owned() };
    let mut faults = Vec::new();
    if let Some(folder) = &folder {
        faults.extend(foreign_beside(folder));
        // The foreign inventory is the fault then, not the missing file.
        if !faults.is_empty() && !file.exists() {
            return Err(Faults(faults));
        }
    }
    if let Some(fault) = foreign(&file) {
        return Err(fault.into());
    }
    let source = match Source::from_read(&file, fs::read(&file)) {
        Ok(source) => source,
        Err(fault) if path.is_dir() => {
            let message = "the fleet's folder has no file `hosts.toml` that can be read";
            let hint = format!("{}; `fleetlift init` makes an example", fault.message);
            return Err(Fault::of_file(path, message).hint(hint).into());
        }
        Err(fault) => {
            let hint = "`-i` names an inventory file, or a folder with a `hosts.toml`";
            let fault = if fault.hint.is_none() { fault.hint(hint) } else { fault };
            return Err(fault.into());
        }
    };
    let anchor = anchor(&file);
    let inventory = read_source(source, &anchor, folder.as_deref(), &mut faults);
    Faults(faults).unless_any(inventory)
}

fn read_source(
    source: Source,
    anchor: &Anchor,
    folder: Option<&Path>,
    faults: &mut Vec<Fault>,
) -> Option<Inventory> {
    let mut out = Collector::new(&source);
    let written = written::read(&mut out, anchor);
    let mut sources = vec![source.clone()];
    let inventory = written.and_then(|written| {
        let files = match folder {
            Some(folder) => vars_files::read(anchor, folder, &written, &mut sources, faults),
            None => VarsFiles::default(),
        };
        resolve(written, files, &mut out)
    });
    if inventory.as_ref().is_some_and(|inventory| inventory.hosts.is_empty())
        && out.faults.is_empty()
    {
        let hint = "such as [groups.web] with hosts = [\"web-[01:08]\"]";
        out.add_with_hint(&(0..0), "the inventory has no hosts", hint);
    }
    // The file of the hosts comes first.
    faults.splice(0..0, out.faults);
    inventory.map(|inventory| Inventory { sources, ..inventory })
}

fn anchor(file: &Path) -> Anchor {
    let folder = folder_of(file);
    Anchor {
        folder: absolute(folder),
        home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
    }
}

/// Inventories of other tools in the folder. They would be ignored, which is worse than a fault.
fn foreign_beside(folder: &Path) -> Vec<Fault> {
    let files = FOREIGN.iter().map(|name| folder.join(name));
    files
        .filter(|file| file.is_file())
        .map(|file| {
            let message = "this version reads inventories in TOML only";
            let hint = "write its hosts to `hosts.toml`, and move it away; `fleetlift init` makes an example";
            Fault::of_file(&file, message).hint(hint)
        })
        .collect()
}

/// Whether a file that was named is another tool's inventory.
fn foreign(file: &Path) -> Option<Fault> {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let what = match extension.to_ascii_lowercase().as_str() {
        "ini" | "cfg" => "an INI inventory",
        "yml" | "yaml" => "a YAML inventory",
        "json" => "a JSON inventory",
        "toml" => return None,
        _ if is_executable(file) => "an executable inventory",
        _ => return None,
    };
    let message = format!("this looks like {what}; this version reads TOML only");
    Some(
        Fault::of_file(file, message)
            .hint("write its hosts to a `hosts.toml`; `fleetlift init` makes an example"),
    )
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
