//! Folders in memory, for what only a disk's syncs make slow. A controller that is killed loses nothing there either.

use tempfile::TempDir;

/// Less room than this may not do for all tests that run at once.
const ROOM_LEAST: u64 = 1 << 30;

/// A folder in memory where this machine has room for one there, else on the disk.
pub fn folder(prefix: &str) -> TempDir {
    const SHARED: &str = "/dev/shm";
    let roomy = rustix::fs::statvfs(SHARED).is_ok_and(|s| s.f_bavail * s.f_frsize >= ROOM_LEAST);
    let in_memory = if roomy { TempDir::with_prefix_in(prefix, SHARED).ok() } else { None };
    in_memory.unwrap_or_else(|| TempDir::with_prefix(prefix).unwrap())
}
