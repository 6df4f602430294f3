//! A host's root: hard links to the base, the files of its stage, and its own.

use super::{
    base::{Base, Piece},
    stage::Stage,
    within::{make_dir, write_file},
};
use crate::{
    draw::Seed,
    spec::{Fault, HostSpec},
};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where a host's own commands ask for a reboot.
const POWER: &str = "run/testbed/power";

/// Major and minor numbers, by Linux's list of devices.
const DEVICES: [(&str, u32, u32); 5] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9)];

/// How much a stand-in for a device holds that is read from.
const STAND_IN_BYTES: usize = 65_536;

/// A laid root.
#[derive(Clone, Debug)]
pub(crate) struct HostRoot {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Plain files in `/dev`, where the machine allows no device nodes. In a mount namespace the real ones are bound over them.
    pub(crate) stand_in_devices: Vec<&'static str>,
    /// `PATH` inside.
    pub(crate) search_path: String,
    /// The `cat` inside.
    pub(crate) cat: PathBuf,
}

impl HostRoot {
    /// Lays the root of `host` at `path`, which must not exist yet.
    pub(crate) fn lay(
        path: PathBuf,
        base: &Base,
        stage: &Stage,
        host: &HostSpec,
        seed: Seed,
    ) -> io::Result<Self> {
        fs::create_dir(&path)?;
        link_base(base, &path)?;
        for (directory, mode) in [
            ("/dev", 0o755),
            ("/etc/testbed", 0o755),
            ("/root", 0o700),
            ("/run/testbed", 0o755),
            ("/tmp", 0o1777),
            ("/var/lib", 0o755),
            ("/var/log", 0o755),
            ("/var/tmp", 0o1777),
        ] {
            make_dir(&path, directory, mode)?;
        }
        let stand_in_devices = lay_devices(&path, host, seed)?;
        let nobody = "nobody:x:65534:65534:nobody:/:/bin/false\n";
        let passwd = "root:x:0:0:root:/root:/bin/sh\nadmin:x:0:0:admin:/root:/bin/sh\n";
        write_file(&path, "/etc/passwd", (passwd.to_owned() + nobody).as_bytes(), 0o644)?;
        write_file(&path, "/etc/group", b"root:x:0:\nadmin:x:0:\nnogroup:x:65534:\n", 0o644)?;
        write_file(&path, "/usr/bin/hostname", include_bytes!("files/hostname"), 0o755)?;
        write_file(&path, "/usr/bin/sudo", include_bytes!("files/sudo"), 0o755)?;
        write_file(&path, "/usr/lib/testbed/noise", include_bytes!("files/noise"), 0o755)?;
        stage.dress(&path)?;
        let root = Self {
            name: host.name.clone(),
            path,
            stand_in_devices,
            search_path: base.search_path.clone(),
            cat: base.cat.clone(),
        };
        root.lay_own(host, seed)?;
        Ok(root)
    }

    fn lay_own(&self, host: &HostSpec, seed: Seed) -> io::Result<()> {
        let line = |path: &str, text: &str| {
            write_file(&self.path, path, format!("{text}\n").as_bytes(), 0o644)
        };
        line("/etc/hostname", &host.name)?;
        line("/etc/machine-id", &seed.machine_id(&host.name))?;
        line("/etc/testbed/role", &host.role)?;
        let mut words = String::new();
        for fault in &host.faults {
            match fault {
                Fault::Stage(word) => words += &format!("{word}\n"),
                Fault::SudoAsks { password } => {
                    line("/etc/testbed/sudo-password", password)?;
                    self.lay_other_user()?;
                }
                Fault::PrintsMuch { bytes } => line("/etc/testbed/noise", &bytes.to_string())?,
                Fault::Refuses
                | Fault::HangsBeforeBanner
                | Fault::DropsDuringScript { .. }
                | Fault::NeverReturns
                | Fault::ReturnsUnchanged
                | Fault::ChangesKey
                | Fault::RefusesLoginsAtBoot
                | Fault::FillsDisk => {}
            }
        }
        write_file(&self.path, "/etc/testbed/faults", words.as_bytes(), 0o644)?;
        self.write_boot_id(&seed.boot_id(&host.name, 0))?;
        let power = self.path.join(POWER);
        mknodat(CWD, &power, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        Ok(())
    }

    /// A login user that is not root, for a host whose `sudo` asks.
    fn lay_other_user(&self) -> io::Result<()> {
        let id = self.search_path.split(':').find_map(|directory| {
            let inside = Path::new(directory).join("id");
            self.path.join(inside.strip_prefix("/").ok()?).is_file().then_some(inside)
        });
        let real = id.ok_or_else(|| io::Error::other("the base has no id"))?;
        let script = include_str!("files/id").replace("ID_OF_MACHINE", &real.to_string_lossy());
        write_file(&self.path, "/usr/local/bin/id", script.as_bytes(), 0o755)
    }

    /// Replaces the boot id.
    pub(crate) fn write_boot_id(&self, id: &str) -> io::Result<()> {
        let path = "/proc/sys/kernel/random/boot_id";
        write_file(&self.path, path, format!("{id}\n").as_bytes(), 0o444)
    }

    /// The FIFO behind the power switch.
    pub(crate) fn power(&self) -> PathBuf {
        self.path.join(POWER)
    }
}

fn link_base(base: &Base, root: &Path) -> io::Result<()> {
    for (inside, piece) in &base.pieces {
        let (from, to) = (base.dir.join(inside), root.join(inside));
        match piece {
            Piece::Directory => fs::create_dir(&to)?,
            // A link to a link costs no inode, and nobody can change a link in place. Some file systems have no hard links, and
            // all have a limit to them.
            Piece::Link(target) => {
                if fs::hard_link(&from, &to).is_err() {
                    std::os::unix::fs::symlink(target, &to)?;
                }
            }
            Piece::File => {
                if fs::hard_link(&from, &to).is_err() {
                    fs::copy(&from, &to)?;
                }
            }
        }
    }
    Ok(())
}

/// Makes the devices, and says which are only plain files.
fn lay_devices(root: &Path, host: &HostSpec, seed: Seed) -> io::Result<Vec<&'static str>> {
    let mut stand_ins = Vec::new();
    for (name, major, minor) in DEVICES {
        let path = root.join("dev").join(name);
        if device(&path, major, minor).is_ok() {
            continue;
        }
        let _ = fs::remove_file(&path);
        let content = match name {
            "null" | "full" => Vec::new(),
            "zero" => vec![0; STAND_IN_BYTES],
            _ => (0..STAND_IN_BYTES / 32)
                .flat_map(|block| seed.bytes(name, &host.name, block as u64))
                .collect(),
        };
        write_file(root, &format!("/dev/{name}"), &content, 0o666)?;
        stand_ins.push(name);
    }
    Ok(stand_ins)
}

/// A device node that can be opened, which it cannot on a file system mounted with `nodev`.
fn device(path: &Path, major: u32, minor: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o666);
    mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(major, minor))?;
    rustix::fs::chmod(path, mode)?;
    fs::OpenOptions::new().read(true).open(path).map(drop)
}
