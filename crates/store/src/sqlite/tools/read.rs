//! Reading for the tools while a server uses the database: small steps, each in a transaction of
//! its own.

use std::path::Path;

use rusqlite::Connection;

use super::error::ToolError;
use crate::sqlite::failure::JobFailure;

/// How many rows are read in one step: a transaction sees one state, and keeps the WAL, for that
/// long.
pub(super) const STEP: i64 = 64;

/// The progress of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolProgress {
    /// Steps done.
    pub done: u64,
    /// The number of steps, if it is known before the end.
    pub total: Option<u64>,
}

/// Runs one query in a read transaction.
pub(super) fn ask<T>(
    path: &Path,
    connection: &Connection,
    question: impl FnOnce(&Connection) -> Result<T, JobFailure>,
) -> Result<T, ToolError> {
    let transaction =
        connection.unchecked_transaction().map_err(|source| ToolError::sqlite(path, source))?;
    question(&transaction).map_err(|failure| ToolError::failure(path, failure))
}

/// A connection to an existing database.
pub(super) fn reader(path: &Path) -> Result<Connection, ToolError> {
    Ok(crate::sqlite::open::existing(path)?)
}
