//! All durable storage, opened together and in order: the directory, its lock, the database, the
//! journal.

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

/// Why a data directory cannot be used. Each error names the file and the remedy.
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

/// An open data directory, locked for this process until it is dropped.
pub struct Storage {
    journal: Arc<Journal>,
    database: Database,
    _lock: Lock,
}

impl Storage {
    /// Opens a data directory and creates it if needed. Logs that an earlier process left in the
    /// journal are read; `Engine::recover` ends those that have no end.
    ///
    /// # Errors
    /// It cannot be created, read or written; another process has locked it; a file in it is
    /// damaged or of another version.
    pub async fn open(
        directory: &Path,
        durability: Durability,
        tasks: &Tasks,
    ) -> Result<Self, StorageError> {
        directory::prepare(directory)?;
        let lock = Lock::take(directory)?;
        let path = directory.join(DATABASE);
        let database = Database::open(&path, durability, tasks.clone())?;
        // `KeyFile::open` has read the keys from it.
        keys::delete_copied(&path)?;
        let disk = Arc::new(Directory::open(&directory.join(JOURNAL))?);
        let archive: Arc<dyn Archive> = Arc::new(database.clone());
        let config = Config { durability, ..Config::default() };
        let journal = Arc::new(Journal::open(disk, archive, config, tasks.clone()).await?);
        Ok(Self { journal, database, _lock: lock })
    }

    /// Writes what is queued and closes the database. Without it nothing that was promised is lost;
    /// the next start takes slightly longer.
    pub async fn close(self) {
        // A log that cannot be written now is ended by the next start.
        let _flushed = self.journal.flush().await;
        self.database.close().await;
    }

    /// The logs of responses.
    pub fn log(&self) -> Arc<dyn Log> {
        Arc::clone(&self.journal) as Arc<dyn Log>
    }

    /// The store of everything else.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.database.clone())
    }
}
