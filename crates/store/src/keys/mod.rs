//! API keys in `DIR/keys.json`: made, listed and revoked from the command line, obeyed at once by a running server.

mod disk;
mod live;
mod restore;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::time::{SystemTime, UNIX_EPOCH};

use engine::secret::Secret;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::directory::DirectoryError;
pub(crate) use restore::{forget, put};

use disk::{Disk, StoredKey};
use live::Live;

/// The longest name of a key, in characters; it has to fit into a line of `weir key list`.
const NAME_CHARACTERS: usize = 60;

/// Why the keys could not be read or changed.
#[derive(Debug, Error)]
pub enum KeyError {
    /// There is no place for the file.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The file, or the lock beside it, cannot be read or written.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what Weir writes. It is never overwritten.
    #[error("{} is not a key file", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// The file is from a later Weir.
    #[error("{} has version {version}, which this weir does not know; it was written by a later one", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// The version it says.
        version: u64,
    },
    /// There have been keys, but their file is gone.
    #[error(
        "{} is gone, but there have been keys: put it back from a backup, or make a new key with `weir key create`. \
         To serve this machine without keys, delete {}",
        path.display(), marker.display()
    )]
    Lost {
        /// The file that is gone.
        path: PathBuf,
        /// The file that says that there have been keys.
        marker: PathBuf,
    },
    /// The keys in a database that was put back from a backup cannot be read.
    #[error("the keys in {} cannot be read", path.display())]
    Backup {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A name that does not fit into a line.
    #[error("a key's name has at most {NAME_CHARACTERS} characters and no control characters")]
    Name,
    /// The system gives no randomness.
    #[error("no random bytes from the system: {0}")]
    Random(getrandom::Error),
}

/// A key as it is listed. Its secret is not known to anybody but its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its id, which owns what is made with it.
    pub id: String,
    /// What its maker called it; may be empty.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made, in seconds since 1970.
    pub created_at: u64,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Talk to models.
    User,
    /// That, and look after the server.
    Admin,
}

/// A key just made, with the only copy of its secret.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The key as it will be listed.
    pub key: Key,
    /// What its holder presents: `wk_` and 64 hexadecimal digits.
    pub secret: Secret,
    /// Whether it is the only one: from now on callers need a key.
    pub first: bool,
}

/// The keys of one data directory. As [`engine::keys::Keys`] it obeys changes of the file from the next request on.
#[derive(Debug)]
pub struct KeyFile {
    disk: Disk,
    live: RwLock<Live>,
}

impl KeyFile {
    /// The keys in `directory`. Neither the directory nor the file has to exist; nothing is made before the first key, unless
    /// the database there is a backup with keys in it.
    ///
    /// # Errors
    /// The file is there, but cannot be read or understood: a server must not start without the keys it should ask for.
    pub fn open(directory: &Path) -> Result<Self, KeyError> {
        let disk = Disk::new(directory);
        restore::restore(directory, &disk)?;
        let live = Live::begin(&disk)?;
        Ok(Self { disk, live: RwLock::new(live) })
    }

    /// Makes sure, for a server that is about to start, that no keys were lost, and that it will be noticed if they are.
    ///
    /// # Errors
    /// [`KeyError::Lost`] where there have been keys and their file is gone.
    pub fn require(&self) -> Result<(), KeyError> {
        match self.disk.read()? {
            None if self.disk.was_keyed() => {
                Err(KeyError::Lost { path: self.disk.path().to_path_buf(), marker: self.disk.marker().to_path_buf() })
            }
            Some(keys) if !keys.is_empty() => {
                self.disk.mark().map_err(|source| KeyError::Io { path: self.disk.marker().to_path_buf(), source })
            }
            None | Some(_) => Ok(()),
        }
    }

    /// Whether there have been keys, whatever there is now.
    pub fn has_had_keys(&self) -> bool {
        self.disk.was_keyed()
    }

    /// Makes a key and keeps its SHA-256. `now` is when.
    pub fn create(&self, name: &str, role: Role, now: SystemTime) -> Result<NewKey, KeyError> {
        if name.chars().count() > NAME_CHARACTERS || name.chars().any(char::is_control) {
            return Err(KeyError::Name);
        }
        let secret = format!("wk_{}", random_hex::<32>()?);
        let stored = StoredKey {
            id: format!("key_{}", random_hex::<8>()?),
            name: name.to_owned(),
            admin: role == Role::Admin,
            created_at: now.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()),
            sha256: Sha256::digest(&secret).into(),
        };
        let key = stored.listed();
        let first = self.disk.change(|keys| {
            keys.push(stored);
            keys.len() == 1
        })?;
        Ok(NewKey { key, secret: Secret::new(secret), first })
    }

    /// All keys, oldest first.
    pub fn list(&self) -> Result<Vec<Key>, KeyError> {
        Ok(self.disk.read()?.unwrap_or_default().iter().map(StoredKey::listed).collect())
    }

    /// Revokes the key with this id; it opens nothing from now on. `None` where there is no such key.
    pub fn revoke(&self, id: &str) -> Result<Option<Key>, KeyError> {
        if self.disk.read()?.is_none() {
            // Nothing to revoke, so nothing is made either.
            return Ok(None);
        }
        self.disk.change(|keys| {
            let at = keys.iter().position(|key| key.id == id)?;
            Some(keys.remove(at).listed())
        })
    }
}

/// `N` random bytes as hexadecimal digits: one double click selects them, and no shell minds them.
fn random_hex<const N: usize>() -> Result<String, KeyError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(KeyError::Random)?;
    Ok(disk::to_hex(&bytes))
}
