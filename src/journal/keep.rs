//! Where records are made durable, as the engine sees it.

use super::{Record, StoreError, Writer};
use crate::base::name::HostName;
use std::{future::Future, pin::Pin, sync::Arc};

/// Takes a run's records. A run has one journal open for writing at a time.
pub trait Journal: Send {
    /// Appends records, all or none. When this returns they are durable: they survive whatever becomes of the controller.
    fn append(
        &self,
        records: Arc<[Record]>,
    ) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + '_>>;

    /// Notes beside the records that a host was left after its end, the so-manyth that it had. It is written soon: whoever does
    /// not find it noted leaves the host again, which does no harm.
    fn left(&self, host: &HostName, reopened: u32);
}

impl Journal for Writer {
    fn append(
        &self,
        records: Arc<[Record]>,
    ) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + '_>> {
        Box::pin(Writer::append(self, records))
    }

    fn left(&self, host: &HostName, reopened: u32) {
        Writer::left(self, host, reopened);
    }
}
