//! Ranges in names: `web-[01:08]` as Ansible writes it, `web-[01-08,12]` as ClusterShell does, `[a:c]`, and steps
//! (`[1:9:2]`, `[1-9/2]`).

use super::fault::Refusal;
use std::ops::Range;

/// The most names that one text may stand for: ten times the largest fleet that the program is made for.
pub const NAMES_MAX: usize = 100_000;

/// Every name that the text stands for, in order; the last range turns fastest. Without a range, the text itself.
pub fn expand(text: &str) -> Result<Vec<String>, Refusal> {
    let mut names = vec![String::new()];
    for piece in pieces(text)? {
        match piece {
            Piece::Literal(literal) => names.iter_mut().for_each(|name| name.push_str(literal)),
            Piece::Items(items, place) => {
                let count: u64 = items.iter().map(Item::count).fold(0, u64::saturating_add);
                if count.saturating_mul(names.len() as u64) > NAMES_MAX as u64 {
                    let message = format!("this stands for more than {NAMES_MAX} names");
                    return Err(Refusal::new(message).at(place));
                }
                names = names
                    .iter()
                    .flat_map(|head| items.iter().flat_map(move |item| item.values(head)))
                    .collect();
            }
        }
    }
    Ok(names)
}

/// Splits at the separators that stand outside brackets; with the places of the parts.
pub fn split_outside(text: &str, separator: char) -> Result<Vec<Range<usize>>, Refusal> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut open = None;
    for (i, c) in text.char_indices() {
        match (c, open) {
            ('[', None) => open = Some(i),
            (']', Some(_)) => open = None,
            (c, None) if c == separator => {
                parts.push(start..i);
                start = i + c.len_utf8();
            }
            _ => {}
        }
    }
    if let Some(open) = open {
        return Err(unclosed(open));
    }
    parts.push(start..text.len());
    Ok(parts)
}

enum Piece<'a> {
    Literal(&'a str),
    Items(Vec<Item>, Range<usize>),
}

/// Numbers or letters with equal distances.
struct Item {
    first: u64,
    last: u64,
    step: u64,
    /// How a value is written.
    form: Form,
}

enum Form {
    Number { width: usize },
    Letter,
}

impl Item {
    fn count(&self) -> u64 {
        (self.last - self.first) / self.step + 1
    }

    fn values<'a>(&'a self, head: &'a str) -> impl Iterator<Item = String> + 'a {
        (0..self.count()).map(move |i| {
            let value = self.first + i * self.step;
            match self.form {
                Form::Number { width } => format!("{head}{value:0width$}"),
                // Only ASCII letters are made into items.
                Form::Letter => format!("{head}{}", char::from(value as u8)),
            }
        })
    }
}

fn unclosed(at: usize) -> Refusal {
    Refusal::new("this bracket is not closed").at(at..at + 1).hint("a range is like `web-[01:08]`")
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Refusal> {
    let mut pieces = Vec::new();
    let mut rest = 0;
    while let Some(open) = text[rest..].find('[').map(|i| rest + i) {
        pieces.push(Piece::Literal(&text[rest..open]));
        let close = text[open..].find(']').map(|i| open + i).ok_or_else(|| unclosed(open))?;
        let mut items = Vec::new();
        let mut at = open + 1;
        for part in text[open + 1..close].split(',') {
            items.push(item(part).map_err(|refusal| refusal.shifted(at, part.len()))?);
            at += part.len() + 1;
        }
        pieces.push(Piece::Items(items, open..close + 1));
        rest = close + 1;
    }
    if let Some(stray) = text[rest..].find(']').map(|i| rest + i) {
        return Err(Refusal::new("this bracket was not opened").at(stray..stray + 1));
    }
    pieces.push(Piece::Literal(&text[rest..]));
    Ok(pieces)
}

/// Reads `08`, `01:08`, `01-08`, `1:9:2`, `1-9/2`, `a:c`.
fn item(text: &str) -> Result<Item, Refusal> {
    let refuse = || {
        let message = match text {
            "" => "a range is missing here".to_owned(),
            text => format!("`{text}` is not a range"),
        };
        Refusal::new(message).hint("numbers like `01:08`, or single letters like `a:c`")
    };
    let (bounds, step) = match text.split_once('/') {
        Some((bounds, step)) => (bounds, Some(step)),
        None => match text.match_indices(':').nth(1) {
            Some((i, _)) => (&text[..i], Some(&text[i + 1..])),
            None => (text, None),
        },
    };
    let step = match step {
        None => 1,
        Some(step) => number(step).filter(|step| *step > 0).ok_or_else(refuse)?,
    };
    let (first, last) = bounds.split_once([':', '-']).unwrap_or((bounds, bounds));
    let (from, to, form) = match (number(first), number(last)) {
        (Some(from), Some(to)) => (from, to, Form::Number { width: width(first, last)? }),
        _ => {
            let (from, to) = letter(first).zip(letter(last)).ok_or_else(refuse)?;
            if from.is_ascii_lowercase() != to.is_ascii_lowercase() {
                return Err(refuse());
            }
            (from.into(), to.into(), Form::Letter)
        }
    };
    if from > to {
        let hint = format!("write `{last}:{first}`");
        return Err(Refusal::new(format!("the range `{bounds}` runs backwards")).hint(hint));
    }
    Ok(Item { first: from, last: to, step, form })
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // Eighteen digits leave room for one step more.
    (digits && text.len() <= 18).then(|| text.parse().ok()).flatten()
}

fn letter(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [letter] if letter.is_ascii_alphabetic() => Some(*letter),
        _ => None,
    }
}

/// How many digits every number has; none where numbers are written as they are.
fn width(first: &str, last: &str) -> Result<usize, Refusal> {
    let padded = |text: &str| text.len() > 1 && text.starts_with('0');
    if !padded(first) && !padded(last) {
        return Ok(0);
    }
    if first.len() != last.len() {
        let width = first.len().max(last.len());
        let hint = format!("write `{first:0>width$}:{last:0>width$}`");
        let message = format!("`{first}` and `{last}` have different numbers of digits");
        return Err(Refusal::new(message).hint(hint));
    }
    Ok(first.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_expand() {
        let cases = [
            ("web", "web"),
            ("web-[01:03]", "web-01 web-02 web-03"),
            ("web-[01-03]", "web-01 web-02 web-03"),
            ("w[8:11]", "w8 w9 w10 w11"),
            ("w[098:101]x", "w098x w099x w100x w101x"),
            ("[a:c]", "a b c"),
            ("r[1:2]-[a-b]", "r1-a r1-b r2-a r2-b"),
            ("w-[01-02,05]", "w-01 w-02 w-05"),
            ("w[1:9:4]", "w1 w5 w9"),
            ("w[1-9/4]", "w1 w5 w9"),
            ("w[7]", "w7"),
            ("数[1:2]库", "数1库 数2库"),
        ];
        for (text, names) in cases {
            assert_eq!(expand(text).map(|names| names.join(" ")).as_deref(), Ok(names), "{text}");
        }
    }

    #[test]
    fn what_is_no_range_says_where() {
        let cases = [
            ("web-[01:08", 4..5),
            ("web-]", 4..5),
            ("web-[]", 5..5),
            ("web-[8:1]", 5..8),
            ("web-[01:100]", 5..11),
            ("web-[1,x:3]", 7..10),
            ("web-[a:Z]", 5..8),
            ("web-[1:9:0]", 5..10),
            ("web-[1:1000000]", 4..15),
            ("[1:999][1:999]", 7..14),
            ("[1:99999999999999999999]", 1..23),
        ];
        for (text, place) in cases {
            let refusal = expand(text).err();
            assert_eq!(refusal.and_then(|r| r.range), Some(place), "{text}");
        }
    }
}
