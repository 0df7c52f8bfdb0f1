//! Why keys cannot be read or changed.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::directory::DirectoryError;

/// The longest name of a key, in characters; it has to fit into a line of `weir key list`.
pub(super) const NAME_CHARACTERS: usize = 60;

/// Why the keys could not be read or changed.
#[derive(Debug, Error)]
pub enum KeyError {
    /// There is no place for the file.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The file, or the lock beside it, cannot be read or written.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what Weir writes. It is never overwritten.
    #[error("{} is not a key file", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// The file is from a later Weir.
    #[error("{} has version {version}, which this weir does not know; it was written by a later one", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// The version it says.
        version: u64,
    },
    /// There have been keys, but their file is gone.
    #[error(
        "{} is gone, but there have been keys: put it back from a backup, or make a new key with `weir key create`. \
         To serve this machine without keys, delete {}",
        path.display(), marker.display()
    )]
    Lost {
        /// The file that is gone.
        path: PathBuf,
        /// The file that says that there have been keys.
        marker: PathBuf,
    },
    /// The keys in a database that was put back from a backup cannot be read.
    #[error("the keys in {} cannot be read", path.display())]
    Backup {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A name that does not fit into a line.
    #[error("a key's name has at most {NAME_CHARACTERS} characters and no control characters")]
    Name,
    /// The system gives no randomness.
    #[error("no random bytes from the system: {0}")]
    Random(getrandom::Error),
}
