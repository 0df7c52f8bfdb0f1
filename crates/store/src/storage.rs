//! Everything that survives, opened together and in order: the directory, its lock, the database, the journal.

use std::path::Path;
use std::sync::Arc;

use engine::log::Log;
use engine::store::Store;
use engine::tasks::Tasks;
use thiserror::Error;

use crate::Durability;
use crate::archive::Archive;
use crate::directory::{self, DATABASE, DirectoryError};
use crate::journal::config::Config;
use crate::journal::disk::Directory;
use crate::journal::{Journal, JournalError};
use crate::keys;
use crate::keys::error::KeyError;
use crate::lock::{Lock, LockError};
use crate::sqlite::{Database, DatabaseError};

/// The name of the journal's directory in the data directory.
pub const JOURNAL: &str = "journal";

/// Why a data directory cannot be used. Each says which file it is and what to do.
#[derive(Debug, Error)]
pub enum StorageError {
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Its lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database in it.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The keys in it.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The journal in it.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// An open data directory. It is this process's alone until it is dropped.
pub struct Storage {
    journal: Arc<Journal>,
    database: Database,
    _lock: Lock,
}

impl Storage {
    /// Opens a data directory, which is made if there is none. What a process before this one left in the journal is read;
    /// what has no end gets one from `Engine::recover`.
    ///
    /// # Errors
    /// It cannot be made, read or written; another process has it; a file in it is damaged or of another version.
    pub async fn open(
        directory: &Path,
        durability: Durability,
        tasks: &Tasks,
    ) -> Result<Self, StorageError> {
        directory::prepare(directory)?;
        let lock = Lock::take(directory)?;
        let path = directory.join(DATABASE);
        let database = Database::open(&path, durability, tasks.clone())?;
        // `KeyFile::open` has read them by now.
        keys::forget(&path)?;
        let disk = Arc::new(Directory::open(&directory.join(JOURNAL))?);
        let archive: Arc<dyn Archive> = Arc::new(database.clone());
        let config = Config { durability, ..Config::default() };
        let journal = Arc::new(Journal::open(disk, archive, config, tasks.clone()).await?);
        Ok(Self { journal, database, _lock: lock })
    }

    /// Writes down what waits and closes the database. Not closing loses nothing that was promised; the next start has a
    /// little more to do.
    pub async fn close(self) {
        // What cannot be written now, the next start finds without its end.
        let _flushed = self.journal.flush().await;
        self.database.close().await;
    }

    /// Where answers are written.
    pub fn log(&self) -> Arc<dyn Log> {
        Arc::clone(&self.journal) as Arc<dyn Log>
    }

    /// Where the rest is.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.database.clone())
    }
}
