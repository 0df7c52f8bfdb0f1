//! API keys in memory, for tests and for servers that keep nothing.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use protocol::id::Owner;

use crate::keys::{Caller, KeyDigest, KeyStore};

/// Keys in memory. Clones share the keys.
#[derive(Clone, Default)]
pub struct MemoryKeys(Arc<RwLock<Held>>);

#[derive(Default)]
struct Held {
    keys: Vec<(KeyDigest, Caller)>,
    is_configured: bool,
    version: u64,
}

impl MemoryKeys {
    /// Keys with their callers.
    pub fn new<'a>(keys: impl IntoIterator<Item = (&'a str, Caller)>) -> Self {
        let made = Self::default();
        keys.into_iter().for_each(|(secret, caller)| made.add(secret, caller));
        made
    }

    /// Adds a key.
    pub fn add(&self, secret: &str, caller: Caller) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        held.keys.push((KeyDigest::of(secret), caller));
        held.is_configured = true;
        held.version += 1;
    }

    /// Revokes all keys of `owner`.
    pub fn revoke(&self, owner: &Owner) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        held.keys.retain(|(_, caller)| caller.owner != *owner);
        held.version += 1;
    }

    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyStore for MemoryKeys {
    fn configured(&self) -> bool {
        self.held().is_configured
    }

    fn holder(&self, digest: &KeyDigest) -> Option<Caller> {
        self.held().keys.iter().find(|(known, _)| known == digest).map(|(_, caller)| caller.clone())
    }

    fn admits(&self, owner: &Owner) -> bool {
        let held = self.held();
        if held.is_configured {
            held.keys.iter().any(|(_, caller)| caller.owner == *owner)
        } else {
            *owner == Owner::local()
        }
    }

    fn version(&self) -> u64 {
        self.held().version
    }
}

impl fmt::Debug for MemoryKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MemoryKeys({})", self.held().keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_keys_no_credential_is_required() {
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

    #[test]
    fn a_revoked_key_opens_nothing_and_the_last_one_leaves_the_server_closed() {
        let ada = Caller { owner: Owner::new("key_ada"), admin: false };
        let keys = MemoryKeys::default();
        let before = keys.version();
        assert!(keys.admits(&Owner::local()) && !keys.admits(&ada.owner));
        keys.add("wk_ada", ada.clone());
        assert!(keys.admits(&ada.owner) && !keys.admits(&Owner::local()));
        assert_eq!(keys.holder(&KeyDigest::of("wk_ada")), Some(ada.clone()));
        keys.revoke(&ada.owner);
        assert_eq!(keys.authenticate("wk_ada"), None);
        assert!(keys.configured() && !keys.admits(&ada.owner) && !keys.admits(&Owner::local()));
        assert_ne!(keys.version(), before);
    }
}
