//! Text for people: made safe for a terminal, shortened, folded.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

/// Whether a character could steer a terminal, or hide or reorder what stands beside it.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A single line that cannot steer a terminal: controls become visible escapes (`\n`, `\u{1b}`).
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\t' => safe.push(' '),
            c if is_unsafe(c) => safe.extend(c.escape_default()),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// JSON that cannot steer a terminal, and means the same: what JSON lets stand raw in a text becomes `\\u009b`.
pub fn safe_json(json: &str) -> Cow<'_, str> {
    let steers = |c: char| is_unsafe(c) && c != '\n';
    if !json.contains(steers) {
        return Cow::Borrowed(json);
    }
    let mut safe = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if steers(c) {
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// Output of a host, as lines that cannot steer a terminal. Bytes that are not UTF-8 become `\xNN`; a line that was
/// overwritten by carriage returns shows what stood there last.
pub fn safe_lines(bytes: &[u8]) -> Vec<String> {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.lines()
        .map(|line| {
            let line = line.trim_end_matches('\r');
            let last = line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or(line);
            one_line(last).into_owned()
        })
        .collect()
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// A name as a part of a file's path: whatever could lead elsewhere becomes `_`.
pub fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let name: String = name.chars().map(safe).collect();
    match name.as_str() {
        "" | "." | ".." => "_".to_owned(),
        _ => name,
    }
}

/// A script in one line: its first command, and how many lines follow.
pub fn first_command(script: &str) -> String {
    let mut lines = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("set -"));
    let first = lines.next().unwrap_or_default().to_owned();
    match lines.count() {
        0 => first,
        1 => format!("{first} … +1 line"),
        n => format!("{first} … +{n} lines"),
    }
}

/// At most `width` characters, the cut shown by `…`.
pub fn shorten(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    Cow::Owned(short)
}

/// Folds names that differ in their last number: `web-01 web-02 web-04` becomes `web-[01-02,04]`. Keeps first order.
pub fn fold_names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut order: Vec<(&str, &str, usize)> = Vec::new();
    let mut numbers: BTreeMap<(&str, &str, usize), Vec<u64>> = BTreeMap::new();
    let mut parts: Vec<Result<(&str, &str, usize), &str>> = Vec::new();
    for name in names {
        match split_number(name) {
            Some((head, digits, tail)) => {
                // Unpadded numbers fold together whatever their length; padded ones only with their own width.
                let width =
                    if digits.starts_with('0') && digits.len() > 1 { digits.len() } else { 0 };
                let twin = (head, tail, digits.len());
                let key = if numbers.contains_key(&twin) { twin } else { (head, tail, width) };
                let Ok(number) = digits.parse() else {
                    parts.push(Err(name));
                    continue;
                };
                let seen = numbers.entry(key).or_default();
                if seen.is_empty() {
                    order.push(key);
                    parts.push(Ok(key));
                }
                seen.push(number);
            }
            None => parts.push(Err(name)),
        }
    }
    let shown: Vec<String> = parts
        .into_iter()
        .map(|part| match part {
            Ok(key) => write_range(key, numbers.remove(&key).unwrap_or_default()),
            Err(name) => name.to_owned(),
        })
        .collect();
    shown.join(" ")
}

fn split_number(name: &str) -> Option<(&str, &str, &str)> {
    let end = name.rfind(|c: char| c.is_ascii_digit())? + 1;
    let start = name[..end]
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |i| i + name[i..].chars().next().map_or(1, char::len_utf8));
    Some((&name[..start], &name[start..end], &name[end..]))
}

fn write_range((head, tail, width): (&str, &str, usize), mut numbers: Vec<u64>) -> String {
    numbers.sort_unstable();
    numbers.dedup();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for n in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == n => *last = n,
            _ => runs.push((n, n)),
        }
    }
    let one = |n: u64| format!("{n:0width$}");
    let inner: Vec<String> = runs
        .iter()
        .map(|(a, b)| if a == b { one(*a) } else { format!("{}-{}", one(*a), one(*b)) })
        .collect();
    match (runs.as_slice(), inner.as_slice()) {
        ([(a, b)], [only]) if a == b => format!("{head}{only}{tail}"),
        _ => format!("{head}[{}]{tail}", inner.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_become_visible() {
        assert_eq!(one_line("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(one_line("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(one_line("数据库"), "数据库");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let text = "a\u{9b}2J\u{202e}b\u{feff}\n";
        let json = serde_json::to_string_pretty(&vec![text]).unwrap();
        let safe = safe_json(&json);
        assert_eq!(safe, "[\n  \"a\\u009b2J\\u202eb\\ufeff\\n\"\n]");
        assert_eq!(serde_json::from_str::<Vec<String>>(&safe).unwrap(), [text]);
    }

    #[test]
    fn output_is_shown_as_a_terminal_would_leave_it() {
        assert_eq!(safe_lines(b"10%\r50%\r100%\nok\xff\r\nlast"), ["100%", "ok\\xff", "last"]);
    }

    #[test]
    fn names_fold_by_their_last_number() {
        let fold = |text: &str| fold_names(text.split(' '));
        assert_eq!(fold("web-01 web-02 web-04 db"), "web-[01-02,04] db");
        assert_eq!(fold("web-09 web-10 web-11"), "web-[09-11]");
        assert_eq!(fold("h1 h2 h10"), "h[1-2,10]");
        assert_eq!(fold("a7"), "a7");
        assert_eq!(fold("r1.example r2.example"), "r[1-2].example");
        assert_eq!(fold("数1库 数2库"), "数[1-2]库");
    }
}
