//! What the archive does wrong on purpose.

use std::{fs, io, net::IpAddr, path::Path, str::FromStr};

/// How an answer is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// "503 Service Unavailable".
    Refuse,
    /// The connection ends in the middle of the file.
    Cut,
    /// The first byte is another one, so that the digest is wrong.
    Corrupt,
    /// No answer, until the fault is taken away or whoever asked has left.
    Hang,
}

/// A line of the file of faults that says nothing known.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{0}' is no fault of the archive: it knows refuse, cut, corrupt and hang, each followed by a part of the address, \
     and by who alone is answered so, where not everybody is"
)]
pub struct UnknownFault(String);

/// A fault, for which addresses, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    fault: Fault,
    part: String,
    /// Only who asks from here; everybody where it is absent.
    asker: Option<IpAddr>,
}

impl Rule {
    fn concerns(&self, address: &str, asker: IpAddr) -> bool {
        address.contains(&self.part) && self.asker.is_none_or(|only| only == asker)
    }
}

impl FromStr for Rule {
    type Err = UnknownFault;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownFault(line.to_owned());
        let words: Vec<&str> = line.split_whitespace().collect();
        let (word, part, asker) = match *words {
            [word, part] => (word, part, None),
            [word, part, asker] => (word, part, Some(asker.parse().map_err(|_| unknown())?)),
            _ => return Err(unknown()),
        };
        let fault = match word {
            "refuse" => Fault::Refuse,
            "cut" => Fault::Cut,
            "corrupt" => Fault::Corrupt,
            "hang" => Fault::Hang,
            _ => return Err(unknown()),
        };
        Ok(Self { fault, part: part.to_owned(), asker })
    }
}

/// The fault for an address and who asks for it, by a file that is read anew for each question; without the file there is
/// none. A line that cannot be read is told and breaks nothing.
pub(super) fn of(file: &Path, address: &str, asker: IpAddr) -> io::Result<Option<Fault>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match line.parse::<Rule>() {
            Ok(rule) if rule.concerns(address, asker) => return Ok(Some(rule.fault)),
            Ok(_) => {}
            Err(error) => eprintln!("{}: {error}", file.display()),
        }
    }
    Ok(None)
}
