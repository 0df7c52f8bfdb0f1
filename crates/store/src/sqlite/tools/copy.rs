//! Copies: a backup of a database in use, and compaction of an unused one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

use super::error::ToolError;
use super::read::{ToolProgress, reader};
use crate::Durability;
use crate::keys;
use crate::sqlite::open;

/// The result of a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionReport {
    /// Bytes of the file and its WAL before.
    pub before: u64,
    /// Bytes of the file after.
    pub after: u64,
}

/// Copies one state of the database at `from` to `to`, without the free pages of deleted rows.
/// Readers and the writer are not blocked; the WAL grows by what they write. The API keys beside it
/// are included, hashed. Returns the bytes of the copy.
///
/// # Errors
/// [`ToolError`]; then there is no file at `to`.
pub fn backup(from: &Path, to: &Path) -> Result<u64, ToolError> {
    if to.exists() {
        return Err(ToolError::Exists { path: to.to_path_buf() });
    }
    let part = part(to)?;
    let connection = reader(from)?;
    // `query_only` forbids `VACUUM INTO`, although that does not change the database.
    connection
        .pragma_update(None, "query_only", false)
        .map_err(|source| ToolError::sqlite(from, source))?;
    let bytes = copy(from, &connection, &part)?;
    if let Err(source) = keys::put(from, &part) {
        let _gone = fs::remove_file(&part);
        return Err(ToolError::sqlite(&part, source));
    }
    put_new(&part, to)?;
    Ok(bytes)
}

/// Rewrites the database at `path` without the free pages of deleted rows. It needs the same space
/// again while it runs. No other process may use the database.
///
/// # Errors
/// [`ToolError`]; then the file is unchanged.
pub fn compact(
    path: &Path,
    mut progress: impl FnMut(ToolProgress),
) -> Result<CompactionReport, ToolError> {
    let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            ToolError::InUse { path: path.to_path_buf() }
        }
        _ => ToolError::sqlite(path, source),
    };
    drop(reader(path)?);
    progress(ToolProgress { done: 0, total: Some(2) });
    let length = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    let before = length(path) + length(&open::wal(path));
    let connection = open::connect_alone(path).map_err(failed)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(())).map_err(failed)?;
    progress(ToolProgress { done: 1, total: Some(2) });
    remove_temporary(path);
    let part = part(path)?;
    let after = copy(path, &connection, &part)?;
    // While the connection is open, no other process can have opened the old file.
    put(&part, path)?;
    drop(connection);
    // The settings that a server would apply first, so that the copy is like any other database.
    drop(open::open(path, Durability::Disk)?);
    progress(ToolProgress { done: 2, total: Some(2) });
    Ok(CompactionReport { before, after })
}

/// Writes a copy to `part`, which is removed if that fails.
fn copy(from: &Path, connection: &Connection, part: &Path) -> Result<u64, ToolError> {
    let copied = write(from, connection, part);
    if copied.is_err() {
        // A partial copy holds text that may be deleted later.
        let _gone = fs::remove_file(part);
    }
    copied
}

fn write(from: &Path, connection: &Connection, part: &Path) -> Result<u64, ToolError> {
    let failed = |source: io::Error| ToolError::File { path: part.to_path_buf(), source };
    // SQLite only writes into an empty file. This one is new, has an unguessable name and belongs
    // to its owner alone.
    let file = open::create_new(part).map_err(failed)?;
    let name = part.to_str().ok_or_else(|| {
        failed(io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8"))
    })?;
    connection
        .execute("VACUUM INTO ?1", [name])
        .map_err(|source| ToolError::sqlite(from, source))?;
    // SQLite opened the file by its name: in a directory that other users may write, it could be
    // theirs.
    if !is_same(&file, part).map_err(failed)? {
        return Err(failed(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "another process has replaced the file",
        )));
    }
    file.sync_all().map_err(failed)?;
    file.metadata().map(|found| found.len()).map_err(failed)
}

#[cfg(unix)]
fn is_same(file: &fs::File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let (ours, theirs) = (file.metadata()?, fs::symlink_metadata(path)?);
    Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same shape as on Unix")]
fn is_same(_: &fs::File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

/// Renames a complete copy, unless the target exists.
fn put_new(part: &Path, to: &Path) -> Result<(), ToolError> {
    match fs::hard_link(part, to) {
        Ok(()) => {
            let _gone = fs::remove_file(part);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let _gone = fs::remove_file(part);
            Err(ToolError::Exists { path: to.to_path_buf() })
        }
        // A file system without hard links.
        Err(_) => put(part, to),
    }
}

/// Renames a complete copy.
fn put(part: &Path, to: &Path) -> Result<(), ToolError> {
    let failed = |source| ToolError::File { path: to.to_path_buf(), source };
    fs::rename(part, to).map_err(failed)?;
    #[cfg(unix)]
    {
        let directory =
            to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    }
    Ok(())
}

fn part(path: &Path) -> Result<PathBuf, ToolError> {
    let mut random = [0_u8; 8];
    let failed = |error: getrandom::Error| ToolError::File {
        path: path.to_path_buf(),
        source: io::Error::other(error.to_string()),
    };
    getrandom::fill(&mut random).map_err(failed)?;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{:016x}.part", u64::from_ne_bytes(random)));
    Ok(name.into())
}

/// Removes the remains of killed compactions beside the file. No other process uses the database.
fn remove_temporary(path: &Path) {
    let (Some(directory), Some(name)) =
        (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return;
    };
    let is_part = |found: &str| {
        let random =
            found.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".part"));
        random.is_some_and(|random| {
            random.len() == 16 && random.bytes().all(|digit| digit.is_ascii_hexdigit())
        })
    };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_part) {
            let _gone = fs::remove_file(entry.path());
        }
    }
}
