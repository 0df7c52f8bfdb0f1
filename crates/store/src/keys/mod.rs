//! API keys in `DIR/keys.json`: created, listed and revoked from the command line; a running server
//! applies changes at once.

pub mod error;
pub mod key;

mod disk;
mod loaded;
mod lookup;
mod restore;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::RwLock;
use std::time::{SystemTime, UNIX_EPOCH};

use engine::secret::Secret;
use sha2::{Digest, Sha256};

pub(crate) use restore::{delete_copied, put};

use disk::{KeyDirectory, StoredKey};
use error::{KeyError, NAME_CHARACTERS};
use key::{Key, KeyRole, NewKey};
use loaded::LoadedKeys;

/// The keys of one data directory. As [`engine::keys::KeyStore`] it applies changes of the file
/// from the next request on.
#[derive(Debug)]
pub struct KeyFile {
    disk: KeyDirectory,
    live: RwLock<LoadedKeys>,
}

impl KeyFile {
    /// The keys in `directory`. Neither the directory nor the file has to exist; nothing is created
    /// before the first key, unless the database in it is a backup with keys.
    ///
    /// # Errors
    /// The file exists but cannot be read or parsed: a server must not start without the keys it
    /// should require.
    pub fn open(directory: &Path) -> Result<Self, KeyError> {
        let disk = KeyDirectory::new(directory);
        restore::restore(directory, &disk)?;
        let live = LoadedKeys::load(&disk)?;
        Ok(Self { disk, live: RwLock::new(live) })
    }

    /// Checks before a server starts that no keys were lost, and that a later loss will be noticed.
    ///
    /// # Errors
    /// [`KeyError::Lost`] if keys have existed and their file is missing.
    pub fn require(&self) -> Result<(), KeyError> {
        match self.disk.read()? {
            None if self.disk.has_marker() => Err(KeyError::Lost {
                path: self.disk.path().to_path_buf(),
                marker: self.disk.marker().to_path_buf(),
            }),
            Some(keys) if !keys.is_empty() => self
                .disk
                .create_marker()
                .map_err(|source| KeyError::Io { path: self.disk.marker().to_path_buf(), source }),
            None | Some(_) => Ok(()),
        }
    }

    /// Whether keys have existed, even if there are none now.
    pub fn has_had_keys(&self) -> bool {
        self.disk.has_marker()
    }

    /// Creates a key and stores its SHA-256. `now` is the time of creation.
    pub fn create(&self, name: &str, role: KeyRole, now: SystemTime) -> Result<NewKey, KeyError> {
        if name.chars().count() > NAME_CHARACTERS || name.chars().any(char::is_control) {
            return Err(KeyError::Name);
        }
        let secret = format!("wk_{}", random_hex::<32>()?);
        let stored = StoredKey {
            id: format!("key_{}", random_hex::<8>()?),
            name: name.to_owned(),
            admin: role == KeyRole::Admin,
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

    /// Revokes the key with this id; it is rejected from now on. `None` if there is no such key.
    pub fn revoke(&self, id: &str) -> Result<Option<Key>, KeyError> {
        if self.disk.read()?.is_none() {
            // Nothing to revoke, so no file is created.
            return Ok(None);
        }
        self.disk.change(|keys| {
            let at = keys.iter().position(|key| key.id == id)?;
            Some(keys.remove(at).listed())
        })
    }
}

/// `N` random bytes as hexadecimal digits: one double click selects them, and no shell interprets
/// them.
fn random_hex<const N: usize>() -> Result<String, KeyError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(KeyError::Random)?;
    Ok(disk::to_hex(&bytes))
}
