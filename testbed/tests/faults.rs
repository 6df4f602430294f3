//! Every fault that a host can be asked to have, and canned hosts.

mod common;

use common::{bed, bed_with, canned, connect, handshake, host};
use fleetlift_testbed::{
    CannedAnswers, CannedReply, Fault, Fleet, FleetSpec, HostSpec, Means, StartError,
};
use russh::ChannelMsg;
use std::{sync::Arc, time::Duration};

const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id";
const QUICK: &str = "echo 50 >/etc/testbed/dark_ms";

#[tokio::test(flavor = "multi_thread")]
async fn refuses() {
    let bed = bed(vec![host("a", &[Fault::Refuses]), host("b", &[])]).await;
    assert!(
        matches!(bed.try_connect("a").await, Err(russh::Error::IO(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused)
    );
    bed.fleet.power_cut("a").await;
    assert!(bed.try_connect("a").await.is_err(), "a reboot has opened the port");
    bed.fleet.refuse("a", false).await;
    assert_eq!(bed.run("a", "hostname").await.text(), "a");
    // A connection outlives its port.
    let client = bed.connect("b").await;
    bed.fleet.refuse("b", true).await;
    assert!(bed.try_connect("b").await.is_err());
    assert_eq!(client.run("hostname", b"").await.text(), "b");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hangs_before_the_banner() {
    let bed = bed(vec![host("a", &[Fault::HangsBeforeBanner])]).await;
    let info = bed.info("a");
    let mut stream = tokio::net::TcpStream::connect((info.address, info.port)).await.unwrap();
    let mut buffer = [0; 16];
    let read = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer);
    let said = tokio::time::timeout(Duration::from_millis(300), read).await;
    assert!(said.is_err(), "it said something: {said:?}");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_during_a_script_once_and_the_script_goes_on() {
    let fault = Fault::DropsDuringScript { containing: "upgrade --now".into() };
    let bed = bed(vec![host("a", &[fault])]).await;
    let script = "echo begun >/tmp/begun; sleep 0.5; echo done >/tmp/done # upgrade --now\n";
    let client = bed.connect("a").await;
    let done = client.run("sh -s", script.as_bytes()).await;
    assert_eq!((done.code, done.signal.as_ref()), (None, None), "{done:?}");
    client.gone().await;
    let wait = "while ! [ -s /tmp/done ]; do sleep 0.01; done; cat /tmp/begun /tmp/done";
    assert_eq!(bed.run("a", wait).await.text(), "begun\ndone");
    let done = bed.connect("a").await.run("sh -s", script.as_bytes()).await;
    assert_eq!(done.code, Some(0), "only the first time");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_also_where_the_text_is_in_the_command_or_comes_in_pieces() {
    let fault = || Fault::DropsDuringScript { containing: "needle".into() };
    let bed = bed(vec![host("a", &[fault()]), host("b", &[fault()])]).await;
    assert_eq!(bed.run("a", "sleep 5; echo needle").await.code, None);
    let client = bed.connect("b").await;
    let channel = client.0.channel_open_session().await.unwrap();
    channel.exec(true, "cat >/dev/null").await.unwrap();
    let (mut reading, writing) = channel.split();
    for piece in ["xnee", "dle"] {
        writing.data(piece.as_bytes()).await.unwrap();
    }
    while let Some(message) = reading.wait().await {
        assert!(!matches!(message, ChannelMsg::ExitStatus { .. }), "it was not cut");
    }
    client.gone().await;
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn never_returns() {
    let bed = bed(vec![host("a", &[Fault::NeverReturns])]).await;
    let client = bed.connect("a").await;
    client.run(QUICK, b"").await;
    bed.fleet.power_cut("a").await;
    client.gone().await;
    assert!(bed.try_connect("a").await.is_err());
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn returns_unchanged() {
    let bed = bed(vec![host("a", &[Fault::ReturnsUnchanged])]).await;
    let prepare = format!("{QUICK}; echo ID=new >/etc/testbed/next-os-release; {BOOT_ID}");
    let before = bed.run("a", &prepare).await;
    bed.fleet.power_cut("a").await;
    let after = bed.run("a", BOOT_ID).await;
    assert_ne!(before.text(), after.text());
    assert_eq!(
        bed.run("a", "grep -c plain /etc/os-release; ls /etc/testbed/next-os-release | wc -l")
            .await
            .text(),
        "1\n1"
    );
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_its_key() {
    let bed = bed(vec![host("a", &[Fault::ChangesKey])]).await;
    bed.run("a", QUICK).await;
    bed.fleet.power_cut("a").await;
    assert!(matches!(bed.try_connect("a").await, Err(russh::Error::UnknownKey)));
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fills_its_disk() {
    let plain = Means::Chroot { isolated: false };
    let spec = FleetSpec {
        hosts: vec![host("a", &[Fault::FillsDisk])],
        authorized_key: common::key(7).public_key().to_openssh().unwrap(),
        dir: tempfile::tempdir().unwrap().path().join("fleet"),
        seed: 1,
        canned: CannedAnswers::default(),
    };
    assert!(matches!(Fleet::start_by(plain, spec).await, Err(StartError::Fault { .. })));
    if fleetlift_testbed::means() == Ok(plain) {
        eprintln!("SKIPPED: fills_its_disk needs the right to a mount namespace");
        return;
    }
    let bed = bed(vec![host("a", &[Fault::FillsDisk])]).await;
    for _ in 0..2 {
        let done = bed.run("a", "cat /etc/hostname >/var/lib/x").await;
        assert!(String::from_utf8_lossy(&done.err).contains("No space left"), "{done:?}");
        assert_eq!(
            bed.run("a", "echo x >/root/x; cat /root/x; ls -d /var/lib").await.text(),
            "x\n/var/lib"
        );
        bed.fleet.power_cut("a").await;
    }
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sudo_asks() {
    let bed =
        bed(vec![host("a", &[Fault::SudoAsks { password: "horse".into() }]), host("b", &[])]).await;
    let client = bed.connect("a").await;
    assert_eq!(client.run("id -u; id -un", b"").await.text(), "1000\nadmin");
    let done = client.run("sudo -n true", b"").await;
    assert_eq!((done.code, done.err.as_slice()), (Some(1), &b"sudo: a password is required\n"[..]));
    let done = client.run("sudo -S -p 'Password:' sh -c 'id -u; cat'", b"horse\nthe rest\n").await;
    assert_eq!((done.text(), done.err.as_slice()), ("0\nthe rest", &b"Password:"[..]));
    assert_eq!(client.run("sudo -k -S -- id -u", b"cow\n").await.code, Some(1));
    assert_eq!(client.run("sudo -S sh -c 'sudo -n id -u'", b"horse\n").await.text(), "0");
    assert_eq!(bed.run("b", "sudo -n id -u; sudo -n FOO=1 sh -c 'echo $FOO'").await.text(), "0\n1");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prints_much_and_has_the_stage_s_own_faults() {
    let faults = [
        Fault::PrintsMuch { bytes: 1_234_567 },
        Fault::Stage("boot-full".into()),
        Fault::Stage("x".into()),
    ];
    let bed = bed(vec![host("a", &faults), host("b", &[])]).await;
    assert_eq!(
        bed.run("a", "/usr/lib/testbed/noise | wc -c; cat /etc/testbed/faults").await.text(),
        "1234567\nboot-full\nx"
    );
    assert_eq!(
        bed.run("b", "/usr/lib/testbed/noise | wc -c; wc -c </etc/testbed/faults").await.text(),
        "0\n0"
    );
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn power_off_and_on() {
    let bed = bed(vec![host("a", &[])]).await;
    let client = bed.connect("a").await;
    let before = client.run(&format!("{QUICK}; {BOOT_ID}"), b"").await;
    client.run("poweroff", b"").await;
    client.gone().await;
    assert!(bed.try_connect("a").await.is_err());
    bed.fleet.refuse("a", false).await;
    assert!(bed.try_connect("a").await.is_err(), "a host without power has an open port");
    bed.fleet.power_on("a").await;
    assert_ne!(bed.run("a", BOOT_ID).await.text(), before.text());
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn canned_hosts_answer_without_processes() {
    let answers = CannedAnswers {
        facts: "os=canned\n".into(),
        default_stdout: "default\n".into(),
        table: vec![(
            "fail-here".into(),
            CannedReply { stdout: String::new(), stderr: "no\n".into(), exit: 9 },
        )],
        answer: Some(Arc::new(|request| {
            let text = format!("{} of {}\n", request.stdin.len(), request.user);
            (request.command == b"count")
                .then_some(CannedReply { stdout: text, ..CannedReply::default() })
        })),
    };
    let hosts: Vec<HostSpec> = (1..=1000).map(|number| canned(&format!("c-{number}"))).collect();
    let bed = bed_with(hosts, answers).await;
    assert_eq!(bed.fleet.hosts().len(), 1000);
    assert_eq!(bed.fleet.known_hosts().lines().count(), 1);
    assert!(bed.fleet.root("c-1").is_none());
    let client = bed.connect("c-777").await;
    let done = client.run("sh -s", b"set -e\n# fleetlift-facts\necho\n").await;
    assert_eq!((done.text(), done.code), ("os=canned", Some(0)));
    assert_eq!(client.run("sh -s", b"anything").await.text(), "default");
    let done = client.run("sh -s", b"then fail-here").await;
    assert_eq!((done.err.as_slice(), done.code), (&b"no\n"[..], Some(9)));
    assert_eq!(client.run("count", &[b'x'; 300_000]).await.text(), "300000 of admin");
    assert!(connect(bed.info("c-1"), &common::key(8)).await.is_err());
    let mut handle = handshake(bed.info("c-2")).await.unwrap();
    assert!(!handle.authenticate_password("root", "x").await.unwrap().success());
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_with_a_mistake_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let start = async |hosts: Vec<HostSpec>, key: &str| {
        let dir = dir.path().join("fleet");
        let spec = FleetSpec {
            hosts,
            authorized_key: key.to_owned(),
            dir: dir.clone(),
            seed: 1,
            canned: CannedAnswers::default(),
        };
        let error = Fleet::start(spec).await.unwrap_err();
        assert!(!dir.exists(), "{error}");
        error.to_string()
    };
    let key = common::key(7).public_key().to_openssh().unwrap();
    assert!(start(vec![host("../a", &[])], &key).await.contains("no name for a host"));
    assert!(start(vec![host("a", &[]), host("a", &[])], &key).await.contains("two hosts"));
    assert!(start(vec![host("a", &[])], "nonsense").await.contains("no OpenSSH public key"));
    let mut odd = host("a", &[]);
    odd.profile = fleetlift_testbed::Profile::Staged { stage: "beos".into() };
    let said = start(vec![host("b", &[]), odd], &key).await;
    assert!(said.contains("`beos`") && said.contains("plain"), "{said}");
}

#[test]
fn as_an_ordinary_user() {
    common::again("as_an_ordinary_user", |command| {
        use std::os::unix::process::CommandExt;
        command.uid(65534).gid(65534).env("TMPDIR", "/tmp");
    });
}
