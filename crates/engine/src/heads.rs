//! Where named conversations stand: in memory, until the store keeps them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::id::{Owner, ResponseId};

use crate::store::StoreError;

/// How many names are kept; beyond it the one goes that was not used for longest.
const MOST: usize = 10_000;

/// Where a named conversation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The answer that the next turn continues.
    pub(crate) response: ResponseId,
    /// Seconds since 1970 at which it was last used.
    pub(crate) used_at: u64,
}

/// The heads of all named conversations.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    held: Mutex<HashMap<(Owner, String), Head>>,
}

#[expect(clippy::unused_async, reason = "a store that is on a disk awaits")]
impl Heads {
    /// Where the conversation that `owner` calls `name` stands.
    pub(crate) async fn get(&self, owner: &Owner, name: &str) -> Result<Option<Head>, StoreError> {
        Ok(self.held().get(&(owner.clone(), name.to_owned())).cloned())
    }

    /// Says where it stands now; `None` forgets it.
    pub(crate) async fn set(&self, owner: &Owner, name: &str, head: Option<Head>) -> Result<(), StoreError> {
        let (mut held, name) = (self.held(), (owner.clone(), name.to_owned()));
        let Some(head) = head else {
            held.remove(&name);
            return Ok(());
        };
        held.insert(name, head);
        if held.len() > MOST {
            let oldest = held.iter().min_by_key(|(_name, head)| head.used_at).map(|(name, _head)| name.clone());
            oldest.and_then(|name| held.remove(&name));
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, HashMap<(Owner, String), Head>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_name_that_was_not_used_for_longest_makes_room() {
        let heads = Heads::default();
        let owner = Owner::local();
        for used_at in 0..=MOST as u64 {
            let head = Head { response: ResponseId::new("resp_1"), used_at };
            assert_eq!(heads.set(&owner, &used_at.to_string(), Some(head)).await, Ok(()));
        }
        assert_eq!(heads.get(&owner, "0").await, Ok(None));
        assert!(matches!(heads.get(&owner, "1").await, Ok(Some(_))));
    }
}
