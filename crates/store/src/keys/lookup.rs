//! Looks up callers by their keys, and reads the file again whenever it changes.

use std::sync::{PoisonError, RwLockReadGuard};

use engine::keys::{Caller, KeyDigest, KeyStore};
use protocol::id::Owner;
use subtle::ConstantTimeEq;

use super::KeyFile;
use super::loaded::{Condition, LoadedKeys, Mark};

impl KeyFile {
    /// The current keys. Costs one `stat` while the file is unchanged.
    fn now(&self) -> RwLockReadGuard<'_, LoadedKeys> {
        // No code panics while it holds the lock, and a panic would leave the value intact:
        // poisoning can be ignored.
        let mark = Mark::of(self.disk.path());
        let same =
            |live: &LoadedKeys| mark.as_ref().is_ok_and(|mark| live.mark.as_ref() == Some(mark));
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        if same(&live) {
            return live;
        }
        drop(live);
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if !same(&live) {
            match mark {
                Ok(mark) => live.reload(&self.disk, mark),
                Err(error) => {
                    live.mark = None;
                    live.fail(&self.disk, &error);
                }
            }
        }
        drop(live);
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyStore for KeyFile {
    fn configured(&self) -> bool {
        self.now().condition != Condition::Open
    }

    fn holder(&self, digest: &KeyDigest) -> Option<Caller> {
        let live = self.now();
        let mut found = None;
        for key in &live.keys {
            // No early exit: the duration must not reveal which key matched, or how much of one.
            if bool::from(key.sha256.ct_eq(digest.as_bytes())) {
                found = Some(key);
            }
        }
        found.map(|key| Caller { owner: Owner::new(&key.id), admin: key.admin })
    }

    fn admits(&self, owner: &Owner) -> bool {
        let live = self.now();
        match live.condition {
            Condition::Open => *owner == Owner::local(),
            Condition::Keyed => live.keys.iter().any(|key| key.id == owner.as_str()),
            Condition::Broken => true,
        }
    }

    fn version(&self) -> u64 {
        self.now().version
    }

    fn is_unreadable(&self) -> bool {
        self.now().condition == Condition::Broken
    }
}
