//! How many connections may be open at once: each is a file descriptor of the controller.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For the store, reports, pipes, the agent and the standard streams.
const RESERVED: u64 = 128;

/// Above this, memory and the operator's network are the limit, not file descriptors.
const CONNECTIONS_MAX: u64 = 16_384;

/// What a process may open, and how many connections follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenLimit {
    /// Connections at once.
    pub connections: usize,
    /// File descriptors of this process, after raising the soft limit to the hard one.
    pub files: u64,
}

impl std::fmt::Display for OpenLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { connections, files } = self;
        write!(f, "at most {connections} connections at once ({files} open files are allowed)")
    }
}

/// Raises the soft limit to the hard one and derives the number of connections; `wanted` may lower it.
pub(super) fn derive(wanted: Option<usize>) -> OpenLimit {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: now.maximum, maximum: now.maximum };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => now.maximum,
        Err(_) => now.current,
    };
    let files = files.unwrap_or(u64::MAX);
    connections_for(files, wanted)
}

fn connections_for(files: u64, wanted: Option<usize>) -> OpenLimit {
    // Where few files are allowed at all, half of them is better than none.
    let most = files.saturating_sub(RESERVED).max(files / 2).clamp(1, CONNECTIONS_MAX);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    OpenLimit { connections: wanted.map_or(most, |wanted| wanted.clamp(1, most)), files }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_other_files() {
        assert_eq!(connections_for(1024, None).connections, 896);
        assert_eq!(connections_for(64, None).connections, 32);
        assert_eq!(connections_for(1 << 20, None).connections, 16_384);
        assert_eq!(connections_for(1024, Some(20)).connections, 20);
        assert_eq!(connections_for(1024, Some(9000)).connections, 896);
    }
}
