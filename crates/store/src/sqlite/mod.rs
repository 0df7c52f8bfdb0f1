//! Everything finished, in one SQLite file: responses, items and their tree, keys, heads, and
//! archived logs.
//!
//! One thread writes; queued changes are committed together. Readers have connections of their own
//! and, in WAL mode, neither wait for the writer nor block it. A third thread moves the WAL into
//! the file and ensures that deleted text leaves both.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::available_parallelism;

use engine::store::StoreError;
use engine::tasks::Tasks;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::Durability;
use failure::JobFailure;
use janitor::Janitor;
use job::WriteTransaction;
use readers::Readers;
use shared::DatabaseShared;
use writer::DatabaseWriter;

mod archive;
mod chunk;
mod claims;
mod error;
mod failure;
mod janitor;
mod job;
mod large;
mod leftovers;
mod logs;
mod open;
mod readers;
mod records;
mod schema;
mod shared;
mod state;
mod steps;
mod store;
mod times;
mod tree;
mod writer;

#[cfg(test)]
mod tests;

pub mod tools;

pub use error::DatabaseError;
pub use shared::DatabaseStats;

/// An open database. Clones share it.
#[derive(Clone, Debug)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    shared: Arc<DatabaseShared>,
    writer: DatabaseWriter,
    readers: Arc<Readers>,
    janitor: Janitor,
    tasks: Tasks,
    /// A permit for each core, for serialising large items.
    cores: Arc<Semaphore>,
}

impl Database {
    /// Opens the database at `path`, creates it if missing, and migrates an older one. Blocks for
    /// milliseconds, however much is stored.
    ///
    /// # Errors
    /// [`DatabaseError`], which states the remedy.
    pub fn open(path: &Path, durability: Durability, tasks: Tasks) -> Result<Self, DatabaseError> {
        let connection = open::open(path, durability)?;
        let shared = Arc::new(open::shared(path, &connection)?);
        let readers = Arc::new(Readers::open(path)?);
        let janitor = Janitor::start(path, durability, Arc::clone(&shared))?;
        let writer = DatabaseWriter::start(path, connection, Arc::clone(&shared))?;
        let cores = Arc::new(Semaphore::new(available_parallelism().map_or(1, NonZeroUsize::get)));
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_path_buf(),
                shared,
                writer,
                readers,
                janitor,
                tasks,
                cores,
            }),
        })
    }

    /// Writes queued changes, moves the WAL into the file and closes it. Later calls fail as
    /// unavailable. Not closing loses nothing; the next start takes slightly longer.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        self.inner.janitor.close().await;
        self.inner.writer.close().await;
    }

    /// Counts since the database was opened, and whether it works.
    pub fn figures(&self) -> DatabaseStats {
        self.inner.shared.figures()
    }

    /// Resolves when everything deleted before this call has left the file and the WAL.
    pub async fn deletions_settled(&self) {
        let wanted = self.inner.shared.deletions.load(Ordering::Acquire);
        let mut settled = self.inner.shared.settled.subscribe();
        // The database keeps the channel open; without it there would be nothing to wait for.
        let _closed = settled.wait_for(|settled| *settled >= wanted).await;
    }

    /// Copies the database to `to`, while it is in use. See [`tools::backup`].
    ///
    /// # Errors
    /// As [`tools::backup`].
    pub async fn backup(&self, to: &Path) -> Result<u64, tools::error::ToolError> {
        let (from, to) = (self.inner.path.clone(), to.to_path_buf());
        let copied = self.inner.tasks.blocking(move || tools::backup(&from, &to)).await;
        copied.unwrap_or(Err(tools::error::ToolError::Stopped))
    }

    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut WriteTransaction<'_>) -> Result<T, JobFailure> + Send + 'static,
    {
        self.inner.writer.write(work).await
    }

    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, JobFailure> + Send + 'static,
    {
        self.inner.readers.read(&self.inner.tasks, &self.inner.shared, work).await
    }
}
