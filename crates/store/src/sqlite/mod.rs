//! Everything finished, in one SQLite file: answers, items and their tree, keys, heads, and the logs that are put away.
//!
//! One thread writes; what waits for it is committed together. Readers have connections of their own and, in WAL mode,
//! neither wait for the writer nor make it wait. A third thread moves the WAL into the file and sees to it that deleted
//! text leaves both.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::available_parallelism;

use engine::memory::store::MemoryStore;
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
mod tree;
mod writer;

#[cfg(test)]
mod tests;

pub mod tools;

pub use error::DatabaseError;
pub use shared::DatabaseStats;

/// An open database. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Stateless answers never touch the disk.
    fleeting: MemoryStore,
    shared: Arc<DatabaseShared>,
    writer: DatabaseWriter,
    readers: Arc<Readers>,
    janitor: Janitor,
    tasks: Tasks,
    /// A permit for each core, for large items that are being serialised.
    cores: Arc<Semaphore>,
}

impl Database {
    /// Opens the database at `path`, makes it if there is none, and brings an older one up to date. It blocks, for
    /// milliseconds, however much is stored.
    ///
    /// # Errors
    /// [`DatabaseError`], a sentence that says what to do.
    pub fn open(path: &Path, durability: Durability, tasks: Tasks) -> Result<Self, DatabaseError> {
        let connection = open::open(path, durability)?;
        let shared = Arc::new(open::shared(path, &connection)?);
        let readers = Arc::new(Readers::open(path)?);
        let janitor = Janitor::start(path, durability, Arc::clone(&shared))?;
        let writer = DatabaseWriter::start(path, connection, Arc::clone(&shared))?;
        let fleeting = MemoryStore::new();
        let cores = Arc::new(Semaphore::new(available_parallelism().map_or(1, NonZeroUsize::get)));
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_path_buf(),
                fleeting,
                shared,
                writer,
                readers,
                janitor,
                tasks,
                cores,
            }),
        })
    }

    /// Writes down what waits, moves the WAL into the file and closes it. Whoever asks something after that is told that
    /// the store is not available. Not closing loses nothing; the next start has a little more to do.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        self.inner.janitor.close().await;
        self.inner.writer.close().await;
    }

    /// What it has done so far, and whether it works.
    pub fn figures(&self) -> DatabaseStats {
        self.inner.shared.figures()
    }

    /// Resolves when everything that was deleted up to now has left the file and the WAL.
    pub async fn deletions_settled(&self) {
        let wanted = self.inner.shared.deletions.load(Ordering::Acquire);
        let mut settled = self.inner.shared.settled.subscribe();
        // The channel lives as long as the database; were it gone, there would be nothing to wait for.
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
