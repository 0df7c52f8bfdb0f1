//! The keys in a backup: a copy of the database stores the key file in a table, and restores it
//! where there is no key file.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::disk::{FILE, KeyDirectory};
use super::error::KeyError;
use crate::directory::DATABASE;

/// Only a backup has this table. The first start on a backup drops it: revoked keys must not come
/// back from it a year later.
const TABLE: &str = "key_file";

/// How long one connection waits for the lock of another.
const PATIENCE: Duration = Duration::from_secs(5);

/// Stores the key file beside the database `from` in its copy at `to`. Does nothing without a key
/// file.
///
/// # Errors
/// An error of SQLite, or of the system if the key file cannot be read.
pub(crate) fn put(from: &Path, to: &Path) -> rusqlite::Result<()> {
    let bytes = match fs::read(from.with_file_name(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(rusqlite::Error::ToSqlConversionFailure(error.into())),
    };
    let connection = connect(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.execute_batch(&format!(
        "DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (document BLOB NOT NULL) STRICT;"
    ))?;
    connection.execute(&format!("INSERT INTO {TABLE} VALUES (?1)"), [bytes]).map(|_count| ())
}

/// Restores the key file from the database if the database is a backup and there is no key file.
pub(super) fn restore(directory: &Path, disk: &KeyDirectory) -> Result<(), KeyError> {
    let database = directory.join(DATABASE);
    let is_missing = |path: &Path| matches!(path.try_exists(), Ok(false));
    // A backup has no WAL. Opening the database of a server that crashed would recover its WAL, by
    // which the next start recognises that the file has to be checked.
    let is_in_use =
        fs::metadata(directory.join(format!("{DATABASE}-wal"))).is_ok_and(|wal| wal.len() > 0);
    if !is_missing(disk.path()) || is_missing(&database) || is_in_use {
        return Ok(());
    }
    let found = connect(&database, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .and_then(|connection| Ok((has_table(&connection)?, connection)));
    // A file that cannot be opened as a database has no keys; the server reports that error itself.
    let Ok((true, connection)) = found else { return Ok(()) };
    let document = connection
        .query_row(&format!("SELECT document FROM {TABLE}"), [], |row| row.get::<_, Vec<u8>>(0));
    let document =
        document.map_err(|source| KeyError::Backup { path: database.clone(), source })?;
    disk.restore(&database, &document)?;
    tracing::info!(path = %disk.path().display(), "the keys were restored from the backup");
    Ok(())
}

/// Drops the table once the keys are in their file.
///
/// # Errors
/// [`KeyError::Backup`].
pub(crate) fn delete_copied(database: &Path) -> Result<(), KeyError> {
    let deleted = connect(database, OpenFlags::SQLITE_OPEN_READ_WRITE).and_then(|connection| {
        if has_table(&connection)? {
            connection.execute_batch(&format!("PRAGMA secure_delete = ON; DROP TABLE {TABLE}"))?;
        }
        Ok(())
    });
    deleted.map_err(|source| KeyError::Backup { path: database.to_path_buf(), source })
}

fn has_table(connection: &Connection) -> rusqlite::Result<bool> {
    let question = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    connection.query_row(question, [TABLE], |row| row.get::<_, u32>(0)).map(|count| count > 0)
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}
