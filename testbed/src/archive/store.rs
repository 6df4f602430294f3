//! What was fetched, and how the rest comes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The archive says that it has no such file.
    #[error("the archive has no such file")]
    Missing,
    /// It did not come for another reason.
    #[error("cannot fetch it: {0}")]
    Failed(String),
    /// It came, and cannot be kept.
    #[error("cannot keep it")]
    Keep(#[from] io::Error),
}

/// Where files come from that the archive does not have yet.
pub trait Upstream: Send + Sync {
    /// Writes the file of this address to `to`.
    ///
    /// # Errors
    ///
    /// If there is none, or it does not come.
    fn fetch(&self, address: &str, to: &Path) -> Result<(), FetchError>;
}

/// Fetches by apt's own means, so with its proxies, certificates and keys.
#[derive(Debug, Clone, Copy)]
pub struct AptHelper;

impl Upstream for AptHelper {
    fn fetch(&self, address: &str, to: &Path) -> Result<(), FetchError> {
        let output = Command::new("/usr/lib/apt/apt-helper")
            // The store belongs to who started the archive, not to apt's own user.
            .args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", "download-file"])
            .arg(address)
            .arg(to)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("404  Not Found") {
            return Err(FetchError::Missing);
        }
        Err(FetchError::Failed(said.trim().to_owned()))
    }
}

/// One lock for each file that is being fetched, so that it comes once.
type Locks = Mutex<BTreeMap<String, Arc<Mutex<()>>>>;

/// The kept files of some archives.
pub struct Archive {
    folder: PathBuf,
    faults: PathBuf,
    /// By the first part of a path: where the rest of it is found.
    sources: BTreeMap<String, String>,
    upstream: Box<dyn Upstream>,
    locks: Locks,
    /// Files that may change upstream and were asked for since this process began: they stay as they are now.
    seen: Mutex<BTreeSet<String>>,
}

impl Archive {
    /// An archive that keeps its files in a folder, beside a file `faults` of what it does wrong. `sources` are addresses by
    /// the first part of the path that stands for them.
    pub fn new(
        folder: PathBuf,
        sources: BTreeMap<String, String>,
        upstream: Box<dyn Upstream>,
    ) -> Self {
        let faults = folder.join("faults");
        Self { folder, faults, sources, upstream, locks: Mutex::default(), seen: Mutex::default() }
    }

    /// The same with its faults in another file, as for one of several that keep their files together.
    #[must_use]
    pub fn with_faults(self, faults: PathBuf) -> Self {
        Self { faults, ..self }
    }

    /// The file of faults.
    #[must_use]
    pub fn faults(&self) -> &Path {
        &self.faults
    }

    /// The kept file of a path as it stands in a request, fetched where needed, and whether it had to be.
    ///
    /// # Errors
    ///
    /// If there is no such file, or it does not come.
    pub fn file(&self, path: &str) -> Result<(PathBuf, bool), FetchError> {
        let path = path.trim_start_matches('/');
        let (name, rest) = path.split_once('/').ok_or(FetchError::Missing)?;
        let source = self.sources.get(name).ok_or(FetchError::Missing)?;
        let tame = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if !tame || path.ends_with('/') {
            return Err(FetchError::Missing);
        }
        let kept = self.folder.join("files").join(path);
        let lock = Arc::clone(locked(&self.locks).entry(path.to_owned()).or_default());
        let _one = locked(&lock);
        if kept.is_file() && self.stays(path) {
            return Ok((kept, false));
        }
        if self.folder.join("frozen").exists() {
            return Err(FetchError::Missing);
        }
        fetch_whole(&*self.upstream, &format!("{}/{rest}", source.trim_end_matches('/')), &kept)?;
        locked(&self.seen).insert(path.to_owned());
        Ok((kept, true))
    }

    /// Whether a kept file is still good: a package is for ever; an index for as long as this process lives, or is frozen.
    fn stays(&self, path: &str) -> bool {
        path.contains("/pool/")
            || path.contains("/by-hash/")
            || self.folder.join("frozen").exists()
            || locked(&self.seen).contains(path)
    }
}

/// Nobody leaves these maps half changed, so a lock that a panic has poisoned is good all the same.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fetches a file beside its place and renames it: it is there whole or not at all.
fn fetch_whole(upstream: &dyn Upstream, address: &str, kept: &Path) -> Result<(), FetchError> {
    if let Some(folder) = kept.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut part = kept.as_os_str().to_owned();
    // Another process may keep its files in the same folder.
    part.push(format!(".part{}", std::process::id()));
    let part = PathBuf::from(part);
    let fetched = upstream.fetch(address, &part);
    if fetched.is_err() {
        let _ = fs::remove_file(&part);
    }
    fetched?;
    fs::rename(&part, kept)?;
    Ok(())
}
