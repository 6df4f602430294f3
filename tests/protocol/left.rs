//! Directories as launchers, power cuts and full disks leave them, and what the real scripts say of each, in every shell.

use crate::stage::{COMMON, CORE, HEAD, LAUNCH, LOCK, LOOK};
use std::{
    fs,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

const FOLLOW: &str = include_str!("../../src/host/ssh/remote/follow.sh");
const END: &str = include_str!("../../src/host/ssh/remote/end.sh");
const STOP: &str = include_str!("../../src/host/ssh/remote/stop.sh");

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "ash"]];

/// A host with one directory of a script.
struct Place {
    dir: TempDir,
    shell: &'static [&'static str],
}

impl Place {
    /// None where there is no such shell here.
    fn new(shell: &'static [&'static str]) -> Option<Self> {
        let probe = Command::new(shell[0]).args(&shell[1..]).args(["-c", ":"]).output();
        if probe.is_err() {
            let on_ci = std::env::var_os("FLEETLIFT_CI").is_some_and(|v| v == "1");
            assert!(!on_ci, "no {}", shell[0]);
            eprintln!("SKIPPED: no {} here", shell[0]);
            return None;
        }
        let dir = TempDir::with_prefix("fleetlift-left-").unwrap();
        // Nothing moves here that anybody could wait for: naps are short.
        fs::create_dir(dir.path().join("bin")).unwrap();
        std::os::unix::fs::symlink("/bin/true", dir.path().join("bin/sleep")).unwrap();
        Some(Self { dir, shell })
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("remote/run/host/step.1").join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// Runs a program as the host does, behind these lines of shell.
    fn run(&self, before: &str, values: &[(&str, &str)], program: &str) -> Output {
        let root = self.dir.path().join("remote").display().to_string();
        let mut text = format!("{before}\n");
        let always =
            [("root", root.as_str()), ("dir", "run/host/step.1"), ("out", "0"), ("err", "0")];
        for (name, value) in always.iter().chain(values) {
            text.push_str(&format!("fl_{name}='{}'\n", value.replace('\'', "'\\''")));
        }
        text.push_str(COMMON);
        text.push_str(program);
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.dir.path().join("bin").display());
        let mut child = Command::new(self.shell[0])
            .args(&self.shell[1..])
            .args(["-c", &text, "fleetlift", "mark"])
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdin.take());
        child.wait_with_output().unwrap()
    }

    /// What a program that asks about the script says of it.
    fn ask(&self, before: &str, program: &str) -> String {
        let output = self.run(before, &[], program);
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if let Some((_, no)) = err.split_once("mark-no ") {
            return format!("no: {}", no.split("mark-on").next().unwrap_or_default());
        }
        let said = out.split_once("mark-go\n").map_or("", |(_, said)| said);
        let (said, end) = said.split_once("mark-end ").unwrap_or((said, ""));
        let word = if said.trim().is_empty() { end } else { said };
        assert!(!word.trim().is_empty(), "no answer: {out}{err}");
        word.trim().to_owned()
    }

    fn launch(&self, before: &str, script: &str) -> Output {
        let values = [("machine", ""), ("core", CORE), ("script", script)];
        self.run(before, &values, &format!("{LOCK}{LAUNCH}"))
    }
}

fn look() -> String {
    format!("{LOCK}{LOOK}")
}

fn follow() -> String {
    format!("{LOCK}{FOLLOW}")
}

fn stop() -> String {
    format!("{END}{STOP}")
}

fn this_boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap()
}

/// A script file, by whose token its processes are found.
const TEXT: &str = "FLEETLIFT_TOKEN=left\n";
/// A number that no process has.
const NOBODY: &str = "4194304 1";

/// What a directory holds, and what every program says of it: look and follow, then stop.
struct Case {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    asked: &'static str,
    stopped: &'static str,
}

/// `THIS` and `OTHER` stand for boots. Whatever a power cut can leave is *lost* or ended, but for a directory of which nothing
/// is left: that it has not begun is believed only in the boot that was known before, which the controller asks for.
const CASES: [Case; 19] = [
    Case { name: "nothing", files: &[], asked: "never", stopped: "never" },
    Case {
        name: "a launcher that was ended before it had the name",
        files: &[("boot", "THIS"), ("died", ""), ("script.77", "half")],
        asked: "never",
        stopped: "never",
    },
    Case {
        name: "a name that was taken from it",
        files: &[("boot", "THIS"), ("script", "#never\n")],
        asked: "never",
        stopped: "never",
    },
    Case {
        name: "a name, and nobody who begins",
        files: &[("boot", "THIS"), ("script", TEXT)],
        asked: "never",
        stopped: "never",
    },
    Case {
        name: "a script of which only a part found room",
        files: &[("boot", "THIS"), ("script", "")],
        asked: "never",
        stopped: "never",
    },
    Case {
        name: "a second name that was taken from it",
        files: &[("boot", "THIS"), ("script", TEXT), ("pid", NOBODY), ("began", "#never\n")],
        asked: "never",
        stopped: "never",
    },
    Case {
        name: "begun, and gone",
        files: &[("boot", "THIS"), ("script", TEXT), ("pid", NOBODY), ("began", "")],
        asked: "lost its process is gone",
        stopped: "gone",
    },
    Case {
        name: "begun, and gone, and what was in its file with it",
        files: &[("boot", "THIS"), ("script", ""), ("pid", NOBODY), ("began", "")],
        asked: "lost its process is gone",
        stopped: "alive, or not",
    },
    Case {
        name: "begun, gone, and its result was not written",
        files: &[("boot", "THIS"), ("script", TEXT), ("pid", NOBODY), ("began", ""), ("exit", "")],
        asked: "lost its process is gone",
        stopped: "gone",
    },
    Case {
        name: "ended",
        files: &[
            ("boot", "THIS"),
            ("script", TEXT),
            ("pid", NOBODY),
            ("began", ""),
            ("exit", "3\n"),
        ],
        asked: "finished 3",
        stopped: "over",
    },
    Case {
        name: "ended by us",
        files: &[
            ("boot", "THIS"),
            ("script", TEXT),
            ("pid", NOBODY),
            ("began", ""),
            ("exit", "0\n"),
            ("stopped", ""),
        ],
        asked: "stopped",
        stopped: "gone",
    },
    Case {
        name: "a power cut, and all names are there",
        files: &[
            ("boot", ""),
            ("script", ""),
            ("pid", ""),
            ("began", ""),
            ("exit", ""),
            ("died", ""),
        ],
        asked: "lost the host was started anew",
        stopped: "gone",
    },
    Case {
        name: "a power cut, and only the name is there",
        files: &[("script", "")],
        asked: "lost the host was started anew",
        stopped: "gone",
    },
    Case {
        name: "a power cut, and only the script is there",
        files: &[("script", TEXT)],
        asked: "lost the host was started anew",
        stopped: "gone",
    },
    Case {
        name: "a power cut, and the second name is gone",
        files: &[("boot", "OTHER"), ("script", TEXT), ("pid", NOBODY)],
        asked: "lost the host was started anew",
        stopped: "gone",
    },
    Case {
        name: "a power cut, and the number is gone",
        files: &[("boot", "OTHER"), ("script", TEXT), ("pid", ""), ("began", "")],
        asked: "lost the host was started anew",
        stopped: "gone",
    },
    Case {
        name: "a power cut, and what was taken from it is empty",
        files: &[("boot", "OTHER"), ("script", ""), ("began", "")],
        asked: "lost the host was started anew",
        stopped: "gone",
    },
    Case {
        name: "a power cut after its end",
        files: &[
            ("boot", "OTHER"),
            ("script", TEXT),
            ("pid", NOBODY),
            ("began", ""),
            ("exit", "3\n"),
        ],
        asked: "finished 3",
        stopped: "over",
    },
    Case {
        name: "a power cut after its end, and the script is empty",
        files: &[("boot", ""), ("script", ""), ("exit", "0\n")],
        asked: "finished 0",
        stopped: "over",
    },
];

#[test]
fn what_something_left_is_told_as_it_is() {
    let this = format!("{}77\n", this_boot());
    let other = "11111111-1111-4111-8111-111111111111\n77\n";
    for (nth, shell) in SHELLS.into_iter().enumerate() {
        for (number, case) in CASES.iter().enumerate() {
            let all = [(look(), case.asked), (follow(), case.asked), (stop(), case.stopped)];
            // In the first shell every program of every case, in the others one of each: it is the same text.
            let some = |(n, _): &(usize, _)| nth == 0 || (number + nth) % 3 == *n;
            for (_, (program, wanted)) in all.into_iter().enumerate().filter(some) {
                let Some(place) = Place::new(shell) else { continue };
                for (name, text) in case.files {
                    let text = match *text {
                        "THIS" => &this,
                        "OTHER" => other,
                        text => text,
                    };
                    place.put(name, text);
                }
                let said = place.ask("", &program);
                let last = said.lines().last().unwrap_or_default();
                assert!(last.starts_with(wanted), "{shell:?}, {}: {said}, not {wanted}", case.name);
                if wanted == "never" {
                    // Whoever comes late finds it so, too, and does not begin.
                    assert_eq!(place.ask("", &look()), "never", "{shell:?}, {}", case.name);
                    let late = place.launch("", &script(&place));
                    assert!(!place.file("ran").exists(), "{shell:?}, {}: {late:?}", case.name);
                }
            }
        }
    }
}

/// A script file as it is sent, which tells that it ran.
fn script(place: &Place) -> String {
    format!("{HEAD}echo ran >>{}\n", place.file("ran").display())
}

/// The host was slow: its launcher has the first name, and whoever waited has taken the second.
#[test]
fn a_script_that_comes_too_late_to_its_second_name_does_not_begin() {
    for shell in SHELLS {
        let Some(place) = Place::new(shell) else { continue };
        place.put("boot", &format!("{}77\n", this_boot()));
        place.put("script", &script(&place));
        assert_eq!(place.ask("", &look()), "never", "{shell:?}");
        assert_eq!(place.text("began"), "#never\n", "{shell:?}");
        let core = core(&place, shell);
        assert!(!place.file("ran").exists() && !place.file("exit").exists(), "{shell:?}");
        let said = String::from_utf8_lossy(&core.stdout);
        assert!(!said.contains("mark-end"), "{shell:?}: {said}");
        assert_eq!(place.ask("", &look()), "never", "{shell:?}");
    }
}

/// Runs a place's script as the launcher does.
fn core(place: &Place, shell: &[&str]) -> Output {
    let file = place.file("").display().to_string();
    let place = file.trim_end_matches('/');
    let values = ["-c", CORE, "fleetlift", "mark", place, "setsid", "", "", ""];
    Command::new(shell[0]).args(&shell[1..]).args(values).output().unwrap()
}

/// Nothing but the words of the shell tells a signal from an exit code above 128, and not every shell has them by itself.
#[test]
fn a_signal_is_told_from_an_exit_code() {
    for (text, word) in [("kill -KILL $$", "KILL"), ("exit 137", "137"), ("exit 3", "3")] {
        for shell in SHELLS {
            let Some(place) = Place::new(shell) else { continue };
            place.put("script", &format!("{HEAD}{text}\n"));
            let ran = core(&place, shell);
            let said = String::from_utf8_lossy(&ran.stdout);
            assert!(said.contains(&format!("mark-end {word}\n")), "{shell:?}, {text}: {said}");
            assert_eq!(place.text("exit").trim(), word, "{shell:?}, {text}");
        }
    }
}

/// What is over it, or gone with it, says nothing of what has run.
#[test]
fn a_script_that_takes_its_directory_away_has_run() {
    for takes in ["rm -rf DIR", "mv DIR DIR.aside"] {
        for shell in SHELLS {
            let Some(place) = Place::new(shell) else { continue };
            let file = place.file("").display().to_string();
            let takes = takes.replace("DIR", file.trim_end_matches('/'));
            place.put("script", &format!("{HEAD}{takes}; exit 4\n"));
            let ran = core(&place, shell);
            let said = String::from_utf8_lossy(&ran.stdout);
            let err = String::from_utf8_lossy(&ran.stderr);
            assert!(said.contains("mark-end 4\n"), "{shell:?}, {takes}: {said}{err}");
            assert!(!err.contains("mark-no"), "{shell:?}, {takes}: {err}");
        }
    }
}

#[test]
fn a_script_whose_number_cannot_be_written_is_refused_and_does_not_begin() {
    for shell in SHELLS {
        let Some(place) = Place::new(shell) else { continue };
        fs::create_dir_all(place.file("pid")).unwrap();
        let output = place.launch("", &script(&place));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("mark-no cannot write into"), "{shell:?}: {said}");
        assert!(!place.file("ran").exists(), "{shell:?}");
        assert_eq!(place.ask("", &look()), "never", "{shell:?}");
    }
}

/// From here on files can be made, and nothing can be written into them, as on a disk without room.
const NO_ROOM: &str = "trap '' XFSZ; ulimit -f 0";

#[test]
fn on_a_full_disk_nobody_says_more_than_is_known() {
    for shell in SHELLS {
        for program in [look(), follow(), stop()] {
            let Some(place) = Place::new(shell) else { continue };
            // Its directory cannot be made.
            fs::create_dir_all(place.dir.path().join("remote")).unwrap();
            fs::write(place.dir.path().join("remote/run"), "").unwrap();
            let said = place.ask("", &program);
            assert!(said.starts_with("open it has not begun"), "{shell:?}: {said}");
            // The first name cannot be taken; then the second.
            let Some(place) = Place::new(shell) else { continue };
            let said = place.ask(NO_ROOM, &program);
            assert!(said.starts_with("open it has not begun"), "{shell:?}: {said}");
            assert!(!place.file("script").exists(), "{shell:?}");
            place.put("boot", &format!("{}77\n", this_boot()));
            place.put("script", TEXT);
            let said = place.ask(NO_ROOM, &program);
            assert!(said.starts_with("open it has not begun"), "{shell:?}: {said}");
            assert!(!place.file("began").exists(), "{shell:?}");
            // There is room again.
            assert_eq!(place.ask("", &program), "never", "{shell:?}");
        }
    }
}

/// The shell of the launcher makes the name itself, and then the text finds no room.
#[test]
fn a_script_that_finds_no_room_is_refused_and_can_be_sent_again() {
    for shell in SHELLS {
        let Some(place) = Place::new(shell) else { continue };
        // Room for the small files, and not for this one. Shells count in blocks of 512 or 1024 bytes.
        let long = format!("{}{}", script(&place), "# so that it is long\n".repeat(80));
        let output = place.launch("trap '' XFSZ; ulimit -f 1", &long);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("mark-no cannot name"), "{shell:?}: {said}");
        assert!(!place.file("script").exists() && !place.file("ran").exists(), "{shell:?}");
        let output = place.launch("", &script(&place));
        assert!(place.file("ran").exists(), "{shell:?}: {output:?}");
        assert_eq!(place.ask("", &look()), "finished 0", "{shell:?}");
    }
}

/// On a host without boot ids a name that is missing may have been lost with the power.
#[test]
fn without_boot_ids_what_had_its_name_is_never_told_not_to_have_begun() {
    for shell in SHELLS {
        let Some(place) = Place::new(shell) else { continue };
        place.put("boot", "\n77\n");
        place.put("script", TEXT);
        // The first of them takes the second name; the others find it taken.
        for program in [look(), follow(), look(), stop()] {
            let program = program.replace("/proc/sys/kernel/random/boot_id", "/nonexistent");
            let text = COMMON.replace("/proc/sys/kernel/random/boot_id", "/nonexistent");
            let said = place.ask("", &format!("{text}{program}"));
            assert!(said.starts_with("lost the host has no boot id"), "{shell:?}: {said}");
        }
    }
}

/// A taker of the lock keeps from beginning what has its name, and of which nobody is left who would begin it.
#[test]
fn whoever_takes_the_lock_leaves_nothing_behind_that_may_still_begin() {
    for shell in SHELLS {
        let Some(place) = Place::new(shell) else { continue };
        place.put("boot", &format!("{}4194304\n", this_boot()));
        place.put("script", &script(&place));
        let question = format!(
            "{LOCK}fl_run=other\nfl_find_boot\nif fl_is_at_work; then echo busy; else echo free; fi\n"
        );
        let output = place.run("", &[], &question);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "free\n", "{shell:?}");
        assert_eq!(place.text("began"), "#never\n", "{shell:?}");
        // Where that cannot be written down, it may still begin.
        fs::remove_file(place.file("began")).unwrap();
        let output = place.run(NO_ROOM, &[], &question);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "busy\n", "{shell:?}");
    }
}
