//! Where finished logs are put away: what the journal asks of the database.

use engine::log::LogError;
use futures_util::future::BoxFuture;
use protocol::entry::Entry;
use protocol::id::ResponseId;

/// Holds finished logs.
pub trait Archive: Send + Sync + 'static {
    /// Puts a whole log away, entries `0..` up to the terminal one, or nothing of it. Doing it twice changes nothing. When
    /// this resolves the log is as safe as the durability asks.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    fn put(&self, id: &ResponseId, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), LogError>>;

    /// How many entries the log has, if it was put away.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    fn find(&self, id: &ResponseId) -> BoxFuture<'_, Result<Option<u64>, LogError>>;

    /// Entries from `position` on: at least one if there is one, and no more than `budget` bytes beyond that.
    ///
    /// # Errors
    /// [`LogError::Missing`], [`LogError::Unavailable`].
    fn read(
        &self,
        id: &ResponseId,
        position: u64,
        budget: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, LogError>>;

    /// Forgets a log. Nothing happens where there is none.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    fn remove(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>>;

    /// Bytes that all logs take here.
    fn bytes(&self) -> u64;
}
