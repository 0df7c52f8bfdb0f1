//! The schema and its history: numbered steps, each one transaction, the number of the last one in the file.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::DatabaseError;

/// "Weir" in the header of the file.
pub(super) const APPLICATION: i32 = 0x5765_6972;

/// Step n makes schema n out of schema n - 1. A step that was released is never changed.
pub(super) const STEPS: &[&str] = &[
    include_str!("../../migrations/0001_answers.sql"),
    include_str!("../../migrations/0002_shares.sql"),
];

/// Brings the database up to date. Either all of it happens or nothing; there is no copy of what was, since that would
/// keep deleted text.
pub(super) fn migrate(
    path: &Path,
    connection: &mut Connection,
    steps: &[&str],
) -> Result<(), DatabaseError> {
    let failed = |source| DatabaseError::sqlite(path, source);
    if version(path, connection, steps)? == steps.len() {
        return Ok(());
    }
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    // Another process may have been faster.
    let from = version(path, &transaction, steps)?;
    for step in steps.iter().skip(from) {
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(failed)?;
    transaction.pragma_update(None, "user_version", steps.len()).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    if from > 0 {
        tracing::info!(from, to = steps.len(), "the database was brought up to date");
    }
    Ok(())
}

/// How many of `steps` the database has behind it.
///
/// # Errors
/// It is another program's, or was made by a later Weir.
pub(super) fn version(
    path: &Path,
    connection: &Connection,
    steps: &[&str],
) -> Result<usize, DatabaseError> {
    let failed = |source| DatabaseError::sqlite(path, source);
    let question = "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version), \
                    (SELECT count(*) FROM sqlite_schema)";
    let row = connection.query_row(question, [], |row| {
        Ok((row.get::<_, i32>(0)?, row.get::<_, u32>(1)?, row.get::<_, u32>(2)?))
    });
    let known = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    match row.map_err(failed)? {
        (0, 0, 0) => Ok(0),
        (APPLICATION, found, _) if found > known => {
            Err(DatabaseError::Newer { path: path.to_path_buf(), found, known })
        }
        (APPLICATION, found, _) => Ok(usize::try_from(found).unwrap_or(usize::MAX)),
        _ => Err(DatabaseError::Foreign { path: path.to_path_buf() }),
    }
}

/// Makes sure that a database is up to date, without changing it.
pub(super) fn require(path: &Path, connection: &Connection) -> Result<(), DatabaseError> {
    let found = version(path, connection, STEPS)?;
    if found == STEPS.len() {
        return Ok(());
    }
    let number = |version| u32::try_from(version).unwrap_or(u32::MAX);
    Err(DatabaseError::Older {
        path: path.to_path_buf(),
        found: number(found),
        known: number(STEPS.len()),
    })
}
