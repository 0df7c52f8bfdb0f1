//! The log of a response: one writer appends, a watermark moves, readers read what is below it.
//!
//! A log does not interpret its entries, except that the terminal one ends it.

use futures_util::future::BoxFuture;
use protocol::entry::Entry;
use protocol::id::ResponseId;
use tokio::sync::watch;

/// The progress of a log that readers may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogProgress {
    /// How many entries are durable; the next position. Readers see those and no others (promise
    /// 1).
    pub committed: u64,
    /// Its state.
    pub state: LogState,
}

/// The state of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogState {
    /// More entries may follow.
    #[default]
    Open,
    /// The terminal event is committed.
    Ended,
    /// The log cannot write. It may recover.
    Failed,
}

/// Errors of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// There is no such log.
    #[error("no such log")]
    Missing,
    /// A later writer has taken the log.
    #[error("another writer holds the log")]
    Fenced,
    /// It has ended; nothing may follow the terminal event.
    #[error("the log has ended")]
    Ended,
    /// The position of the first entry is not the next one.
    #[error("the position is not the next one")]
    Gap,
    /// The log cannot be read or written now; nothing of this append is kept.
    #[error("the log cannot be written")]
    Unavailable,
}

/// Holds the logs of responses until they are removed, and after the end of the process if it can
/// (promise 1). The engine gives it no ephemeral ones.
pub trait Log: Send + Sync + 'static {
    /// Takes the right to append to a log, which is created if there is none. Earlier writers
    /// are fenced.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    fn take(&self, id: &ResponseId) -> Result<Box<dyn LogWriter>, LogError>;

    /// Opens a log for reading.
    ///
    /// # Errors
    /// [`LogError::Missing`], [`LogError::Unavailable`].
    fn open(&self, id: &ResponseId) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>>;

    /// Removes a log. Its readers end with [`LogError::Missing`]. Idempotent.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]; then it may exist again after a restart.
    fn remove(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>>;

    /// The logs that an earlier process left: without an end, or ended and perhaps not stored yet.
    fn unfinished_logs(&self) -> Vec<ResponseId> {
        Vec::new()
    }

    /// Bytes of all logs together.
    fn bytes(&self) -> u64;
}

/// The right to append to one log, under one epoch.
pub trait LogWriter: Send + Sync {
    /// The position that comes next.
    fn next_position(&self) -> u64;

    /// Appends entries with consecutive positions, all or none, also after a crash. It does not
    /// wait for durability: the watermark moves when they are durable.
    ///
    /// # Errors
    /// Any [`LogError`] but [`LogError::Missing`]; then none of them is appended.
    fn append(&mut self, entries: &[Entry]) -> Result<(), LogError>;

    /// Back-pressure: a future to await before more is appended, if too much waits to be written.
    /// `None` if the log keeps up.
    fn backlog(&self) -> Option<BoxFuture<'static, ()>> {
        None
    }
}

/// A reader of one log.
pub trait LogReader: Send + Sync {
    /// The watermark, as it moves. The channel closes when the log is removed.
    fn progress(&self) -> watch::Receiver<LogProgress>;

    /// Committed entries from `position` on: at least one if there is one, and then no more than
    /// `budget` bytes in all.
    ///
    /// # Errors
    /// [`LogError::Missing`], [`LogError::Unavailable`].
    fn read(&self, position: u64, budget: usize) -> BoxFuture<'_, Result<Vec<Entry>, LogError>>;
}
