//! The schema and its migrations: numbered steps, each in one transaction, with the number of the
//! last one in the file.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::DatabaseError;

/// "Weir" as the application id in the header of the file.
pub(super) const APPLICATION: i32 = 0x5765_6972;

/// Step n migrates schema n - 1 to schema n. A released step is never changed.
pub(super) const STEPS: &[&str] = &[
    include_str!("../../migrations/0001_answers.sql"),
    include_str!("../../migrations/0002_shares.sql"),
    include_str!("../../migrations/0003_event_times.sql"),
];

/// Migrates the database atomically. There is no copy of the old file, since that would keep
/// deleted text.
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
    // Another process may have migrated it in the meantime.
    let from = version(path, &transaction, steps)?;
    for step in steps.iter().skip(from) {
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(failed)?;
    transaction.pragma_update(None, "user_version", steps.len()).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    if from > 0 {
        tracing::info!(from, to = steps.len(), "the database was migrated");
    }
    Ok(())
}

/// How many of `steps` were applied to the database.
///
/// # Errors
/// It belongs to another program, or to a later version of Weir.
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

/// Checks that a database is current, without changing it.
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
