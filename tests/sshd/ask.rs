//! Questions: scripts of which nothing is left on the host.

use crate::{
    need,
    support::{Kept, Sshd, script, transport},
};
use fleetlift::host::{Exit, Script, Session, SessionError, Transport};
use std::{fs, time::Duration};

async fn ask(
    session: &mut Box<dyn Session>,
    script: &Script,
) -> (Result<Exit, SessionError>, String, String) {
    let mut kept = Kept::default();
    let exit = session.ask(script, &mut kept).await;
    let (out, err) = kept.text();
    (exit, out, err)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_and_leaves_nothing() {
    need!("a_question_is_answered_and_leaves_nothing", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut session = transport().connect(&server.target()).await.unwrap();
    let mut asked = script("echo \"out $X\"; echo err >&2; cat; exit 7\n\n");
    asked.env = vec![("X".to_owned(), "it's $HOME".to_owned())];
    let (exit, out, err) = ask(&mut session, &asked).await;
    assert_eq!((exit.unwrap(), &*out, &*err), (Exit::Code(7), "out it's $HOME\n", "err\n"));
    // One that is too long for the program itself, and one that is no program.
    let long = format!("{}printf %s \"$0:$#\"", "# é filler\n".repeat(2000));
    let (exit, out, _) = ask(&mut session, &script(&long)).await;
    assert_eq!((exit.unwrap(), &*out), (Exit::Code(0), "fleetlift:0"));
    let (exit, _, err) = ask(&mut session, &script("if true; then")).await;
    assert!(matches!(exit, Ok(Exit::Code(code)) if code != 0), "{exit:?}");
    assert!(!err.is_empty());
    let (exit, _, _) = ask(&mut session, &script("kill -9 $$; sleep 60")).await;
    assert_eq!(exit.unwrap(), Exit::Signal("KILL".to_owned()));
    let mut other = script("echo ran");
    other.machine_id = Some("0".repeat(32));
    let (exit, out, _) = ask(&mut session, &other).await;
    assert!(matches!(exit, Err(SessionError::Refused { .. })), "{exit:?}");
    assert_eq!(out, "");
    assert!(!server.remote("").exists(), "nothing was laid down");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_question_has_started_ends_with_it() {
    need!("what_a_question_has_started_ends_with_it", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut session = transport().connect(&server.target()).await.unwrap();
    let asked = script("sleep 600 & echo $!; env -i sleep 600 & echo $!; exit 3");
    let (exit, out, _) = ask(&mut session, &asked).await;
    assert_eq!(exit.unwrap(), Exit::Code(3));
    assert_eq!(out.lines().count(), 2);
    for pid in out.lines() {
        assert!(!crate::support::is_alive(pid.parse().unwrap()), "{pid} lives");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_whose_time_is_over_is_ended_with_all_that_it_started() {
    const TEST: &str = "a_question_whose_time_is_over_is_ended_with_all_that_it_started";
    need!(TEST, "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut session = transport().connect(&server.target()).await.unwrap();
    let mut slow = script(
        "(trap '' TERM; echo $(cut -d ' ' -f 1 /proc/self/stat); sleep 600) & env -i sleep 600 & echo $!; wait",
    );
    slow.timeout = Duration::from_secs(1);
    let (exit, out, err) = ask(&mut session, &slow).await;
    assert_eq!(exit.unwrap(), Exit::TimedOut { stopped: true }, "{err}");
    assert_eq!(out.lines().count(), 2);
    for pid in out.lines() {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = state.rsplit(") ").next().unwrap_or_default();
        assert!(state.is_empty() || state.starts_with('Z'), "{pid} lives: {state}");
    }
    // The session goes on.
    let (exit, ..) = ask(&mut session, &script("true")).await;
    assert_eq!(exit.unwrap(), Exit::Code(0));
}
