//! API keys: what the server needs of a store of them.

use std::fmt;

use protocol::id::Owner;
use sha2::{Digest, Sha256};

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The owner of what it creates: the id of its key.
    pub owner: Owner,
    /// Whether it may administer the server.
    pub admin: bool,
}

impl Caller {
    /// The only caller of a server without keys. It is on the same machine, and so may administer
    /// it.
    pub fn local() -> Self {
        Self { owner: Owner::local(), admin: true }
    }
}

/// The SHA-256 of an API key. It is kept for later checks, so that no key stays in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a key as it was presented.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyDigest(..)")
    }
}

/// The API keys of a server. Used at every request, so every method must be fast.
pub trait KeyStore: Send + Sync + 'static {
    /// Whether callers need a key. If not, every caller is [`Caller::local`].
    ///
    /// Once true it stays true while the process runs: losing the last key must close a server, not
    /// open it.
    fn configured(&self) -> bool;

    /// The holder of the key with this digest, if there is one. Takes the same time for every wrong
    /// key.
    fn holder(&self, digest: &KeyDigest) -> Option<Caller>;

    /// The holder of the key `presented`, if there is one.
    fn authenticate(&self, presented: &str) -> Option<Caller> {
        self.holder(&KeyDigest::of(presented))
    }

    /// Whether what `owner` has started may go on: there is a key with this id, or no key is needed
    /// and the owner is [`Owner::local`]. Also true while the keys cannot be read.
    fn admits(&self, owner: &Owner) -> bool;

    /// A number that changes when the keys do.
    fn version(&self) -> u64;

    /// Whether the keys cannot be read now.
    fn is_unreadable(&self) -> bool {
        false
    }
}
