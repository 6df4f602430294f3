//! Facts: one script that asks a host about itself in plain POSIX sh, and the reading of its answer.

use crate::base::facts::{Facts, System};

/// What a host is asked. It only reads, needs no privilege, and prints `key=value` lines, and lists between markers.
/// Nothing newer than CentOS 7 is used; what a host lacks is left out.
pub const SCRIPT: &str = r#"# fleetlift-facts
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/sbin:/sbin; export PATH
say() { printf '%s=%s\n' "$1" "$2"; }
one() { head -n 1 2>/dev/null; }
say machine_id "$(one </etc/machine-id)" 2>/dev/null
say boot_id "$(one </proc/sys/kernel/random/boot_id)"
say hostname "$(hostname 2>/dev/null || uname -n)"
say kernel "$(uname -r)"
say arch "$(uname -m)"
say uid "$(id -u)"
say cpus "$(grep -c ^processor /proc/cpuinfo 2>/dev/null)"
say memory_kib "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo 2>/dev/null)"
say openssl "$(openssl version 2>/dev/null | cut -d' ' -f2)"
for f in /etc/os-release /usr/lib/os-release; do
  if [ -r "$f" ]; then echo '[os-release'; cat "$f"; echo; echo ']'; break; fi
done
if command -v systemctl >/dev/null 2>&1; then
  echo '[services'
  systemctl list-units --type=service --state=active --no-legend --no-pager --full 2>/dev/null
  echo ']'
  echo '[failed'
  systemctl list-units --failed --no-legend --no-pager --full 2>/dev/null
  echo ']'
fi
if command -v ss >/dev/null 2>&1; then echo '[ports'; ss -lntu 2>/dev/null; echo ']'; fi
if [ -r /proc/mounts ]; then echo '[mounts'; grep '^/' /proc/mounts; echo ']'; fi
exit 0
"#;

/// Asked in a wait for a reboot: only what tells one boot and one system from another.
pub const BOOT_SCRIPT: &str = r#"LC_ALL=C; export LC_ALL
printf 'boot_id=%s\n' "$(head -n 1 /proc/sys/kernel/random/boot_id)"
printf 'machine_id=%s\n' "$(head -n 1 /etc/machine-id 2>/dev/null)"
for f in /etc/os-release /usr/lib/os-release; do
  if [ -r "$f" ]; then echo '[os-release'; cat "$f"; echo; echo ']'; break; fi
done
exit 0
"#;

/// Asked after a reboot: which boots does the host itself know of? Where its journal does not outlive a boot, or systemd is not
/// in the play, it knows of none but this one. The list begins with the oldest; only the newest can be between two of ours.
pub const BOOTS_SCRIPT: &str = r#"# fleetlift-boots
LC_ALL=C; export LC_ALL
if command -v journalctl >/dev/null 2>&1; then journalctl --list-boots --no-pager 2>/dev/null | tail -n 64; fi
exit 0
"#;

/// How many boots lie between two of the host's own list, the second of them counted; nothing where one is not in it. The list
/// has the ids without their dashes.
pub fn boots_between(list: &str, left: &str, now: &str) -> Option<u32> {
    let known: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .filter(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
        .collect();
    let place = |id: &str| {
        let bare = id.replace('-', "");
        known.iter().rposition(|known| known.eq_ignore_ascii_case(&bare))
    };
    let (left, now) = (place(left)?, place(now)?);
    u32::try_from(now.checked_sub(left)?).ok()
}

/// Reads the answer to either script. Unknown lines are passed over: hosts print banners.
pub fn parse(answer: &str) -> Facts {
    let mut facts = Facts::default();
    let mut lists = Lists::default();
    let mut list = None;
    for line in answer.lines() {
        match list {
            Some(_) if line == "]" => list = None,
            Some(name) => in_list(&mut facts, &mut lists, name, line),
            None => match line.strip_prefix('[') {
                Some(name @ ("os-release" | "services" | "failed" | "ports" | "mounts")) => {
                    list = Some(name)
                }
                Some(_) | None => key(&mut facts, line),
            },
        }
    }
    Facts {
        services: lists.services.into_iter().collect(),
        failed_units: lists.failed_units.into_iter().collect(),
        ports: lists.ports.into_iter().collect(),
        mounts: lists.mounts.into_iter().collect(),
        ..facts
    }
}

/// What stands in the lists of an answer, as far as it was read.
#[derive(Default)]
struct Lists<'a> {
    services: Vec<&'a str>,
    failed_units: Vec<&'a str>,
    ports: Vec<String>,
    mounts: Vec<&'a str>,
}

fn key(facts: &mut Facts, line: &str) {
    let Some((key, value)) = line.split_once('=') else { return };
    let value = value.trim();
    match key {
        "machine_id" => facts.machine_id = value.to_owned(),
        "boot_id" if is_uuid(value) => facts.boot_id = value.to_owned(),
        "hostname" => facts.hostname = value.to_owned(),
        "kernel" => facts.kernel = value.to_owned(),
        "arch" => facts.arch = value.to_owned(),
        "uid" => facts.uid = value.parse().ok(),
        "cpus" => facts.cpus = value.parse().ok().filter(|n| *n > 0),
        "memory_kib" => facts.memory_mib = value.parse::<u64>().ok().map(|kib| kib / 1024),
        "openssl" => facts.openssl = value.to_owned(),
        _ => {}
    }
}

/// Text that is not a UUID is not a boot id: error messages have been taken for one before.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.char_indices().all(|(i, c)| match i {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        })
}

fn in_list<'a>(facts: &mut Facts, lists: &mut Lists<'a>, list: &str, line: &'a str) {
    match list {
        "os-release" => os_release(facts, line),
        "services" => lists.services.extend(unit(line)),
        "failed" => lists.failed_units.extend(unit(line)),
        "ports" => lists.ports.extend(port(line)),
        "mounts" => lists.mounts.extend(line.split(' ').nth(1)),
        _ => {}
    }
}

/// The unit of a line of `systemctl list-units`: old versions put a bullet before it, as a word of its own.
fn unit(line: &str) -> Option<&str> {
    let unit = line.split_whitespace().take(2).find(|word| word.contains('.'))?;
    Some(unit.strip_suffix(".service").unwrap_or(unit))
}

/// `tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:*` as `tcp/22`. Addresses of loopback alone are left out.
fn port(line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (protocol, local) = match fields.as_slice() {
        [protocol @ ("tcp" | "udp"), _, _, _, local, ..] => (*protocol, *local),
        _ => return None,
    };
    let (address, port) = local.rsplit_once(':')?;
    let loopback = address.starts_with("127.") || address == "[::1]";
    (!loopback && port.parse::<u16>().is_ok()).then(|| format!("{protocol}/{port}"))
}

fn os_release(facts: &mut Facts, line: &str) {
    let Some((key, value)) = line.trim().split_once('=') else { return };
    let value = unquote(value);
    let system = facts.system.get_or_insert(System { id: String::new(), version: String::new() });
    match key {
        "ID" => system.id = value,
        "VERSION_ID" => system.version = value,
        "PRETTY_NAME" => facts.pretty_name = value,
        _ => {}
    }
}

/// A value of `os-release`: shell quoting, of which only quotes and backslashes occur.
fn unquote(value: &str) -> String {
    let value = value.trim();
    let single = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\''));
    if let Some(literal) = single {
        return literal.to_owned();
    }
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "\
welcome to the machine
machine_id=0123456789abcdef0123456789abcdef
boot_id=5c0e8a0e-1b2c-4d3e-8f90-a1b2c3d4e5f6
kernel=3.10.0-1160.el7.x86_64
uid=0
memory_kib=2048000
openssl=1.0.2k-fips
[os-release
NAME=\"CentOS Linux\"
ID=\"centos\"
VERSION_ID=\"7\"
PRETTY_NAME='CentOS Linux 7 (Core)'

]
[services
  crond.service loaded active running Command Scheduler
● xinetd.service loaded active running Internet daemon
xfs-thing.service loaded active running X
]
[ports
Netid State  Recv-Q Send-Q Local Address:Port Peer Address:Port
tcp   LISTEN 0      128    0.0.0.0:80         0.0.0.0:*
tcp   LISTEN 0      128    127.0.0.1:25       0.0.0.0:*
udp   UNCONN 0      0      [::]:123           [::]:*
]
[mounts
/dev/vda1 / xfs rw 0 0
]
";

    #[test]
    fn the_answer_of_an_old_host_is_read() {
        let facts = parse(ANSWER);
        assert_eq!(facts.system, Some(System { id: "centos".into(), version: "7".into() }));
        assert_eq!(facts.pretty_name, "CentOS Linux 7 (Core)");
        assert_eq!(facts.memory_mib, Some(2000));
        assert_eq!(facts.services, ["crond", "xinetd", "xfs-thing"].iter().collect());
        assert_eq!(facts.ports, ["tcp/80", "udp/123"].iter().collect());
        assert_eq!(facts.mounts, ["/"].iter().collect());
    }

    #[test]
    fn boots_are_counted_by_the_hosts_own_list() {
        let id = |n: u32| format!("00000000-0000-4000-8000-{n:012}");
        let line = |at: i32, n: u32| {
            format!(
                "{at:>3} {} Sat 2026-11-21 09:00:00 UTC—Sat 2026-11-21 09:10:00 UTC",
                id(n).replace('-', "")
            )
        };
        let list = [line(-3, 5), line(-2, 6), line(-1, 7), line(0, 8)].join("\n");
        assert_eq!(boots_between(&list, &id(5), &id(8)), Some(3));
        assert_eq!(boots_between(&list, &id(7), &id(8)), Some(1));
        // A boot that is not in the list: its journal was not kept, so nobody can count.
        assert_eq!(boots_between(&list, &id(4), &id(8)), None);
        assert_eq!(boots_between(&list, &id(8), &id(7)), None);
        // Newer versions print a heading; others an error.
        let headed = format!("IDX BOOT ID FIRST ENTRY LAST ENTRY\n{list}");
        assert_eq!(boots_between(&headed, &id(6), &id(8)), Some(2));
        assert_eq!(boots_between("No journal files were found.\n", &id(6), &id(8)), None);
    }

    #[test]
    fn an_error_message_is_not_a_boot_id() {
        assert_eq!(parse("boot_id=cat: /proc/...: No such file or directory").boot_id, "");
    }
}
