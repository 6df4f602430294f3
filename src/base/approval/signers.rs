//! Files of OpenSSH: who signs with which key (`ALLOWED SIGNERS` of ssh-keygen), and keys that are revoked.

use super::NAMESPACE;
use crate::base::{
    fault::{Refusal, Source},
    name::Principal,
    shape::Collector,
    time::Timestamp,
};
use russh::keys::ssh_key::PublicKey;
use std::ops::Range;

/// A line of a file of allowed signers.
#[derive(Clone, Debug)]
pub struct Allowed {
    principals: String,
    namespaces: Option<String>,
    /// From when, and until when, the key signs.
    pub after: Option<Timestamp>,
    pub before: Option<Timestamp>,
    pub key: PublicKey,
}

impl Allowed {
    /// Whether the line is about this person, and about approvals.
    pub fn is_for(&self, principal: &Principal) -> bool {
        let ours = self.namespaces.as_deref().is_none_or(|list| matches_list(list, NAMESPACE));
        ours && matches_list(&self.principals, principal.as_str())
    }
}

/// Reads a file of allowed signers. Every fault of it is collected.
pub fn read_signers(source: &Source, out: &mut Collector<'_>) -> Vec<Allowed> {
    lines(source)
        .filter_map(|(range, line)| match allowed(line) {
            Ok(allowed) => Some(allowed),
            Err(refusal) => {
                refuse(out, range, refusal);
                None
            }
        })
        .collect()
}

/// Reads a list of revoked public keys.
pub fn read_revoked(source: &Source, out: &mut Collector<'_>) -> Vec<PublicKey> {
    lines(source)
        .filter_map(|(range, line)| match PublicKey::from_openssh(line) {
            Ok(key) => Some(key),
            Err(error) => {
                let refusal = Refusal::new(format!("this is not a public key: {error}"))
                    .hint("one key on a line, as in a file `….pub`; a KRL cannot be read");
                refuse(out, range, refusal);
                None
            }
        })
        .collect()
}

fn refuse(out: &mut Collector<'_>, range: Range<usize>, refusal: Refusal) {
    match refusal.hint {
        Some(hint) => out.add_with_hint(&range, refusal.message, hint),
        None => out.add(&range, refusal.message),
    }
}

/// Lines that say something, with their places.
fn lines(source: &Source) -> impl Iterator<Item = (Range<usize>, &str)> {
    let mut start = 0;
    source.text.split_inclusive('\n').filter_map(move |whole| {
        let at = start;
        start += whole.len();
        let line = whole.trim();
        let indent = whole.len() - whole.trim_start().len();
        let says = !line.is_empty() && !line.starts_with('#');
        says.then(|| (at + indent..at + indent + line.len(), line))
    })
}

fn allowed(line: &str) -> Result<Allowed, Refusal> {
    let form = "a line is `cto namespaces=\"fleetlift-approval\" ssh-ed25519 AAAA…`";
    let (principals, rest) = word(line)?;
    let principals = unquoted(principals).to_owned();
    let rest = rest.trim_start();
    if rest.is_empty() {
        return Err(Refusal::new("there is no key on this line").hint(form));
    }
    let mut found = Options::default();
    // Options stand before the key; what begins with the name of a kind of key is one.
    let key = match PublicKey::from_openssh(rest) {
        Ok(key) => key,
        Err(error) => {
            let (options, rest) = word(rest)?;
            if is_kind(options) {
                let message = format!("the key cannot be read: {error}");
                return Err(Refusal::new(message).hint("copy the line of its file `….pub`"));
            }
            found = options_of(options)?;
            PublicKey::from_openssh(rest.trim_start()).map_err(|error| {
                Refusal::new(format!("the key cannot be read: {error}")).hint(form)
            })?
        }
    };
    let Options { namespaces, after, before } = found;
    Ok(Allowed { principals, namespaces, after, before, key })
}

fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| word.starts_with(kind))
}

#[derive(Default)]
struct Options {
    namespaces: Option<String>,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
}

fn options_of(text: &str) -> Result<Options, Refusal> {
    let mut found = Options::default();
    for option in split_outside_quotes(text, ',') {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = unquoted(value);
        match name.to_ascii_lowercase().as_str() {
            "cert-authority" => {
                return Err(Refusal::new("certificates are not supported here")
                    .hint("list each signer with a key of their own"));
            }
            "namespaces" => found.namespaces = Some(value.to_owned()),
            "valid-after" => found.after = Some(time(value)?),
            "valid-before" => found.before = Some(time(value)?),
            other => return Err(Refusal::new(format!("`{other}` is not an option of a signer"))),
        }
    }
    Ok(found)
}

/// `20261121Z`, `202611210915Z` or `20261121091502Z`. Without the `Z` it would be of whoever's clock reads it.
fn time(text: &str) -> Result<Timestamp, Refusal> {
    let bad = || {
        Refusal::new(format!("`{text}` is not a time that everybody reads alike"))
            .hint("write it in UTC, with its Z: 20261121Z, or 202611210915Z")
    };
    let digits = text.strip_suffix('Z').ok_or_else(bad)?;
    let part = |at: Range<usize>| digits.get(at).unwrap_or("00");
    let right = digits.bytes().all(|b| b.is_ascii_digit()) && matches!(digits.len(), 8 | 12 | 14);
    let whole = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0..4),
        part(4..6),
        part(6..8),
        part(8..10),
        part(10..12),
        part(12..14)
    );
    if right { whole.parse().map_err(|_| bad()) } else { Err(bad()) }
}

/// The first word, where quotes hold blanks together, and what follows it.
fn word(text: &str) -> Result<(&str, &str), Refusal> {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return Ok((&text[..at], &text[at..])),
            _ => {}
        }
    }
    if quoted { Err(Refusal::new("a quotation mark is not closed")) } else { Ok((text, "")) }
}

fn split_outside_quotes(text: &str, by: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == by && !quoted
    })
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

/// Whether one pattern of the list fits, and none that is denied by `!`.
fn matches_list(list: &str, text: &str) -> bool {
    let mut fits = false;
    for pattern in list.split(',') {
        match pattern.strip_prefix('!') {
            Some(denied) if matches(denied, text) => return false,
            Some(_) => {}
            None => fits |= matches(pattern, text),
        }
    }
    fits
}

/// `*` is any number of characters, `?` is one.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    // Where the last star stands, and how much of the text it takes so far.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            Some(_) | None => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn read(text: &str) -> Result<Allowed, String> {
        allowed(text).map_err(|refusal| refusal.message)
    }

    #[test]
    fn lines_of_the_file_are_read() {
        let cto: Principal = "cto@example.com".parse().unwrap();
        for (line, fits) in [
            (format!("cto@example.com {KEY}"), true),
            (format!("cto@example.com {KEY} a comment"), true),
            (format!("dba@example.com,cto@example.com {KEY}"), true),
            (format!("*@example.com {KEY}"), true),
            (format!("*@example.com,!cto@* {KEY}"), false),
            (format!("\"cto@example.com\" {KEY}"), true),
            (format!("ct?@example.com {KEY}"), true),
            (format!("cto {KEY}"), false),
            (format!("* namespaces=\"fleetlift-approval\" {KEY}"), true),
            (format!("* namespaces=\"git,fleetlift-*\" {KEY}"), true),
            (format!("* namespaces=\"git\" {KEY}"), false),
            (format!("* NAMESPACES=git {KEY}"), false),
            (format!("* valid-after=\"20260101Z\",valid-before=20270101120000Z {KEY}"), true),
        ] {
            assert_eq!(read(&line).unwrap().is_for(&cto), fits, "{line}");
        }
        let bounded =
            read(&format!("* valid-after=\"20260101Z\",valid-before=202701011200Z {KEY}"));
        let (after, before) = bounded.map(|line| (line.after, line.before)).unwrap();
        assert_eq!(after.unwrap().to_string(), "2026-01-01T00:00:00.000Z");
        assert_eq!(before.unwrap().to_string(), "2027-01-01T12:00:00.000Z");
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        for (line, word) in [
            (format!("ca cert-authority {KEY}"), "certificates"),
            (format!("cto valid-after=20260101 {KEY}"), "everybody"),
            (format!("cto valid-after=20261301Z {KEY}"), "everybody"),
            (format!("cto shape=round {KEY}"), "not an option"),
            ("cto".to_owned(), "no key"),
            ("cto ssh-ed25519 AAAA".to_owned(), "cannot be read"),
            (format!("\"cto {KEY}"), "quotation mark"),
        ] {
            let message = read(&line).unwrap_err();
            assert!(message.contains(word), "{line}: {message}");
        }
    }
}
