//! Records and the tree of items in memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, FutureExt, ready};
use protocol::id::{ItemId, Owner, ResponseId};
use protocol::item::Item;

use crate::store::{
    Claimed, ConversationHead, Expired, IdempotencyClaim, Most, RecordEnd, RecordLookup, Removal,
    ResponseRecord, Store, StoreError,
};
use crate::times::EventTimes;

/// How many expired ids are remembered, so that their owners get a 410 and not a 404.
const TOMBSTONES: usize = 100_000;

/// How many heads are kept; beyond it the one goes that was not used for longest.
const HEADS: usize = 10_000;

/// Records that live as long as the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    records: HashMap<ResponseId, ResponseRecord>,
    /// Of the events of ended responses.
    times: HashMap<ResponseId, EventTimes>,
    /// By when they ended, and within one second by which ended first.
    ended: BTreeMap<(u64, u64), ResponseId>,
    ended_places: HashMap<ResponseId, (u64, u64)>,
    ends: u64,
    expired: HashMap<ResponseId, (Owner, Vec<ItemId>)>,
    expired_order: VecDeque<ResponseId>,
    nodes: HashMap<ItemId, Node>,
    claims: HashMap<(Owner, String), ([u8; 32], ResponseId)>,
    claimed: HashMap<ResponseId, (Owner, String)>,
    heads: HashMap<(Owner, String), ConversationHead>,
    bytes: u64,
    /// The same, by owner.
    stored: HashMap<Owner, u64>,
}

/// A place in the tree. A deleted item leaves its place, so that what hangs below keeps its roots.
#[derive(Debug)]
struct Node {
    owner: Owner,
    parent: Option<ItemId>,
    item: Option<Item>,
    children: usize,
    /// How many records have it as their own, or continue it.
    holds: usize,
}

impl MemoryStore {
    /// No records.
    pub fn new() -> Self {
        Self::default()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn insert(
        &self,
        record: ResponseRecord,
        input: Vec<Item>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        ready(self.held().insert(record, input)).boxed()
    }

    fn finish(&self, id: &ResponseId, end: RecordEnd) -> BoxFuture<'_, Result<(), StoreError>> {
        ready(self.held().finish(id, end)).boxed()
    }

    fn times(&self, id: &ResponseId) -> BoxFuture<'_, Result<Option<EventTimes>, StoreError>> {
        ready(Ok(self.held().times.get(id).cloned())).boxed()
    }

    fn find(&self, id: &ResponseId) -> BoxFuture<'_, Result<RecordLookup, StoreError>> {
        let held = self.held();
        let found = match (held.records.get(id), held.expired.get(id)) {
            (Some(record), _) => RecordLookup::Record(record.clone()),
            (None, Some((owner, items))) => {
                let items_left = items.iter().filter(|id| held.nodes.contains_key(id)).count();
                RecordLookup::Expired(Expired { owner: owner.clone(), items_left })
            }
            (None, None) => RecordLookup::Missing,
        };
        ready(Ok(found)).boxed()
    }

    fn remove(&self, id: &ResponseId, removal: Removal) -> BoxFuture<'_, Result<(), StoreError>> {
        self.held().remove(id, removal);
        ready(Ok(())).boxed()
    }

    fn path(&self, head: &ItemId, most: Most) -> BoxFuture<'_, Result<Vec<Item>, StoreError>> {
        let held = self.held();
        let (mut path, mut most) = (Vec::new(), Ok(most));
        let mut next = Some(head);
        while let Some(node) = next.and_then(|id| held.nodes.get(id)) {
            most = most.and_then(|most| most.without(node.item.as_ref().map_or(0, Item::weight)));
            if most.is_err() {
                break;
            }
            path.extend(node.item.clone());
            next = node.parent.as_ref();
        }
        path.reverse();
        ready(most.map(|_| path)).boxed()
    }

    fn item(&self, owner: &Owner, id: &ItemId) -> BoxFuture<'_, Result<Option<Item>, StoreError>> {
        let held = self.held();
        let item = held
            .nodes
            .get(id)
            .filter(|node| node.owner == *owner)
            .and_then(|node| node.item.clone());
        ready(Ok(item)).boxed()
    }

    fn claimed(&self, claim: &IdempotencyClaim) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        ready(Ok(self.held().claimed(claim))).boxed()
    }

    fn claim(
        &self,
        claim: IdempotencyClaim,
        id: &ResponseId,
    ) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        let mut held = self.held();
        let claimed = held.claimed(&claim);
        if claimed == Claimed::New {
            let name = (claim.owner, claim.key);
            held.claimed.insert(id.clone(), name.clone());
            held.claims.insert(name, (claim.request, id.clone()));
        }
        ready(Ok(claimed)).boxed()
    }

    fn release(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.held().release(id);
        ready(Ok(())).boxed()
    }

    fn head(
        &self,
        owner: &Owner,
        name: &str,
    ) -> BoxFuture<'_, Result<Option<ConversationHead>, StoreError>> {
        ready(Ok(self.held().heads.get(&(owner.clone(), name.to_owned())).cloned())).boxed()
    }

    fn set_head(
        &self,
        owner: &Owner,
        name: &str,
        head: Option<ConversationHead>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let (mut held, name) = (self.held(), (owner.clone(), name.to_owned()));
        match head {
            Some(head) => drop(held.heads.insert(name, head)),
            None => drop(held.heads.remove(&name)),
        }
        if held.heads.len() > HEADS {
            let oldest = held
                .heads
                .iter()
                .min_by_key(|(_name, head)| head.used_at)
                .map(|(name, _head)| name.clone());
            drop(oldest.and_then(|name| held.heads.remove(&name)));
        }
        ready(Ok(())).boxed()
    }

    fn expire_heads(&self, before: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.held().heads.retain(|_name, head| head.used_at >= before);
        ready(Ok(())).boxed()
    }

    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<ResponseRecord>, StoreError>> {
        let unfinished = self
            .held()
            .records
            .values()
            .filter(|record| record.ended_at.is_none())
            .cloned()
            .collect();
        ready(Ok(unfinished)).boxed()
    }

    fn stored_by_caller(&self) -> BoxFuture<'_, Result<Vec<(Owner, u64)>, StoreError>> {
        let mut stored: Vec<(Owner, u64)> =
            self.held().stored.iter().map(|(owner, bytes)| (owner.clone(), *bytes)).collect();
        stored.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        ready(Ok(stored)).boxed()
    }

    fn oldest_ended(
        &self,
        owner: Option<&Owner>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<ResponseRecord>, StoreError>> {
        let held = self.held();
        let is_wanted = |record: &&ResponseRecord| owner.is_none_or(|owner| record.owner == *owner);
        let ended = held.ended.values().filter_map(|id| held.records.get(id));
        let oldest = ended.filter(is_wanted).take(limit).cloned().collect();
        ready(Ok(oldest)).boxed()
    }

    fn bytes(&self) -> u64 {
        self.held().bytes
    }
}

impl Held {
    fn insert(&mut self, record: ResponseRecord, input: Vec<Item>) -> Result<(), StoreError> {
        if self.records.contains_key(&record.id) {
            return Err(StoreError::Taken);
        }
        if let Some(parent) = record.parent.as_ref().and_then(|parent| self.nodes.get_mut(parent)) {
            parent.holds += 1;
        }
        self.grow(&record.owner, record.parent.clone(), input);
        self.records.insert(record.id.clone(), record);
        Ok(())
    }

    fn finish(&mut self, id: &ResponseId, end: RecordEnd) -> Result<(), StoreError> {
        let RecordEnd { output, ended_at, times } = end;
        let record = self.records.get_mut(id).ok_or(StoreError::Missing)?;
        let parent = record.head.clone();
        record.output = output.iter().map(|item| item.id().clone()).collect();
        record.head = record.output.last().cloned().or(record.head.take());
        record.ended_at = Some(ended_at);
        let owner = record.owner.clone();
        let place = (ended_at, self.ends);
        self.ends += 1;
        self.ended.insert(place, id.clone());
        self.ended_places.insert(id.clone(), place);
        if let Some(times) = times {
            self.times.insert(id.clone(), times);
        }
        self.grow(&owner, parent, output);
        Ok(())
    }

    /// Hangs `items`, each below the one before, under `parent`. Each is held by its record.
    fn grow(&mut self, owner: &Owner, mut parent: Option<ItemId>, items: Vec<Item>) {
        for item in items {
            let id = item.id().clone();
            if let Some(above) = parent.as_ref().and_then(|id| self.nodes.get_mut(id)) {
                above.children += 1;
            }
            let bytes = size(&item);
            self.bytes += bytes;
            *self.stored.entry(owner.clone()).or_default() += bytes;
            self.nodes.insert(
                id.clone(),
                Node { owner: owner.clone(), parent, item: Some(item), children: 0, holds: 1 },
            );
            parent = Some(id);
        }
    }

    fn remove(&mut self, id: &ResponseId, removal: Removal) {
        self.release(id);
        let Some(record) = self.records.remove(id) else { return };
        self.times.remove(id);
        if let Some(place) = self.ended_places.remove(id) {
            self.ended.remove(&place);
        }
        if removal == Removal::Expired {
            let items = record.input.iter().chain(&record.output).cloned().collect();
            self.remember(id.clone(), (record.owner.clone(), items));
        }
        for item_id in record.input.iter().chain(&record.output) {
            let Some(node) = self.nodes.get_mut(item_id) else { continue };
            node.holds -= 1;
            if removal == Removal::Deleted {
                let (owner, bytes) =
                    (node.owner.clone(), node.item.take().as_ref().map_or(0, size));
                self.give_back(&owner, bytes);
            }
        }
        self.prune(record.head);
        if let Some(parent) = record.parent.as_ref().and_then(|parent| self.nodes.get_mut(parent)) {
            parent.holds -= 1;
        }
        self.prune(record.parent);
    }

    fn give_back(&mut self, owner: &Owner, bytes: u64) {
        self.bytes -= bytes;
        if let Some(stored) = self.stored.get_mut(owner) {
            *stored -= bytes;
            if *stored == 0 {
                self.stored.remove(owner);
            }
        }
    }

    fn claimed(&self, claim: &IdempotencyClaim) -> Claimed {
        match self.claims.get(&(claim.owner.clone(), claim.key.clone())) {
            Some((request, id)) if *request == claim.request => Claimed::Same(id.clone()),
            Some(_) => Claimed::Other,
            None => Claimed::New,
        }
    }

    fn release(&mut self, id: &ResponseId) {
        if let Some(name) = self.claimed.remove(id) {
            self.claims.remove(&name);
        }
    }

    /// Cuts leaves that no record holds, upward from `next`.
    fn prune(&mut self, mut next: Option<ItemId>) {
        while let Some(id) = next.take() {
            let Some(node) = self.nodes.get(&id) else { return };
            if node.holds > 0 || node.children > 0 {
                return;
            }
            if let Some(node) = self.nodes.remove(&id) {
                self.give_back(&node.owner, node.item.as_ref().map_or(0, size));
                if let Some(above) = node.parent.as_ref().and_then(|id| self.nodes.get_mut(id)) {
                    above.children -= 1;
                }
                next = node.parent;
            }
        }
    }

    fn remember(&mut self, id: ResponseId, expired: (Owner, Vec<ItemId>)) {
        if self.expired_order.len() == TOMBSTONES
            && let Some(oldest) = self.expired_order.pop_front()
        {
            self.expired.remove(&oldest);
        }
        self.expired_order.push_back(id.clone());
        self.expired.insert(id, expired);
    }
}

/// What an item weighs, as JSON; close enough to bound memory.
fn size(item: &Item) -> u64 {
    struct Counter(u64);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Items always serialise; if one did not, it would weigh what was written.
    let _written = serde_json::to_writer(&mut counter, item);
    counter.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_head_that_was_not_used_for_longest_makes_room() {
        let (store, owner) = (MemoryStore::new(), Owner::local());
        for used_at in 0..=HEADS as u64 {
            let head = ConversationHead { response: ResponseId::new("resp_1"), used_at };
            assert_eq!(store.set_head(&owner, &used_at.to_string(), Some(head)).await, Ok(()));
        }
        assert_eq!(store.head(&owner, "0").await, Ok(None));
        assert!(matches!(store.head(&owner, "1").await, Ok(Some(_))));
    }
}
