//! Why a database cannot be opened, in sentences that say what to do.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

/// Why a database cannot be opened.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// There is no directory to put it in, or no longer.
    #[error("{} cannot be opened: its directory is not there; make it, or choose another place with --data", path.display())]
    Vanished {
        /// The file.
        path: PathBuf,
    },
    /// It is not there, and nobody asked to make it.
    #[error("{} is not there: there is no database yet", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// An earlier version made it, and no server has opened it since.
    #[error("{} was made by an older Weir (schema {found}, this one has {known}): start weir once, which brings it up to date", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The latest schema this program knows.
        known: u32,
    },
    /// Something else has that name, or stands on the way to it.
    #[error("{} is in the way of the database: move it, or choose another place with --data", path.display())]
    InTheWay {
        /// What is in the way.
        path: PathBuf,
    },
    /// It is no SQLite file.
    #[error("{} is not a database: move it away, or restore a backup in its place", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// It is an SQLite file that Weir did not make.
    #[error("{} is the database of another program: choose another place with --data", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Its content contradicts itself.
    #[error("{} is damaged ({what}): restore a backup, or save what can be read with `weir store export`", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        what: String,
    },
    /// A later version has changed it in ways this one does not know.
    #[error("{} was made by a newer Weir (schema {found}, this one knows {known}): use that version, or restore a backup", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The latest schema this program knows.
        known: u32,
    },
    /// The file system takes no writes.
    #[error("{} cannot be written: its file system or the file is read-only; choose another place with --data", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file system takes writes, but not ours.
    #[error("{} may not be opened by this user; give it to the user who runs weir, or choose another place with --data", path.display())]
    Forbidden {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("{} cannot be opened: there is no room left on its disk; make some, or choose another place with --data", path.display())]
    NoRoom {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds a lock on it and does not let go.
    #[error("{} is locked by another program: end that one first", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no thread to write with.
    #[error("{} cannot be used: the system starts no thread", path.display())]
    NoThread {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Anything else.
    #[error("{} cannot be opened: {source}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Anything else that the file system says.
    #[error("{} cannot be opened: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl DatabaseError {
    /// What an SQLite error at `path` means.
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

    /// What an error of the file system at `path` means.
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
