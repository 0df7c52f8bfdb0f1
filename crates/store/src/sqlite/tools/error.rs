//! Why a tool fails.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::sqlite::error::DatabaseError;
use crate::sqlite::failure::JobFailure;

/// Why a tool fails.
#[derive(Debug, Error)]
pub enum ToolError {
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The output file exists.
    #[error("{} exists: choose another name, or move it away", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A server, or another tool, uses the database.
    #[error("{} is in use: stop weir first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Another file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The export cannot be written, or the import cannot be read.
    #[error("the export cannot be written or read: {0}")]
    Stream(#[from] io::Error),
    /// The import is not in the format of an export.
    #[error("line {line}: {what}; the lines before it are imported")]
    Line {
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with the line.
        what: String,
    },
    /// A row has content that Weir does not write.
    #[error("{what}; run `weir store check` for details")]
    Damaged {
        /// The row and what is wrong with it.
        what: String,
    },
    /// The process is stopping.
    #[error("not completed: weir is stopping; run it again")]
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
