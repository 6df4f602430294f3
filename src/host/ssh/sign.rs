//! Signatures of operators under texts, in the form of `ssh-keygen -Y sign`.

use super::{
    Prompt,
    keys::{self, public_half},
};
use russh::keys::{
    PrivateKey, PublicKey, agent::client::AgentClient, ssh_key::HashAlg, ssh_key::LineEnding,
    ssh_key::SshSig,
};
use secrecy::{ExposeSecret, SecretString};
use std::{env, fs, io, path::Path};

/// Why a text was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("the key cannot be read")]
    Read(#[source] io::Error),
    #[error("this is not a private key that can be read: {why}")]
    NoKey { why: String },
    #[error("the key is encrypted, and there is no terminal to ask for its passphrase on")]
    Encrypted,
    #[error("the passphrase does not open it")]
    Passphrase,
    #[error("this is a public key, and no agent holds the private one")]
    PublicOnly,
    #[error("it could not be signed: {why}")]
    Sign { why: String },
}

/// Whose key it is: its public half, without opening it where that can be told.
pub fn public_key(path: &Path) -> Result<PublicKey, SignError> {
    if let Some(key) = public_half(path) {
        return Ok(key);
    }
    Ok(open(path, None)?.public_key().clone())
}

/// Signs a text for this purpose: by the agent where it holds the key, else by the key in the file.
pub async fn sign(
    path: &Path,
    namespace: &str,
    text: &str,
    prompt: Option<Prompt>,
) -> Result<String, SignError> {
    let said = |why: String| SignError::Sign { why };
    let signed = match public_half(path) {
        Some(public) => by_agent(&public, namespace, text).await,
        None => None,
    };
    let signature = match signed {
        Some(signature) => signature,
        None => {
            let key = open(path, prompt)?;
            key.sign(namespace, HashAlg::Sha512, text.as_bytes())
                .map_err(|e| said(e.to_string()))?
        }
    };
    signature.to_pem(LineEnding::LF).map_err(|error| said(error.to_string()))
}

/// Nothing where there is no agent, or where it does not hold the key.
async fn by_agent(public: &PublicKey, namespace: &str, text: &str) -> Option<SshSig> {
    let socket = env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty())?;
    let mut agent = AgentClient::connect_uds(socket).await.ok()?;
    let held = agent.request_identities().await.ok()?;
    if !held.iter().any(|known| known.public_key().key_data() == public.key_data()) {
        return None;
    }
    let hash = HashAlg::Sha512;
    let data = SshSig::signed_data(namespace, hash, text.as_bytes()).ok()?;
    let of_rsa = public.algorithm().is_rsa().then_some(hash);
    let signature = agent.sign_request_signature(public, of_rsa, &data).await.ok()?;
    SshSig::new(public.key_data().clone(), namespace, hash, signature).ok()
}

fn open(path: &Path, prompt: Option<Prompt>) -> Result<PrivateKey, SignError> {
    let text = SecretString::from(fs::read_to_string(path).map_err(SignError::Read)?);
    if PublicKey::from_openssh(text.expose_secret().trim()).is_ok() {
        return Err(SignError::PublicOnly);
    }
    match keys::decode(&text, None) {
        Ok(key) => Ok(key),
        Err(russh::keys::Error::KeyIsEncrypted) => {
            let passphrase = prompt.and_then(|ask| ask(path)).ok_or(SignError::Encrypted)?;
            keys::decode(&text, Some(&passphrase)).map_err(|_| SignError::Passphrase)
        }
        Err(error) => Err(SignError::NoKey { why: error.to_string() }),
    }
}
