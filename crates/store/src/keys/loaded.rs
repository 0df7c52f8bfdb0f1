//! The key file as a running server has loaded it: read again whenever it changes; no caller is
//! admitted while it is broken.

use std::error::Error;
use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::disk::{KeyDirectory, StoredKey};
use super::error::KeyError;

/// The keys as last read.
#[derive(Debug)]
pub(super) struct LoadedKeys {
    /// The file's metadata, taken before reading, so that a change in between is noticed next time.
    /// `None` if the system reported an error, which may pass without a change of the file.
    pub(super) mark: Option<Mark>,
    pub(super) keys: Vec<StoredKey>,
    pub(super) condition: Condition,
    /// How often they have changed.
    pub(super) version: u64,
}

/// The state of the key file, which decides who is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// No key has existed while this process ran: callers need none.
    Open,
    /// Keys exist or have existed: callers need one.
    Keyed,
    /// Keys should exist, but the file is missing or cannot be read: no caller is admitted.
    Broken,
}

/// Detects a change of the file. Replacing it changes the inode, even within one tick of the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Absent,
    Present { modified: Option<SystemTime>, bytes: u64, inode: u64 },
}

impl Mark {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(file) => Ok(Self::Present {
                modified: file.modified().ok(),
                bytes: file.len(),
                inode: inode(&file),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Absent),
            Err(error) => Err(error),
        }
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

impl LoadedKeys {
    /// The initial load.
    pub(super) fn load(disk: &KeyDirectory) -> Result<Self, KeyError> {
        let mark = Mark::of(disk.path())
            .map_err(|source| KeyError::Io { path: disk.path().to_path_buf(), source })?;
        let keys = disk.read()?;
        let condition = match &keys {
            None if disk.has_marker() => Condition::Broken,
            Some(keys) if !keys.is_empty() => Condition::Keyed,
            None | Some(_) => Condition::Open,
        };
        Ok(Self { mark: Some(mark), keys: keys.unwrap_or_default(), condition, version: 0 })
    }

    /// Loads the file again, after `mark` was taken.
    pub(super) fn reload(&mut self, disk: &KeyDirectory, mark: Mark) {
        let path = disk.path().display();
        self.mark = Some(mark);
        self.keys.clear();
        self.version += 1;
        match disk.read() {
            Ok(Some(keys)) => {
                if self.condition == Condition::Broken {
                    tracing::info!(%path, "the key file was restored");
                }
                if self.condition != Condition::Open || !keys.is_empty() {
                    self.condition = Condition::Keyed;
                }
                if !keys.is_empty()
                    && let Err(error) = disk.create_marker()
                {
                    let path = disk.marker().display();
                    tracing::error!(%path, %error, "the marker for keys cannot be written: a restart without the key file would admit every caller");
                }
                self.keys = keys;
            }
            Ok(None) if self.condition == Condition::Open && !disk.has_marker() => {}
            Ok(None) => self.fail(disk, &io::Error::from(io::ErrorKind::NotFound)),
            Err(error) => {
                if matches!(error, KeyError::Io { .. }) {
                    self.mark = None;
                }
                self.fail(disk, &error);
            }
        }
    }

    pub(super) fn fail(&mut self, disk: &KeyDirectory, error: &(dyn Error + 'static)) {
        if self.condition != Condition::Broken {
            tracing::error!(path = %disk.path().display(), error, "the key file is missing or unreadable; every caller is rejected until it is restored");
        }
        self.condition = Condition::Broken;
        self.version += 1;
        self.keys.clear();
    }
}
