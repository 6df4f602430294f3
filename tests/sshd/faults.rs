//! What goes wrong between a controller and its hosts, and that none of it disturbs another host.

use crate::{
    need,
    support::{self, Kept, Sshd, on, refused, script, transport, unreachable},
};
use fleetlift::{
    host::{ConnectError, Exit, OutputSink, SessionError, Stream, Transport, Whereabouts},
    inventory::Connection,
    journal::Contact,
};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

/// A server that answers every connection in one way, until it is dropped.
struct Fake {
    port: u16,
    ended: Arc<AtomicBool>,
}

impl Fake {
    fn start(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ended = Arc::new(AtomicBool::new(false));
        let (answer, end) = (Arc::new(answer), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || answer(stream));
            }
        });
        Self { port, ended }
    }

    fn says(text: &'static str) -> Self {
        Self::start(move |mut stream| {
            let _ = stream.write_all(text.as_bytes());
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        })
    }

    /// Speaks, then says no more until the other side goes.
    fn hangs_after(text: &'static str) -> Self {
        Self::start(move |mut stream| {
            let _ = stream.write_all(text.as_bytes());
            let _ = stream.read_to_end(&mut Vec::new());
        })
    }

    fn connection(&self) -> Connection {
        Connection {
            port: self.port,
            user: Some("nobody".into()),
            agent: false,
            identities: vec!["/nonexistent/key".into()],
            connect_timeout: Duration::from_secs(1),
            ..Connection::default()
        }
    }

    fn target(&self) -> fleetlift::host::Target {
        support::target("fake", "127.0.0.1", self.connection())
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_not_to_connect_has_its_words() {
    let cases = [
        ("", Contact::NoSsh, "closed the connection before its SSH banner"),
        (
            "Exceeded MaxStartups\r\n",
            Contact::TurnedAway,
            "too many logins are under way there (MaxStartups)",
        ),
        (
            "Not allowed at this time\r\n",
            Contact::TurnedAway,
            "turns us away for a while (PerSourcePenalties)",
        ),
        ("SSH-2.0-x\r\n", Contact::NoSsh, "ended in the key exchange"),
    ];
    for (said, wanted, expected) in cases {
        match transport().connect(&Fake::says(said).target()).await {
            Err(ConnectError::Unreachable { contact, reason }) => {
                assert!(reason.contains(expected), "{said:?}: {reason}");
                assert_eq!(contact, wanted, "{said:?}");
            }
            Err(error) => panic!("{said:?}: {error:?}"),
            Ok(_) => panic!("{said:?}: connected"),
        }
    }
    let silent = Fake::hangs_after("");
    let reason = unreachable(transport().connect(&silent.target()).await);
    assert!(reason.contains("sent no SSH banner within 1s"), "{reason}");
    let half = Fake::hangs_after("SSH-2.0-half\r\n");
    let reason = unreachable(transport().connect(&half.target()).await);
    assert!(reason.contains("the key exchange did not end within 1s"), "{reason}");

    let web = Fake::says("HTTP/1.1 400 Bad Request\r\n\r\n");
    let (reason, hint) = refused(transport().connect(&web.target()).await);
    assert!(reason.contains("not an SSH server") && reason.contains("HTTP/1.1 400"), "{reason}");
    assert_eq!(hint, "check the port");

    let dead = Connection { port: support::free_port("127.0.0.1"), ..web.connection() };
    let reason = unreachable(transport().connect(&support::target("x", "127.0.0.1", dead)).await);
    assert!(reason.ends_with("connection refused"), "{reason}");
    let nameless = support::target("x", "no-such-host.invalid", web.connection());
    let reason = unreachable(transport().connect(&nameless).await);
    assert!(
        reason.contains("the name does not resolve") || reason.contains("no answer from DNS"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_address_is_tried() {
    need!("the_next_address_is_tried", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut target = server.target();
    target.addresses.insert(0, "127.255.0.1".to_owned());
    transport().connect(&target).await.unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_common_algorithm_names_both_sides() {
    need!("no_common_algorithm_names_both_sides", "sshd" => "openssh-server");
    let server = Sshd::with(1, "KexAlgorithms diffie-hellman-group1-sha1\n");
    let (reason, _) = refused(transport().connect(&server.target()).await);
    assert!(reason.contains("it offers diffie-hellman-group1-sha1"), "{reason}");
    assert!(reason.contains("curve25519-sha256"), "{reason}");
}

/// Sockets of this process.
fn sockets() -> usize {
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    entries
        .filter(|e| {
            fs::read_link(e.path()).is_ok_and(|l| l.to_string_lossy().starts_with("socket:"))
        })
        .count()
}

/// Watches until it holds, at most for the given time.
async fn until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if holds() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    holds()
}

#[tokio::test(flavor = "multi_thread")]
async fn giving_up_leaks_no_sockets() {
    need!("giving_up_leaks_no_sockets", "sshd" => "openssh-server");
    let server = Sshd::start();
    let half = Arc::new(AtomicUsize::new(0));
    let open = Arc::clone(&half);
    // Counts the connections that are open at its end.
    let fake = Fake::start(move |mut stream| {
        open.fetch_add(1, Ordering::SeqCst);
        let _ = stream.write_all(b"SSH-2.0-half\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
        open.fetch_sub(1, Ordering::SeqCst);
    });
    let quick = Connection {
        connect_timeout: Duration::from_millis(300),
        auth_timeout: Duration::from_millis(300),
        ..fake.connection()
    };
    let transport = Arc::new(transport());
    for _ in 0..5 {
        let target = support::target("fake", "127.0.0.1", quick.clone());
        unreachable(transport.connect(&target).await);
    }
    assert!(
        until(Duration::from_secs(10), || half.load(Ordering::SeqCst) == 0).await,
        "half-open ones stay"
    );

    // Sessions that are dropped, also in the middle of a script.
    let before = sockets();
    for n in 0..5 {
        let mut session = transport.connect(&server.target()).await.unwrap();
        if n % 2 == 0 {
            let step = script("echo begun; sleep 600");
            let mut sink = Begun(Some(tokio::sync::oneshot::channel().0));
            let (sender, begun) = tokio::sync::oneshot::channel();
            sink.0 = Some(sender);
            tokio::select! {
                biased;
                _ = session.run(&step, &mut sink) => panic!("it sleeps"),
                _ = begun => {}
            }
        }
        drop(session);
    }
    assert!(
        until(Duration::from_secs(10), || sockets() <= before).await,
        "{} > {before}",
        sockets()
    );
}

/// Says when the first output came.
struct Begun(Option<tokio::sync::oneshot::Sender<()>>);

impl OutputSink for Begun {
    fn take(&mut self, _: Stream, _: &[u8]) {
        if let Some(sender) = self.0.take() {
            let _ = sender.send(());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_dies_in_a_step_means_lost() {
    need!("a_connection_that_dies_in_a_step_means_lost", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut session = transport().connect(&server.target()).await.unwrap();
    let done = server.dir.path().join("done");
    // It goes on writing when nobody reads any more, and must not die of it.
    let step = script(&format!(
        "echo begun; echo apart >&2; sleep 2; i=0; while [ $i -lt 2000 ]; do echo line $i; echo line $i >&2; \
         i=$((i + 1)); done; touch {}; exit 6",
        done.display()
    ));
    let (sender, begun) = tokio::sync::oneshot::channel();
    let pid = server.pid();
    let killer = tokio::spawn(async move {
        begun.await.unwrap();
        // The server's own children: not the script, which is a child of theirs.
        for child in support::children(pid) {
            let name = fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            if name.trim() == "sshd" {
                support::kill(child);
            }
        }
    });
    let result = session.run(&step, &mut Begun(Some(sender))).await;
    killer.await.unwrap();
    let Err(SessionError::Lost { reason }) = result else { panic!("{result:?}") };
    assert!(!reason.is_empty());
    let (again, _, _) = on(&mut session, &script("true")).await;
    assert!(matches!(again, Err(SessionError::NotStarted { .. })), "{again:?}");
    // The script itself does not die with its connection, and the host tells what became of it.
    let mut next = transport().connect(&server.target()).await.unwrap();
    assert_eq!(next.look(&step.dir, false).await.unwrap(), Whereabouts::Running);
    assert!(until(Duration::from_secs(20), || done.exists()).await);
    assert!(
        until(Duration::from_secs(20), || server.remote(&step.dir).join("exit").exists()).await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_host_is_noticed_by_keepalives() {
    need!("a_frozen_host_is_noticed_by_keepalives", "sshd" => "openssh-server");
    let server = Sshd::start();
    let connection = Connection { keepalive: Duration::from_millis(500), ..server.connection() };
    let mut session = transport().connect(&server.target_with(connection)).await.unwrap();
    let (sender, begun) = tokio::sync::oneshot::channel();
    let pid = server.pid();
    let freezer = tokio::spawn(async move {
        begun.await.unwrap();
        for child in support::children(pid) {
            let pid = rustix::process::Pid::from_raw(child.cast_signed()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::STOP);
        }
    });
    let start = Instant::now();
    let result = session.run(&script("echo begun; sleep 600"), &mut Begun(Some(sender))).await;
    freezer.await.unwrap();
    assert!(matches!(result, Err(SessionError::Lost { .. })), "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

/// Counts, and checks that bytes come in order.
#[derive(Default)]
struct Counted {
    bytes: u64,
    peak: u64,
}

fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

impl OutputSink for Counted {
    fn take(&mut self, _: Stream, bytes: &[u8]) {
        if self.bytes >> 24 != (self.bytes + bytes.len() as u64) >> 24 {
            self.peak = self.peak.max(resident_bytes());
        }
        self.bytes += bytes.len() as u64;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_megabytes_flow_with_flat_memory() {
    need!("two_hundred_megabytes_flow_with_flat_memory", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut session = transport().connect(&server.target()).await.unwrap();
    let mut counted = Counted::default();
    on(&mut session, &script("head -c 1000000 /dev/zero")).await.0.unwrap();
    let before = resident_bytes();
    let step = script("head -c 200000000 /dev/zero; echo end >&2");
    let exit = session.run(&step, &mut counted).await.unwrap();
    assert_eq!((exit, counted.bytes), (Exit::Code(0), 200_000_004));
    let grown = counted.peak.saturating_sub(before);
    assert!(grown < 32 << 20, "memory grew by {} MB", grown >> 20);
}

/// Takes nothing until it is told to.
struct Slow {
    gate: mpsc::Receiver<()>,
    bytes: u64,
}

impl OutputSink for Slow {
    fn take(&mut self, _: Stream, bytes: &[u8]) {
        if self.bytes == 0 {
            let _ = self.gate.recv();
        }
        self.bytes += bytes.len() as u64;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_slows_the_host_down() {
    need!("a_slow_reader_slows_the_host_down", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut session = transport().connect(&server.target()).await.unwrap();
    let progress = server.dir.path().join("progress");
    let step = script(&format!(
        "i=0; while [ $i -lt 60 ]; do head -c 1000000 /dev/zero; i=$((i + 1)); echo $i >{}; done",
        progress.display()
    ));
    let (open, gate) = mpsc::channel();
    let running = tokio::spawn(async move {
        let mut slow = Slow { gate, bytes: 0 };
        let exit = session.run(&step, &mut slow).await;
        (exit, slow.bytes)
    });
    let read = || fs::read_to_string(&progress).ok().and_then(|t| t.trim().parse::<u32>().ok());
    // It stands still long before its end.
    let mut last = None;
    let mut still = 0;
    let stands = until(Duration::from_secs(30), || {
        let now = read();
        still = if now.is_some() && now == last { still + 1 } else { 0 };
        last = now;
        still > 50
    });
    assert!(stands.await);
    assert!(last < Some(40), "{last:?} of 60 MB were taken by nobody");
    open.send(()).unwrap();
    let (exit, bytes) = running.await.unwrap();
    assert_eq!((exit.unwrap(), bytes), (Exit::Code(0), 60_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_hosts_disturb_no_good_one() {
    need!("bad_hosts_disturb_no_good_one", "sshd" => "openssh-server");
    let good = Sshd::with(10, "");
    let transport = Arc::new(transport());
    let (mut bad, mut hang, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..10 {
        for (text, hangs) in
            [("", true), ("SSH-2.0-half\r\n", true), ("HTTP/1.1 400 Bad Request\r\n\r\n", false)]
        {
            let fake = if hangs { Fake::hangs_after(text) } else { Fake::says(text) };
            let mut target = fake.target();
            // Longer than all the good ones take together, however slow this machine is.
            Arc::make_mut(&mut target.connection).connect_timeout = Duration::from_secs(300);
            let transport = Arc::clone(&transport);
            let task = tokio::spawn(async move { transport.connect(&target).await.is_err() });
            if hangs { hang.push((fake, task)) } else { bad.push((fake, task)) }
        }
        let target = support::target(&format!("good-{n}"), &good.addresses[n], good.connection());
        let transport = Arc::clone(&transport);
        tasks.push(tokio::spawn(async move {
            let mut session = transport.connect(&target).await.unwrap();
            let mut step = script("echo well");
            step.dir = format!("good-{n}/a.b.1");
            let mut kept = Kept::default();
            let exit = session.run(&step, &mut kept).await.unwrap();
            assert_eq!((exit, kept.out.as_slice()), (Exit::Code(0), &b"well\n"[..]));
            session.close().await;
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for (_fake, task) in bad {
        assert!(task.await.unwrap());
    }
    for (_fake, task) in hang {
        assert!(!task.is_finished(), "somebody waited for a host that hangs");
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_or_read_only_place_is_refused() {
    need!("a_full_or_read_only_place_is_refused", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mark = server.dir.path().join("ran");
    for place in ["/proc/fleetlift", "/dev/full/x"] {
        let connection = Connection { remote_dir: Some(place.into()), ..server.connection() };
        let mut session = transport().connect(&server.target_with(connection)).await.unwrap();
        let (exit, _, _) = on(&mut session, &script(&format!("touch {}", mark.display()))).await;
        let Err(SessionError::Refused { reason }) = exit else { panic!("{exit:?}") };
        assert!(reason.contains("cannot make"), "{reason}");
        assert!(!mark.exists());
    }
    let step = script("true");
    // Where the script should be written stands something else.
    fs::create_dir_all(server.remote(&step.dir)).unwrap();
    fs::create_dir(server.remote(&step.dir).join("boot")).unwrap();
    let mut session = transport().connect(&server.target()).await.unwrap();
    let (exit, _, _) = on(&mut session, &step).await;
    let Err(SessionError::Refused { reason }) = exit else { panic!("{exit:?}") };
    assert!(reason.contains("cannot write into"), "{reason}");
    assert!(!server.remote(&step.dir).join("script").exists());
    for bad in ["", "/etc", "../x", "a/../b", "a b", "a//b"] {
        let mut step = script("true");
        step.dir = bad.to_owned();
        assert!(
            matches!(on(&mut session, &step).await.0, Err(SessionError::Refused { .. })),
            "{bad:?}"
        );
    }
    let mut step = script("true");
    step.env = vec![("A B".into(), String::new())];
    assert!(matches!(on(&mut session, &step).await.0, Err(SessionError::Refused { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_not_death() {
    need!("silence_is_not_death", "sshd" => "openssh-server");
    let server = Sshd::start();
    // Everything that counts inactivity is far shorter than the script's silence.
    let connection = Connection {
        keepalive: Duration::from_millis(100),
        connect_timeout: Duration::from_secs(1),
        auth_timeout: Duration::from_secs(1),
        ..server.connection()
    };
    let mut session = transport().connect(&server.target_with(connection)).await.unwrap();
    let (exit, out, _) = on(&mut session, &script("sleep 5; echo on")).await;
    assert_eq!((exit.unwrap(), out.as_str()), (Exit::Code(0), "on\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_tells_what_became_of_a_step() {
    need!("the_host_tells_what_became_of_a_step", "sshd" => "openssh-server");
    let server = Sshd::start();
    let mut session = transport().connect(&server.target()).await.unwrap();
    // Never begun; and from now on it cannot begin.
    let step = script("echo ran");
    for _ in 0..2 {
        assert_eq!(session.look(&step.dir, false).await.unwrap(), Whereabouts::Never);
    }
    let (exit, out, _) = on(&mut session, &step).await;
    assert!(matches!(exit, Err(SessionError::Lost { .. })) && out.is_empty(), "{exit:?}");
    let mut session = transport().connect(&server.target()).await.unwrap();
    assert_eq!(session.look(&step.dir, false).await.unwrap(), Whereabouts::Never);

    let step = script("kill -KILL $$");
    on(&mut session, &step).await.0.unwrap();
    let killed = Whereabouts::Finished(Exit::Signal("KILL".into()));
    assert_eq!(session.look(&step.dir, false).await.unwrap(), killed);

    // As after a power cut: begun, no result, another boot; or the process is gone, its number taken by another.
    let lost = |place: &std::path::Path| fs::remove_file(place.join("exit")).unwrap();
    let place = server.remote(&step.dir);
    lost(&place);
    let gone = session.look(&step.dir, false).await.unwrap();
    assert!(
        matches!(&gone, Whereabouts::Lost { reason } if reason.contains("no result")),
        "{gone:?}"
    );
    fs::write(place.join("pid"), "1 1\n").unwrap();
    let taken = session.look(&step.dir, false).await.unwrap();
    assert!(
        matches!(&taken, Whereabouts::Lost { reason } if reason.contains("no result")),
        "{taken:?}"
    );
    fs::write(place.join("boot"), "5d0a8b7e-0000-4000-8000-000000000000\n").unwrap();
    let anew = session.look(&step.dir, false).await.unwrap();
    assert!(matches!(&anew, Whereabouts::Lost { reason } if reason.contains("anew")), "{anew:?}");
}

/// Ends every connection as soon as a key is offered, without a word, as a host does that goes down.
struct GoesDown;

impl russh::server::Handler for GoesDown {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        _: russh::server::PublicKeyOffer<'_>,
    ) -> Result<russh::server::Auth, russh::Error> {
        Err(russh::Error::Disconnect)
    }

    async fn auth_publickey(
        &mut self,
        _: &str,
        _: russh::server::VerifiedPublicKey<'_>,
    ) -> Result<russh::server::Auth, russh::Error> {
        Err(russh::Error::Disconnect)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_breaks_off_is_no_verdict_on_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    fleetlift::host::ssh::make_key(&key).unwrap();
    let host_key = russh::keys::load_secret_key(&key, None).unwrap();
    let config = Arc::new(russh::server::Config { keys: vec![host_key], ..Default::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let config = Arc::clone(&config);
            tokio::spawn(async move {
                if let Ok(session) = russh::server::run_stream(config, stream, GoesDown).await {
                    let _ = session.await;
                }
            });
        }
    });
    let public = fs::read_to_string(key.with_extension("pub")).unwrap_or_else(|_| {
        let key = russh::keys::load_secret_key(&key, None).unwrap();
        key.public_key().to_openssh().unwrap()
    });
    let known_hosts = dir.path().join("known_hosts");
    fs::write(&known_hosts, format!("[127.0.0.1]:{port} {public}\n")).unwrap();
    let connection = Connection {
        port,
        user: Some("admin".into()),
        identities: vec![key],
        agent: false,
        known_hosts: vec![known_hosts],
        ..Connection::default()
    };
    let target = support::target("host", "127.0.0.1", connection);
    let reason = unreachable(transport().connect(&target).await);
    assert!(reason.contains("before it judged"), "{reason}");
    server.abort();
}
