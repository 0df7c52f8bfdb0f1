//! What an operator does with a database beside running on it: check, compact, back up, export, import.
//!
//! All but [`compact`] may be used while Weir runs on the same file: they read in small steps and write in smaller ones.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use thiserror::Error;

use super::error::DatabaseError;
use super::failure::Failure;

mod check;
mod copy;
mod export;
mod import;
mod line;
mod markdown;

pub use check::{Checked, check};
pub use copy::{Compacted, backup, compact};
pub use export::export;
pub use import::{Imported, import};
pub use markdown::export_markdown;

/// How many rows are looked at in one step: one state of the database is seen for so long, and the WAL kept for so long.
const STEP: i64 = 64;

/// How far a tool has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Steps done.
    pub done: u64,
    /// Steps there are, if that is known before the end.
    pub total: Option<u64>,
}

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
    fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        Self::Database(DatabaseError::sqlite(path, source))
    }

    fn failure(path: &Path, failure: Failure) -> Self {
        match failure {
            Failure::Sqlite(source) => Self::sqlite(path, source),
            Failure::Expected(expected) => Self::Damaged { what: expected.to_string() },
            Failure::Damaged(what) => Self::Damaged { what: what.to_owned() },
        }
    }
}

/// Asks one question in one read transaction.
fn ask<T>(path: &Path, connection: &Connection, question: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, ToolError> {
    let transaction = connection.unchecked_transaction().map_err(|source| ToolError::sqlite(path, source))?;
    question(&transaction).map_err(|failure| ToolError::failure(path, failure))
}

/// A connection to a database that is there.
fn reader(path: &Path) -> Result<Connection, ToolError> {
    Ok(super::open::existing(path)?)
}
