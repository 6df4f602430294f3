//! A fresh key: for the simulated fleet, and for tests.

use russh::keys::{Algorithm, PrivateKey, ssh_key::LineEnding};
use std::{fs::File, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
pub enum MakeKeyError {
    #[error("the key cannot be made")]
    Key(#[from] russh::keys::ssh_key::Error),
    #[error("the key cannot be written")]
    Write(#[from] std::io::Error),
}

/// Makes an Ed25519 key in a new file that only its owner reads. Returns its public half as a line.
pub fn make_key(path: &Path) -> Result<String, MakeKeyError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(std::io::Error::other)?;
    let pair = russh::keys::ssh_key::private::Ed25519Keypair::from_seed(&seed);
    let key = PrivateKey::from(pair);
    debug_assert_eq!(key.algorithm(), Algorithm::Ed25519);
    let text = key.to_openssh(LineEnding::LF)?;
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(key.public_key().to_openssh()?)
}
