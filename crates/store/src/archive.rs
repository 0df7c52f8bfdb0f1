//! The archive of finished logs, as the journal needs it.

use engine::log::LogError;
use futures_util::future::BoxFuture;
use protocol::entry::Entry;
use protocol::id::ResponseId;

/// Stores finished logs.
pub trait Archive: Send + Sync + 'static {
    /// Stores a whole log, entries `0..` up to the terminal one, or nothing of it. Idempotent. When
    /// this resolves, the log is as durable as configured.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    fn put(&self, id: &ResponseId, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), LogError>>;

    /// How many entries the log has, if it was archived.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    fn find(&self, id: &ResponseId) -> BoxFuture<'_, Result<Option<u64>, LogError>>;

    /// Entries from `position` on: at least one if there is one, and no more than `budget` bytes
    /// beyond that.
    ///
    /// # Errors
    /// [`LogError::Missing`], [`LogError::Unavailable`].
    fn read(
        &self,
        id: &ResponseId,
        position: u64,
        budget: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, LogError>>;

    /// Deletes a log. Idempotent.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    fn remove(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>>;

    /// The stored bytes of all logs.
    fn bytes(&self) -> u64;
}
