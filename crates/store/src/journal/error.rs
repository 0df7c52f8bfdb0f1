//! Why a journal cannot be opened, each with its path and what to do.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::directory::DirectoryError;

/// Why a journal cannot be opened.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The directory cannot hold it.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Another process writes there.
    #[error("{} is in use by another weir: stop it, or choose another place with --data", path.display())]
    InUse {
        /// The journal's directory.
        path: PathBuf,
    },
    /// The system refuses to read or write.
    #[error("{} cannot be used: {source}; check the disk and who may read and write there", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A later Weir wrote it.
    #[error("{} was written by a newer weir (journal format {version}): run that one, or let it finish its answers first", path.display())]
    Newer {
        /// The segment.
        path: PathBuf,
        /// The version of its format.
        version: u16,
    },
    /// It is not ours.
    #[error("{} is not a segment of a journal: move it away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The thread that writes could not be started.
    #[error("the thread that writes the journal cannot be started: {source}")]
    Thread {
        /// What the system says.
        source: io::Error,
    },
    /// A bug: the scan of the segments panicked.
    #[error("the journal in {} could not be recovered: a bug in weir; please report it", path.display())]
    Panicked {
        /// The journal's directory.
        path: PathBuf,
    },
}
