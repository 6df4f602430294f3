//! One host of the stage set, in a root of its own, without SSH: a shell by chroot, and a power supply.

use super::drive::Machine;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// What every host's root holds of this machine.
const TOOLS: &[&str] = &[
    "sh",
    "cat",
    "cp",
    "mv",
    "rm",
    "ln",
    "ls",
    "mkdir",
    "chmod",
    "touch",
    "head",
    "tail",
    "wc",
    "sort",
    "uniq",
    "tr",
    "cut",
    "tee",
    "date",
    "sleep",
    "env",
    "id",
    "sync",
    "mktemp",
    "install",
    "basename",
    "dirname",
    "readlink",
    "sha256sum",
    "cksum",
    "printf",
    "echo",
    "true",
    "false",
    "test",
    "expr",
    "seq",
    "od",
    "stat",
    "sed",
    "grep",
    "awk",
    "tar",
    "gzip",
    "find",
    "setsid",
    "comm",
    "timeout",
    "rmdir",
    "xargs",
];

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub struct Out {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub struct Host {
    root: PathBuf,
    /// How often the host has booted, the initramfs included.
    boots: Arc<AtomicU32>,
    up: Arc<AtomicBool>,
    power: Option<JoinHandle<()>>,
    _keep: tempfile::TempDir,
}

/// Why hosts cannot be made here.
pub fn missing() -> Option<&'static str> {
    let root = rustix::process::geteuid().is_root();
    let chroot = Command::new("chroot").arg("--version").output().is_ok();
    (!root || !chroot)
        .then_some("this test needs root and chroot; through the testbed it needs neither")
}

fn which(tool: &str) -> PathBuf {
    let found = PATH.split(':').map(|dir| Path::new(dir).join(tool)).find(|path| path.exists());
    fs::canonicalize(found.unwrap_or_else(|| panic!("{tool} is not on this machine"))).unwrap()
}

fn libraries(binary: &Path) -> Vec<PathBuf> {
    let out = Command::new("ldd").arg(binary).output().unwrap().stdout;
    let text = String::from_utf8_lossy(&out).into_owned();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

/// The tools of this machine and what they load: looked up once, since that takes a process for each.
struct Toolbox {
    binaries: Vec<(&'static str, PathBuf)>,
    /// By the name under which a tool asks for them.
    libraries: BTreeMap<PathBuf, PathBuf>,
}

static TOOLBOX: OnceLock<Toolbox> = OnceLock::new();

impl Toolbox {
    fn gather() -> Self {
        let binaries: Vec<_> = TOOLS.iter().map(|tool| (*tool, which(tool))).collect();
        let needed = binaries.iter().flat_map(|(_, binary)| libraries(binary));
        let libraries = needed.map(|name| (name.clone(), fs::canonicalize(name).unwrap()));
        Self { libraries: libraries.collect(), binaries }
    }
}

fn overlay(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir_all(&target).unwrap();
            overlay(&path, &target);
        } else if path.extension().is_some_and(|e| e == "symlink") {
            let _ = fs::remove_file(target.with_extension(""));
            symlink(fs::read_to_string(&path).unwrap().trim_end(), target.with_extension(""))
                .unwrap();
        } else {
            let _ = fs::remove_file(&target);
            fs::copy(&path, &target).unwrap();
            let dir = to.to_string_lossy();
            let program =
                ["bin", "sbin", "libexec"].iter().any(|d| dir.ends_with(&format!("/{d}")));
            let mode = if program || dir.contains("/usr/lib/testbed") { 0o755 } else { 0o644 };
            fs::set_permissions(&target, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

impl Host {
    pub fn build(stage: &str, role: &str, faults: &str) -> Self {
        let keep = tempfile::Builder::new().prefix("stage-").tempdir().unwrap();
        let root = keep.path().join("root");
        for dir in [
            "bin",
            "usr/bin",
            "tmp",
            "run/testbed",
            "dev",
            "root",
            "etc/testbed",
            "proc/sys/kernel/random",
            "var/log",
        ] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        let tools = TOOLBOX.get_or_init(Toolbox::gather);
        for (tool, binary) in &tools.binaries {
            let to =
                if *tool == "sh" { root.join("bin/sh") } else { root.join("usr/bin").join(tool) };
            fs::copy(binary, to).unwrap();
        }
        for (library, file) in &tools.libraries {
            let to = root.join(library.strip_prefix("/").unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(file, to).unwrap();
        }
        overlay(&super::playbook::stage().join("common"), &root);
        overlay(&super::playbook::stage().join(stage), &root);
        for (file, text) in [
            ("dev/null", String::new()),
            ("etc/hostname", format!("{role}-01\n")),
            ("etc/machine-id", format!("{}\n", "5".repeat(32))),
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n".into()),
            ("etc/testbed/role", format!("{role}\n")),
            ("etc/testbed/faults", format!("{faults}\n")),
            // Pretended work takes no time here.
            ("etc/testbed/pace", "0\n".into()),
        ] {
            fs::write(root.join(file), text).unwrap();
        }
        let fifo = root.join("run/testbed/power");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        let mut host =
            Self { root, boots: Arc::default(), up: Arc::default(), power: None, _keep: keep };
        boot(&host.root, &host.boots);
        host.up.store(true, Ordering::SeqCst);
        let (root, boots, up) = (host.root.clone(), host.boots.clone(), host.up.clone());
        host.power = Some(thread::spawn(move || {
            // A FIFO's reader waits for a writer; "off" is the test's own word for the end.
            while let Ok(word) = fs::read_to_string(&fifo) {
                if word.trim() == "off" {
                    return;
                }
                up.store(false, Ordering::SeqCst);
                end_processes(&root);
                boot(&root, &boots);
                up.store(true, Ordering::SeqCst);
            }
        }));
        host
    }

    pub fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// Puts a program before the stage's own of that name.
    pub fn program(&self, name: &str, script: &str) {
        let dir = self.root.join("usr/local/bin");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn write(&self, path: &str, text: &str) {
        fs::write(self.root.join(path), text).unwrap();
    }
}

impl Machine for Host {
    fn boots(&self) -> u32 {
        self.boots.load(Ordering::SeqCst)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_default()
    }

    fn sh(&self, script: &str) -> Out {
        let file = self.root.join("tmp/script");
        fs::File::create(&file).and_then(|mut f| f.write_all(script.as_bytes())).unwrap();
        let out = shell(&self.root).arg("/tmp/script").output().unwrap();
        Out {
            code: out.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }

    fn wait_for_boot(&self, before: u32) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if self.up.load(Ordering::SeqCst) && self.boots() > before {
                return true;
            }
            thread::yield_now();
            thread::park_timeout(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        end_processes(&self.root);
        let _ = fs::write(self.root.join("run/testbed/power"), "off\n");
        if let Some(power) = self.power.take() {
            let _ = power.join();
        }
    }
}

fn shell(root: &Path) -> Command {
    let mut command = Command::new("chroot");
    command
        .arg(root)
        .arg("/bin/sh")
        .stdin(Stdio::null())
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C");
    command
}

fn boot(root: &Path, boots: &AtomicU32) {
    loop {
        let n = boots.fetch_add(1, Ordering::SeqCst) + 1;
        fs::write(
            root.join("proc/sys/kernel/random/boot_id"),
            format!("00000000-0000-4000-8000-{n:012}\n"),
        )
        .unwrap();
        let status = shell(root).arg("/usr/lib/testbed/boot").status().unwrap();
        match status.code() {
            Some(3) => {}
            Some(0) => return,
            other => panic!("the boot hook ended with {other:?}"),
        }
    }
}

fn end_processes(root: &Path) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        if fs::read_link(entry.path().join("root")).is_ok_and(|r| r == root)
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}
