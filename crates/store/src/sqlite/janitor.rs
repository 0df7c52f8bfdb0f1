//! The maintenance thread: moves the WAL into the file, ensures that deleted text leaves both, and
//! releases free pages in small steps.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::error::DatabaseError;
use super::open;
use super::shared::DatabaseShared;
use crate::Durability;

/// How long changes are gathered before they are processed; deleted text is gone at most slightly
/// later than this after its deletion.
const REST: Duration = Duration::from_millis(500);

/// How long a checkpoint may wait for a reader; the writer waits as long.
const PATIENCE: Duration = Duration::from_millis(50);

/// The number of pages in the WAL from which it is moved into the file: 4 MiB.
const MOVED: i64 = 1_000;

/// The number of pages in the WAL from which it is truncated, which readers can delay, rather than
/// only moved: 64 MiB.
const EMPTIED: i64 = 16_000;

/// Free pages are released if there are at least this many and they are a quarter of the file.
const RETURNED: i64 = 4_096;

/// Pages released in one step: 1 MiB, some milliseconds.
const STEP: i64 = 256;

/// Steps between two checks for new deletions.
const STEPS: usize = 8;

/// The thread's handle.
#[derive(Debug)]
pub(super) struct Janitor {
    shared: Arc<DatabaseShared>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

struct JanitorThread {
    path: PathBuf,
    durability: Durability,
    shared: Arc<DatabaseShared>,
}

impl Janitor {
    /// Starts the thread. It ends when the janitor is closed or dropped.
    pub(super) fn start(
        path: &Path,
        durability: Durability,
        shared: Arc<DatabaseShared>,
    ) -> Result<Self, DatabaseError> {
        // Text that an earlier process deleted last may still be in the WAL.
        shared.deletions.fetch_add(1, Ordering::Release);
        shared.chores.add();
        let thread =
            JanitorThread { path: path.to_path_buf(), durability, shared: Arc::clone(&shared) };
        let (ending, ended) = oneshot::channel();
        let started = thread::Builder::new().name("weir-db-janitor".into()).spawn(move || {
            thread.run();
            drop::<oneshot::Sender<()>>(ending);
        });
        started.map_err(|source| DatabaseError::NoThread { path: path.to_path_buf(), source })?;
        Ok(Self { shared, ended: Mutex::new(Some(ended)) })
    }

    /// Resolves when the thread has closed the files.
    pub(super) async fn close(&self) {
        self.shared.chores.close();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            // Resolves when the thread drops the other end.
            let _ended = ended.await;
        }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.shared.chores.close();
    }
}

impl JanitorThread {
    fn run(self) {
        let mut connection = None;
        let mut is_settled = false;
        loop {
            let limit = if is_settled { None } else { Some(REST) };
            if self.shared.chores.next(limit).is_closing || self.shared.chores.rest(REST) {
                return;
            }
            let tidied =
                self.connected(&mut connection).and_then(|connection| self.run_pass(connection));
            // The writer finds and reports a full or failing disk; this only tries again.
            is_settled = tidied.as_ref().is_ok_and(|is_settled| *is_settled);
            if tidied.is_err() {
                connection = None;
            }
        }
    }

    fn connected<'a>(
        &self,
        connection: &'a mut Option<Connection>,
    ) -> rusqlite::Result<&'a Connection> {
        if let Some(connection) = connection {
            return Ok(connection);
        }
        let opened = open::connect(&self.path, self.durability)
            .map_err(|_error| rusqlite::Error::InvalidQuery)?;
        opened.busy_timeout(PATIENCE)?;
        Ok(connection.insert(opened))
    }

    /// Returns whether nothing is left to do.
    fn run_pass(&self, connection: &Connection) -> rusqlite::Result<bool> {
        // Deleted text first: free pages can wait.
        let is_settled =
            self.purge_deleted_text(connection)? && Self::checkpoint_large_wal(connection)?;
        Ok(self.shrink_file(connection)? && is_settled)
    }

    /// Removes deleted text from the WAL. Returns whether that succeeded.
    fn purge_deleted_text(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let deletions = self.shared.deletions.load(Ordering::Acquire);
        if *self.shared.settled.borrow() >= deletions {
            return Ok(true);
        }
        // Most of it without blocking others, so that the blocking part is short.
        checkpoint(connection, "PASSIVE")?;
        let is_settled = !checkpoint(connection, "TRUNCATE")?.is_busy;
        if is_settled {
            self.shared.settled.send_replace(deletions);
        }
        Ok(is_settled)
    }

    /// Moves a large WAL into the file. Returns whether it is small enough.
    fn checkpoint_large_wal(connection: &Connection) -> rusqlite::Result<bool> {
        let wal = checkpoint(connection, "NOOP")?;
        if wal.pages - wal.moved < MOVED {
            return Ok(true);
        }
        checkpoint(connection, "PASSIVE")?;
        Ok(wal.pages < EMPTIED || !checkpoint(connection, "TRUNCATE")?.is_busy)
    }

    /// Shrinks the file slightly if much of it is free. Returns whether it is small enough.
    fn shrink_file(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let free = || connection.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0));
        let mut left = free()?;
        for _ in 0..STEPS {
            if left < RETURNED || left < pages / 4 {
                return Ok(true);
            }
            release_pages(connection)?;
            let before = std::mem::replace(&mut left, free()?);
            if left >= before || self.shared.chores.rest(REST / 10) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Releases some pages: SQLite releases one for each row that is read.
fn release_pages(connection: &Connection) -> rusqlite::Result<()> {
    let mut pages = connection.prepare(&format!("PRAGMA incremental_vacuum({STEP})"))?;
    let mut pages = pages.query([])?;
    while pages.next()?.is_some() {}
    Ok(())
}

/// The result of a checkpoint.
struct Wal {
    is_busy: bool,
    pages: i64,
    moved: i64,
}

fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<Wal> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    connection.query_row(&sql, [], |row| {
        Ok(Wal { is_busy: row.get(0)?, pages: row.get(1)?, moved: row.get(2)? })
    })
}
