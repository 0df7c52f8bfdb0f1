//! API keys: what the server needs of a store of them.

use std::fmt;

use protocol::id::Owner;
use sha2::{Digest, Sha256};

/// Somebody who has been let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose things they may see and make: the id of their key.
    pub owner: Owner,
    /// Whether they may look after the server.
    pub admin: bool,
}

impl Caller {
    /// The one caller of a server without keys, who sits at the machine and so may look after it.
    pub fn local() -> Self {
        Self { owner: Owner::local(), admin: true }
    }
}

/// The SHA-256 of an API key. It is kept where a key would be kept to be checked again later, so that no key stays in memory.
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

/// The API keys of a server. Asked at every request, so all answers must be quick.
pub trait Keys: Send + Sync + 'static {
    /// Whether callers need a key. Without one, everybody is [`Caller::local`].
    ///
    /// Once true it stays true while the process runs: losing the last key must close a server, not open it.
    fn configured(&self) -> bool;

    /// Whose key has this digest; `None` where it is nobody's. Takes the same time for every wrong key.
    fn holder(&self, digest: &KeyDigest) -> Option<Caller>;

    /// Whose key `presented` is; `None` where it is nobody's.
    fn authenticate(&self, presented: &str) -> Option<Caller> {
        self.holder(&KeyDigest::of(presented))
    }

    /// Whether what `owner` has started may go on: there is a key with this id, or no key is needed and the owner is
    /// [`Owner::local`]. Also true while the keys cannot be read, since nobody can say then.
    fn admits(&self, owner: &Owner) -> bool;

    /// A number that changes when the keys do.
    fn version(&self) -> u64;

    /// Whether the keys cannot be read at the moment.
    fn is_unreadable(&self) -> bool {
        false
    }
}
