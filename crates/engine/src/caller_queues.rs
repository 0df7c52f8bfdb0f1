//! A queue for each caller, so that a caller with much to do delays only itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use protocol::id::Owner;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The queues of all callers.
#[derive(Debug)]
pub(crate) struct CallerQueues {
    /// How many jobs of one caller run at once.
    at_once: usize,
    owners: Mutex<HashMap<Owner, Weak<Semaphore>>>,
}

impl CallerQueues {
    /// Queues of which each lets `at_once` jobs run at the same time.
    pub(crate) fn new(at_once: usize) -> Self {
        Self { at_once, owners: Mutex::default() }
    }

    /// The caller's next turn, which lasts until the permit is dropped.
    pub(crate) async fn turn(&self, owner: &Owner) -> Option<OwnedSemaphorePermit> {
        // The semaphores are never closed.
        self.of(owner).acquire_owned().await.ok()
    }

    /// The queue of `owner`: a permit is a turn.
    pub(crate) fn of(&self, owner: &Owner) -> Arc<Semaphore> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = owners.get(owner).and_then(Weak::upgrade) {
            return own;
        }
        owners.retain(|_, own| own.strong_count() > 0);
        // A server without keys has one caller, which delays no other.
        let turns = if *owner == Owner::local() { Semaphore::MAX_PERMITS } else { self.at_once };
        let own = Arc::new(Semaphore::new(turns));
        owners.insert(owner.clone(), Arc::downgrade(&own));
        own
    }
}
