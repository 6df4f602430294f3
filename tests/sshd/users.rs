//! Other login shells, sudo, passwords: with users that are made for the test and removed again.

use crate::{
    need,
    support::{self, Sshd, on, refused, script, transport, transport_with, unreachable},
};
use fleetlift::{
    base::value::SecretSource,
    host::{Exit, SessionError, Transport},
    inventory::Connection,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

const PASSWORD: &str = "correct horse";

/// A user of this machine, while the test runs.
struct User {
    name: String,
    sudoers: Option<PathBuf>,
}

/// The password file is locked by whoever changes it, and the tools do not wait.
fn with_lock<T>(work: impl FnOnce() -> T) -> T {
    let lock = fs::File::create("/run/fleetlift-test-users.lock").unwrap();
    lock.lock().unwrap();
    work()
}

impl User {
    fn new(shell: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fl-{}-{number}", std::process::id());
        let crypted = support::run(Command::new("openssl").args(["passwd", "-6", PASSWORD]));
        with_lock(|| {
            support::run(Command::new(support::program("useradd").unwrap()).args([
                "-m",
                "-s",
                shell,
                "-p",
                crypted.trim(),
                &name,
            ]))
        });
        Self { name, sudoers: None }
    }

    /// One line for sudoers, with the user's name in place of `USER`.
    fn may(&mut self, rule: &str) {
        let path = PathBuf::from(format!("/etc/sudoers.d/{}", self.name));
        fs::write(&path, rule.replace("USER", &self.name) + "\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        self.sudoers = Some(path);
    }

    fn connection(&self, server: &Sshd) -> Connection {
        Connection { user: Some(self.name.clone()), remote_dir: None, ..server.connection() }
    }

    fn home(&self) -> PathBuf {
        PathBuf::from("/home").join(&self.name)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if let Some(path) = &self.sudoers {
            let _ = fs::remove_file(path);
        }
        let userdel = support::program("userdel").unwrap();
        let _ = with_lock(|| Command::new(userdel).args(["-r", "-f", &self.name]).output());
    }
}

fn secret(name: &str) -> Option<&'static str> {
    match name {
        "RIGHT" => Some(PASSWORD),
        "WRONG" => Some("wrong horse"),
        _ => None,
    }
}

fn source(name: &str) -> Option<SecretSource> {
    Some(SecretSource::Env(name.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_login_shell_will_do() {
    need!("every_login_shell_will_do", "sshd" => "openssh-server", "useradd" => "passwd", "openssl" => "openssl");
    need!("every_login_shell_will_do", root);
    let server = Sshd::start();
    let ash = server.dir.path().join("ash");
    let shells = [
        ("dash", "dash"),
        ("bash", "bash"),
        ("bsd-csh", "csh"),
        ("tcsh", "tcsh"),
        ("fish", "fish"),
        ("busybox", "busybox"),
        ("zsh", "zsh"),
        ("mksh", "mksh"),
    ];
    for (shell, package) in shells {
        let Some(mut path) = support::program(shell) else {
            let name = format!("every_login_shell_will_do ({shell})");
            support::skip(&name, &format!("no {shell} here: apt-get install {package}"));
            continue;
        };
        if shell == "busybox" {
            fs::write(&ash, format!("#!{} ash\n", path.display())).unwrap();
            // As a link it is what the name says.
            fs::remove_file(&ash).unwrap();
            std::os::unix::fs::symlink(&path, &ash).unwrap();
            path = ash.clone();
        }
        let user = User::new(path.to_str().unwrap());
        // What a login shell prints must not end up in the output.
        for file in [".bashrc", ".cshrc", ".tcshrc", ".zshenv", ".config/fish/config.fish"] {
            let file = user.home().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "echo noise; echo more noise >/dev/stderr\n").unwrap();
        }
        let mut session =
            transport().connect(&server.target_with(user.connection(&server))).await.unwrap();
        let mut step = script("echo \"$X\" \"$HOME\"; echo err >&2; exit 3");
        step.env = vec![("X".into(), "it's !\n$x".into())];
        let (exit, out, err) = on(&mut session, &step).await;
        assert_eq!(exit.unwrap(), Exit::Code(3), "{shell}");
        assert_eq!(out, format!("it's !\n$x {}\n", user.home().display()), "{shell}");
        assert_eq!(err, "err\n", "{shell}");
        let place = user.home().join(".fleetlift").join(&step.dir);
        assert_eq!(fs::read_to_string(place.join("exit")).unwrap(), "3\n", "{shell}");
        let mode = fs::metadata(user.home().join(".fleetlift")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        session.upload(b"x", "it's here", 0o600, false).await.unwrap();
        assert_eq!(fs::read(user.home().join("it's here")).unwrap(), b"x", "{shell}");
        session.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_runs_nothing_refuses() {
    need!("a_shell_that_runs_nothing_refuses", "sshd" => "openssh-server", "useradd" => "passwd", "openssl" => "openssl");
    need!("a_shell_that_runs_nothing_refuses", root);
    let server = Sshd::start();
    for (shell, expected) in [
        ("/usr/sbin/nologin", "This account is currently not available"),
        ("/bin/false", "the login shell did not run the command"),
        ("/bin/rbash", "restricted"),
    ] {
        let user = User::new(shell);
        let mut session =
            transport().connect(&server.target_with(user.connection(&server))).await.unwrap();
        let (exit, out, _) = on(&mut session, &script("echo ran")).await;
        let Err(SessionError::Refused { reason }) = exit else { panic!("{shell}: {exit:?}") };
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(out, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_begin_in_time_never_begins() {
    need!("what_did_not_begin_in_time_never_begins", "sshd" => "openssh-server", "useradd" => "passwd", "openssl" => "openssl");
    need!("what_did_not_begin_in_time_never_begins", root);
    let server = Sshd::start();
    // Its first login waits until it is let go; later ones go straight on.
    let (shell, gate) = (server.dir.path().join("slow-shell"), server.dir.path().join("gate"));
    let dir = server.dir.path().display();
    let text = format!(
        "#!/bin/sh\nmkdir {dir}/first/x 2>/dev/null && read x <{dir}/gate\nexec /bin/sh \"$@\"\n"
    );
    fs::write(&shell, text).unwrap();
    fs::create_dir(server.dir.path().join("first")).unwrap();
    support::run(Command::new("mkfifo").arg(&gate));
    for path in [&shell, &gate, &server.dir.path().join("first")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let user = User::new(shell.to_str().unwrap());
    let mut session =
        transport().connect(&server.target_with(user.connection(&server))).await.unwrap();
    let mut step = script("touch ~/ran");
    step.timeout = Duration::from_secs(1);
    let (exit, _, _) = on(&mut session, &step).await;
    // Not for another try in the same directory, whose name is taken now: whoever follows it hears that it never began.
    let Err(SessionError::Lost { reason }) = exit else { panic!("{exit:?}") };
    assert!(reason.contains("did not begin within 1s"), "{reason}");
    // Let go now, it finds its name taken.
    fs::write(&gate, "go\n").unwrap();
    let mut session =
        transport().connect(&server.target_with(user.connection(&server))).await.unwrap();
    assert_eq!(session.look(&step.dir, false).await.unwrap(), fleetlift::host::Whereabouts::Never);
    assert!(!user.home().join("ran").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_goes_down_is_worth_another_try() {
    need!("a_host_that_goes_down_is_worth_another_try", "sshd" => "openssh-server", "useradd" => "passwd", "openssl" => "openssl");
    need!("a_host_that_goes_down_is_worth_another_try", root);
    let server = Sshd::start();
    // As pam_nologin and sshd itself say it, without touching the machine's own /etc/nologin.
    let words = "System is going down. Unprivileged users are not permitted to log in anymore.";
    let shell = server.dir.path().join("nologin-shell");
    fs::write(&shell, format!("#!/bin/sh\necho '{words}' >&2\nexit 254\n")).unwrap();
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
    let user = User::new(shell.to_str().unwrap());
    let mut session =
        transport().connect(&server.target_with(user.connection(&server))).await.unwrap();
    let (exit, _, _) = on(&mut session, &script("echo ran")).await;
    let Err(SessionError::NotStarted { reason }) = exit else { panic!("{exit:?}") };
    assert!(reason.contains("System is going down"), "{reason}");

    // At login: a banner, and no.
    let banner = server.dir.path().join("banner");
    fs::write(&banner, words).unwrap();
    let extra = format!("Banner {}\nDenyUsers {}\n", banner.display(), user.name);
    let closing = Sshd::with(1, &extra);
    let reason =
        unreachable(transport().connect(&closing.target_with(user.connection(&closing))).await);
    assert!(reason.contains("System is going down"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_come_last_and_only_once() {
    need!("passwords_come_last_and_only_once", "sshd" => "openssh-server", "useradd" => "passwd", "openssl" => "openssl");
    need!("passwords_come_last_and_only_once", root);
    let user = User::new("/bin/sh");
    let kinds = [
        "PasswordAuthentication yes\n",
        "UsePAM yes\nKbdInteractiveAuthentication yes\n",
        "PasswordAuthentication yes\nAuthenticationMethods publickey,password\n",
    ];
    for extra in kinds {
        let server = Sshd::with(1, extra);
        let two = extra.contains("Methods");
        let identities =
            if two { vec![server.key.clone()] } else { vec!["/nonexistent/key".into()] };
        let with = |password| Connection {
            password,
            identities: identities.clone(),
            ..user.connection(&server)
        };
        let right = server.target_with(with(source("RIGHT")));
        transport_with(secret).connect(&right).await.unwrap().close().await;
        let wrong = server.target_with(with(source("WRONG")));
        let (reason, _) = refused(transport_with(secret).connect(&wrong).await);
        let offered = if extra.contains("PAM") { "keyboard-interactive" } else { "password" };
        assert!(reason.contains("offered") && reason.contains(offered), "{reason}");
        let log = fs::read_to_string(server.dir.path().join("log")).unwrap_or_default();
        let failed = log.lines().filter(|l| {
            l.starts_with("Failed password") || l.starts_with("Failed keyboard-interactive")
        });
        assert!(failed.count() <= 1, "{log}");
        let none = server.target_with(with(None));
        let (reason, _) = refused(transport().connect(&none).await);
        assert_eq!(reason.contains("it wants another"), two, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sudo_as_it_is_configured() {
    need!("sudo_as_it_is_configured", "sshd" => "openssh-server", "useradd" => "passwd", "sudo" => "sudo", "openssl" => "openssl");
    need!("sudo_as_it_is_configured", root);
    let server = Sshd::start();
    let mut user = User::new("/bin/sh");
    let place = server.dir.path().join("remote-root").display().to_string();
    let with = |user: &User, sudo_password| Connection {
        sudo: true,
        sudo_password,
        remote_dir: Some(place.clone()),
        ..user.connection(&server)
    };
    let as_root = |text: &str| {
        let mut step = script(text);
        step.sudo = true;
        step
    };
    let why = |exit: Result<Exit, SessionError>| match exit {
        Err(SessionError::Refused { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let open = async |password: Option<&str>, user: &User| {
        let target = server.target_with(with(user, password.and_then(source)));
        transport_with(secret).connect(&target).await.unwrap()
    };

    // Not in sudoers at all.
    let step = as_root("id -un");
    let reason = why(on(&mut open(None, &user).await, &step).await.0);
    assert!(reason.contains("a password is required"), "{reason}");
    assert!(reason.contains("sudo_password"), "{reason}");
    let reason = why(on(&mut open(Some("RIGHT"), &user).await, &step).await.0);
    assert!(reason.contains("not in the sudoers file"), "{reason}");

    // With a password.
    user.may("USER ALL=(ALL) ALL");
    let reason = why(on(&mut open(Some("WRONG"), &user).await, &step).await.0);
    assert!(reason.contains("sudo did not accept the password"), "{reason}");
    let mut session = open(Some("RIGHT"), &user).await;
    let step = as_root("id -un; echo err >&2; cat; exit 4");
    let (exit, out, err) = on(&mut session, &step).await;
    assert_eq!((exit.unwrap(), out.as_str(), err.as_str()), (Exit::Code(4), "root\n", "err\n"));
    let file = PathBuf::from(&place).join(&step.dir).join("script");
    assert!(!fs::read_to_string(&file).unwrap().contains(PASSWORD));
    // Files too.
    let secret_file = server.dir.path().join("root's own");
    let there = secret_file.to_str().unwrap();
    session.upload(b"for root", there, 0o600, true).await.unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(&secret_file).unwrap()), 0);
    let back = server.dir.path().join("back");
    assert_eq!(session.download(there, &back, true).await.unwrap(), 8);
    let denied = session.download(there, &back, false).await;
    assert!(
        matches!(&denied, Err(SessionError::Refused { reason }) if reason.contains("not readable")),
        "{denied:?}"
    );
    // And ending what runs too long.
    let mut step = as_root("trap '' TERM; echo $$; while :; do sleep 1; done");
    step.timeout = Duration::from_secs(2);
    let (exit, out, _) = on(&mut session, &step).await;
    assert_eq!(exit.unwrap(), Exit::TimedOut { stopped: true });
    assert!(!support::is_alive(out.trim().parse().unwrap()));
    session.close().await;

    // Without a password; one that is configured all the same does no harm.
    user.may("USER ALL=(ALL) NOPASSWD: ALL");
    for password in [None, Some("WRONG")] {
        let (exit, out, _) = on(&mut open(password, &user).await, &as_root("id -un")).await;
        assert_eq!((exit.unwrap(), out.as_str()), (Exit::Code(0), "root\n"));
    }
    // Sudo that runs commands on a terminal of its own.
    user.may("Defaults:USER use_pty\nUSER ALL=(ALL) ALL");
    let step = as_root("id -un; echo err >&2; head -c 300000 /dev/zero; cat");
    let (exit, out, err) = on(&mut open(Some("RIGHT"), &user).await, &step).await;
    assert_eq!((exit.unwrap(), out.len(), err.as_str()), (Exit::Code(0), 300_005, "err\n"));
    // Sudo that wants a terminal.
    user.may("Defaults:USER requiretty\nUSER ALL=(ALL) NOPASSWD: ALL");
    for password in [None, Some("RIGHT")] {
        let reason = why(on(&mut open(password, &user).await, &as_root("id -un")).await.0);
        assert!(reason.contains("must have a tty") && reason.contains("requiretty"), "{reason}");
    }
    // Root needs no sudo.
    let target = server.target_with(Connection { sudo: true, ..server.connection() });
    let mut session = transport().connect(&target).await.unwrap();
    let (exit, out, _) = on(&mut session, &as_root("id -un; echo $SUDO_USER")).await;
    assert_eq!((exit.unwrap(), out.as_str()), (Exit::Code(0), "root\n\n"));
}
