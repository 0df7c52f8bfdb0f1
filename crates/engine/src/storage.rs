//! Where responses are kept: stored ones in the configured log and store, ephemeral ones in memory.
//!
//! Nothing of an ephemeral response reaches the configured ones.

use std::sync::Arc;

use protocol::id::{Owner, ResponseId};

use crate::log::Log;
use crate::memory::log::MemoryLog;
use crate::memory::store::MemoryStore;
use crate::store::{ResponseRecord, Store, StoreError};

/// What is kept of a response after its end, as its record has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keeping {
    /// Whether anything is; an ephemeral response is gone after its end.
    pub(crate) store: bool,
    /// Whether it can be fetched by id.
    pub(crate) readable: bool,
}

/// A log, and the store of the records of the same responses.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Arc<dyn Store>,
}

/// The backends of one engine.
pub(crate) struct Backends {
    /// The configured one. Items, idempotency keys and the heads of conversations are only here:
    /// an ephemeral response has none.
    pub(crate) stored: Backend,
    ephemeral: Backend,
    /// The log of `ephemeral`.
    ephemeral_log: MemoryLog,
}

impl Backends {
    pub(crate) fn new(log: Arc<dyn Log>, store: Arc<dyn Store>) -> Self {
        let ephemeral_log = MemoryLog::new();
        let ephemeral =
            Backend { log: Arc::new(ephemeral_log.clone()), store: Arc::new(MemoryStore::new()) };
        Self { stored: Backend { log, store }, ephemeral, ephemeral_log }
    }

    /// The backend of a response of which this much is kept.
    pub(crate) fn for_keeping(&self, keeping: Keeping) -> &Backend {
        if keeping.store { &self.stored } else { &self.ephemeral }
    }

    /// The backend of the response `id`; [`Self::stored`] for an unknown one.
    pub(crate) fn of(&self, id: &ResponseId) -> &Backend {
        // The log is made before the record and removed after it.
        if self.ephemeral_log.contains(id) { &self.ephemeral } else { &self.stored }
    }

    /// Bytes of all logs.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.stored.log.bytes() + self.ephemeral.log.bytes()
    }

    /// Bytes of all items, roughly.
    pub(crate) fn item_bytes(&self) -> u64 {
        self.stored.store.bytes() + self.ephemeral.store.bytes()
    }

    /// Ended records, oldest end first, at most `limit`: of one caller, or of all.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(crate) async fn oldest_ended(
        &self,
        owner: Option<&Owner>,
        limit: usize,
    ) -> Result<Vec<ResponseRecord>, StoreError> {
        let mut oldest = self.stored.store.oldest_ended(owner, limit).await?;
        // Ephemeral responses that have ended are here while they have readers.
        oldest.extend(self.ephemeral.store.oldest_ended(owner, limit).await?);
        // A stable sort: responses that ended in the same second keep their order.
        oldest.sort_by_key(|record| record.ended_at);
        oldest.truncate(limit);
        Ok(oldest)
    }
}
