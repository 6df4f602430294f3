//! Staged hosts, by every means that this machine has.

mod common;

use common::{Bed, bed, bed_in, host, key, processes_with};
use fleetlift_testbed::Means;
use russh::{ChannelMsg, Disconnect};
use std::{fs, os::unix::fs::MetadataExt, time::Duration};

const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id";

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_as_root_in_a_root_of_its_own() {
    let bed = bed(vec![host("web-01", &[])]).await;
    let client = bed.connect("web-01").await;
    let tell = "id -u; id -un; hostname; cat /etc/hostname /etc/testbed/role; . /etc/os-release; echo $ID; pwd; echo $USER";
    let done = client.run(tell, b"").await;
    assert_eq!(done.text(), "0\nroot\nweb-01\nweb-01\nweb\nplain\n/root\nadmin", "{done:?}");
    assert_eq!((done.err.as_slice(), done.code), (&b""[..], Some(0)));
    let tools = "for tool in awk sed grep tar gzip find sort mktemp timeout setsid sha256sum cksum stat xargs tee od; do \
        command -v $tool >/dev/null || echo $tool; done; echo x | awk '{ print $1 }' | sha256sum | cut -c1-8; \
        date +%Y >/dev/null && tar -C /etc -czf /tmp/e.tgz . && tar -tzf /tmp/e.tgz | grep -c hostname; \
        echo gone >/dev/null; wc -c </dev/null; head -c 3 /dev/urandom | wc -c";
    let done = client.run(tools, b"").await;
    assert_eq!(done.text(), "73cb3858\n1\n0\n3", "{done:?}");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_signals_and_both_outputs_arrive() {
    let bed = bed(vec![host("web-01", &[])]).await;
    let client = bed.connect("web-01").await;
    for code in [0, 1, 3, 127, 255] {
        assert_eq!(client.run(&format!("exit {code}"), b"").await.code, Some(code));
    }
    let done = client.run("echo out; echo oops >&2; exit 3", b"").await;
    assert_eq!(done.out, b"out\n");
    assert_eq!(done.err, b"oops\n");
    assert_eq!(done.code, Some(3));
    let done = client.run("kill -TERM $$", b"").await;
    assert_eq!((done.code, done.signal.as_deref()), (None, Some("TERM")));
    let done = client.run("sh -c 'kill -KILL $$'; echo $?", b"").await;
    assert_eq!(done.text(), "137");
    let done = client.run("no-such-command", b"").await;
    assert_eq!(done.code, Some(127));
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_flows_in_both_directions_at_once_and_ends() {
    let bed = bed(vec![host("web-01", &[])]).await;
    let client = bed.connect("web-01").await;
    assert_eq!(client.run("cat; echo end", b"line\n").await.text(), "line\nend");
    assert_eq!(client.run("sh -s", b"echo $((40 + 2)); exit 7\n").await.code, Some(7));
    // Far more than every buffer on the way: a server that waits for one direction before the other would never end.
    let much: Vec<u8> = (0..8_000_000_u32).map(|number| (number % 251) as u8).collect();
    let done = client.run("cat", &much).await;
    assert_eq!(done.code, Some(0));
    assert!(done.out == much, "{} bytes came back of {}", done.out.len(), much.len());
    // A command that does not want its input.
    assert_eq!(client.run("exec <&-; echo deaf", &much).await.text(), "deaf");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn much_output_flows_with_little_memory() {
    let bed = bed(vec![host("web-01", &[])]).await;
    let client = bed.connect("web-01").await;
    let before = resident_kib();
    let channel = client.0.channel_open_session().await.unwrap();
    channel.exec(true, "yes 0123456789abcde | head -c 50000000; echo last >&2").await.unwrap();
    let (mut reading, _writing) = channel.split();
    let (mut out, mut err, mut code, mut most) = (0, Vec::new(), None, 0);
    while let Some(message) = reading.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                out += data.len();
                if out % 100 == 0 {
                    most = most.max(resident_kib());
                }
            }
            ChannelMsg::ExtendedData { data, .. } => err.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => code = Some(exit_status),
            _ => {}
        }
    }
    assert_eq!((out, err.as_slice(), code), (50_000_000, &b"last\n"[..], Some(0)));
    // Client and server are both in this process, and each may hold a window of 2 MiB a few times.
    assert!(most.saturating_sub(before) < 30_000, "memory grew from {before} to {most} KiB");
    bed.stop().await;
}

fn resident_kib() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_of_one_connection_run_side_by_side() {
    let bed = bed(vec![host("web-01", &[])]).await;
    let client = bed.connect("web-01").await;
    // Each waits for the other.
    let first = client.run("mkfifo /tmp/a /tmp/b; echo 1 >/tmp/a; cat /tmp/b", b"");
    let second =
        client.run("while ! [ -p /tmp/b ]; do sleep 0.01; done; cat /tmp/a; echo 2 >/tmp/b", b"");
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.text(), second.text()), ("2", "1"));
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_one_key_logs_in_and_only_commands_are_served() {
    let bed = bed(vec![host("web-01", &[])]).await;
    assert!(common::connect(bed.info("web-01"), &key(8)).await.is_err(), "a strange key was taken");
    let mut handle = common::handshake(bed.info("web-01")).await.unwrap();
    assert!(!handle.authenticate_password("root", "admin").await.unwrap().success());
    let client = bed.connect("web-01").await;
    assert!(client.0.channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", 0).await.is_err());
    let refused = |mut reading: russh::ChannelReadHalf| async move {
        loop {
            match reading.wait().await {
                Some(ChannelMsg::Success) => return false,
                Some(ChannelMsg::Failure) | None => return true,
                Some(_) => {}
            }
        }
    };
    let (reading, writing) = client.0.channel_open_session().await.unwrap().split();
    writing.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    assert!(refused(reading).await, "a terminal was given");
    let (reading, writing) = client.0.channel_open_session().await.unwrap().split();
    writing.request_subsystem(true, "sftp").await.unwrap();
    assert!(refused(reading).await, "sftp was given");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_changes_the_boot_id_ends_every_process_and_refuses_in_between() {
    let bed = bed(vec![host("web-01", &[]), host("web-02", &[])]).await;
    let client = bed.connect("web-01").await;
    let before = client.run(BOOT_ID, b"").await;
    // No other test's process sleeps so long.
    let sleeper = format!("sleep 1{}", std::process::id());
    client.run(&format!("setsid {sleeper} >/dev/null 2>&1 &"), b"").await;
    let beside = format!("sleep 2{}", std::process::id());
    bed.run("web-02", &format!("setsid {beside} >/dev/null 2>&1 &")).await;
    assert_eq!((processes_with(&sleeper), processes_with(&beside)), (1, 1));
    client.run("echo ID=plainer >/etc/testbed/next-os-release; echo kept >/root/file", b"").await;
    let done = client.run("reboot", b"").await;
    assert_eq!(done.code, Some(0), "{done:?}");
    client.gone().await;
    assert!(bed.try_connect("web-01").await.is_err(), "a dark host answers");
    let client = bed.wait_for("web-01").await;
    let after = client.run(&format!("{BOOT_ID}; cat /etc/os-release /root/file"), b"").await;
    let (boot_id, rest) = after.text().split_once('\n').unwrap();
    assert_ne!(before.text(), boot_id);
    assert_eq!(rest, "ID=plainer\nkept");
    assert_eq!((processes_with(&sleeper), processes_with(&beside)), (0, 1));
    bed.stop().await;
    assert_eq!(processes_with(&beside), 0, "a process outlived its fleet");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_hook_may_boot_again_and_may_fail() {
    let bed = bed(vec![host("web-01", &[]), host("web-02", &[])]).await;
    let hook = |text: &str| {
        format!(
            "echo 200 >/etc/testbed/dark_ms; cat >/usr/lib/testbed/boot <<'E'\n#!/bin/sh\n{text}\nE\n"
        )
    };
    let count = "cat /proc/sys/kernel/random/boot_id >>/root/boots; [ $(wc -l </root/boots) -ge 3 ] || exit 3";
    bed.run("web-01", &hook(count)).await;
    bed.fleet.power_cut("web-01").await;
    let done = bed
        .run("web-01", &format!("sort -u /root/boots | wc -l; tail -n 1 /root/boots; {BOOT_ID}"))
        .await;
    let lines: Vec<&str> = done.text().lines().collect();
    assert_eq!(lines[0], "3", "every boot has an id of its own: {done:?}");
    assert_eq!(lines[1], lines[2], "the hook runs with the id of its own boot");
    bed.run("web-02", &hook("echo broken; exit 1")).await;
    bed.fleet.power_cut("web-02").await;
    assert!(bed.try_connect("web-02").await.is_err(), "a host whose boot failed answers");
    let log = bed.fleet.root("web-02").unwrap().join("var/log/testbed-boot.log");
    assert_eq!(fs::read_to_string(log).unwrap(), "broken\n");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_outlives_its_connection() {
    let bed = bed(vec![host("web-01", &[])]).await;
    let client = bed.connect("web-01").await;
    let channel = client.0.channel_open_session().await.unwrap();
    let script = "echo begun; mkfifo /tmp/go; read x </tmp/go; echo $x >/tmp/done";
    channel.exec(true, script).await.unwrap();
    let (mut reading, _writing) = channel.split();
    while !matches!(reading.wait().await.unwrap(), ChannelMsg::Data { .. }) {}
    client.0.disconnect(Disconnect::ByApplication, "", "").await.unwrap();
    client.gone().await;
    // The process is only now told to go on.
    let go = "while ! [ -p /tmp/go ]; do sleep 0.01; done; echo on >/tmp/go; while ! [ -s /tmp/done ]; do sleep 0.01; done; cat /tmp/done";
    assert_eq!(bed.run("web-01", go).await.text(), "on");
    // The same, where the server cuts.
    let client = bed.connect("web-01").await;
    let channel = client.0.channel_open_session().await.unwrap();
    channel.exec(true, format!("rm /tmp/go /tmp/done; {script}")).await.unwrap();
    let (mut reading, _writing) = channel.split();
    while !matches!(reading.wait().await.unwrap(), ChannelMsg::Data { .. }) {}
    bed.fleet.cut("web-01").await;
    client.gone().await;
    assert_eq!(bed.run("web-01", go).await.text(), "on");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_share_nothing_that_they_write() {
    let bed = bed(vec![host("web-01", &[]), host("web-02", &[])]).await;
    let base = bed.dir.path().join("fleet/base");
    let before = listing(&base);
    bed.run("web-01", "echo one >/root/only; echo changed >>/etc/passwd; echo x >/usr/sbin/reboot; echo x >>/etc/os-release; rm /bin/tac; sed -i s/root/toor/ /etc/group").await;
    let done = bed.run("web-02", "cat /root/only; grep -c changed /etc/passwd; head -c 2 /usr/sbin/reboot; grep -c x /etc/os-release; echo; echo ab | tac; grep -c toor /etc/group").await;
    assert_eq!(done.text(), "0\n#!0\n\nab\n0", "{done:?}");
    assert_eq!(listing(&base), before, "a host has written into the base");
    // Nothing of the machine itself is linked into a host, where its root could write to it.
    let of_machine = fs::metadata("/bin/sh").unwrap();
    let of_host = fs::metadata(bed.fleet.root("web-01").unwrap().join("bin/sh")).unwrap();
    assert_ne!((of_machine.dev(), of_machine.ino()), (of_host.dev(), of_host.ino()));
    bed.stop().await;
}

/// Every file below a directory, with its size and when it was last written to.
fn listing(dir: &std::path::Path) -> Vec<(std::path::PathBuf, u64, i64)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let found = entry.metadata().unwrap();
        if found.is_dir() {
            all.extend(listing(&entry.path()));
        } else {
            all.push((entry.path(), found.len(), found.mtime_nsec()));
        }
    }
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_sees_and_stops_only_its_own_processes() {
    let bed = bed(vec![host("web-01", &[]), host("web-02", &[])]).await;
    if !bed.isolated() {
        return bed.stop().await;
    }
    let start = "setsid sleep 1000 >/dev/null 2>&1 & echo $!";
    let pid = bed.run("web-02", start).await.text().to_owned();
    // The first host may try every number there is, and all at once.
    bed.run("web-01", "trap '' TERM; kill -TERM -1; kill -KILL $(seq 2 400) 2>/dev/null; true")
        .await;
    assert_eq!(bed.run("web-02", &format!("kill -0 {pid}")).await.code, Some(0));
    // Who is ended is gone at once, and not a zombie that still answers.
    let end = format!(
        "kill -KILL {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.01; done; echo gone"
    );
    assert_eq!(bed.run("web-02", &end).await.text(), "gone");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_leaves_a_directory_that_was_there_before() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine"), "").unwrap();
    let bed = bed_in(dir.path().to_owned(), vec![host("web-01", &[])]).await;
    assert!(dir.path().join("hosts/web-01/etc/hostname").exists());
    bed.fleet.stop().await;
    let left: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_seeds_give_equal_hosts() {
    let read = "cat /etc/machine-id /proc/sys/kernel/random/boot_id";
    let (one, two) = (bed(vec![host("web-01", &[])]).await, bed(vec![host("web-01", &[])]).await);
    assert_eq!(one.run("web-01", read).await.text(), two.run("web-01", read).await.text());
    assert_eq!(one.info("web-01").host_key, two.info("web-01").host_key);
    assert_eq!(one.run("web-01", "wc -c </etc/machine-id").await.text(), "33");
    one.stop().await;
    two.stop().await;
}

/// Every test above once more, by the means that an ordinary user has.
#[test]
fn as_an_ordinary_user() {
    common::again("as_an_ordinary_user", |command| {
        use std::os::unix::process::CommandExt;
        // `nobody`: it owns nothing here.
        command.uid(65534).gid(65534).env("TMPDIR", "/tmp");
    });
}

/// Every test above once more, by the means that root has in a container without any right to namespaces.
#[test]
fn in_a_plain_container() {
    common::again("in_a_plain_container", |command| {
        command.env(common::MEANS, "plain");
    });
}

impl Bed {
    fn isolated(&self) -> bool {
        self.fleet.means() != Means::Chroot { isolated: false }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_host_has_no_services_and_says_so_at_once() {
    let bed = bed(vec![host("web-01", &[])]).await;
    let script = "echo ID=next >/etc/testbed/next-os-release; systemctl list-units --state=active && ss -lnt | wc -l";
    let began = std::time::Instant::now();
    let done = bed.run("web-01", &format!("{script}; grep -c plain /etc/os-release")).await;
    // A stage's programs wait five seconds for a host that never comes up.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(done.text(), "1\n1", "{done:?}");
    bed.stop().await;
}
