//! The log of an answer: one writer appends, a watermark moves, readers read what is below it.
//!
//! A log does not know what its entries mean, except that the terminal one ends it.

use futures_util::future::BoxFuture;
use protocol::event::Entry;
use protocol::id::ResponseId;
use tokio::sync::watch;

/// How far a log has come, as readers may know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many entries are durable; the next position. Readers see those and no others (promise 1).
    pub committed: u64,
    /// What is to be expected.
    pub state: LogState,
}

/// What is to be expected of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogState {
    /// More entries.
    #[default]
    Open,
    /// Nothing: the terminal event is committed.
    Ended,
    /// Nobody knows: the log cannot write. It may recover.
    Failed,
}

/// Why a log does not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// There is no such log.
    #[error("no such log")]
    Missing,
    /// A later writer has taken it over: this one has lost the right to append.
    #[error("another writer holds the log")]
    Fenced,
    /// It has ended; nothing may follow the terminal event.
    #[error("the log has ended")]
    Ended,
    /// The entries do not follow on what is there.
    #[error("the position is not the next one")]
    Gap,
    /// It cannot write now; nothing of this append is kept.
    #[error("the log cannot be written")]
    Unavailable,
}

/// How long a log is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Beyond its end, and beyond the process where the log can do that (promise 1).
    Kept,
    /// Until its end: a stateless answer. It lives in memory, whatever the log is made of.
    Ephemeral,
}

/// Holds the logs of all answers.
pub trait Log: Send + Sync + 'static {
    /// Takes the right to append to a log, which is created if there is none; only then `life` counts. Whoever held it
    /// before is fenced off.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    fn take(&self, id: &ResponseId, life: Life) -> Result<Box<dyn LogWriter>, LogError>;

    /// Opens a log for reading.
    ///
    /// # Errors
    /// [`LogError::Missing`], [`LogError::Unavailable`].
    fn open(&self, id: &ResponseId) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>>;

    /// Forgets a log. Its readers end with [`LogError::Missing`]. Nothing happens where there is none.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]; then it may be there again after a restart.
    fn remove(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>>;

    /// The logs that a process before this one left behind without having put them away: without an end, or ended and
    /// not yet known to be recorded.
    fn left_behind(&self) -> Vec<ResponseId> {
        Vec::new()
    }

    /// Bytes of all logs together.
    fn bytes(&self) -> u64;
}

/// The right to append to one log, under one epoch.
pub trait LogWriter: Send + Sync {
    /// The position that comes next.
    fn next_position(&self) -> u64;

    /// Appends entries whose positions follow each other, all or none: after a crash, too, what was appended in one call is
    /// there as a whole or not at all. It does not wait for durability: the watermark moves when they are safe.
    ///
    /// # Errors
    /// Any [`LogError`] but [`LogError::Missing`]; then none of them is appended.
    fn append(&mut self, entries: &[Entry]) -> Result<(), LogError>;

    /// What to wait for before more is appended, where so much waits to be written that it would fill the memory. `None`:
    /// the log keeps up.
    fn backlog(&self) -> Option<BoxFuture<'static, ()>> {
        None
    }
}

/// A window on one log.
pub trait LogReader: Send + Sync {
    /// The watermark, as it moves. The channel closes when the log is removed.
    fn progress(&self) -> watch::Receiver<Progress>;

    /// Committed entries from `position` on: at least one if there is one, and no more than `budget` bytes beyond that.
    ///
    /// # Errors
    /// [`LogError::Missing`], [`LogError::Unavailable`].
    fn read(&self, position: u64, budget: usize) -> BoxFuture<'_, Result<Vec<Entry>, LogError>>;
}
