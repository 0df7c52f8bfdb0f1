//! How the tools read a database beside running on it: in small steps, each in a transaction of its own.

use std::path::Path;

use rusqlite::Connection;

use super::error::ToolError;
use crate::sqlite::failure::JobFailure;

/// How many rows are looked at in one step: one state of the database is seen for so long, and the WAL kept for so long.
pub(super) const STEP: i64 = 64;

/// How far a tool has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolProgress {
    /// Steps done.
    pub done: u64,
    /// Steps there are, if that is known before the end.
    pub total: Option<u64>,
}

/// Asks one question in one read transaction.
pub(super) fn ask<T>(
    path: &Path,
    connection: &Connection,
    question: impl FnOnce(&Connection) -> Result<T, JobFailure>,
) -> Result<T, ToolError> {
    let transaction =
        connection.unchecked_transaction().map_err(|source| ToolError::sqlite(path, source))?;
    question(&transaction).map_err(|failure| ToolError::failure(path, failure))
}

/// A connection to a database that is there.
pub(super) fn reader(path: &Path) -> Result<Connection, ToolError> {
    Ok(crate::sqlite::open::existing(path)?)
}
