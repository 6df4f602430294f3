//! The migration of the plain stage: it takes a release that lies ready when it boots.

/// From plain to next by these steps, after a backup of the release.
pub fn to_next(name: &str, steps: &[&str]) -> String {
    let head = r#"
from = { id = "plain" }
to = { id = "next" }

[[backup]]
name = "keep-release"
run = "cp /etc/os-release /kept"
verify = "cmp /etc/os-release /kept"
"#;
    format!("name = \"{name}\"{head}{}", steps.concat())
}

/// Lays the next release ready.
pub const NEXT_RELEASE: &str = r#"
[[migrate]]
name = "next-release"
run = "printf 'ID=next\\nVERSION_ID=2\\n' >/etc/testbed/next-os-release"
"#;

/// Is the next one.
pub const IS_NEXT: &str = r#"
[[verify]]
name = "next"
run = "grep -q ID=next /etc/os-release"
"#;

/// The way back; `more` is said of each of its steps.
pub fn back(more: &str) -> String {
    format!(
        r#"
[[rollback]]
name = "old-release"
run = "cp /kept /etc/testbed/next-os-release"
{more}
[[rollback]]
name = "boot-old"
reboot = {{ timeout = "90s", into = "from" }}
{more}"#
    )
}
