//! Running scripts: output, exit codes, files, limits.

use crate::{
    need,
    support::{self, Sshd, on, once, script, transport},
};
use fleetlift::host::{Exit, Script, SessionError, Transport, Whereabouts};
use std::{collections::BTreeSet, fs, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn a_script_runs_with_its_output_apart() {
    need!("a_script_runs_with_its_output_apart", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut step = script("echo out; echo err >&2; printf '%s' \"$GREETING|$LC_ALL\"; exit 7");
    step.env = vec![("GREETING".into(), "it's\n#end\n\"$x\" \\ é !".into())];
    let (exit, out, err) = once(&server.target(), &step).await;
    assert_eq!(exit, Exit::Code(7));
    assert_eq!(out, "out\nit's\n#end\n\"$x\" \\ é !|C");
    assert_eq!(err, "err\n");
    let read = |name: &str| fs::read_to_string(server.remote(&step.dir).join(name)).unwrap();
    assert_eq!(read("exit"), "7\n");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(read("boot").lines().next(), Some(boot.trim()));
    let pid = read("pid");
    let numbers: Vec<u64> = pid.split_whitespace().map(|n| n.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 2, "{pid}");
    assert!(read("script").ends_with("exit 7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_hosts_at_once() {
    need!("twenty_hosts_at_once", "sshd" => "openssh-server");
    // One sshd listens on at most sixteen addresses.
    let servers = [Sshd::with(10, ""), Sshd::with(10, "")];
    let transport = std::sync::Arc::new(transport());
    let mut tasks = Vec::new();
    let hosts = servers.iter().flat_map(|s| s.addresses.iter().map(move |a| (s, a)));
    for (n, (server, address)) in hosts.enumerate() {
        let target = support::target(&format!("host-{n}"), address, server.connection());
        let transport = std::sync::Arc::clone(&transport);
        let record = server.remote(&format!("run-{n}/migrate.step.1/exit"));
        tasks.push(tokio::spawn(async move {
            let mut session = transport.connect(&target).await.unwrap();
            let mut step = script(&format!("echo \"$SSH_CONNECTION\"; echo {n} >&2; exit {n}"));
            step.dir = format!("run-{n}/migrate.step.1");
            let result = on(&mut session, &step).await;
            session.close().await;
            assert_eq!(fs::read_to_string(record).unwrap(), format!("{n}\n"));
            (n, target.addresses[0].clone(), result)
        }));
    }
    let mut seen = BTreeSet::new();
    for task in tasks {
        let (n, address, (exit, out, err)) = task.await.unwrap();
        assert_eq!(exit.unwrap(), Exit::Code(i32::try_from(n).unwrap()));
        assert_eq!(out.split(' ').nth(2).unwrap(), address);
        assert_eq!(err, format!("{n}\n"));
        seen.insert(n);
    }
    assert_eq!(seen.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_is_empty_and_output_may_be_any_bytes() {
    need!("standard_input_is_empty_and_output_may_be_any_bytes", "sshd" => "openssh-server");
    let server = Sshd::start();
    let step = script("cat; read x || echo none; printf '\\377\\000\\033[2J'");
    let mut session = transport().connect(&server.target()).await.unwrap();
    let mut kept = support::Kept::default();
    assert_eq!(session.run(&step, &mut kept).await.unwrap(), Exit::Code(0));
    assert_eq!(kept.out, b"none\n\xff\0\x1b[2J");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_never_runs_twice() {
    need!("an_attempt_never_runs_twice", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mark = server.dir.path().join("ran");
    let step = script(&format!("echo x >>{}", mark.display()));
    let mut session = transport().connect(&server.target()).await.unwrap();
    assert_eq!(on(&mut session, &step).await.0.unwrap(), Exit::Code(0));
    // Who comes second has to ask, and is told.
    let (again, _, _) = on(&mut session, &step).await;
    let Err(SessionError::Lost { reason }) = again else { panic!("{again:?}") };
    assert!(reason.contains("taken before"), "{reason}");
    let mut session = transport().connect(&server.target()).await.unwrap();
    let mut kept = support::Kept::default();
    let time = support::time(Duration::from_secs(60));
    let end = session.follow(&step.dir, false, [0, 0], time, &mut kept).await.unwrap();
    assert_eq!(end, Whereabouts::Finished(Exit::Code(0)));
    assert_eq!(fs::read_to_string(mark).unwrap(), "x\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_many_starters_runs() {
    need!("only_one_of_many_starters_runs", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mark = server.dir.path().join("ran");
    let step = script(&format!("echo x >>{}", mark.display()));
    let starters = (0..8).map(|_| {
        let (target, step) = (server.target(), step.clone());
        tokio::spawn(async move {
            let mut session = transport().connect(&target).await.unwrap();
            on(&mut session, &step).await.0
        })
    });
    let (mut ran, mut late) = (0, 0);
    for starter in starters.collect::<Vec<_>>() {
        match starter.await.unwrap() {
            Ok(Exit::Code(0)) => ran += 1,
            Err(SessionError::Lost { .. }) => late += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((ran, late), (1, 7));
    assert_eq!(fs::read_to_string(mark).unwrap(), "x\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_machine_refuses() {
    need!("another_machine_refuses", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mark = server.dir.path().join("ran");
    let text = format!("touch {}", mark.display());
    let mut session = transport().connect(&server.target()).await.unwrap();
    let wrong = Script { machine_id: Some("0".repeat(32)), ..script(&text) };
    let (exit, _, _) = on(&mut session, &wrong).await;
    let Err(SessionError::Refused { reason }) = exit else { panic!("{exit:?}") };
    assert!(reason.starts_with("another machine"), "{reason}");
    assert!(!mark.exists() && !server.remote(&wrong.dir).exists());
    if let Ok(own) = fs::read_to_string("/etc/machine-id") {
        let right = Script { machine_id: Some(own.trim().to_owned()), ..script(&text) };
        assert_eq!(on(&mut session, &right).await.0.unwrap(), Exit::Code(0));
        assert!(mark.exists());
    } else {
        support::skip("another_machine_refuses (the right one)", "no /etc/machine-id here");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_ignores_term_is_gone_after_its_limit() {
    need!("a_script_that_ignores_term_is_gone_after_its_limit", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut session = transport().connect(&server.target()).await.unwrap();
    // One child ignores TERM, another leaves the session, a third leaves it and ignores TERM.
    let mut step = script(
        "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo $!\n\
         setsid sleep 600 & echo $!\n\
         setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' & echo $!\n\
         echo $$; wait",
    );
    step.timeout = Duration::from_secs(2);
    let (exit, out, _) = on(&mut session, &step).await;
    assert_eq!(exit.unwrap(), Exit::TimedOut { stopped: true });
    let pids: Vec<u32> = out.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(pids.len(), 4, "{out}");
    for pid in pids {
        assert!(!support::is_alive(pid), "{pid} is still there");
    }
    // The connection is as good as before.
    let (exit, out, _) = on(&mut session, &script("echo on")).await;
    assert_eq!((exit.unwrap(), out.as_str()), (Exit::Code(0), "on\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_and_high_exit_codes_are_told_apart() {
    need!("signals_and_high_exit_codes_are_told_apart", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut session = transport().connect(&server.target()).await.unwrap();
    let cases = [
        ("kill -KILL $$", Exit::Signal("KILL".into())),
        ("kill -TERM $$", Exit::Signal("TERM".into())),
        ("exit 137", Exit::Code(137)),
        ("sh -c 'kill -KILL $$'; exit $?", Exit::Code(137)),
        ("exit 255", Exit::Code(255)),
    ];
    for (text, expected) in cases {
        assert_eq!(on(&mut session, &script(text)).await.0.unwrap(), expected, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_script_leaves_behind_holds_nobody_up() {
    need!("what_a_script_leaves_behind_holds_nobody_up", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut session = transport().connect(&server.target()).await.unwrap();
    let step = script("sleep 600 & echo $!");
    let (exit, out, _) = on(&mut session, &step).await;
    assert_eq!(exit.unwrap(), Exit::Code(0));
    let pid = out.trim().parse().unwrap();
    assert!(support::is_alive(pid), "a daemon that a step starts stays");
    support::kill(pid);
}
