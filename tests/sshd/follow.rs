//! Steps that are followed again: after their connection broke, and by another controller.

use crate::{
    need,
    support::{self, Kept, Sshd, on, script, time, transport},
};
use fleetlift::host::{
    Exit, OutputSink, Session, SessionError, Stream, Time, Transport, Whereabouts,
};
use std::{fmt::Write as _, fs, time::Duration};

const LIMIT: Duration = Duration::from_secs(60);

/// Keeps output, and says when so many bytes have come.
struct Counting {
    kept: Kept,
    wanted: usize,
    reached: Option<tokio::sync::oneshot::Sender<()>>,
}

impl OutputSink for Counting {
    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        self.kept.take(stream, bytes);
        if self.kept.out.len() >= self.wanted
            && let Some(sender) = self.reached.take()
        {
            let _ = sender.send(());
        }
    }
}

fn lines(count: u32) -> String {
    (0..count).fold(String::new(), |mut text, i| {
        let _ = writeln!(text, "line {i}");
        text
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_byte_is_lost_or_doubled_by_cut_connections() {
    need!("no_byte_is_lost_or_doubled_by_cut_connections", "sshd" => "openssh-server");
    let server = Sshd::start();
    // Slow enough to be cut several times, however slow a login is: the second half waits for the second connection. Each line
    // goes to both streams.
    let go = server.dir.path().join("go");
    let step = script(&format!(
        "i=0; while [ $i -lt 3000 ]; do echo line $i; echo line $i >&2; \
         [ $i = 1500 ] && while [ ! -e {} ]; do sleep 0.05; done; \
         [ $((i % 100)) = 0 ] && sleep 0.05; i=$((i + 1)); done; exit 7",
        go.display()
    ));
    let mut kept = Kept::default();
    let mut wanted = 2000;
    let mut cuts = 0;
    let mut session = transport().connect(&server.target()).await.unwrap();
    let end = loop {
        let (sender, reached) = tokio::sync::oneshot::channel();
        let seen = [kept.out.len() as u64, kept.err.len() as u64];
        let mut sink = Counting { kept, wanted, reached: Some(sender) };
        let result = {
            let follow = async {
                if cuts == 0 {
                    session.run(&step, &mut sink).await.map(Whereabouts::Finished)
                } else {
                    session.follow(&step.dir, false, seen, time(LIMIT), &mut sink).await
                }
            };
            let mut follow = std::pin::pin!(follow);
            tokio::select! { biased;
                result = &mut follow => result,
                _ = reached => {
                    server.cut();
                    follow.await
                }
            }
        };
        kept = sink.kept;
        match result {
            Ok(Whereabouts::Finished(exit)) => break exit,
            Err(SessionError::Lost { .. } | SessionError::NotStarted { .. }) => {}
            other => panic!("{other:?}"),
        }
        cuts += 1;
        wanted = kept.out.len() + 6000;
        session = transport().connect(&server.target()).await.unwrap();
        fs::write(&go, "").unwrap();
    };
    assert!(cuts >= 2, "{cuts}");
    assert_eq!(end, Exit::Code(7));
    let (out, err) = kept.text();
    assert_eq!(out, lines(3000));
    assert_eq!(err, lines(3000));
}

async fn follow(session: &mut Box<dyn Session>, dir: &str, seen: [u64; 2]) -> (Whereabouts, Kept) {
    let mut kept = Kept::default();
    let end = session.follow(dir, false, seen, time(LIMIT), &mut kept).await.unwrap();
    (end, kept)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_step_is_told_again_from_any_byte() {
    need!("a_finished_step_is_told_again_from_any_byte", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut session = transport().connect(&server.target()).await.unwrap();
    let step = script("printf 'a\\377b\\nno newline'; printf 'fl-end 0' >&2; exit 3");
    let (exit, _, _) = on(&mut session, &step).await;
    assert_eq!(exit.unwrap(), Exit::Code(3));
    let (end, kept) = follow(&mut session, &step.dir, [0, 0]).await;
    assert_eq!(end, Whereabouts::Finished(Exit::Code(3)));
    assert_eq!(kept.out, b"a\xffb\nno newline");
    assert_eq!(kept.err, b"fl-end 0");
    let (_, kept) = follow(&mut session, &step.dir, [4, 8]).await;
    assert_eq!((kept.out.as_slice(), kept.err.as_slice()), (&b"no newline"[..], &b""[..]));

    let killed = script("echo before; kill -TERM $$");
    on(&mut session, &killed).await.0.unwrap();
    let (end, kept) = follow(&mut session, &killed.dir, [0, 0]).await;
    assert_eq!(end, Whereabouts::Finished(Exit::Signal("TERM".into())));
    assert_eq!(kept.out, b"before\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_began_or_was_lost_is_told_so() {
    need!("what_never_began_or_was_lost_is_told_so", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut session = transport().connect(&server.target()).await.unwrap();
    let step = script("echo ran");
    assert_eq!(follow(&mut session, &step.dir, [0, 0]).await.0, Whereabouts::Never);
    let (exit, out, _) = on(&mut session, &step).await;
    assert!(matches!(exit, Err(SessionError::Lost { .. })) && out.is_empty(), "{exit:?}");
    let mut session = transport().connect(&server.target()).await.unwrap();

    let step = script("echo ran");
    on(&mut session, &step).await.0.unwrap();
    let place = server.remote(&step.dir);
    fs::remove_file(place.join("exit")).unwrap();
    let (end, _) = follow(&mut session, &step.dir, [0, 0]).await;
    assert!(
        matches!(&end, Whereabouts::Lost { reason } if reason.contains("no result")),
        "{end:?}"
    );
    fs::write(place.join("boot"), "5d0a8b7e-0000-4000-8000-000000000000\n").unwrap();
    let (end, _) = follow(&mut session, &step.dir, [0, 0]).await;
    assert!(matches!(&end, Whereabouts::Lost { reason } if reason.contains("anew")), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_step_ends_at_its_limit_too() {
    need!("a_followed_step_ends_at_its_limit_too", "sshd" => "openssh-server");
    let mut server = Sshd::start();
    let mut first = transport().connect(&server.target()).await.unwrap();
    let step = script("trap '' TERM; echo begun; sleep 300");
    let (sender, reached) = tokio::sync::oneshot::channel();
    let mut sink = Counting { kept: Kept::default(), wanted: 1, reached: Some(sender) };
    {
        let mut run = std::pin::pin!(first.run(&step, &mut sink));
        tokio::select! { biased;
            result = &mut run => panic!("{result:?}"),
            _ = reached => {}
        }
        server.restart();
        let lost = run.await;
        assert!(matches!(lost, Err(SessionError::Lost { .. })), "{lost:?}");
    }
    let mut second = transport().connect(&server.target()).await.unwrap();
    let mut kept = Kept::default();
    let limit = Duration::from_secs(1);
    let end = second.follow(&step.dir, false, [0, 0], time(limit), &mut kept).await.unwrap();
    assert_eq!(end, Whereabouts::Finished(Exit::TimedOut { stopped: true }));
    assert_eq!(kept.out, b"begun\n");
    let pid = fs::read_to_string(server.remote(&step.dir).join("pid")).unwrap();
    let pid: u32 = pid.split_whitespace().next().unwrap().parse().unwrap();
    assert!(!support::is_alive(pid));
}

/// As after a controller that slept, or one that comes after another: the host counts from the script's beginning.
#[tokio::test(flavor = "multi_thread")]
async fn the_host_itself_knows_when_a_steps_time_is_over() {
    need!("the_host_itself_knows_when_a_steps_time_is_over", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut first = transport().connect(&server.target()).await.unwrap();
    let step = script("echo begun; sleep 300");
    let (sender, reached) = tokio::sync::oneshot::channel();
    let mut sink = Counting { kept: Kept::default(), wanted: 1, reached: Some(sender) };
    tokio::select! { biased;
        result = first.run(&step, &mut sink) => panic!("{result:?}"),
        _ = reached => {}
    }
    server.cut();
    let mut second = transport().connect(&server.target()).await.unwrap();
    let mut kept = Kept::default();
    let time = Time { limit: Duration::from_secs(1), left: Duration::from_secs(3600) };
    let end = second.follow(&step.dir, false, [0, 0], time, &mut kept).await.unwrap();
    assert_eq!(end, Whereabouts::Finished(Exit::TimedOut { stopped: true }));
    assert_eq!(kept.out, b"begun\n");
    assert!(server.remote(&step.dir).join("stopped").exists());
}

/// As after a controller that was stopped for longer than the step's limit: the limit is noticed before the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_ended_by_itself_is_not_timed_out_however_late_that_is_heard() {
    const TEST: &str = "a_step_that_ended_by_itself_is_not_timed_out_however_late_that_is_heard";
    need!(TEST, "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut session = transport().connect(&server.target()).await.unwrap();
    let step = script("echo begun; exit 3");
    // The reader stands still until the step is over and its limit has passed: what it is then told first is the limit.
    let exit = server.remote(&step.dir).join("exit");
    let mut slow = Slow { kept: Kept::default(), until: exit, then: Duration::from_millis(3200) };
    let step = fleetlift::host::Script { timeout: Duration::from_secs(3), ..step };
    let end = session.run(&step, &mut slow).await.unwrap();
    assert_eq!((end, slow.kept.out.as_slice()), (Exit::Code(3), &b"begun\n"[..]));
}

/// Takes output only when a file is there, and some time after that.
struct Slow {
    kept: Kept,
    until: std::path::PathBuf,
    then: Duration,
}

impl OutputSink for Slow {
    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        support::wait_until("the test lets it take", || self.until.exists());
        std::thread::sleep(std::mem::take(&mut self.then));
        self.kept.take(stream, bytes);
    }
}

/// A step that ends with 0 because it was told to end has not passed, also where the word of its end was lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_was_ended_has_not_passed_whatever_its_code() {
    need!("a_step_that_was_ended_has_not_passed_whatever_its_code", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut first = transport().connect(&server.target()).await.unwrap();
    let mut step = script("trap 'exit 0' TERM; echo begun; while :; do sleep 0.1; done");
    step.timeout = Duration::from_secs(1);
    let end = on(&mut first, &step).await.0.unwrap();
    assert_eq!(end, Exit::TimedOut { stopped: true });
    let mut second = transport().connect(&server.target()).await.unwrap();
    let (end, kept) = follow(&mut second, &step.dir, [0, 0]).await;
    assert_eq!(end, Whereabouts::Finished(Exit::TimedOut { stopped: true }));
    assert_eq!(kept.out, b"begun\n");
    let seen = second.look(&step.dir, false).await.unwrap();
    assert_eq!(seen, Whereabouts::Finished(Exit::TimedOut { stopped: false }));
}

/// Whoever lost the connection while a step was being ended does not know whether it is gone, and another one can ask.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_while_a_step_is_ended_is_no_end() {
    const TEST: &str = "a_connection_that_breaks_while_a_step_is_ended_is_no_end";
    need!(TEST, "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut first = transport().connect(&server.target()).await.unwrap();
    // It does not end at once, so that there is a middle.
    let go = server.dir.path().join("go");
    let step = script(&format!(
        "trap 'until [ -e {} ]; do sleep 0.05; done; exit 0' TERM; echo begun; while :; do sleep 0.05; done",
        go.display()
    ));
    let (sender, reached) = tokio::sync::oneshot::channel();
    let mut sink = Counting { kept: Kept::default(), wanted: 1, reached: Some(sender) };
    tokio::select! { biased;
        result = first.run(&step, &mut sink) => panic!("{result:?}"),
        _ = reached => {}
    }
    server.cut();
    let time = Time { limit: Duration::from_secs(1), left: Duration::from_secs(3600) };
    let mut second = transport().connect(&server.target()).await.unwrap();
    let mut kept = Kept::default();
    let stopped = server.remote(&step.dir).join("stopped");
    let (end, ()) = tokio::join!(second.follow(&step.dir, false, [0, 0], time, &mut kept), async {
        while !stopped.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server.cut();
        fs::write(&go, "").unwrap();
    });
    assert!(matches!(end, Err(SessionError::NotStarted { .. })), "{end:?}");
    let mut third = transport().connect(&server.target()).await.unwrap();
    let end = third.follow(&step.dir, false, [0, 0], time, &mut kept).await.unwrap();
    assert_eq!(end, Whereabouts::Finished(Exit::TimedOut { stopped: true }));
}
