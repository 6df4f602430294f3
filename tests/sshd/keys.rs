//! Logging in: every kind of key, passphrases, the agent, passwords, and what a refusal says.

use crate::{
    need,
    support::{self, Sshd, keygen, options, public, refused, transport, transport_with},
};
use fleetlift::{
    base::value::SecretSource,
    host::{
        Transport,
        ssh::{SshOptions, SshTransport},
    },
    inventory::Connection,
};
use secrecy::SecretString;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

fn secret(name: &str) -> Option<&'static str> {
    match name {
        "RIGHT" => Some("open sesame"),
        "WRONG" => Some("open barley"),
        _ => None,
    }
}

fn source(name: &str) -> Option<SecretSource> {
    Some(SecretSource::Env(name.to_owned()))
}

async fn log_in(transport: &SshTransport, server: &Sshd, connection: Connection) {
    transport.connect(&server.target_with(connection)).await.unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_key_logs_in() {
    need!("every_kind_of_key_logs_in", "sshd" => "openssh-server");
    let server = Sshd::start();
    let kinds: [(&str, &[&str]); 5] = [
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("rsa_pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("ecdsa", &["-t", "ecdsa"]),
        ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
        ("ed25519", &["-t", "ed25519"]),
    ];
    for (name, kind) in kinds {
        let key = keygen(server.dir.path(), name, kind, "");
        server.authorize(&public(&key));
        let connection = Connection { identities: vec![key], ..server.connection() };
        log_in(&transport(), &server, connection).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_takes_rsa_with_sha1() {
    need!("an_old_server_takes_rsa_with_sha1", "sshd" => "openssh-server");
    let server = Sshd::with(1, "PubkeyAcceptedAlgorithms ssh-rsa\n");
    let key = keygen(server.dir.path(), "rsa", &["-t", "rsa", "-b", "2048"], "");
    server.authorize(&public(&key));
    let connection = Connection { identities: vec![key], ..server.connection() };
    log_in(&transport(), &server, connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_key_is_opened_by_its_passphrase() {
    need!("an_encrypted_key_is_opened_by_its_passphrase", "sshd" => "openssh-server");
    let server = Sshd::start();
    for (name, kind) in
        [("new", &["-t", "ed25519"][..]), ("old", &["-t", "rsa", "-b", "2048", "-m", "PEM"])]
    {
        let key = keygen(server.dir.path(), name, kind, "open sesame");
        server.authorize(&public(&key));
        let with = |passphrase| Connection {
            identities: vec![key.clone()],
            passphrase,
            ..server.connection()
        };
        log_in(&transport_with(secret), &server, with(source("RIGHT"))).await;
        let wrong =
            transport_with(secret).connect(&server.target_with(with(source("WRONG")))).await;
        let (reason, _) = refused(wrong);
        assert!(reason.contains("the passphrase does not open it"), "{reason}");
        let (reason, _) = refused(transport().connect(&server.target_with(with(None))).await);
        assert!(reason.contains("it is encrypted, and no passphrase is configured"), "{reason}");
        let missing =
            transport_with(secret).connect(&server.target_with(with(source("NONE")))).await;
        assert!(refused(missing).0.contains("no NONE"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_is_asked_once_for_all_hosts() {
    need!("the_operator_is_asked_once_for_all_hosts", "sshd" => "openssh-server");
    let server = Sshd::with(8, "");
    let key = keygen(server.dir.path(), "asked", &["-t", "ed25519"], "open sesame");
    server.authorize(&public(&key));
    let questions = Arc::new(AtomicUsize::new(0));
    let (counter, expected) = (Arc::clone(&questions), key.clone());
    let prompt = move |path: &Path| {
        assert_eq!(path, expected);
        counter.fetch_add(1, Ordering::SeqCst);
        Some(SecretString::from("open sesame"))
    };
    let options = SshOptions { prompt: Some(Arc::new(prompt)), ..options(|_| None) };
    let transport = Arc::new(SshTransport::new(options).unwrap());
    let connection = Connection { identities: vec![key], ..server.connection() };
    let mut tasks = Vec::new();
    for address in &server.addresses {
        let target = support::target("host", address, connection.clone());
        let transport = Arc::clone(&transport);
        tasks.push(tokio::spawn(async move {
            transport.connect(&target).await.unwrap().close().await;
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(questions.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_what_was_offered_and_what_is_accepted() {
    need!("a_refusal_says_what_was_offered_and_what_is_accepted", "sshd" => "openssh-server");
    let server = Sshd::start();
    let key = keygen(server.dir.path(), "wrong", &["-t", "ed25519"], "");
    let connection = Connection {
        identities: vec![key.clone(), PathBuf::from("/nonexistent/key")],
        ..server.connection()
    };
    let (reason, hint) = refused(transport().connect(&server.target_with(connection)).await);
    assert!(reason.contains(&format!("offered: ssh-ed25519 {}", key.display())), "{reason}");
    assert!(reason.contains("it accepts: publickey"), "{reason}");
    assert!(reason.contains("/nonexistent/key: cannot read it"), "{reason}");
    assert!(hint.contains("authorized_keys"), "{hint}");

    let none = Connection { identities: vec!["/nonexistent/key".into()], ..server.connection() };
    let (reason, hint) = refused(transport().connect(&server.target_with(none)).await);
    assert!(
        reason.contains("nothing was offered") && reason.contains("it accepts: publickey"),
        "{reason}"
    );
    assert!(hint.contains("identity"), "{hint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_keys_are_explained() {
    need!("too_many_keys_are_explained", "sshd" => "openssh-server");
    let server = Sshd::with(1, "MaxAuthTries 3\n");
    let keys = (0..5).map(|n| keygen(server.dir.path(), &format!("k{n}"), &["-t", "ed25519"], ""));
    let mut identities: Vec<PathBuf> = keys.collect();
    identities.push(server.key.clone());
    let connection = Connection { identities, ..server.connection() };
    let (reason, hint) = refused(transport().connect(&server.target_with(connection)).await);
    assert!(reason.contains("Too many authentication failures"), "{reason}");
    assert!(hint.contains("identity"), "{hint}");
}

/// An agent of the test's own.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(folder: &Path) -> Self {
        let socket = folder.join("agent");
        let mut child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It prints where it listens when it does.
        let mut line = String::new();
        let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut said, &mut line).unwrap();
        Self { child, socket }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The agent's place is a variable of the process, so this runs in a process of its own: the test itself, called again.
#[test]
fn the_agents_keys_log_in() {
    need!("the_agents_keys_log_in", "sshd" => "openssh-server", "ssh-agent" => "openssh-client");
    let folder = tempfile::TempDir::new().unwrap();
    let agent = Agent::start(folder.path());
    support::run(
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "keys::with_agent", "--ignored", "--nocapture"])
            .env("SSH_AUTH_SOCK", &agent.socket)
            .env("FLEETLIFT_TEST_AGENT", "1")
            .env("HOME", folder.path()),
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the_agents_keys_log_in calls it with an agent"]
async fn with_agent() {
    if std::env::var_os("FLEETLIFT_TEST_AGENT").is_none() {
        return;
    }
    let socket = PathBuf::from(std::env::var_os("SSH_AUTH_SOCK").unwrap());
    let add = |key: &Path| {
        support::run(Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &socket));
    };
    // Three tries: a key that is named must be found among six others.
    let server = Sshd::with(1, "MaxAuthTries 3\n");
    let named = keygen(server.dir.path(), "named", &["-t", "rsa", "-b", "2048"], "");
    let agent_only = Connection { agent: true, identities: vec![], ..server.connection() };

    add(&named);
    let (reason, _) = refused(transport().connect(&server.target_with(agent_only.clone())).await);
    assert!(reason.contains("agent: named"), "{reason}");
    server.authorize(&public(&named));
    log_in(&transport(), &server, agent_only.clone()).await;

    support::run(Command::new("ssh-add").args(["-q", "-D"]).env("SSH_AUTH_SOCK", &socket));
    for n in 0..6 {
        add(&keygen(server.dir.path(), &format!("k{n}"), &["-t", "ed25519"], ""));
    }
    add(&named);
    let (reason, _) = refused(transport().connect(&server.target_with(agent_only)).await);
    assert!(reason.contains("Too many authentication failures"), "{reason}");
    // Its file is encrypted by now: only the agent can sign.
    support::run(
        Command::new("ssh-keygen").args(["-q", "-p", "-P", "", "-N", "x1x1x1", "-f"]).arg(&named),
    );
    let by_name =
        Connection { agent: true, identities: vec![named.clone()], ..server.connection() };
    log_in(&transport(), &server, by_name.clone()).await;
    // Also where only the public half is there.
    fs::remove_file(&named).unwrap();
    let by_half = Connection { identities: vec![named.with_extension("pub")], ..by_name };
    log_in(&transport(), &server, by_half).await;
}
