//! Copies: a backup of a database in use, and a smaller file in the place of one that is not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

use super::{Progress, ToolError, reader};
use crate::Durability;
use crate::keys;
use crate::sqlite::open;

/// What a compaction has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of the file and its WAL before.
    pub before: u64,
    /// Bytes of the file after.
    pub after: u64,
}

/// Copies the database at `from` to `to`, one state of it, without the room that deleted rows have left. Readers and the
/// writer go on meanwhile; the WAL grows by what they write. The API keys beside it go along, hashed. Gives the bytes of the copy.
///
/// # Errors
/// [`ToolError`]; then there is no file at `to`.
pub fn backup(from: &Path, to: &Path) -> Result<u64, ToolError> {
    if to.exists() {
        return Err(ToolError::Exists { path: to.to_path_buf() });
    }
    let part = part(to);
    let connection = reader(from)?;
    // A copy is not a change, but SQLite does not see that.
    connection.pragma_update(None, "query_only", false).map_err(|source| ToolError::sqlite(from, source))?;
    let bytes = copy(from, &connection, &part)?;
    if let Err(source) = keys::put(from, &part) {
        let _gone = fs::remove_file(&part);
        return Err(ToolError::sqlite(&part, source));
    }
    put(&part, to)?;
    Ok(bytes)
}

/// Writes the database at `path` anew, without the room that deleted rows have left. It takes as much room again while it
/// works. Nothing else may use the database.
///
/// # Errors
/// [`ToolError`]; then the file is as it was.
pub fn compact(path: &Path, mut progress: impl FnMut(Progress)) -> Result<Compacted, ToolError> {
    let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ToolError::InUse { path: path.to_path_buf() },
        _ => ToolError::sqlite(path, source),
    };
    drop(reader(path)?);
    progress(Progress { done: 0, total: Some(2) });
    let length = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    let before = length(path) + length(&open::wal(path));
    let connection = open::connect_alone(path).map_err(failed)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(())).map_err(failed)?;
    progress(Progress { done: 1, total: Some(2) });
    let part = part(path);
    let after = copy(path, &connection, &part)?;
    // While the connection is open, nobody else can have begun to use the old file.
    put(&part, path)?;
    drop(connection);
    // What a server would do first, so that the copy is like any other.
    drop(open::open(path, Durability::Disk)?);
    progress(Progress { done: 2, total: Some(2) });
    Ok(Compacted { before, after })
}

/// Writes a copy to `part`, which is removed if that fails.
fn copy(from: &Path, connection: &Connection, part: &Path) -> Result<u64, ToolError> {
    let copied = write(from, connection, part);
    if copied.is_err() {
        // What is left of it is a copy of text that may be deleted tomorrow.
        let _gone = fs::remove_file(part);
    }
    copied
}

fn write(from: &Path, connection: &Connection, part: &Path) -> Result<u64, ToolError> {
    let failed = |source: io::Error| ToolError::File { path: part.to_path_buf(), source };
    // What an earlier attempt left; SQLite only writes into an empty file.
    let file = open::create(part).map_err(failed)?;
    file.set_len(0).map_err(failed)?;
    let name = part.to_str().ok_or_else(|| failed(io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8")))?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(|source| ToolError::sqlite(from, source))?;
    file.sync_all().map_err(failed)?;
    file.metadata().map(|found| found.len()).map_err(failed)
}

/// Gives a whole copy its name.
fn put(part: &Path, to: &Path) -> Result<(), ToolError> {
    let failed = |source| ToolError::File { path: to.to_path_buf(), source };
    fs::rename(part, to).map_err(failed)?;
    #[cfg(unix)]
    {
        let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    }
    Ok(())
}

fn part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}
