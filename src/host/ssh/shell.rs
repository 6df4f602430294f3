//! What is sent to a host's shell: the command line that every login shell takes, and the text that follows on standard
//! input.

use std::{fmt::Write as _, sync::LazyLock};

/// Decides about sudo. `$1`: the mark, `$2`: how to become root, `$3`: [`READ`].
///
/// It stands in single quotes on a line that the login shell reads, be that sh, csh or fish: no quote, backslash, newline
/// or `!` in it, and no word beyond the 1024 characters of an old csh.
const ENTER: &str = concat!(
    "if [ $2 = 0 ] || [ \"$(id -u)\" = 0 ]; then exec /bin/sh -c \"$3\" fleetlift $1; fi; ",
    "if [ $2 = 1 ]; then exec sudo -H -n -- /bin/sh -c \"$3\" fleetlift $1; fi; ",
    "exec sudo -H -S -p $1-ask: -- /bin/sh -c \"$3\" fleetlift $1",
);

/// Reads the real program from standard input, up to its last line, and nothing behind it: `read` takes single bytes. A
/// program that was cut short is not run.
const READ: &str = concat!(
    "echo $1-ready >&2; n=$(echo; echo x); n=${n%x}; t=; e=; ",
    "while IFS= read -r l; do case $l in \"#end\") e=1; break;; esac; t=$t$l$n; done; ",
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

/// The programs that run on hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Launch,
    Stop,
    Look,
    Follow,
    Upload,
    Download,
}

impl Program {
    fn text(self) -> &'static str {
        static LAUNCH: LazyLock<String> = LazyLock::new(|| slim(include_str!("remote/launch.sh")));
        static STOP: LazyLock<String> = LazyLock::new(|| slim(include_str!("remote/stop.sh")));
        static LOOK: LazyLock<String> = LazyLock::new(|| slim(include_str!("remote/look.sh")));
        static FOLLOW: LazyLock<String> = LazyLock::new(|| slim(include_str!("remote/follow.sh")));
        static UPLOAD: LazyLock<String> = LazyLock::new(|| slim(include_str!("remote/upload.sh")));
        static DOWNLOAD: LazyLock<String> =
            LazyLock::new(|| slim(include_str!("remote/download.sh")));
        match self {
            Self::Launch => &LAUNCH,
            Self::Stop => &STOP,
            Self::Look => &LOOK,
            Self::Follow => &FOLLOW,
            Self::Upload => &UPLOAD,
            Self::Download => &DOWNLOAD,
        }
    }
}

/// The command line for the login shell.
pub(super) fn command_line(mark: &str, become_root: Become) -> String {
    let mode = match become_root {
        Become::Nobody => 0,
        Become::Root => 1,
        Become::RootByPassword => 2,
    };
    format!("exec /bin/sh -c '{ENTER}' fleetlift {mark} {mode} '{READ}'")
}

/// What [`READ`] reads: the program with its values. Values may hold anything but NUL.
pub(super) fn program_text(program: Program, values: &[(&str, &str)]) -> String {
    static COMMON: LazyLock<String> = LazyLock::new(|| slim(include_str!("remote/common.sh")));
    let mut text = String::new();
    for (name, value) in values {
        // A line that says `#end` inside a value would end the program early; so no value's line begins with `#`.
        let quoted = quote(value).replace("\n#", "\n''#");
        let _ = writeln!(text, "fl_{name}={quoted}");
    }
    text.push_str(&COMMON);
    text.push_str(program.text());
    text.push_str("#end\n");
    text
}

/// What runs the script on the host, beside the launcher and longer than it where the connection breaks.
pub(super) fn core() -> &'static str {
    static CORE: LazyLock<String> = LazyLock::new(|| slim(include_str!("remote/core.sh")));
    &CORE
}

/// The content of a script file: what the launcher needs, the environment, the text.
pub(super) fn script_file(token: &str, env: &[(String, String)], text: &str) -> String {
    static HEAD: LazyLock<String> = LazyLock::new(|| slim(include_str!("remote/head.sh")));
    let mut file = HEAD.clone();
    let _ = writeln!(file, "FLEETLIFT_TOKEN={token}\nexport FLEETLIFT_TOKEN");
    for (name, value) in env {
        let _ = writeln!(file, "{name}={}\nexport {name}", quote(value));
    }
    file.push_str(text);
    file
}

/// One word for a POSIX shell.
pub(super) fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
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

    const ALL: [Program; 5] =
        [Program::Launch, Program::Stop, Program::Look, Program::Upload, Program::Download];

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
        let value = "it's\n#end\n\"$x\" `y` \\ \n\n#";
        let text = program_text(Program::Stop, &[("x", value)]);
        assert_eq!(text.lines().filter(|line| *line == "#end").count(), 1);
        let end = text.find("umask 077").unwrap();
        let script = format!("{}printf %s \"$fl_x\"", &text[..end]);
        let output = Command::new("/bin/sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), value);
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
        let heads = [
            ENTER.to_owned(),
            READ.to_owned(),
            slim(include_str!("remote/head.sh")),
            core().to_owned(),
        ];
        let sources = [
            include_str!("remote/launch.sh"),
            include_str!("remote/stop.sh"),
            include_str!("remote/look.sh"),
            include_str!("remote/follow.sh"),
            include_str!("remote/upload.sh"),
            include_str!("remote/download.sh"),
        ];
        let common = include_str!("remote/common.sh");
        let programs = sources.map(|source| format!("{common}{source}"));
        for text in heads.iter().chain(&programs) {
            // SC2154 and SC2034: assigned and used by other parts. SC2317: functions that this part does not call.
            // SC2086: marks and modes are words by construction.
            let checker = Command::new("shellcheck")
                .args(["-s", "sh", "-e", "SC2154,SC2034,SC2317,SC2086", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn();
            let Ok(mut checker) = checker else {
                let on_ci = std::env::var_os("FLEETLIFT_CI").is_some_and(|v| v == "1");
                assert!(!on_ci, "no shellcheck");
                eprintln!("SKIPPED: no shellcheck here: apt-get install shellcheck");
                return;
            };
            checker.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let output = checker.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }

    #[test]
    fn every_shell_parses_the_programs() {
        for program in ALL {
            let text = program_text(program, &[("path", "x")]);
            for shell in [&["/bin/sh"][..], &["bash", "--posix"], &["busybox", "ash"], &["dash"]] {
                let mut command = Command::new(shell[0]);
                let child = command.args(&shell[1..]).arg("-n").stdin(Stdio::piped()).spawn();
                let Ok(mut child) = child else {
                    eprintln!("SKIPPED: no {} here", shell[0]);
                    continue;
                };
                child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
                assert!(child.wait().unwrap().success(), "{program:?} in {shell:?}");
            }
        }
    }
}
