//! Where records are made durable, as the engine sees it.

use super::{Record, StoreError, Writer};
use std::{future::Future, pin::Pin, sync::Arc};

/// Takes a run's records. A run has one journal open for writing at a time.
pub trait Journal: Send {
    /// Appends records, all or none. When this returns they are durable: they survive whatever becomes of the controller.
    fn append(
        &self,
        records: Arc<[Record]>,
    ) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + '_>>;
}

impl Journal for Writer {
    fn append(
        &self,
        records: Arc<[Record]>,
    ) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + '_>> {
        Box::pin(Writer::append(self, records))
    }
}
