//! Why a tool does not do its work.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::sqlite::error::DatabaseError;
use crate::sqlite::failure::JobFailure;

/// Why a tool does not do its work.
#[derive(Debug, Error)]
pub enum ToolError {
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What the tool makes is there already.
    #[error("{} is there already: choose another name, or move it away", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Something runs on the database that must not.
    #[error("{} is in use: stop weir first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A file that is written or read besides.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is exported cannot be written, or what is imported cannot be read.
    #[error("the export cannot be written or read: {0}")]
    Stream(#[from] io::Error),
    /// What is imported is not what was exported.
    #[error("line {line}: {what}; what came before it is imported")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A row is not what was written.
    #[error("{what}; `weir store check` says more")]
    Damaged {
        /// Which, and how.
        what: String,
    },
    /// The process ends.
    #[error("weir stops before this is done")]
    Stopped,
}

impl ToolError {
    pub(super) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        Self::Database(DatabaseError::sqlite(path, source))
    }

    pub(super) fn failure(path: &Path, failure: JobFailure) -> Self {
        match failure {
            JobFailure::Sqlite(source) => Self::sqlite(path, source),
            JobFailure::Expected(expected) => Self::Damaged { what: expected.to_string() },
            JobFailure::Damaged(what) => Self::Damaged { what: what.to_owned() },
        }
    }
}
