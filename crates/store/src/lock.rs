//! One process at a time in a data directory: whoever comes second is told who was first.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The name of the file that is locked. Its content says by whom; the lock itself goes with the process, however it ends.
const NAME: &str = "weir.lock";

/// Why a directory cannot be had.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is in use by {holder}; stop that process first, or choose another directory with --data", path.display())]
    Held {
        /// The directory.
        path: PathBuf,
        /// Who has it.
        holder: String,
    },
    /// The file cannot be made, or its file system has no locks.
    #[error("{} cannot be locked", path.display())]
    Unavailable {
        /// The lock file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The right to a data directory, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the directory, which must exist, for this process.
    ///
    /// # Errors
    /// Another process has it; the file cannot be made or locked.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join(NAME);
        let unavailable = |source| LockError::Unavailable { path: path.clone(), source };
        let mut file = open(&path).map_err(unavailable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    path: directory.to_path_buf(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(unavailable(source)),
        }
        sign(&mut file).map_err(unavailable)?;
        Ok(Self { _file: file })
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Writes down who has the lock.
fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "process {}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // A process that has just begun may not have signed yet, and on some systems a locked file cannot be read.
    let is_signed = file.read_to_string(&mut text).is_ok() && !text.trim().is_empty();
    if is_signed { text.trim().to_owned() } else { "another process".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_was_first() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let first = Lock::take(directory.path())?;
        let refused =
            Lock::take(directory.path()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(
            refused.contains(&format!("process {}", std::process::id()))
                && refused.contains("--data"),
            "{refused}"
        );
        drop(first);
        Lock::take(directory.path())?;
        Ok(())
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = Lock::take(Path::new("/nowhere/at/all"))
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains("/nowhere/at/all/weir.lock"), "{error}");
    }
}
