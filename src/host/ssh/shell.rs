//! What is sent to a host's shell: the command line that every login shell takes, and the text that follows on standard
//! input.

use sha2::{Digest, Sha256};
use std::{fmt::Write as _, sync::LazyLock};

/// Decides about sudo. `$1`: the mark, `$2`: how to become root, `$3`: [`READ`].
///
/// It stands in single quotes on a line that the login shell reads, be that sh, csh or fish: no quote, backslash, newline
/// or `!` in it, and no word beyond the 1024 characters of an old csh.
const ENTER: &str = concat!(
    "if [ \"$(id -u)\" = 0 ]; then exec /bin/sh -c \"$3\" fleetlift $1; fi; ",
    "if [ $2 = 1 ]; then exec sudo -H -n -- /bin/sh -c \"$3\" fleetlift $1; fi; ",
    "exec sudo -H -S -p $1-ask: -- /bin/sh -c \"$3\" fleetlift $1",
);

/// Reads the real program from standard input, up to its last line, and nothing behind it: `read` takes single bytes. A
/// program that was cut short is not run. Every shell begins with the same `IFS`, whatever its environment says, and that
/// ends in a newline, which cannot stand here itself. The last line is made of the mark, so that no value can hold it.
const READ: &str = concat!(
    "echo $1-ready >&2; n=${IFS#??}; n=${n%\"${n#?}\"}; t=; e=; ",
    "while IFS= read -r l; do case $l in \"$1-text\") e=1; break;; esac; t=$t$l$n; done; ",
    "[ -n \"$e\" ] || exit 125; eval \"$t\"",
);

/// How a command becomes root, where the login user is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Become {
    /// Not at all.
    Nobody,
    /// By a sudo that must not ask.
    Root,
    /// By a sudo that may ask for the password.
    RootByPassword,
}

/// The programs that run on hosts, beside the launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Stop,
    Look,
    Follow,
    Upload,
    Download,
    Renew,
    Leave,
    Ask,
}

const COMMON: &str = include_str!("remote/common.sh");
const LOCK: &str = include_str!("remote/lock.sh");
const MACHINE: &str = include_str!("remote/machine.sh");
const END: &str = include_str!("remote/end.sh");

impl Program {
    fn text(self) -> &'static str {
        static STOP: LazyLock<String> = LazyLock::new(|| join(Program::Stop.parts()));
        static LOOK: LazyLock<String> = LazyLock::new(|| join(Program::Look.parts()));
        static FOLLOW: LazyLock<String> = LazyLock::new(|| join(Program::Follow.parts()));
        static UPLOAD: LazyLock<String> = LazyLock::new(|| join(Program::Upload.parts()));
        static DOWNLOAD: LazyLock<String> = LazyLock::new(|| join(Program::Download.parts()));
        static RENEW: LazyLock<String> = LazyLock::new(|| join(Program::Renew.parts()));
        static LEAVE: LazyLock<String> = LazyLock::new(|| join(Program::Leave.parts()));
        static ASK: LazyLock<String> = LazyLock::new(|| join(Program::Ask.parts()));
        match self {
            Self::Stop => &STOP,
            Self::Look => &LOOK,
            Self::Follow => &FOLLOW,
            Self::Upload => &UPLOAD,
            Self::Download => &DOWNLOAD,
            Self::Renew => &RENEW,
            Self::Leave => &LEAVE,
            Self::Ask => &ASK,
        }
    }

    /// What it is made of.
    fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Stop => &[COMMON, END, include_str!("remote/stop.sh")],
            Self::Look => &[COMMON, LOCK, include_str!("remote/look.sh")],
            Self::Follow => &[COMMON, LOCK, include_str!("remote/follow.sh")],
            Self::Upload => &[COMMON, LOCK, include_str!("remote/upload.sh")],
            Self::Download => &[COMMON, include_str!("remote/download.sh")],
            Self::Renew => &[COMMON, LOCK, include_str!("remote/renew.sh")],
            Self::Leave => &[COMMON, LOCK, include_str!("remote/leave.sh")],
            Self::Ask => &[COMMON, MACHINE, END, include_str!("remote/ask.sh")],
        }
    }
}

/// What the launcher is made of, beside the program that it hands the script to.
const LAUNCHER_PARTS: &[&str] = &[COMMON, LOCK, MACHINE, include_str!("remote/launch.sh")];

const CORE: &str = include_str!("remote/core.sh");

/// The launcher. It stays on the host, so that it is sent there once.
struct Launcher {
    text: String,
    /// It has the digest of its text in its name, so that launchers of two versions do not meet.
    name: String,
    /// A program that keeps it on the host and runs it.
    whole: String,
}

static LAUNCHER: LazyLock<Launcher> = LazyLock::new(|| {
    let core = format!("fl_core={}\n", quote(&slim(CORE)));
    let text = core + &join(LAUNCHER_PARTS);
    let digest = crate::base::text::hex(&Sha256::digest(&text));
    let name = format!("launch-{}", &digest[..16]);
    let whole = format!("fl_name={name}\nfl_library={}\neval \"$fl_library\"\n", quote(&text));
    Launcher { text, name, whole }
});

/// What a host says that has no launcher, or not there.
pub(super) const NO_LAUNCHER: &str = "no launcher";

/// What a launcher says that finds the name of its script taken: it may run, or may have been kept from it.
pub(super) const BEGUN_BEFORE: &str = "begun before";

/// What [`READ`] reads, without its last line: values, then a program.
#[derive(Debug)]
pub(super) struct Text(String);

impl Text {
    /// A program begins with its values, which may hold anything but NUL.
    pub(super) fn new(values: &[(&str, &str)]) -> Self {
        let mut text = String::with_capacity(512);
        for (name, value) in values {
            text.push_str("fl_");
            text.push_str(name);
            text.push('=');
            push_quoted(&mut text, value);
            text.push('\n');
        }
        Self(text)
    }

    pub(super) fn program(mut self, program: Program) -> String {
        self.push(program.text());
        self.0
    }

    /// The launcher as it stands below this directory of the host.
    pub(super) fn kept_launcher(mut self, root: &str) -> String {
        let path = quote(&format!("{root}/bin/{}", LAUNCHER.name));
        let _ = writeln!(
            self.0,
            "if [ -r {path} ]; then . {path}; fi\n\
             printf '%s-no {NO_LAUNCHER}%s-on\\n' \"$1\" \"$1\" >&2; exit 125"
        );
        self.0
    }

    /// The launcher, sent with the program; `keep`: to be kept on the host.
    pub(super) fn whole_launcher(mut self, keep: bool) -> String {
        self.push(if keep { &LAUNCHER.whole } else { &LAUNCHER.text });
        self.0
    }

    /// With room for the last line: a text of ten thousand bytes is not moved once more for the few behind it.
    fn push(&mut self, text: &str) {
        self.0.reserve_exact(text.len() + LAST_LINE_BYTES);
        self.0.push_str(text);
    }
}

/// Room for the last line, which is made of the mark.
const LAST_LINE_BYTES: usize = 64;

/// The line after which nothing more is read as a program.
pub(super) fn last_line(mark: &str) -> String {
    format!("{mark}-text\n")
}

fn join(parts: &[&str]) -> String {
    parts.iter().map(|part| slim(part)).collect()
}

/// The command line for the login shell.
pub(super) fn command_line(mark: &str, become_root: Become) -> String {
    let mode = match become_root {
        // Nothing to decide: that is one shell less to start.
        Become::Nobody => return format!("exec /bin/sh -c '{READ}' fleetlift {mark}"),
        Become::Root => 1,
        Become::RootByPassword => 2,
    };
    format!("exec /bin/sh -c '{ENTER}' fleetlift {mark} {mode} '{READ}'")
}

/// The content of a script file: what the launcher needs, the environment, the text.
pub(super) fn script_file(token: &str, env: &[(String, String)], text: &str) -> String {
    static HEAD: LazyLock<String> = LazyLock::new(|| slim(include_str!("remote/head.sh")));
    let mut file = HEAD.clone();
    let _ = writeln!(file, "FLEETLIFT_TOKEN={token}\nexport FLEETLIFT_TOKEN");
    push_env(&mut file, env);
    file.push_str(text);
    file
}

/// The text of a question: the environment, then what is asked. Blank ends are cut off, as `$(…)` on the host cuts them.
pub(super) fn question(env: &[(String, String)], text: &str) -> String {
    let mut whole = "LC_ALL=C\nexport LC_ALL\n".to_owned();
    push_env(&mut whole, env);
    whole.push_str(text.trim_end_matches('\n'));
    whole
}

fn push_env(text: &mut String, env: &[(String, String)]) {
    for (name, value) in env {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}={}\nexport {name}", quote(value));
    }
}

/// One word for a POSIX shell.
pub(super) fn quote(value: &str) -> String {
    let mut word = String::with_capacity(value.len() + 2);
    push_quoted(&mut word, value);
    word
}

fn push_quoted(text: &mut String, value: &str) {
    text.push('\'');
    for (n, part) in value.split('\'').enumerate() {
        if n > 0 {
            text.push_str("'\\''");
        }
        text.push_str(part);
    }
    text.push('\'');
}

/// Whether a shell takes it as a variable's name.
pub(super) fn is_variable_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether it stays below the directory that it is joined to.
pub(super) fn is_inner_path(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    path.split('/')
        .all(|part| !part.is_empty() && part != "." && part != ".." && part.chars().all(plain))
}

/// Without comment lines and indentation: it is read byte by byte on the host.
fn slim(text: &str) -> String {
    let mut slim = String::with_capacity(text.len());
    for line in text.lines().map(str::trim_start) {
        if !line.is_empty() && !line.starts_with('#') {
            slim.push_str(line);
            slim.push('\n');
        }
    }
    slim
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    const ALL: [Program; 8] = [
        Program::Stop,
        Program::Look,
        Program::Follow,
        Program::Upload,
        Program::Download,
        Program::Renew,
        Program::Leave,
        Program::Ask,
    ];

    #[test]
    fn the_command_line_suits_every_login_shell() {
        let line = command_line("fl0123456789abcdef0123456789abcdef", Become::RootByPassword);
        assert!(!line.contains(['\\', '\n', '!', '`']));
        assert_eq!(line.matches('\'').count(), 4);
        for part in line.split('\'') {
            assert!(part.len() < 1000, "an old csh reads words of 1024 characters: {}", part.len());
        }
    }

    #[test]
    fn values_reach_the_program_as_they_are() {
        let value = "it's\n#end\n\"$x\" `y` \\ \n\n# \u{101}";
        let text = Text::new(&[("x", value)]).0;
        for shell in SHELLS {
            let script = format!("{text}printf %s \"$fl_x\"");
            let Some(output) = run(shell, &script) else { continue };
            assert_eq!(output, value, "{shell:?}");
        }
    }

    const SHELLS: [&[&str]; 5] =
        [&["/bin/sh"], &["bash", "--posix"], &["busybox", "ash"], &["dash"], &["mksh"]];

    /// A program that a test needs is missing here. Where everything was installed, that is a failure.
    fn skip(program: &str) {
        let on_ci = std::env::var_os("FLEETLIFT_CI").is_some_and(|v| v == "1");
        assert!(!on_ci, "no {program}");
        eprintln!("SKIPPED: no {program} here");
    }

    /// What a shell prints; nothing where it is not here.
    fn run(shell: &[&str], script: &str) -> Option<String> {
        let output = Command::new(shell[0]).args(&shell[1..]).arg("-c").arg(script).output();
        let Ok(output) = output else {
            skip(shell[0]);
            return None;
        };
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What the launcher builds on: a name is made once, and a full disk is noticed by whoever writes.
    #[test]
    fn every_shell_makes_a_name_once_and_notices_a_full_disk() {
        let script = r#"
            cd "$(mktemp -d)" || exit
            set -C
            claim() { { { c=1 && printf x && c=0; } >script; } 2>/dev/null; }
            c=; claim; printf 'first %s\n' "$c"
            c=; claim; printf 'second %s\n' "$c"
            set +C
            c=; { { c=1 && printf x && c=0; } >/dev/full; } 2>/dev/null; printf 'full %s\n' "$c"
            printf 'abcdef\n' >line; printf 12 1<>line; cat line
            rm -r "$PWD"
        "#;
        for shell in SHELLS {
            let Some(output) = run(shell, script) else { continue };
            assert_eq!(output, "first 0\nsecond \nfull 1\n12cdef\n", "{shell:?}");
        }
    }

    #[test]
    fn names_and_paths() {
        assert!(is_variable_name("_A1") && !is_variable_name("1A") && !is_variable_name(""));
        assert!(!is_variable_name("A-B") && !is_variable_name("É"));
        assert!(is_inner_path("r/a.b.1") && !is_inner_path("") && !is_inner_path("/a"));
        assert!(!is_inner_path("a/..") && !is_inner_path("a b") && !is_inner_path("a/"));
    }

    /// What is sent must be free of findings, as it is sent. Not of style: variables come from outside.
    #[test]
    fn shellcheck_finds_nothing() {
        let heads = [ENTER.to_owned(), READ.to_owned()];
        let heads = heads.into_iter().chain([slim(include_str!("remote/head.sh"))]);
        let programs = ALL.map(|program| program.parts().concat());
        let launcher = [CORE.to_owned(), LAUNCHER_PARTS.concat()];
        for text in heads.chain(launcher).chain(programs) {
            // SC2154 and SC2034: assigned and used by other parts. SC2317: functions that this part does not call.
            // SC2086: marks and modes are words by construction.
            let checker = Command::new("shellcheck")
                .args(["-s", "sh", "-e", "SC2154,SC2034,SC2317,SC2086", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn();
            let Ok(mut checker) = checker else {
                skip("shellcheck");
                return;
            };
            checker.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let output = checker.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }

    #[test]
    fn every_shell_reads_a_program_to_its_last_line() {
        let text = "fl_x='a\n b'\nprintf '%s|' \"$fl_x\" \"$1\"\ncat\n";
        for shell in SHELLS {
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).args(["-c", READ, "fleetlift", "mark"]).env("IFS", "x");
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let Ok(mut child) = command.spawn() else {
                skip(shell[0]);
                continue;
            };
            let input = format!("{text}{}body", last_line("mark"));
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), "a\n b|mark|body", "{shell:?}");
        }
    }

    #[test]
    fn every_shell_asks_and_keeps_the_limit() {
        for (limit, script, said) in [
            ("60", "cat; echo \"$#\"; exit 7", "m-go\n0\nm-end 7\n"),
            ("60", "printf x; kill -9 $$", "m-go\nxm-end KILL\n"),
            ("60", "exit 137", "m-go\nm-end 137\n"),
            ("1", "sleep 600 & sleep 600", "m-go\nm-end gone\n"),
        ] {
            let token = format!("fl-{}-{limit}", std::process::id());
            let values = [("token", &*token), ("limit", limit), ("script", script), ("size", "")];
            let text = Text::new(&values).program(Program::Ask);
            for shell in SHELLS {
                let mut command = Command::new(shell[0]);
                command.args(&shell[1..]).args(["-c", &text, "fleetlift", "m"]);
                let Ok(output) = command.stdin(Stdio::null()).output() else {
                    skip(shell[0]);
                    continue;
                };
                let out = String::from_utf8_lossy(&output.stdout).into_owned();
                let err = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(out, said, "{shell:?}: {script}\n{err}");
                assert!(err.starts_with("m-go\n") && err.contains("m-end "), "{shell:?}: {err}");
            }
        }
    }

    /// A slow host: the question's time is over before it has a session of its own. Whatever else is in ours is left alone.
    #[test]
    fn a_question_that_is_late_ends_nobody_else() {
        let (id, dir) = (std::process::id(), tempfile::tempdir().unwrap());
        let late = dir.path().join("setsid");
        std::fs::write(&late, "#!/bin/sh\nsleep 60\n").unwrap();
        std::fs::set_permissions(&late, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let path = std::env::var_os("PATH").unwrap();
        let setsid = std::env::split_paths(&path).map(|folder| folder.join("setsid"));
        let Some(setsid) = setsid.into_iter().find(|file| file.exists()) else {
            skip("setsid");
            return;
        };
        let path = format!("{}:{}", dir.path().display(), path.display());
        let token = format!("fl-{id}-late");
        let values = [("token", &*token), ("limit", "1"), ("script", "true"), ("size", "")];
        let text = Text::new(&values).program(Program::Ask);
        for shell in SHELLS {
            // In a session of its own, so that this test is not one of those that could be ended.
            let mut command = Command::new(&setsid);
            command.arg("--wait").args(shell).args(["-c", &text, "fleetlift", "m"]);
            let Ok(output) = command.env("PATH", &path).stdin(Stdio::null()).output() else {
                continue;
            };
            let out = String::from_utf8_lossy(&output.stdout);
            assert_eq!(out, "m-go\nm-end gone\n", "{shell:?}: {output:?}");
        }
    }

    #[test]
    fn every_shell_parses_the_programs() {
        let programs = ALL.map(|program| Text::new(&[("path", "x")]).program(program));
        let launchers = [Text::new(&[]).whole_launcher(true), LAUNCHER.text.clone()];
        for text in programs.iter().chain(&launchers).chain([&Text::new(&[]).kept_launcher("/x")]) {
            for shell in SHELLS {
                let mut command = Command::new(shell[0]);
                let child = command.args(&shell[1..]).arg("-n").stdin(Stdio::piped()).spawn();
                let Ok(mut child) = child else {
                    skip(shell[0]);
                    continue;
                };
                child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
                assert!(child.wait().unwrap().success(), "{shell:?}\n{text}");
            }
        }
    }
}
