//! Why a journal cannot be opened; each error has its path and the remedy.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::directory::DirectoryError;

/// Why a journal cannot be opened.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Another process writes there.
    #[error("{} is in use by another weir: stop it, or choose another directory with --data", path.display())]
    InUse {
        /// The journal's directory.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{} cannot be used: {source}; check the disk and the permissions", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It is from a later version of Weir.
    #[error("{} was written by a newer weir (journal format {version}): use that version, or let it finish its responses first", path.display())]
    Newer {
        /// The segment.
        path: PathBuf,
        /// The version of its format.
        version: u16,
    },
    /// It is not a segment.
    #[error("{} is not a segment of a journal: move it away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The thread that writes could not be started.
    #[error("the thread that writes the journal cannot be started: {source}")]
    Thread {
        /// The system's error.
        source: io::Error,
    },
    /// A bug: the scan of the segments panicked.
    #[error("the journal in {} could not be recovered: a bug in weir; please report it", path.display())]
    Panicked {
        /// The journal's directory.
        path: PathBuf,
    },
}
