//! What a socket remembers by itself: the latest turn of each of its lanes, so that stateless turns can be continued
//! without anything being stored. It goes with the socket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::dialect::StreamId;
use protocol::id::ResponseId;
use protocol::item::Item;

use crate::shares::Reservation;

/// The heads of one socket: one turn a lane, so as many as it has lanes.
#[derive(Debug, Default)]
pub struct Local {
    heads: Mutex<HashMap<StreamId, Head>>,
}

#[derive(Debug)]
struct Head {
    id: ResponseId,
    context: Arc<[Item]>,
    /// The memory that it takes of its caller's.
    _bytes: Reservation,
}

impl Local {
    /// Nothing remembered.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The conversation up to and with `id`, on whichever lane it ended.
    pub(crate) fn context(&self, id: &ResponseId) -> Option<Arc<[Item]>> {
        self.heads().values().find(|head| head.id == *id).map(|head| Arc::clone(&head.context))
    }

    /// The turn `id` of `lane` has ended well.
    pub(crate) fn put(&self, lane: StreamId, id: ResponseId, context: Arc<[Item]>, bytes: Reservation) {
        self.heads().insert(lane, Head { id, context, _bytes: bytes });
    }

    /// A turn that continued `parent` has failed on `lane`: what it built on is no longer trusted there. A failed fork
    /// on another lane leaves its source alone.
    pub fn evict(&self, lane: &StreamId, parent: &ResponseId) {
        let mut heads = self.heads();
        if heads.get(lane).is_some_and(|head| head.id == *parent) {
            heads.remove(lane);
        }
    }

    /// A lane is given up.
    pub fn forget(&self, lane: &StreamId) {
        self.heads().remove(lane);
    }

    fn heads(&self) -> MutexGuard<'_, HashMap<StreamId, Head>> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
