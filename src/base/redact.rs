//! Redaction: secrets never leave the controller's memory by way of an output, a record or a log.

use aho_corasick::{AhoCorasick, MatchKind};
use std::borrow::Cow;

/// What stands where a secret stood.
pub const REDACTED: &str = "[redacted]";

/// Secrets shorter than this are not looked for: they would blank out ordinary text.
const SECRET_BYTES_MIN: usize = 4;

/// Parts of names, in small letters, that hint at a secret.
const SECRET_NAMES: [&str; 5] = ["pass", "pasw", "pwd", "secret", "token"];

/// Whether the name of a key or a variable says that its value had better not be shown.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// The line up to what follows a name that hints at a secret: `DB_PASSWORD=…`, `token: …`, `--password …`.
pub fn veil(line: &str) -> Cow<'_, str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    for (at, sign) in line.match_indices(|c: char| matches!(c, '=' | ':') || c.is_whitespace()) {
        let before = line[..at].trim_end_matches(['"', '\'', ' ']);
        let word = before.rsplit(|c| !is_part(c)).next().unwrap_or_default();
        let names = matches!(sign, "=" | ":") || word.starts_with('-');
        let rest = &line[at + sign.len()..];
        if names && is_secret_name(word) && !rest.trim().is_empty() {
            return Cow::Owned(format!("{}***", &line[..at + sign.len()]));
        }
    }
    Cow::Borrowed(line)
}

/// Replaces known secrets in text.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    secrets: Option<AhoCorasick>,
    /// The longest secret, in bytes.
    longest: usize,
}

impl Redactor {
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let wanted: Vec<&str> =
            secrets.into_iter().filter(|s| s.len() >= SECRET_BYTES_MIN).collect();
        if wanted.is_empty() {
            return Self::default();
        }
        let longest = wanted.iter().map(|secret| secret.len()).max().unwrap_or(0);
        // Building fails only beyond 2^31 bytes of patterns.
        let secrets = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(wanted);
        Self { secrets: secrets.ok(), longest }
    }

    pub fn is_empty(&self) -> bool {
        self.secrets.is_none()
    }

    /// How many of these bytes can be redacted now, when more may follow: what is left over may be the beginning of a
    /// secret, and no secret is cut in two.
    pub fn settled(&self, bytes: &[u8]) -> usize {
        let Some(secrets) = &self.secrets else { return bytes.len() };
        let end = bytes.len().saturating_sub(self.longest.saturating_sub(1));
        let across = secrets.find_iter(bytes).find(|found| found.end() > end);
        across.filter(|found| found.start() < end).map_or(end, |found| found.end())
    }

    /// The text without its secrets.
    pub fn redact(&self, text: &str) -> String {
        match &self.secrets {
            None => text.to_owned(),
            Some(secrets) => {
                let blanks = vec![REDACTED; secrets.patterns_len()];
                secrets.replace_all(text, &blanks)
            }
        }
    }

    /// The bytes without their secrets.
    pub fn redact_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        match &self.secrets {
            None => bytes.to_vec(),
            Some(secrets) => {
                let blanks = vec![REDACTED; secrets.patterns_len()];
                secrets.replace_all_bytes(bytes, &blanks)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known() {
        for name in ["password", "DB_PASSWD", "sudo_password", "secret", "api_token", "pasword"] {
            assert!(is_secret_name(name), "{name}");
        }
        assert!(!is_secret_name("path"));
    }

    #[test]
    fn what_may_become_a_secret_is_not_settled() {
        let redactor = Redactor::new(["hunter22", "pass"]);
        assert_eq!(redactor.settled(b"......hunter2"), 6);
        assert_eq!(redactor.settled(b"......hunter22"), 7 + 7);
        assert_eq!(redactor.settled(b"......hunter22.........."), 17);
        assert_eq!(redactor.settled(b"hunt"), 0);
        assert_eq!(Redactor::default().settled(b"hunt"), 4);
    }

    #[test]
    fn what_follows_a_secrets_name_is_veiled() {
        for (line, shown) in [
            ("export DB_PASSWORD=hunter2 x", "export DB_PASSWORD=***"),
            ("\"token\": \"abc\",", "\"token\":***"),
            ("mysql --password hunter2", "mysql --password ***"),
            ("mysql --password=hunter2", "mysql --password=***"),
            ("password = 'x'", "password =***"),
            ("test -f /etc/passwd && echo x", "test -f /etc/passwd && echo x"),
            ("user=admin é", "user=admin é"),
            ("éé password=é", "éé password=***"),
            ("token=", "token="),
        ] {
            assert_eq!(veil(line), shown);
        }
    }

    #[test]
    fn secrets_vanish_and_the_rest_stays() {
        let redactor = Redactor::new(["hunter22", "x"]);
        assert_eq!(redactor.redact("pw=hunter22; x"), "pw=[redacted]; x");
        assert_eq!(Redactor::default().redact("as it is"), "as it is");
    }
}
