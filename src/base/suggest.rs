//! "Did you mean": the nearest of the words that would have been right.

/// The candidate that a typing slip could have made into `word`, if there is one.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(word);
    let limit = (folded.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let other = fold(candidate);
            // Words of very different length are never near, and lengths are cheap to compare.
            if other.len().abs_diff(folded.len()) > 4 * limit {
                return None;
            }
            Some((strsim::damerau_levenshtein(&folded, &other), candidate))
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// As a hint: `did you mean …?`
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, candidates).map(|near| format!("did you mean `{near}`?"))
}

/// Case, dashes and underscores are what people mix up.
fn fold(word: &str) -> String {
    word.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let words = ["connection", "vars", "groups", "hosts"];
        let cases = [
            ("conection", Some("connection")),
            ("Hosts", Some("hosts")),
            ("host", Some("hosts")),
            ("gruops", Some("groups")),
            ("servers", None),
            ("x", None),
            ("", None),
        ];
        for (word, near) in cases {
            assert_eq!(nearest(word, words), near, "{word}");
        }
        assert_eq!(nearest("ok-exit", ["ok_exit"]), Some("ok_exit"));
    }
}
