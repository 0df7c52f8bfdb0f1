//! The state that the threads of one database share: totals, counts, and whether it works.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use tokio::sync::watch;

/// Counts of a database since it was opened, and whether it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseStats {
    /// Transactions committed.
    pub commits: u64,
    /// Changes in those transactions.
    pub changes: u64,
    /// Bytes of all items, as JSON.
    pub item_bytes: u64,
    /// Compressed bytes of all logs.
    pub log_bytes: u64,
    /// Whether the last transaction was committed.
    pub writes: bool,
    /// Whether the last query succeeded.
    pub reads: bool,
}

/// Shared by the handle, the writer and the janitor.
#[derive(Debug)]
pub(super) struct DatabaseShared {
    pub(super) item_bytes: AtomicU64,
    pub(super) log_bytes: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) changes: AtomicU64,
    /// How many committed changes deleted text.
    pub(super) deletions: AtomicU64,
    /// How many of those have left the file and the WAL.
    pub(super) settled: watch::Sender<u64>,
    pub(super) writing: OperationHealth,
    pub(super) reading: OperationHealth,
    pub(super) chores: JanitorQueue,
}

impl DatabaseShared {
    pub(super) fn new(item_bytes: u64, log_bytes: u64) -> Self {
        Self {
            item_bytes: AtomicU64::new(item_bytes),
            log_bytes: AtomicU64::new(log_bytes),
            commits: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            deletions: AtomicU64::new(0),
            settled: watch::Sender::new(0),
            writing: OperationHealth::new("write"),
            reading: OperationHealth::new("read"),
            chores: JanitorQueue::default(),
        }
    }

    pub(super) fn figures(&self) -> DatabaseStats {
        DatabaseStats {
            commits: self.commits.load(Ordering::Relaxed),
            changes: self.changes.load(Ordering::Relaxed),
            item_bytes: self.item_bytes.load(Ordering::Relaxed),
            log_bytes: self.log_bytes.load(Ordering::Relaxed),
            writes: self.writing.is_good(),
            reads: self.reading.is_good(),
        }
    }
}

/// Whether an operation works. Logs only changes: a thousand failures in a row are one line.
#[derive(Debug)]
pub(super) struct OperationHealth {
    what: &'static str,
    fails: AtomicBool,
}

impl OperationHealth {
    fn new(what: &'static str) -> Self {
        Self { what, fails: AtomicBool::new(false) }
    }

    pub(super) fn is_good(&self) -> bool {
        !self.fails.load(Ordering::Relaxed)
    }

    pub(super) fn works(&self) {
        if self.fails.load(Ordering::Relaxed) && self.fails.swap(false, Ordering::Relaxed) {
            tracing::info!("the database can {} again", self.what);
        }
    }

    pub(super) fn fails(&self, error: &dyn std::fmt::Display) {
        if !self.fails.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "the database cannot {}", self.what);
        }
    }
}

/// The notifications of the janitor.
#[derive(Debug, Default)]
pub(super) struct JanitorQueue {
    pending: Mutex<PendingChores>,
    changed: Condvar,
}

/// See [`JanitorQueue`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PendingChores {
    /// Changes were committed since the janitor's last pass.
    pub(super) is_dirty: bool,
    /// The database is being closed.
    pub(super) is_closing: bool,
}

impl JanitorQueue {
    /// Notifies the janitor of a commit.
    pub(super) fn add(&self) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if !pending.is_dirty {
            pending.is_dirty = true;
            self.changed.notify_all();
        }
    }

    /// Notifies the janitor that the database is being closed.
    pub(super) fn close(&self) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).is_closing = true;
        self.changed.notify_all();
    }

    /// Waits for a notification, at most `limit`, and takes it.
    pub(super) fn next(&self, limit: Option<std::time::Duration>) -> PendingChores {
        let idle = |pending: &mut PendingChores| !pending.is_dirty && !pending.is_closing;
        let held = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = match limit {
            None => self.changed.wait_while(held, idle).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                self.changed
                    .wait_timeout_while(held, limit, idle)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        let pending = *held;
        held.is_dirty = false;
        pending
    }

    /// Waits for `time`, unless the database is closed meanwhile. Returns whether it is.
    pub(super) fn rest(&self, time: std::time::Duration) -> bool {
        let held = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let rested = self.changed.wait_timeout_while(held, time, |pending| !pending.is_closing);
        rested.unwrap_or_else(PoisonError::into_inner).0.is_closing
    }
}
