//! A set of texts in one piece of memory: a fleet has hundreds of thousands of them, and asks for few.

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};
use std::{borrow::Cow, collections::BTreeSet, fmt};

/// Texts in order, each once. It is made whole, and does not change.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TextSet {
    /// All of them, one behind the other.
    text: Box<str>,
    /// Where each of them ends.
    ends: Box<[u32]>,
}

impl TextSet {
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|end| *end as usize));
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end as usize])
    }

    /// The texts that the other set does not have, in order.
    pub fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        let mut others = other.iter().peekable();
        self.iter().filter(move |text| {
            while others.next_if(|other| other < text).is_some() {}
            others.peek() != Some(text)
        })
    }

    /// Of texts that are in order, each once.
    fn of_sorted<'t>(texts: impl Iterator<Item = &'t str>) -> Self {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for one in texts {
            // A set of more than 4 GiB is no list of a host's services.
            let Ok(end) = u32::try_from(text.len() + one.len()) else { break };
            text.push_str(one);
            ends.push(end);
        }
        Self { text: text.into_boxed_str(), ends: ends.into_boxed_slice() }
    }
}

impl<T: AsRef<str>> FromIterator<T> for TextSet {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let texts: Vec<T> = texts.into_iter().collect();
        let mut sorted: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self::of_sorted(sorted.into_iter())
    }
}

impl fmt::Debug for TextSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for TextSet {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for TextSet {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = TextSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of texts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<TextSet, A::Error> {
                let mut texts: Vec<Cow<'de, str>> = Vec::new();
                while let Some(Text(text)) = list.next_element()? {
                    texts.push(text);
                }
                // What was written in order is read without sorting.
                match texts.is_sorted_by(|a, b| a < b) {
                    true => Ok(TextSet::of_sorted(texts.iter().map(AsRef::as_ref))),
                    false => Ok(texts.into_iter().collect()),
                }
            }
        }

        from.deserialize_seq(Texts)
    }
}

/// A text that is borrowed where it can be.
#[derive(Deserialize)]
pub(super) struct Text<'t>(#[serde(borrow)] pub(super) Cow<'t, str>);

impl JsonSchema for TextSet {
    fn schema_name() -> Cow<'static, str> {
        BTreeSet::<String>::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        BTreeSet::<String>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// It is what a tree of texts is, in memory and in JSON.
        #[test]
        fn it_is_a_set(
            a in proptest::collection::vec(".{0,3}", 0..8),
            b in proptest::collection::vec(".{0,3}", 0..8),
        ) {
            let trees = [&a, &b].map(|texts| texts.iter().cloned().collect::<BTreeSet<String>>());
            let sets = [&a, &b].map(|texts| texts.iter().collect::<TextSet>());
            prop_assert!(sets[0].iter().eq(trees[0].iter()));
            prop_assert!(sets[0].difference(&sets[1]).eq(trees[0].difference(&trees[1])));
            prop_assert_eq!(sets[0] == sets[1], trees[0] == trees[1]);
            prop_assert_eq!(sets[0].is_empty(), trees[0].is_empty());
            let json = serde_json::to_string(&sets[0]).unwrap();
            prop_assert_eq!(&json, &serde_json::to_string(&trees[0]).unwrap());
            let read: TextSet = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&read, &sets[0]);
            // In any order, and said twice.
            let twice: Vec<&String> = a.iter().rev().chain(&a).collect();
            let read: TextSet = serde_json::from_str(&serde_json::to_string(&twice).unwrap()).unwrap();
            prop_assert_eq!(&read, &sets[0]);
        }
    }
}
