//! Who may come in: what the face needs of a store of API keys, and one in memory for tests.

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

/// The API keys of a server. Asked at every request, so both answers must be quick.
pub trait Keys: Send + Sync + 'static {
    /// Whether callers need a key. Without one, everybody is [`Caller::local`].
    ///
    /// Once true it stays true while the process runs: losing the last key must close a server, not open it.
    fn configured(&self) -> bool;

    /// Whose key `presented` is; `None` where it is nobody's. Takes the same time for every wrong key.
    fn authenticate(&self, presented: &str) -> Option<Caller>;
}

/// Keys in memory: the reference, for tests and for servers that keep nothing.
#[derive(Clone, Default)]
pub struct MemoryKeys(Vec<([u8; 32], Caller)>);

impl MemoryKeys {
    /// These keys: the secret text and whose it is.
    pub fn new<'a>(keys: impl IntoIterator<Item = (&'a str, Caller)>) -> Self {
        Self(keys.into_iter().map(|(secret, caller)| (Sha256::digest(secret).into(), caller)).collect())
    }
}

impl Keys for MemoryKeys {
    fn configured(&self) -> bool {
        !self.0.is_empty()
    }

    fn authenticate(&self, presented: &str) -> Option<Caller> {
        let presented: [u8; 32] = Sha256::digest(presented).into();
        self.0.iter().find(|(digest, _)| *digest == presented).map(|(_, caller)| caller.clone())
    }
}

impl fmt::Debug for MemoryKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MemoryKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_keys_nobody_needs_one() {
        assert!(!MemoryKeys::default().configured());
        assert_eq!(MemoryKeys::default().authenticate(""), None);
    }

    #[test]
    fn a_key_opens_for_its_owner_alone() {
        let ada = Caller { owner: Owner::new("key_ada"), admin: false };
        let keys = MemoryKeys::new([("wk_ada", ada.clone())]);
        assert!(keys.configured());
        assert_eq!(keys.authenticate("wk_ada"), Some(ada));
        assert_eq!(keys.authenticate("wk_eve"), None);
        assert!(!format!("{keys:?}").contains("wk_"));
    }
}
