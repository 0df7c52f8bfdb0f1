//! What a socket remembers by itself: the latest turn of each of its lanes, so that stateless turns
//! can be continued without anything being stored. It is dropped with the socket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::dialect::StreamId;
use protocol::id::ResponseId;
use protocol::item::Item;

use crate::shares::Reservation;

/// The latest turn of each lane of one socket.
#[derive(Debug, Default)]
pub struct SocketHistory {
    turns: Mutex<HashMap<StreamId, LaneTurn>>,
}

#[derive(Debug)]
struct LaneTurn {
    id: ResponseId,
    context: Arc<[Item]>,
    /// The memory it takes of its caller's share.
    _bytes: Reservation,
}

impl SocketHistory {
    /// An empty history.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The conversation up to and including `id`, on whichever lane it ended.
    pub(crate) fn context(&self, id: &ResponseId) -> Option<Arc<[Item]>> {
        self.turns().values().find(|turn| turn.id == *id).map(|turn| Arc::clone(&turn.context))
    }

    /// Remembers that the turn `id` of `lane` has ended without a failure.
    pub(crate) fn put(
        &self,
        lane: StreamId,
        id: ResponseId,
        context: Arc<[Item]>,
        bytes: Reservation,
    ) {
        self.turns().insert(lane, LaneTurn { id, context, _bytes: bytes });
    }

    /// Forgets `parent` on `lane`, where a turn that continued it has failed. A failed fork on
    /// another lane leaves its source alone.
    pub fn evict(&self, lane: &StreamId, parent: &ResponseId) {
        let mut turns = self.turns();
        if turns.get(lane).is_some_and(|turn| turn.id == *parent) {
            turns.remove(lane);
        }
    }

    /// Forgets a lane.
    pub fn forget(&self, lane: &StreamId) {
        self.turns().remove(lane);
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<StreamId, LaneTurn>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
