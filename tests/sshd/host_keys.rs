//! Host keys: known, unknown, changed, revoked.

use crate::{
    need,
    support::{self, Sshd, keygen, on, public, refused, script, transport},
};
use fleetlift::{
    host::{ConnectError, Exit, KeyTrust, Transport},
    inventory::{Connection, HostKeyPolicy},
};
use std::{fs, os::unix::fs::PermissionsExt, process::Command, sync::Arc};

/// Settings with a `known_hosts` of the test's own.
fn with_known_hosts(server: &Sshd, text: &str, policy: HostKeyPolicy) -> Connection {
    let path = server.dir.path().join("own_known_hosts");
    if !text.is_empty() {
        fs::write(&path, text).unwrap();
    }
    Connection { known_hosts: vec![path], host_key: policy, ..server.connection() }
}

fn name(server: &Sshd) -> String {
    format!("[{}]:{}", server.addresses[0], server.port)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_refused_or_learned() {
    need!("an_unknown_key_is_refused_or_learned", "sshd" => "openssh-server");
    let server = Sshd::start();
    let strict = with_known_hosts(&server, "", HostKeyPolicy::Strict);
    let (reason, hint) = refused(transport().connect(&server.target_with(strict.clone())).await);
    assert!(reason.contains("is not known") && reason.contains("SHA256:"), "{reason}");
    assert!(
        hint.contains(&format!("ssh-keyscan -p {} {}", server.port, server.addresses[0])),
        "{hint}"
    );
    assert!(!strict.known_hosts[0].exists());

    let learn = with_known_hosts(&server, "", HostKeyPolicy::AcceptNew);
    let transport = transport();
    transport.connect(&server.target_with(learn.clone())).await.unwrap().close().await;
    let expected = format!("{} {}\n", name(&server), server.host_key().rsplit_once(' ').unwrap().0);
    assert_eq!(fs::read_to_string(&learn.known_hosts[0]).unwrap(), expected);
    let mode = fs::metadata(&learn.known_hosts[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Now it is known, also to the strict.
    transport.connect(&server.target_with(strict)).await.unwrap().close().await;
    assert_eq!(fs::read_to_string(&learn.known_hosts[0]).unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_hosts_are_learned_at_once_without_a_torn_line() {
    need!("many_hosts_are_learned_at_once_without_a_torn_line", "sshd" => "openssh-server");
    let server = Sshd::with(12, "");
    let learn = with_known_hosts(&server, "# no newline at the end", HostKeyPolicy::AcceptNew);
    // Several transports stand for several controllers.
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let transport = Arc::new(transport());
        for address in &server.addresses {
            let target = support::target(address, address, learn.clone());
            let transport = Arc::clone(&transport);
            tasks.push(tokio::spawn(async move {
                transport.connect(&target).await.unwrap().close().await;
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    let text = fs::read_to_string(&learn.known_hosts[0]).unwrap();
    assert_eq!(text.lines().count(), 13, "{text}");
    for address in &server.addresses {
        let wanted = format!("[{address}]:{}", server.port);
        let found = Command::new("ssh-keygen")
            .args(["-F", &wanted, "-f"])
            .arg(&learn.known_hosts[0])
            .output()
            .unwrap();
        assert!(found.status.success(), "{wanted} is missing:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_is_refused_with_both_fingerprints() {
    need!("a_changed_key_is_refused_with_both_fingerprints", "sshd" => "openssh-server");
    let server = Sshd::start();
    let other = keygen(server.dir.path(), "other", &["-t", "ed25519"], "");
    let text = format!("# first\n{} {}\n", name(&server), public(&other));
    for policy in [HostKeyPolicy::Strict, HostKeyPolicy::AcceptNew] {
        let connection = with_known_hosts(&server, &text, policy);
        let file = connection.known_hosts[0].clone();
        let (reason, hint) = refused(transport().connect(&server.target_with(connection)).await);
        for key in [other.with_extension("pub"), server.dir.path().join("host.pub")] {
            let listed = support::run(Command::new("ssh-keygen").arg("-lf").arg(key));
            let fingerprint = listed.split(' ').nth(1).unwrap();
            assert!(reason.contains(fingerprint), "{fingerprint} in {reason}");
        }
        assert!(reason.contains("has changed"), "{reason}");
        assert!(reason.contains(&format!("{}:2", file.display())), "{reason}");
        assert!(hint.contains("remove line 2"), "{hint}");
        assert_eq!(fs::read_to_string(file).unwrap(), text, "nothing is written");
    }
    // While a key is being replaced both are listed, in either order.
    let both = format!("{text}{} {}\n", name(&server), server.host_key());
    let connection = with_known_hosts(&server, &both, HostKeyPolicy::Strict);
    transport().connect(&server.target_with(connection)).await.unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_although_it_is_listed() {
    need!("a_revoked_key_is_refused_although_it_is_listed", "sshd" => "openssh-server");
    let server = Sshd::start();
    let key = server.host_key();
    // Also where only the inventory's name for it is revoked.
    for pattern in ["*", "[host]:*"] {
        let text = format!("{} {key}\n@revoked {pattern} {key}\n", name(&server));
        for policy in [HostKeyPolicy::Strict, HostKeyPolicy::AcceptNew] {
            let connection = with_known_hosts(&server, &text, policy);
            let (reason, _) = refused(transport().connect(&server.target_with(connection)).await);
            assert!(reason.contains("is revoked"), "{reason}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_no_host_key() {
    need!("an_authority_is_no_host_key", "sshd" => "openssh-server");
    let server = Sshd::start();
    let text = format!("@cert-authority * {}\n", server.host_key());
    let connection = with_known_hosts(&server, &text, HostKeyPolicy::Strict);
    let (reason, _) = refused(transport().connect(&server.target_with(connection)).await);
    assert!(reason.contains("is not known"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_asked_for_the_key_that_is_known() {
    need!("a_host_is_asked_for_the_key_that_is_known", "sshd" => "openssh-server");
    let keys = tempfile::TempDir::new().unwrap();
    let mut extra = String::new();
    for (name, kind) in [("rsa", &["-t", "rsa", "-b", "2048"][..]), ("ecdsa", &["-t", "ecdsa"])] {
        extra.push_str(&format!("HostKey {}\n", keygen(keys.path(), name, kind, "").display()));
    }
    let server = Sshd::with(1, &extra);
    for kind in ["rsa", "ecdsa"] {
        let line = format!("{} {}\n", name(&server), public(&keys.path().join(kind)));
        let connection = with_known_hosts(&server, &line, HostKeyPolicy::AcceptNew);
        let file = connection.known_hosts[0].clone();
        let mut session = transport().connect(&server.target_with(connection)).await.unwrap();
        assert_eq!(on(&mut session, &script("true")).await.0.unwrap(), Exit::Code(0));
        assert_eq!(fs::read_to_string(file).unwrap(), line);
    }
    // A host that is known by one type only and shows another: not new, so not learned.
    let stranger = keygen(keys.path(), "stranger", &["-t", "ecdsa", "-b", "521"], "");
    let line = format!("{} {}\n", name(&server), public(&stranger));
    let connection = with_known_hosts(&server, &line, HostKeyPolicy::AcceptNew);
    let (reason, _) = refused(transport().connect(&server.target_with(connection)).await);
    assert!(reason.contains("keys of other types: ecdsa-sha2-nistp521"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inventorys_name_and_hashed_names_count() {
    need!("the_inventorys_name_and_hashed_names_count", "sshd" => "openssh-server");
    let server = Sshd::start();
    let path = server.dir.path().join("own_known_hosts");
    // The test's targets are called `host`; case does not matter.
    for text in [
        format!("[HOST]:{} {}\n", server.port, server.host_key()),
        format!("!web*,[h?st]:*\t{}\n", server.host_key()),
        format!("garbage\n{} {}\n", name(&server), server.host_key()),
    ] {
        let connection = with_known_hosts(&server, &text, HostKeyPolicy::Strict);
        transport().connect(&server.target_with(connection)).await.unwrap().close().await;
    }
    fs::write(&path, format!("{} {}\n", name(&server), server.host_key())).unwrap();
    support::run(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&path));
    assert!(fs::read_to_string(&path).unwrap().contains("|1|"));
    let connection = Connection { known_hosts: vec![path], ..server.connection() };
    transport().connect(&server.target_with(connection)).await.unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_key_is_taken_and_a_revoked_one_never() {
    need!("an_announced_key_is_taken_and_a_revoked_one_never", "sshd" => "openssh-server");
    let server = Sshd::start();
    let dir = server.dir.path();
    let old = public(&keygen(dir, "old_key", &["-t", "ed25519"], ""));
    let key = server.host_key();
    let changed = format!("{} {old}\n", name(&server));
    let announced = KeyTrust { taken: None, announced: true };
    let with = |text: &str, trust: KeyTrust| {
        let connection = with_known_hosts(&server, text, HostKeyPolicy::Strict);
        fleetlift::host::Target { trust, ..server.target_with(connection) }
    };
    // Without a word of it, it is refused, with both fingerprints.
    match transport().connect(&with(&changed, KeyTrust::default())).await {
        Err(ConnectError::HostKey { shown, expected: Some(expected), revoked: false, .. }) => {
            assert!(shown.contains("SHA256:") && expected.starts_with("SHA256:"));
        }
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("connected"),
    }
    let session = transport().connect(&with(&changed, announced.clone())).await.unwrap();
    let new = session.new_key().unwrap().clone();
    assert!(key.starts_with(&new.key) && new.advice.starts_with("replace line 1 of "), "{new:?}");
    session.close().await;
    // Nothing was written; what the journal keeps is enough from then on, and is no announcement.
    let taken = KeyTrust { taken: Some(new.key.as_str().into()), announced: false };
    let target = with(&changed, taken.clone());
    assert_eq!(fs::read_to_string(&target.connection.known_hosts[0]).unwrap(), changed);
    let session = transport().connect(&target).await.unwrap();
    assert_eq!(session.new_key(), None);
    session.close().await;
    // A known key needs no announcement, and is none.
    let session =
        transport().connect(&with(&format!("{} {key}\n", name(&server)), announced.clone())).await;
    assert_eq!(session.unwrap().new_key(), None);
    // Of another type than the known one.
    let other = public(&keygen(dir, "other_type", &["-t", "ecdsa"], ""));
    let other = format!("{} {other}\n", name(&server));
    let session = transport().connect(&with(&other, announced.clone())).await.unwrap();
    assert!(session.new_key().unwrap().advice.starts_with("add to "), "{:?}", session.new_key());
    // Revoked is revoked, whoever announces or has taken it.
    for trust in [announced, taken] {
        let text = format!("{changed}@revoked * {key}\n");
        match transport().connect(&with(&text, trust)).await {
            Err(ConnectError::HostKey { revoked: true, .. }) => {}
            Err(error) => panic!("{error:?}"),
            Ok(_) => panic!("connected by a revoked key"),
        }
    }
}
