//! Secrets, resolved once: a command that unlocks a vault is not run for every host.

use super::Resolver;
use crate::base::value::SecretSource;
use secrecy::SecretString;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::OnceCell;

/// Shared by everything that needs a secret.
#[derive(Clone)]
pub(super) struct Secrets {
    resolver: Resolver,
    known: Arc<Mutex<BTreeMap<SecretSource, Arc<OnceCell<SecretString>>>>>,
}

impl Secrets {
    pub(super) fn new(resolver: Resolver) -> Self {
        Self { resolver, known: Arc::default() }
    }

    /// The secret; a failure is not remembered, so that it can be repaired while the controller runs.
    pub(super) async fn get(&self, source: &SecretSource) -> Result<SecretString, String> {
        let cell = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(source.clone()).or_default())
        };
        let resolve = || async {
            let (resolver, wanted) = (Arc::clone(&self.resolver), source.clone());
            tokio::task::spawn_blocking(move || resolver(&wanted))
                .await
                .map_err(|error| format!("reading a secret failed: {error}"))?
        };
        cell.get_or_try_init(resolve).await.cloned()
    }
}
