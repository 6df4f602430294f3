//! Digests: by which plans and files are known.

use sha2::{Digest, Sha256};

/// `sha256:…` of a file's bytes, or of a plan's text.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", super::text::hex(&Sha256::digest(bytes)))
}
