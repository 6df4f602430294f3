//! Files up and down.

use crate::{
    need,
    support::{Sshd, on, script, transport},
};
use fleetlift::host::{Exit, SessionError, Transport};
use std::{fs, os::unix::fs::PermissionsExt};

#[tokio::test(flavor = "multi_thread")]
async fn files_arrive_whole_with_any_name() {
    need!("files_arrive_whole_with_any_name", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut session = transport().connect(&server.target()).await.unwrap();
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let folder = server.dir.path().join("a folder");
    fs::create_dir(&folder).unwrap();
    for name in ["plain", "with space", "it's", "new\nline", "new\n#end", "-n", "$(x)`y`\\z!", "é"]
    {
        let path = folder.join(name);
        let there = path.to_str().unwrap();
        let part = &content[..if name == "plain" { content.len() } else { 1000 }];
        session.upload(part, there, 0o640, false).await.unwrap();
        assert!(fs::read(&path).unwrap() == part, "{name:?}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        let back = server.dir.path().join("back");
        assert_eq!(session.download(there, &back, false).await.unwrap(), part.len() as u64);
        assert!(fs::read(&back).unwrap() == part, "{name:?}");
    }
    // Written over, and nothing left beside it.
    let path = folder.join("plain");
    session.upload(b"", path.to_str().unwrap(), 0o755, false).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 8);
    assert_eq!(on(&mut session, &script("true")).await.0.unwrap(), Exit::Code(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_moved_is_refused() {
    need!("what_cannot_be_moved_is_refused", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut session = transport().connect(&server.target()).await.unwrap();
    let folder = server.dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let is_refused = |result: Result<(), SessionError>, what: &str| {
        let Err(SessionError::Refused { reason }) = result else { panic!("{result:?}") };
        assert!(reason.contains(what), "{reason}");
    };
    let there = folder.to_str().unwrap();
    is_refused(session.upload(b"x", there, 0o600, false).await, "is a directory");
    is_refused(session.upload(b"x", "/nonexistent/x", 0o600, false).await, "cannot write");
    is_refused(session.upload(b"x", "/dev/null/x", 0o600, false).await, "cannot write");
    is_refused(session.upload(b"x", "", 0o600, false).await, "not a file's path");
    let local = server.dir.path().join("local");
    let down = session.download("/nonexistent/x", &local, false).await;
    is_refused(down.map(drop), "does not exist");
    let down = session.download(there, &local, false).await;
    is_refused(down.map(drop), "is not a regular file");
    assert!(!local.exists());
    let down = session.download("/etc/passwd", "/nonexistent/x".as_ref(), false).await;
    is_refused(down.map(drop), "cannot write /nonexistent/x");
    assert_eq!(on(&mut session, &script("true")).await.0.unwrap(), Exit::Code(0));
}
