//! Why a database cannot be opened; each error states the remedy.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

/// Why a database cannot be opened.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// Its directory does not exist.
    #[error("{} cannot be opened: its directory does not exist; create it, or choose another directory with --data", path.display())]
    Vanished {
        /// The file.
        path: PathBuf,
    },
    /// The file does not exist and is not to be created.
    #[error("{} does not exist: start weir once, which creates the database", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// An earlier version created it, and no server has migrated it since.
    #[error("{} was made by an older Weir (schema {found}, this one has {known}): start weir once, which migrates it", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The latest schema this program knows.
        known: u32,
    },
    /// The path, or a parent of it, is a different kind of file.
    #[error("{} is in the way of the database: move it, or choose another directory with --data", path.display())]
    InTheWay {
        /// The path that is in the way.
        path: PathBuf,
    },
    /// It is not an SQLite file.
    #[error("{} is not a database: move it away, or restore a backup in its place", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// It is an SQLite file of another program.
    #[error("{} is the database of another program: choose another directory with --data", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// SQLite finds it corrupt.
    #[error("{} is damaged ({what}): restore a backup, or save what can be read with `weir store export`", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        what: String,
    },
    /// A later version has migrated it to a schema unknown to this one.
    #[error("{} was made by a newer Weir (schema {found}, this one knows {known}): use that version, or restore a backup", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The latest schema this program knows.
        known: u32,
    },
    /// The file system or the file is read-only.
    #[error("{} cannot be written: its file system or the file is read-only; choose another directory with --data", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// This user may not open it.
    #[error("{} cannot be opened by this user; change its owner to the user that runs weir, or choose another directory with --data", path.display())]
    Forbidden {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("{} cannot be opened: its disk is full; free some space, or choose another directory with --data", path.display())]
    NoRoom {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds a lock on it.
    #[error("{} is locked by another program: stop that program first", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The system cannot start a thread.
    #[error("{} cannot be opened: the system cannot start a thread for it; check the limit of processes", path.display())]
    NoThread {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Any other error of SQLite.
    #[error("{} cannot be opened: {source}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// Any other error of the file system.
    #[error("{} cannot be opened: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl DatabaseError {
    /// Classifies an SQLite error at `path`.
    pub(super) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt { path, what: source.to_string() },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path },
            Some(ErrorCode::PermissionDenied) => Self::Forbidden { path },
            Some(ErrorCode::DiskFull) => Self::NoRoom { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            _ => Self::Other { path, source },
        }
    }

    /// Classifies an error of the file system at `path`.
    pub(super) fn file(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Vanished { path },
            io::ErrorKind::NotADirectory => {
                let obstacle =
                    path.ancestors().find(|ancestor| ancestor.is_file()).map(Path::to_path_buf);
                Self::InTheWay { path: obstacle.unwrap_or(path) }
            }
            io::ErrorKind::IsADirectory => Self::InTheWay { path },
            io::ErrorKind::PermissionDenied => Self::Forbidden { path },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoRoom { path },
            _ => Self::File { path, source },
        }
    }
}
