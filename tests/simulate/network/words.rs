//! What scripts and files of made-up playbooks ask for.

use crate::host::Sentence;

/// Reads what a script asks for.
pub fn sentence(text: &str) -> Sentence {
    let say = |word: &str, step: String| Sentence::Say { word: word.to_owned(), step };
    // A host that keeps no list of its boots answers that question with anything but one.
    if text.contains("boot_id=") || text.contains("# fleetlift-") {
        return Sentence::Facts;
    }
    if let Some(path) = text.strip_prefix("test -e ") {
        return say("wait", path_step(path));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["sim", word, hop, phase, step, ..] => say(word, format!("{hop}.{phase}.{step}")),
        _ => say("reboot", String::new()),
    }
}

/// `/sim/0/migrate/prepare` is about `0.migrate.prepare`.
pub(super) fn path_step(path: &str) -> String {
    path.trim_start_matches("/sim/").replace('/', ".")
}
