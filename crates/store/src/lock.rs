//! One process at a time in a data directory; a second one is refused with the name of the first.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The name of the lock file. Its content names the holder; the operating system releases the lock
/// when the process ends.
const NAME: &str = "weir.lock";

/// Why a directory cannot be locked.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process holds the lock.
    #[error("{} is in use by {holder}; stop that process first, or choose another directory with --data", path.display())]
    Held {
        /// The directory.
        path: PathBuf,
        /// The holder.
        holder: String,
    },
    /// The file cannot be created, or its file system does not support locks.
    #[error("{} cannot be locked", path.display())]
    Unavailable {
        /// The lock file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Exclusive use of a data directory, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Locks the directory, which must exist, for this process.
    ///
    /// # Errors
    /// Another process holds the lock; the file cannot be created or locked.
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
        write_holder(&mut file).map_err(unavailable)?;
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

/// Writes the holder into the lock file.
fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "process {}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // A process that has just started may not have written its name yet, and some systems do not
    // allow reading a locked file.
    let is_signed = file.read_to_string(&mut text).is_ok() && !text.trim().is_empty();
    if is_signed { text.trim().to_owned() } else { "another process".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_gets_the_name_of_the_first() -> Result<(), Box<dyn std::error::Error>> {
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
    fn a_missing_directory_is_named() {
        let error = Lock::take(Path::new("/nowhere/at/all"))
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains("/nowhere/at/all/weir.lock"), "{error}");
    }
}
