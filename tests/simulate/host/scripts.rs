//! Scripts as a host knows them: what they ask for, and what stands in their directories.

use fleetlift::host::Exit;

/// What a script or a file asks a host to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sentence {
    Facts,
    /// One of the words `run`, `guard`, `verify`, `probe`, `disarm`, `reboot`, `until`, `wait`, `local`, and a step.
    Say {
        word: String,
        step: String,
    },
}

/// Why a script is begun: the attempt that was open in the journal when it was sent.
#[derive(Clone, Debug)]
pub struct Cause {
    pub step: String,
    pub attempt: u32,
}

/// A script's directory on a host.
#[derive(Clone, Debug)]
pub enum Dir {
    /// Its name was taken by somebody who asked for it before it began.
    Never,
    Begun(Begun),
}

#[derive(Clone, Debug)]
pub struct Begun {
    pub boot: u32,
    pub began: u64,
    /// When it will end, if it is let.
    pub ends: u64,
    pub exit: Exit,
    pub killable: bool,
    pub ended: Option<Exit>,
    /// Its process has gone without a result.
    pub gone: bool,
    pub out: String,
    pub(super) sentence: Sentence,
    pub(super) cause: Cause,
    /// Whether its work is in place at its end.
    pub(super) works: bool,
}

impl Begun {
    /// What stands in its output file.
    pub fn printed(&self, now: u64) -> &str {
        if self.ended.is_some() || now >= self.ends {
            return &self.out;
        }
        let (part, whole) = (now.saturating_sub(self.began), (self.ends - self.began).max(1));
        // All that is printed is ASCII.
        &self.out[..(self.out.len() as u64 * part / whole) as usize]
    }

    pub fn runs(&self) -> bool {
        self.ended.is_none() && !self.gone
    }
}

impl Begun {
    /// Whether it is the script of a step, not a question beside it.
    pub(super) fn is_work(&self) -> bool {
        matches!(&self.sentence, Sentence::Say { word, .. } if ["run", "local", "disarm"].contains(&word.as_str()))
    }
}
