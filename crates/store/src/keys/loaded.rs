//! What a running server knows of the key file: read again whenever the file changes, closed to all when it breaks.

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
    /// What the file looked like then. Taken before reading: a change in between is seen at the next look. `None` where
    /// the system could not say, which may pass without a change of the file.
    pub(super) mark: Option<Mark>,
    pub(super) keys: Vec<StoredKey>,
    pub(super) condition: Condition,
    /// How often they have changed.
    pub(super) version: u64,
}

/// How the file stands, and so who gets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// There has never been a key while this process ran: nobody needs one.
    Open,
    /// There are keys, or there were: nobody gets in without one.
    Keyed,
    /// There should be keys, but the file has vanished or cannot be read: nobody gets in at all.
    Broken,
}

/// By what a change of the file is noticed. Replacing it changes the inode, even within one tick of the clock.
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
    /// The first look.
    pub(super) fn begin(disk: &KeyDirectory) -> Result<Self, KeyError> {
        let mark = Mark::of(disk.path())
            .map_err(|source| KeyError::Io { path: disk.path().to_path_buf(), source })?;
        let keys = disk.read()?;
        let condition = match &keys {
            None if disk.was_keyed() => Condition::Broken,
            Some(keys) if !keys.is_empty() => Condition::Keyed,
            None | Some(_) => Condition::Open,
        };
        Ok(Self { mark: Some(mark), keys: keys.unwrap_or_default(), condition, version: 0 })
    }

    /// Looks again, after `mark` was taken.
    pub(super) fn look(&mut self, disk: &KeyDirectory, mark: Mark) {
        let path = disk.path().display();
        self.mark = Some(mark);
        self.keys.clear();
        self.version += 1;
        match disk.read() {
            Ok(Some(keys)) => {
                if self.condition == Condition::Broken {
                    tracing::info!(%path, "the key file is back");
                }
                if self.condition != Condition::Open || !keys.is_empty() {
                    self.condition = Condition::Keyed;
                }
                if !keys.is_empty()
                    && let Err(error) = disk.mark()
                {
                    let path = disk.marker().display();
                    tracing::error!(%path, %error, "cannot note that there are keys: a restart without the key file would be open");
                }
                self.keys = keys;
            }
            Ok(None) if self.condition == Condition::Open && !disk.was_keyed() => {}
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
            tracing::error!(path = %disk.path().display(), error, "the key file is lost; nobody gets in until it is back");
        }
        self.condition = Condition::Broken;
        self.version += 1;
        self.keys.clear();
    }
}
