//! The frame in which fleetlift's launcher puts what a script printed, for hosts that run nothing.
//!
//! Fleetlift starts `… fleetlift MARK MODE …` with a mark that it draws anew for each call, and takes as the script's own
//! what stands between `MARK-go` and `MARK-end HOW` on each of the two outputs (`src/host/ssh/remote/` in the product). This
//! is all that is imitated: every script and every upload is carried out at once, and ends as the canned reply says. A
//! command without a mark is answered plainly.

use crate::spec::CannedReply;

/// What stands before the mark on the command line.
const BEFORE: &[u8] = b" fleetlift fl";

/// The letters of a mark: `fl` and 128 bits in hexadecimal.
const MARK_LEN: usize = 34;

/// In a program that asks the host to keep the launcher for the next time, which then is not sent again.
const KEEP: &[u8] = b"\nfl_library=";

/// The reply as the launcher would give it, where the command is the launcher's.
pub(super) fn frame(command: &[u8], stdin: &[u8], reply: CannedReply) -> CannedReply {
    let Some(mark) = mark(command) else { return reply };
    let CannedReply { stdout, stderr, exit } = reply;
    let mut out = String::with_capacity(stdout.len() + 2 * MARK_LEN + 16);
    for part in [mark, "-go\n", &stdout, mark, "-end ", &exit.to_string(), "\n"] {
        out.push_str(part);
    }
    let keeps = stdin.windows(KEEP.len()).any(|window| window == KEEP);
    let kept = if keeps { format!("{mark}-at /var/lib/fleetlift\n") } else { String::new() };
    let stderr = format!("{mark}-ready\n{kept}{mark}-go\n{stderr}{mark}-end {exit}\n");
    // The launcher's own exit code says nothing about the script.
    CannedReply { stdout: out, stderr, exit: 0 }
}

fn mark(command: &[u8]) -> Option<&str> {
    let at = command.windows(BEFORE.len()).position(|window| window == BEFORE)?;
    let start = at + BEFORE.len() - "fl".len();
    let mark = std::str::from_utf8(command.get(start..start + MARK_LEN)?).ok()?;
    mark[2..].bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_launcher_is_answered_in_a_frame() {
        let reply = CannedReply { stdout: "out\n".into(), stderr: "err".into(), exit: 3 };
        assert_eq!(frame(b"sh -c 'echo fleetlift'", b"", reply.clone()), reply);
        assert_eq!(frame(b"sh -c x fleetlift fl12", b"", reply.clone()), reply);
        let mark = "fl0123456789abcdef0123456789abcdef";
        let command = format!("exec /bin/sh -c 'x' fleetlift {mark} 0 'y'");
        let framed = frame(command.as_bytes(), b"fl_x=1", reply.clone());
        assert_eq!(framed.stdout, format!("{mark}-go\nout\n{mark}-end 3\n"));
        assert_eq!(framed.stderr, format!("{mark}-ready\n{mark}-go\nerr{mark}-end 3\n"));
        assert_eq!(framed.exit, 0);
        let framed = frame(command.as_bytes(), b"fl_x=1\nfl_library='x'", reply);
        assert!(framed.stderr.contains(&format!("{mark}-at /var/lib/fleetlift\n{mark}-go\n")));
    }
}
