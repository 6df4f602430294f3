//! Serde for bytes, as hexadecimal text: a plan is JSON, and holds the files that it uploads.

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use std::sync::Arc;

pub fn serialize<S: Serializer>(bytes: &Arc<[u8]>, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&super::text::hex(bytes))
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<[u8]>, D::Error> {
    let text = String::deserialize(from)?;
    if !text.is_ascii() || text.len() % 2 == 1 {
        return Err(D::Error::custom("bytes are written as pairs of hexadecimal digits"));
    }
    let pairs = (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16));
    pairs.collect::<Result<_, _>>().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Held(#[serde(with = "super")] Arc<[u8]>);

    #[test]
    fn bytes_survive_their_text() {
        let all: Arc<[u8]> = (0..=255).collect();
        let text = serde_json::to_string(&Held(Arc::clone(&all))).unwrap();
        assert_eq!(serde_json::from_str::<Held>(&text).unwrap().0, all);
        assert!(serde_json::from_str::<Held>("\"0\"").is_err());
        assert!(serde_json::from_str::<Held>("\"zz\"").is_err());
    }
}
