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
    /// The directory for the file cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The file, or the lock beside it, cannot be read or written.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file was not written by Weir. It is never overwritten.
    #[error("{} is not a key file", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The parser's error, with its location.
        source: serde_json::Error,
    },
    /// The file is from a later version of Weir.
    #[error("{} has version {version}, which this weir does not support: use the newer version that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        version: u64,
    },
    /// Keys have existed, but their file is missing.
    #[error(
        "{} is missing, but keys have existed: restore it from a backup, or create a new key with `weir key create`. \
         To serve this machine without keys, delete {}",
        path.display(), marker.display()
    )]
    Lost {
        /// The missing file.
        path: PathBuf,
        /// The marker, which shows that keys have existed.
        marker: PathBuf,
    },
    /// The keys in a restored database cannot be read.
    #[error("the keys in {} cannot be read", path.display())]
    Backup {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// A name that does not fit into a line.
    #[error("a key's name has at most {NAME_CHARACTERS} characters and no control characters")]
    Name,
    /// The system provides no random bytes.
    #[error("the system provides no random bytes: {0}")]
    Random(getrandom::Error),
}
