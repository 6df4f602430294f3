//! A plan in a file: one line about it, then the plan's own text, which is what its digest is of.

use super::model::{PLAN_FORMAT, Plan};
use crate::base::digest::digest;
use serde::{Deserialize, Serialize};

/// Stands in the first line, so that another file is not taken for a plan.
const KIND: &str = "fleetlift plan";
/// The version of this program, which is a part of what was planned: it brings the steps that are built in.
pub const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// The first line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    kind: String,
    format: u32,
    program: String,
    digest: String,
    /// The length of the plan's text.
    bytes: usize,
}

/// A saved plan as it was read.
#[derive(Clone, Debug)]
pub struct Saved {
    pub plan: Plan,
    pub text: String,
    pub digest: String,
    /// The version of the program that made it.
    pub program: String,
}

/// Why a file is not a saved plan that this program can take.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    #[error("this is not a saved plan")]
    NoPlan,
    #[error("the plan has form {has}, this version of fleetlift reads {reads}", reads = PLAN_FORMAT)]
    Format { has: u32 },
    #[error("the plan is cut off: {has} of {wanted} bytes are there")]
    CutOff { has: usize, wanted: usize },
    #[error("the plan was changed after it was saved: its digest is {has}, and should be {wanted}")]
    Edited { has: String, wanted: String },
    #[error("the plan cannot be read, although it is as it was saved")]
    Unreadable(#[from] serde_json::Error),
}

/// The file's text for a plan. The same plan gives the same bytes.
pub fn write(text: &str, digest: &str) -> Result<String, SavedError> {
    let head = Head {
        kind: KIND.to_owned(),
        format: PLAN_FORMAT,
        program: PROGRAM.to_owned(),
        digest: digest.to_owned(),
        bytes: text.len(),
    };
    Ok(format!("{}\n{text}\n", serde_json::to_string(&head)?))
}

/// Reads the file's bytes. A plan of another version of the program is read, so that it can be looked at.
pub fn read(bytes: &[u8]) -> Result<Saved, SavedError> {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(end);
    // Other forms may have other keys; the kind and the number of the form stand in each.
    let first: serde_json::Value = serde_json::from_slice(line).map_err(|_| SavedError::NoPlan)?;
    let format = first["format"].as_u64().and_then(|number| u32::try_from(number).ok());
    let (KIND, Some(has)) = (first["kind"].as_str().unwrap_or_default(), format) else {
        return Err(SavedError::NoPlan);
    };
    if has != PLAN_FORMAT {
        return Err(SavedError::Format { has });
    }
    let head: Head = serde_json::from_value(first).map_err(|_| SavedError::NoPlan)?;
    let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    // An editor, or a copy by hand, may have taken or added the last line's end.
    let text = rest.strip_suffix(b"\n").unwrap_or(rest);
    let found = digest(text);
    if found != head.digest || text.len() != head.bytes {
        let (has, wanted) = (text.len(), head.bytes);
        let ends = serde_json::from_slice::<serde::de::IgnoredAny>(text);
        // What is missing from the end was cut off; what is missing elsewhere was taken out by somebody.
        return Err(match ends.is_err_and(|error| error.is_eof()) && has < wanted {
            true => SavedError::CutOff { has, wanted },
            false => SavedError::Edited { has: found, wanted: head.digest },
        });
    }
    let plan: Plan = serde_json::from_slice(text)?;
    let text = String::from_utf8_lossy(text).into_owned();
    Ok(Saved { plan, text, digest: head.digest, program: head.program })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{inventory::Inventory, playbook, rollout::Rollout};

    fn plan() -> (String, String) {
        let playbook = playbook::read("debian12-to-debian13").unwrap();
        let none = std::collections::BTreeSet::new();
        let mut rollout = Rollout::default();
        rollout.waves.clear();
        let built =
            crate::plan::build(&Inventory::default(), &playbook, &rollout, "@all", &none).unwrap();
        let text = serde_json::to_string(&built).unwrap();
        let digest = digest(text.as_bytes());
        (text, digest)
    }

    #[test]
    fn what_was_written_is_read() {
        let (text, digest) = plan();
        let file = write(&text, &digest).unwrap();
        let saved = read(file.as_bytes()).unwrap();
        assert_eq!((saved.text, saved.digest), (text, digest));
        assert_eq!(saved.program, PROGRAM);
        // Without its last line's end it is the same plan.
        assert!(read(file.trim_end().as_bytes()).is_ok());
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_no_plan() {
        let (text, digest) = plan();
        let file = write(&text, &digest).unwrap();
        let whole = file.trim_end().len();
        for end in (0..whole).step_by(97).chain(whole - 5..whole) {
            let error = read(&file.as_bytes()[..end]).unwrap_err();
            let told = matches!(
                error,
                SavedError::NoPlan | SavedError::CutOff { .. } | SavedError::Edited { .. }
            );
            assert!(told, "{end}: {error}");
        }
    }

    #[test]
    fn a_byte_that_differs_is_seen_wherever_it_is() {
        let (text, digest) = plan();
        let file = write(&text, &digest).unwrap().into_bytes();
        let plan_from = file.iter().position(|b| *b == b'\n').unwrap() + 1;
        for at in (0..file.len() - 1).step_by(53) {
            let mut other = file.clone();
            other[at] ^= 1;
            match read(&other) {
                Err(SavedError::Edited { .. } | SavedError::CutOff { .. }) => {}
                Err(SavedError::NoPlan | SavedError::Format { .. }) => assert!(at < plan_from),
                Err(error @ SavedError::Unreadable(_)) => panic!("{at}: {error}"),
                // The version of the program stands in the first line alone; `apply` looks at it.
                Ok(saved) => assert_ne!(saved.program, PROGRAM, "{at}"),
            }
        }
    }

    #[test]
    fn other_files_and_other_forms_are_told_apart() {
        for other in ["", "\n", "{}", "name = 1\n", "\u{0}\u{1}", "{\"kind\":\"x\",\"format\":1}\n"]
        {
            assert!(matches!(read(other.as_bytes()), Err(SavedError::NoPlan)), "{other:?}");
        }
        let later = format!("{{\"kind\":\"{KIND}\",\"format\":99,\"new\":[]}}\nwhatever");
        assert!(matches!(read(later.as_bytes()), Err(SavedError::Format { has: 99 })));
    }
}
