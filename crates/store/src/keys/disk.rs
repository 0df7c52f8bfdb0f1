//! The key file: its format, and its atomic replacement, so that a reader sees the old or the new
//! content and never a mixture.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::error::KeyError;
use super::key::{Key, KeyRole};
use crate::directory;

/// The name of the key file in the data directory.
pub(crate) const FILE: &str = "keys.json";

/// The version of the format. A later version that adds a field increments it, so that this one
/// does not silently drop the field.
const VERSION: u64 = 1;

/// A key in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredKey {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) admin: bool,
    pub(super) created_at: u64,
    #[serde(serialize_with = "write_digest", deserialize_with = "read_digest")]
    pub(super) sha256: [u8; 32],
}

impl StoredKey {
    pub(super) fn listed(&self) -> Key {
        let role = if self.admin { KeyRole::Admin } else { KeyRole::User };
        Key { id: self.id.clone(), name: self.name.clone(), role, created_at: self.created_at }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u64,
    keys: Vec<StoredKey>,
}

/// Reads only the version and ignores everything else a later version may have written.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

/// The marker file, created with the first key. A marker without a key file means that keys were
/// lost.
const MARKER: &str = "keyed";

/// The content of the marker, for a person who opens it.
const MARKER_TEXT: &str = "There have been API keys in this directory. While keys.json is missing, Weir lets nobody in.\n\
                           Put keys.json back, or make a new key: weir key create.\n\
                           To serve this machine without keys again, stop Weir and delete this file.\n";

/// The paths of the key file and of what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct KeyDirectory {
    directory: PathBuf,
    path: PathBuf,
    marker: PathBuf,
}

impl KeyDirectory {
    pub(super) fn new(directory: &Path) -> Self {
        let file = |name| directory.join(name);
        Self { directory: directory.to_path_buf(), path: file(FILE), marker: file(MARKER) }
    }

    /// The path of the marker.
    pub(super) fn marker(&self) -> &Path {
        &self.marker
    }

    /// Whether keys have existed. A marker whose metadata cannot be read counts as present.
    pub(super) fn has_marker(&self) -> bool {
        self.marker.try_exists().unwrap_or(true)
    }

    /// Creates the marker, so that a server that loses its keys admits no caller.
    pub(super) fn create_marker(&self) -> io::Result<()> {
        match private().create_new(true).open(&self.marker) {
            Ok(mut file) => {
                file.write_all(MARKER_TEXT.as_bytes())?;
                file.sync_all()?;
                sync_directory(&self.directory)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The keys; `None` without a file.
    pub(super) fn read(&self) -> Result<Option<Vec<StoredKey>>, KeyError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(KeyError::Io { path: self.path.clone(), source }),
        };
        parse(&self.path, &bytes).map(Some)
    }

    /// Writes the keys read from the file at `source`, unless a key file exists.
    pub(super) fn restore(&self, source: &Path, bytes: &[u8]) -> Result<(), KeyError> {
        let restored = parse(source, bytes)?;
        self.change(|keys| {
            if keys.is_empty() {
                *keys = restored;
            }
        })
    }

    /// Reads, changes and writes the keys under an exclusive lock; creates missing files.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut Vec<StoredKey>) -> T,
    ) -> Result<T, KeyError> {
        directory::prepare(&self.directory)?;
        // The lock is a separate file, because the key file is replaced. Dropping `_lock` releases
        // it.
        let lock_path = self.directory.join("keys.lock");
        let _lock = lock(&lock_path).map_err(|source| KeyError::Io { path: lock_path, source })?;
        let mut keys = self.read()?.unwrap_or_default();
        let result = change(&mut keys);
        if !keys.is_empty() {
            // The marker comes first, so that keys cannot be lost unnoticed at any moment.
            self.create_marker()
                .map_err(|source| KeyError::Io { path: self.marker.clone(), source })?;
        }
        self.replace(keys).map_err(|source| KeyError::Io { path: self.path.clone(), source })?;
        Ok(result)
    }

    fn replace(&self, keys: Vec<StoredKey>) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(&Document { version: VERSION, keys })?;
        text.push(b'\n');
        let draft = self.directory.join("keys.json.new");
        match fs::remove_file(&draft) {
            // Left by a writer that was killed; the lock is ours, so no process uses it.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut file = private().create_new(true).open(&draft)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        sync_directory(&self.directory)
    }
}

/// Parses a key file, which was read from `path`.
fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<StoredKey>, KeyError> {
    let corrupt = |source| KeyError::Corrupt { path: path.to_path_buf(), source };
    let Versioned { version } = serde_json::from_slice(bytes).map_err(corrupt)?;
    if version != VERSION {
        return Err(KeyError::Version { path: path.to_path_buf(), version });
    }
    let document: Document = serde_json::from_slice(bytes).map_err(corrupt)?;
    Ok(document.keys)
}

fn lock(path: &Path) -> io::Result<File> {
    let file = private().create(true).truncate(false).open(path)?;
    file.lock()?;
    Ok(file)
}

/// Options for a file that only its owner may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        options.mode(0o600);
    }
    options
}

/// Makes a rename survive a power loss.
#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same shape as on Unix")]
fn sync_directory(_: &Path) -> io::Result<()> {
    // Windows cannot open a directory as a file; NTFS journals its renames.
    Ok(())
}

/// Bytes as lowercase hexadecimal digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let value =
            |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

fn write_digest<S: Serializer>(digest: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&to_hex(digest))
}

fn read_digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(deserializer)?;
    from_hex(&text).ok_or_else(|| de::Error::custom("expected a SHA-256 as 64 hexadecimal digits"))
}
