//! Staged hosts, by the means that this machine has.

mod common;

use common::{bed, host, processes_with};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_as_root_in_a_root_of_its_own() {
    let bed = bed(vec![host("web-01", &[])]).await;
    let client = bed.connect("web-01").await;
    let done = client
        .run("id -u; cat /etc/hostname; hostname; . /etc/os-release; echo $ID; pwd", b"")
        .await;
    assert_eq!(done.text(), "0\nweb-01\nweb-01\nplain\n/root", "{done:?}");
    assert_eq!(done.code, Some(0));
    let done = client.run("echo oops >&2; exit 3", b"").await;
    assert_eq!(
        (done.out.as_slice(), done.err.as_slice(), done.code),
        (&b""[..], &b"oops\n"[..], Some(3))
    );
    let done = client.run("cat; echo end", b"from standard input\n").await;
    assert_eq!(done.text(), "from standard input\nend");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_changes_the_boot_id_and_ends_every_process() {
    let bed = bed(vec![host("web-01", &[])]).await;
    let client = bed.connect("web-01").await;
    let read = "cat /proc/sys/kernel/random/boot_id";
    let before = client.run(read, b"").await;
    // No other test's process sleeps so long.
    let sleeper = format!("sleep 1{}", std::process::id());
    client.run(&format!("setsid {sleeper} >/dev/null 2>&1 &"), b"").await;
    assert_eq!(processes_with(&sleeper), 1);
    let done = client.run("reboot", b"").await;
    assert_eq!(done.code, Some(0), "{done:?}");
    client.gone().await;
    assert!(bed.try_connect("web-01").await.is_err(), "a dark host answers");
    let client = bed.wait_for("web-01").await;
    let after = client.run(read, b"").await;
    assert_ne!(before.text(), after.text());
    assert_eq!(processes_with(&sleeper), 0);
    bed.stop().await;
}
