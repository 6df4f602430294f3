//! Secrets: read where and when they are needed, remembered for the run, and taken out of everything that is shown.

use crate::{
    base::{
        redact::Redactor,
        value::{SecretSource, Value},
    },
    plan::Plan,
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::Mutex,
};

#[derive(Debug, thiserror::Error)]
#[error("the secret {source_name} cannot be read: {reason}")]
pub struct SecretError {
    source_name: String,
    reason: String,
}

/// Reads secrets once each.
#[derive(Debug, Default)]
pub struct Secrets {
    known: Mutex<BTreeMap<SecretSource, SecretString>>,
}

impl Secrets {
    /// The secret at this source.
    pub fn get(&self, source: &SecretSource) -> Result<SecretString, SecretError> {
        if let Some(known) = self.lock().get(source) {
            return Ok(known.clone());
        }
        let read = read(source)
            .map_err(|reason| SecretError { source_name: source.to_string(), reason })?;
        self.lock().insert(source.clone(), read.clone());
        Ok(read)
    }

    /// Reads every secret that the steps of a plan may need, so that one that cannot be read is known before anything is
    /// touched, and every one is known to the redactor from the first byte on, also where an earlier controller used it.
    /// Passphrases and passwords for logging in are left until a key or a host asks for them.
    pub fn read_all(&self, plan: &Plan) -> Result<(), Vec<SecretError>> {
        let vars = plan.hops.iter().map(|hop| &hop.vars).chain(plan.hosts.iter().map(|h| &h.vars));
        let of_vars = vars.flat_map(BTreeMap::values).filter_map(|value| match value {
            Value::Secret(source) => Some(source),
            Value::Plain(_) => None,
        });
        let of_sudo =
            plan.connections.iter().filter(|c| c.sudo).filter_map(|c| c.sudo_password.as_ref());
        let wanted: BTreeSet<&SecretSource> = of_vars.chain(of_sudo).collect();
        let errors: Vec<SecretError> =
            wanted.into_iter().filter_map(|source| self.get(source).err()).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// What takes every secret that was read so far out of a text.
    pub fn redactor(&self) -> Redactor {
        let known = self.lock();
        Redactor::new(known.values().map(ExposeSecret::expose_secret))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<SecretSource, SecretString>> {
        // A panic elsewhere cannot leave a map of finished entries half done.
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn read(source: &SecretSource) -> Result<SecretString, String> {
    let text = match source {
        SecretSource::Env(name) => {
            std::env::var(name).map_err(|_| format!("the variable {name} is not set"))?
        }
        SecretSource::File(path) => std::fs::read_to_string(path).map_err(|e| e.to_string())?,
        SecretSource::Command(line) => {
            let run = Command::new("sh").arg("-c").arg(line).output().map_err(|e| e.to_string())?;
            if !run.status.success() {
                return Err(format!("the command ended with {}", run.status));
            }
            String::from_utf8(run.stdout).map_err(|_| "it is not UTF-8".to_owned())?
        }
    };
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(SecretString::from(line.to_owned())),
        Some(_) | None => Err("it is empty".to_owned()),
    }
}
