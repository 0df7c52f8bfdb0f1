//! How the file is opened: made for its user alone, looked at before SQLite touches it, and set up for one writer and many
//! readers.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::DatabaseError;
use super::schema;
use super::shared::DatabaseShared;
use crate::Durability;

/// How every SQLite file begins.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How long one connection waits for another: tools of other processes write too, in small steps.
const PATIENCE: Duration = Duration::from_secs(5);

/// A database that was not closed is looked through before it is used, if that takes no longer than some tenths of a
/// second. SQLite recovers by itself from the death of a process; this is for what a failing disk leaves.
const CHECKED_BYTES: u64 = 32 << 20;

/// Statements of one connection that stay prepared; there are about forty.
const STATEMENTS: usize = 64;

/// KiB of pages in the memory of the writer. The rest is in the memory of the operating system.
const WRITER_CACHE: i64 = 16 << 10;

/// The same of each reader.
const READER_CACHE: i64 = 4 << 10;

/// Opens the database for writing, makes it if there is none and brings it up to date.
pub(super) fn open(path: &Path, durability: Durability) -> Result<Connection, DatabaseError> {
    let failed = |source| DatabaseError::sqlite(path, source);
    claim_file(path)?;
    let was_open = fs::metadata(wal(path)).is_ok_and(|wal| wal.len() > 0);
    // Whose it is comes first: what is another program's, or a later Weir's, stays as it is.
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

/// What the threads share, with the totals as they stand in the file.
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
    // The first two count only where nothing is in the file yet. Without the incremental mode no room could be given back
    // in small steps. The janitor does the checkpoints. Journals of statements in memory never bring text to a third file.
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
    // Not opened as read-only: who reads a file after a crash has to be able to recover it.
    let settings = format!(
        "PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -{READER_CACHE};"
    );
    connection.execute_batch(&settings).map_err(|source| DatabaseError::sqlite(path, source))?;
    Ok(connection)
}

fn connect_plain(path: &Path) -> Result<Connection, DatabaseError> {
    let failed = |source| DatabaseError::sqlite(path, source);
    // SQLite would open a directory's name, or make a file with the modes of the umask.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(PATIENCE).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Makes the file, for this user alone, or makes sure that it is an SQLite file. The system's own errors say more than
/// SQLite's do.
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

/// Opens a file for reading and writing; made if it is not there, readable by this user alone.
pub(super) fn create(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().create(true).truncate(false)).open(path)
}

/// Makes a file, readable by this user alone. Nothing that is there already is opened.
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

/// Where SQLite writes before it writes into the file at `path`.
pub(super) fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// A reader's connection to a database that is there and up to date, for a tool that is no server.
pub(super) fn existing(path: &Path) -> Result<Connection, DatabaseError> {
    if !path.exists() {
        return Err(DatabaseError::Missing { path: path.to_path_buf() });
    }
    claim_file(path)?;
    let connection = connect_reader(path)?;
    schema::require(path, &connection)?;
    Ok(connection)
}

/// A connection beside which there is no other. SQLite says "busy" where there is.
pub(super) fn connect_alone(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT;")?;
    Ok(connection)
}
