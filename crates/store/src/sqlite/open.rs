//! Opens the file: created for its owner alone, checked before SQLite touches it, and configured
//! for one writer and many readers.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::DatabaseError;
use super::schema;
use super::shared::DatabaseShared;
use crate::Durability;

/// The first bytes of every SQLite file.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How long one connection waits for the lock of another: tools in other processes write too, in
/// small steps.
const PATIENCE: Duration = Duration::from_secs(5);

/// A database that was not closed is checked before use, if that takes no longer than some tenths
/// of a second. SQLite itself recovers from a killed process; this finds the damage of a failing
/// disk.
const CHECKED_BYTES: u64 = 32 << 20;

/// Prepared statements that one connection caches; there are about forty.
const STATEMENTS: usize = 64;

/// The writer's page cache in KiB. Other pages are in the cache of the operating system.
const WRITER_CACHE: i64 = 16 << 10;

/// The page cache of each reader in KiB.
const READER_CACHE: i64 = 4 << 10;

/// Opens the database for writing, creates it if missing, and migrates it.
pub(super) fn open(path: &Path, durability: Durability) -> Result<Connection, DatabaseError> {
    let failed = |source| DatabaseError::sqlite(path, source);
    claim_file(path)?;
    let was_open = fs::metadata(wal(path)).is_ok_and(|wal| wal.len() > 0);
    // The owner is checked first: a file of another program or of a later version of Weir stays
    // unchanged.
    schema::version(path, &connect_plain(path)?, schema::STEPS)?;
    let mut connection = connect(path, durability)?;
    schema::migrate(path, &mut connection, schema::STEPS)?;
    if was_open && fs::metadata(path).is_ok_and(|file| file.len() <= CHECKED_BYTES) {
        let found: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
        if found != "ok" {
            return Err(DatabaseError::Corrupt { path: path.to_path_buf(), what: found });
        }
    }
    Ok(connection)
}

/// The state that the threads share, with the totals from the file.
pub(super) fn shared(
    path: &Path,
    connection: &Connection,
) -> Result<DatabaseShared, DatabaseError> {
    let totals = connection.query_row("SELECT item_bytes, log_bytes FROM totals", [], |row| {
        Ok(DatabaseShared::new(row.get(0)?, row.get(1)?))
    });
    totals.map_err(|source| DatabaseError::sqlite(path, source))
}

/// A connection that may write.
pub(super) fn connect(path: &Path, durability: Durability) -> Result<Connection, DatabaseError> {
    let failed = |source| DatabaseError::sqlite(path, source);
    let connection = connect_plain(path)?;
    let synchronous = match durability {
        Durability::Disk => "FULL",
        Durability::Process | Durability::Memory => "NORMAL",
    };
    // The first two have an effect only on an empty file. Without the incremental mode, free pages
    // could not be released in small steps. The janitor runs the checkpoints. Statement journals in
    // memory keep text out of a third file.
    let settings = format!(
        "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; \
         PRAGMA fullfsync = {full}; PRAGMA checkpoint_fullfsync = {full}; PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = 0; \
         PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -{WRITER_CACHE};",
        full = if durability == Durability::Disk { "ON" } else { "OFF" },
    );
    connection.execute_batch(&settings).map_err(failed)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn connect_reader(path: &Path) -> Result<Connection, DatabaseError> {
    let connection = connect_plain(path)?;
    // Not opened read-only: after a crash, the first connection has to recover the WAL.
    let settings = format!(
        "PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -{READER_CACHE};"
    );
    connection.execute_batch(&settings).map_err(|source| DatabaseError::sqlite(path, source))?;
    Ok(connection)
}

fn connect_plain(path: &Path) -> Result<Connection, DatabaseError> {
    let failed = |source| DatabaseError::sqlite(path, source);
    // SQLite would open a directory, or create a file with the mode of the umask.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Creates the file, for its owner alone, or checks that it is an SQLite file. The system's errors
/// are more precise than SQLite's.
fn claim_file(path: &Path) -> Result<(), DatabaseError> {
    let failed = |source| DatabaseError::file(path, source);
    let mut file = create(path).map_err(failed)?;
    let mut start = Vec::with_capacity(MAGIC.len());
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start).map_err(failed)?;
    if start.is_empty() || start == MAGIC {
        return Ok(());
    }
    Err(DatabaseError::NotADatabase { path: path.to_path_buf() })
}

/// Opens a file for reading and writing; creates it if missing, readable by its owner alone.
pub(super) fn create(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().create(true).truncate(false)).open(path)
}

/// Creates a file, readable by its owner alone. Fails if the path exists.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().create_new(true)).open(path)
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        options.mode(0o600);
    }
    options
}

/// The path of the WAL of the database at `path`.
pub(super) fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// A reader's connection to an existing, current database, for a tool that runs without a server.
pub(super) fn existing(path: &Path) -> Result<Connection, DatabaseError> {
    if !path.exists() {
        return Err(DatabaseError::Missing { path: path.to_path_buf() });
    }
    claim_file(path)?;
    let connection = connect_reader(path)?;
    schema::require(path, &connection)?;
    Ok(connection)
}

/// An exclusive connection. SQLite reports "busy" if there is another.
pub(super) fn connect_alone(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT;")?;
    Ok(connection)
}
