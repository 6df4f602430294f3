//! The host's own lock: one run at a time, whoever asks; and what is left of a host's scripts.

use crate::{
    need,
    support::{Kept, Sshd, on, options, script, time},
};
use fleetlift::host::{
    Exit, Holder, Leave, Script, Session, SessionError, Transport, Whereabouts,
    ssh::{SshOptions, SshTransport},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// A controller of a run.
fn holder(run: &str, epoch: u32) -> Arc<Holder> {
    Arc::new(Holder {
        run: run.to_owned(),
        epoch,
        controller: format!("{epoch}@desk-of-{run}"),
        folder: format!("{run}/host"),
    })
}

async fn session_with(server: &Sshd, holder: &Arc<Holder>, lease: u64) -> Box<dyn Session> {
    let options = SshOptions { lease: Duration::from_secs(lease), ..options(|_| None) };
    let transport = SshTransport::new(options).unwrap();
    let mut session = transport.connect(&server.target()).await.unwrap();
    session.hold(holder);
    session
}

async fn session(server: &Sshd, holder: &Arc<Holder>) -> Box<dyn Session> {
    session_with(server, holder, 300).await
}

fn step(holder: &Holder, name: &str, text: &str) -> Script {
    Script { dir: format!("{}/0.migrate.{name}.1", holder.folder), ..script(text) }
}

#[track_caller]
fn refused(result: Result<Exit, SessionError>) -> String {
    match result {
        Err(SessionError::Refused { reason }) => reason,
        other => panic!("not refused, but {other:?}"),
    }
}

/// Where this machine's locks are.
fn locks(server: &Sshd) -> PathBuf {
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let name = if machine.trim().is_empty() { "host" } else { machine.trim() };
    server.remote("lock").join(name)
}

/// The numbers of the locks that are there.
fn numbers(server: &Sshd) -> Vec<u64> {
    let files = fs::read_dir(locks(server)).unwrap();
    let mut numbers: Vec<u64> =
        files.map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_belongs_to_one_run_until_that_leaves_it() {
    need!("a_host_belongs_to_one_run_until_that_leaves_it", "sshd" => "openssh-server");
    let server = Sshd::start();
    let (first, second) = (holder("first", 0), holder("second", 0));
    let mut a = session(&server, &first).await;
    let mut b = session(&server, &second).await;
    assert_eq!(on(&mut a, &step(&first, "one", "echo a")).await.0.unwrap(), Exit::Code(0));
    let reason = refused(on(&mut b, &step(&second, "one", "echo b")).await.0);
    for words in ["locked by run first", "0@desk-of-first", "since 20", "s more", "--limit"] {
        assert!(reason.contains(words), "{words}: {reason}");
    }
    // Refused means untouched, for files, too.
    let file = server.remote("uploaded");
    let upload = b.upload(b"x", file.to_str().unwrap(), 0o600, false).await;
    assert!(matches!(upload, Err(SessionError::Refused { .. })), "{upload:?}");
    assert!(!file.exists() && !server.remote("second").exists());
    // Its own next scripts go on, with the same number.
    assert_eq!(on(&mut a, &step(&first, "two", "echo a")).await.0.unwrap(), Exit::Code(0));
    assert_eq!(numbers(&server), [1]);

    a.leave(Leave::Rests, false).await.unwrap();
    assert_eq!(on(&mut b, &step(&second, "one", "echo b")).await.0.unwrap(), Exit::Code(0));
    assert!(b.notes().is_empty(), "it was given back");
    assert_eq!(numbers(&server), [2]);
    // The first comes back from its rest: the host is not as it left it.
    let reason = refused(on(&mut a, &step(&first, "three", "echo a")).await.0);
    assert!(reason.contains("has had this host since"), "{reason}");
    b.leave(Leave::Keeps, false).await.unwrap();
    let reason = refused(on(&mut a, &step(&first, "four", "echo a")).await.0);
    assert!(reason.contains("has had this host since"), "{reason}");
    assert!(!server.remote("first/host/0.migrate.three.1").exists());
}

/// Tries until the host lets it begin. How often it was refused before, and its notes.
async fn until_taken(
    server: &Sshd,
    holder: &Arc<Holder>,
    lease: u64,
) -> (Vec<String>, Vec<String>) {
    let began = Instant::now();
    let mut refusals = Vec::new();
    let mut session = session_with(server, holder, lease).await;
    loop {
        match on(&mut session, &step(holder, "one", "echo taken")).await.0 {
            Ok(exit) => {
                assert_eq!(exit, Exit::Code(0));
                return (refusals, session.notes());
            }
            Err(SessionError::Refused { reason }) => refusals.push(reason),
            Err(error) => panic!("{error}"),
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{refusals:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_runs_out_and_who_had_it_is_refused() {
    need!("a_lease_runs_out_and_who_had_it_is_refused", "sshd" => "openssh-server");
    let server = Sshd::start();
    let (first, second) = (holder("first", 0), holder("second", 0));
    let mut a = session_with(&server, &first, 2).await;
    assert_eq!(on(&mut a, &step(&first, "one", "echo a")).await.0.unwrap(), Exit::Code(0));
    let (_, notes) = until_taken(&server, &second, 2).await;
    assert!(notes.len() == 1 && notes[0].contains("run first"), "{notes:?}");
    assert_eq!(numbers(&server), [2]);
    // It did not notice, and goes on; the host does not let it. Nor does its next controller get the host.
    for mut old in [a, session_with(&server, &holder("first", 1), 2).await] {
        let reason = refused(on(&mut old, &step(&first, "two", "echo a")).await.0);
        assert!(reason.contains("has had this host since"), "{reason}");
        old.renew(false).await.unwrap_err();
    }
    assert!(!server.remote("first/host/0.migrate.two.1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_at_work_keeps_its_run_s_lock_whatever_became_of_the_controller() {
    const TEST: &str = "a_step_at_work_keeps_its_run_s_lock_whatever_became_of_the_controller";
    need!(TEST, "sshd" => "openssh-server");
    let server = Sshd::start();
    let (first, second) = (holder("first", 0), holder("second", 0));
    let go = server.dir.path().join("go-on");
    let work = step(
        &first,
        "work",
        &format!("echo begun; until [ -e {} ]; do sleep 0.05; done", go.display()),
    );
    let mut a = session_with(&server, &first, 1).await;
    let controller = tokio::spawn(async move {
        let result = on(&mut a, &work).await.0;
        (result, a)
    });
    let out = server.remote("first/host/0.migrate.work.1/out");
    while fs::read_to_string(&out).unwrap_or_default() != "begun\n" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    controller.abort();
    let taker = {
        let go = go.clone();
        let mut b = session_with(&server, &second, 1).await;
        let began = Instant::now();
        // Longer than the lease: what keeps the lock is the step.
        loop {
            let reason = refused(on(&mut b, &step(&second, "one", "echo b")).await.0);
            if reason.contains("still at work") {
                assert!(reason.contains("0.migrate.work.1"), "{reason}");
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{reason}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        fs::write(go, "").unwrap();
        until_taken(&server, &second, 1).await
    };
    assert_eq!(taker.1.len(), 1, "{taker:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_controller_of_the_run_takes_over_at_once_and_the_earlier_is_refused() {
    const TEST: &str =
        "a_later_controller_of_the_run_takes_over_at_once_and_the_earlier_is_refused";
    need!(TEST, "sshd" => "openssh-server");
    let server = Sshd::start();
    let (old, new) = (holder("run", 0), holder("run", 1));
    let mut a = session(&server, &old).await;
    assert_eq!(on(&mut a, &step(&old, "one", "echo a; exit 3")).await.0.unwrap(), Exit::Code(3));
    // It asks what became of the step of the one before, and has the lock from then on.
    let mut b = session(&server, &new).await;
    let mut kept = Kept::default();
    let limit = Duration::from_secs(60);
    let dir = step(&old, "one", "").dir;
    let end = b.follow(&dir, false, [0, 0], time(limit), &mut kept).await.unwrap();
    assert_eq!(end, Whereabouts::Finished(Exit::Code(3)));
    assert_eq!(numbers(&server), [2]);
    let reason = refused(on(&mut a, &step(&old, "two", "echo a")).await.0);
    assert!(reason.contains("1@desk-of-run") && reason.contains("taken this run over"), "{reason}");
    assert_eq!(on(&mut b, &step(&new, "two", "echo b")).await.0.unwrap(), Exit::Code(0));
    // A copy of the journal, driven by another: the same run, as often taken over, and not the same controller.
    let copy = Arc::new(Holder { controller: "9@elsewhere".to_owned(), ..(*new).clone() });
    let mut c = session(&server, &copy).await;
    let reason = refused(on(&mut c, &step(&new, "three", "echo c")).await.0);
    assert!(reason.starts_with("locked by run run of 1@desk"), "{reason}");
    b.leave(Leave::Rests, false).await.unwrap();
    refused(on(&mut c, &step(&new, "three", "echo c")).await.0);
    assert_eq!(on(&mut b, &step(&new, "three", "echo b")).await.0.unwrap(), Exit::Code(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_gets_the_host() {
    need!("of_many_at_once_one_gets_the_host", "sshd" => "openssh-server");
    const MANY: usize = 6;
    let server = Sshd::with(1, "MaxStartups 100\n");
    let count = server.dir.path().join("count");
    for round in 0..6 {
        let mut sessions = Vec::new();
        for n in 0..MANY {
            let holder = holder(&format!("run-{round}-{n}"), 0);
            sessions.push((session(&server, &holder).await, holder));
        }
        let barrier = Arc::new(tokio::sync::Barrier::new(MANY));
        let text = format!("echo {round} >>{}", count.display());
        let mut tasks = tokio::task::JoinSet::new();
        for (mut session, holder) in sessions {
            let (barrier, text) = (Arc::clone(&barrier), text.clone());
            tasks.spawn(async move {
                barrier.wait().await;
                (on(&mut session, &step(&holder, "one", &text)).await.0, session)
            });
        }
        let mut won = Vec::new();
        for (result, session) in tasks.join_all().await {
            match result {
                Ok(exit) => {
                    assert_eq!(exit, Exit::Code(0));
                    won.push(session);
                }
                Err(error) => assert!(error.to_string().contains("locked by run"), "{error}"),
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
        let lines = fs::read_to_string(&count).unwrap();
        assert_eq!(lines.lines().filter(|line| *line == round.to_string()).count(), 1);
        // Given back, or run out: both begin the next round.
        let mut winner = won.pop().unwrap();
        if round % 2 == 0 {
            winner.leave(Leave::Clean, false).await.unwrap();
        } else {
            let path = locks(&server).join(numbers(&server).last().unwrap().to_string());
            let line = fs::read_to_string(&path).unwrap();
            fs::write(path, format!("{:<12}{}", 1, &line[12..])).unwrap();
        }
    }
    assert_eq!(numbers(&server), [6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_removed_and_nothing_begins_there_again() {
    need!("what_has_ended_is_removed_and_nothing_begins_there_again", "sshd" => "openssh-server");
    let server = Sshd::start();
    let run = holder("run", 0);
    let mut a = session(&server, &run).await;
    let one = step(&run, "one", "echo hunter2; exit 1");
    on(&mut a, &one).await.0.unwrap();
    a.leave(Leave::Keeps, false).await.unwrap();
    assert!(server.remote(&one.dir).join("exit").exists(), "evidence stays");
    let reason = refused(on(&mut a, &step(&run, "two", "echo a")).await.0);
    assert!(reason.contains("has ended with this host"), "{reason}");

    let again = Arc::new(Holder { folder: "run.1/host".to_owned(), epoch: 1, ..(*run).clone() });
    let mut b = session(&server, &again).await;
    let one = step(&again, "one", "echo hunter2");
    on(&mut b, &one).await.0.unwrap();
    b.leave(Leave::Clean, false).await.unwrap();
    let left: Vec<_> = fs::read_dir(server.remote("run.1/host"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["ended"]);
    // Bytes that were on their way all the time, and a controller that slept meanwhile.
    refused(on(&mut b, &one).await.0);
    let mut kept = Kept::default();
    let followed =
        b.follow(&one.dir, false, [0, 0], time(Duration::from_secs(60)), &mut kept).await;
    assert!(matches!(followed, Err(SessionError::Refused { .. })), "{followed:?}");
    assert!(!server.remote(&one.dir).exists());
    // The next run comes at once.
    let next = holder("next", 0);
    let mut c = session(&server, &next).await;
    assert_eq!(on(&mut c, &step(&next, "one", "echo c")).await.0.unwrap(), Exit::Code(0));
}

/// A controller was killed after it had recorded a host's end, and before it had left the host.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_controller_had_locked_is_left_by_a_later_one() {
    const TEST: &str = "what_an_earlier_controller_had_locked_is_left_by_a_later_one";
    need!(TEST, "sshd" => "openssh-server");
    let server = Sshd::start();
    // The next controller has taken the run over; or has nothing to do but this, and nothing to record.
    for (run, next) in [("one", 1), ("two", 0)] {
        let dead = holder(run, 0);
        let mut a = session(&server, &dead).await;
        on(&mut a, &step(&dead, "one", "true")).await.0.unwrap();
        let next = Holder { epoch: next, controller: "9@desk".to_owned(), ..(*dead).clone() };
        let mut b = session(&server, &Arc::new(next)).await;
        b.leave(Leave::Clean, false).await.unwrap();
        let left = fs::read_dir(server.remote(&dead.folder)).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["ended"]);
        refused(on(&mut a, &step(&dead, "two", "true")).await.0);
    }
    // An earlier one does not give back what a later one has taken.
    let (old, new) = (holder("three", 0), holder("three", 1));
    let mut b = session(&server, &new).await;
    on(&mut b, &step(&new, "one", "true")).await.0.unwrap();
    session(&server, &old).await.leave(Leave::Rests, false).await.unwrap();
    let other = holder("four", 0);
    let mut c = session(&server, &other).await;
    let reason = refused(on(&mut c, &step(&other, "one", "true")).await.0);
    assert!(reason.contains("locked by run three"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_work_keeps_its_folder() {
    need!("what_is_at_work_keeps_its_folder", "sshd" => "openssh-server");
    let server = Sshd::start();
    let run = holder("run", 0);
    let mut a = session(&server, &run).await;
    let mut b = session(&server, &run).await;
    let go = server.dir.path().join("go-on");
    let work = step(
        &run,
        "work",
        &format!("echo begun; until [ -e {} ]; do sleep 0.05; done; echo done", go.display()),
    );
    let out = server.remote(&work.dir).join("out");
    let at_work = tokio::spawn(async move { on(&mut a, &work).await });
    while fs::read_to_string(&out).unwrap_or_default() != "begun\n" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    b.leave(Leave::Clean, false).await.unwrap();
    fs::write(go, "").unwrap();
    let (exit, said, _) = at_work.await.unwrap();
    assert_eq!((exit.unwrap(), said.as_str()), (Exit::Code(0), "begun\ndone\n"));
    assert!(out.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_launcher_is_sent_once_and_again_where_it_is_gone() {
    need!("the_launcher_is_sent_once_and_again_where_it_is_gone", "sshd" => "openssh-server");
    let server = Sshd::start();
    let run = holder("run", 0);
    let mut a = session(&server, &run).await;
    let bin = server.remote("bin");
    for n in 0..4 {
        let name = format!("step-{n}");
        let (exit, out, err) =
            on(&mut a, &step(&run, &name, "echo out; echo err >&2; exit 5")).await;
        assert_eq!((exit.unwrap(), out.as_str(), err.as_str()), (Exit::Code(5), "out\n", "err\n"));
        let kept: Vec<_> = fs::read_dir(&bin).into_iter().flatten().flatten().collect();
        if n < 2 {
            assert_eq!(kept.len(), 1);
            assert_eq!(kept[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        if n == 1 {
            fs::remove_dir_all(&bin).unwrap();
        }
    }
    // A script may be long: then it follows the launcher.
    let long = format!("{}echo $#\n", "set -- \"$@\" x\n".repeat(3000));
    let (exit, out, _) = on(&mut a, &step(&run, "long", &long)).await;
    assert_eq!((exit.unwrap(), out.as_str()), (Exit::Code(0), "3000\n"));

    // Where others could change it, it is not kept.
    let server = Sshd::start();
    fs::create_dir(server.remote("")).unwrap();
    fs::set_permissions(server.remote(""), fs::Permissions::from_mode(0o777)).unwrap();
    let mut b = session(&server, &run).await;
    for name in ["one", "two"] {
        let (exit, out, _) = on(&mut b, &step(&run, name, "echo out")).await;
        assert_eq!((exit.unwrap(), out.as_str()), (Exit::Code(0), "out\n"));
    }
    // It may lie there, and nobody runs it: also not when its text is another by now.
    for file in fs::read_dir(server.remote("bin")).into_iter().flatten().flatten() {
        fs::write(file.path(), "echo changed; exit 0\n").unwrap();
    }
    let (exit, out, _) = on(&mut b, &step(&run, "three", "echo out")).await;
    assert_eq!((exit.unwrap(), out.as_str()), (Exit::Code(0), "out\n"));
}
