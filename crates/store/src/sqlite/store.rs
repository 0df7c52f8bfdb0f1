//! The database as the store of records and of the tree of items.

use std::sync::Arc;

use engine::store::{
    Claimed, ConversationHead, IdempotencyClaim, Most, RecordEnd, RecordLookup, Removal,
    ResponseRecord, Store, StoreError,
};
use engine::times::EventTimes;
use futures_util::future::{BoxFuture, FutureExt};
use protocol::id::{ItemId, Owner, ResponseId};
use protocol::item::Item;

use super::large::{self, LargeInsert};
use super::tree::Written;
use super::{Database, claims, records, times, tree};

/// Items with more bytes are serialised off the runtime's threads.
const QUICK: usize = 64 << 10;

impl Database {
    /// Serialises items: large ones off the runtime's threads, at most one per core at a time.
    async fn written(&self, items: Vec<Item>) -> Result<Vec<Written>, StoreError> {
        if items.iter().map(Item::weight).sum::<usize>() <= QUICK {
            return tree::written(items);
        }
        let core = Arc::clone(&self.inner.cores)
            .acquire_owned()
            .await
            .map_err(|_closed| StoreError::Unavailable)?;
        let work = move || {
            let written = tree::written(items);
            drop(core);
            written
        };
        self.inner.tasks.blocking(work).await.unwrap_or(Err(StoreError::Unavailable))
    }
}

impl Store for Database {
    fn insert(
        &self,
        record: ResponseRecord,
        input: Vec<Item>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let written = self.written(input).await?;
            if large::is_large(&written) {
                return self.inner.writer.write_in_steps(LargeInsert::new(record, written)).await;
            }
            self.write(move |change| records::insert(change, &record, written)).await
        }
        .boxed()
    }

    fn finish(&self, id: &ResponseId, mut end: RecordEnd) -> BoxFuture<'_, Result<(), StoreError>> {
        let id = id.clone();
        async move {
            let written = self.written(std::mem::take(&mut end.output)).await?;
            self.write(move |change| records::finish(change, &id, written, &end)).await
        }
        .boxed()
    }

    fn times(&self, id: &ResponseId) -> BoxFuture<'_, Result<Option<EventTimes>, StoreError>> {
        let id = id.clone();
        self.read(move |connection| times::find(connection, &id)).boxed()
    }

    fn find(&self, id: &ResponseId) -> BoxFuture<'_, Result<RecordLookup, StoreError>> {
        let id = id.clone();
        self.read(move |connection| records::find(connection, &id)).boxed()
    }

    fn remove(&self, id: &ResponseId, removal: Removal) -> BoxFuture<'_, Result<(), StoreError>> {
        let id = id.clone();
        self.write(move |change| records::remove(change, &id, removal)).boxed()
    }

    fn path(&self, head: &ItemId, most: Most) -> BoxFuture<'_, Result<Vec<Item>, StoreError>> {
        let head = head.clone();
        self.read(move |connection| tree::path(connection, &head, most)).boxed()
    }

    fn item(&self, owner: &Owner, id: &ItemId) -> BoxFuture<'_, Result<Option<Item>, StoreError>> {
        let (owner, id) = (owner.clone(), id.clone());
        self.read(move |connection| tree::item(connection, &owner, &id)).boxed()
    }

    fn claimed(&self, claim: &IdempotencyClaim) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        let claim = claim.clone();
        self.read(move |connection| claims::claimed(connection, &claim)).boxed()
    }

    fn claim(
        &self,
        claim: IdempotencyClaim,
        id: &ResponseId,
    ) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        let id = id.clone();
        self.write(move |change| claims::claim(change.connection, &claim, &id)).boxed()
    }

    fn release(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), StoreError>> {
        let id = id.clone();
        self.write(move |change| claims::release(change.connection, &id)).boxed()
    }

    fn head(
        &self,
        owner: &Owner,
        name: &str,
    ) -> BoxFuture<'_, Result<Option<ConversationHead>, StoreError>> {
        let (owner, name) = (owner.clone(), name.to_owned());
        self.read(move |connection| claims::head(connection, &owner, &name)).boxed()
    }

    fn set_head(
        &self,
        owner: &Owner,
        name: &str,
        head: Option<ConversationHead>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let (owner, name) = (owner.clone(), name.to_owned());
        self.write(move |change| claims::set_head(change.connection, &owner, &name, head.as_ref()))
            .boxed()
    }

    fn expire_heads(&self, before: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.write(move |change| claims::expire_heads(change.connection, before)).boxed()
    }

    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<ResponseRecord>, StoreError>> {
        self.read(records::unfinished).boxed()
    }

    fn stored_by_caller(&self) -> BoxFuture<'_, Result<Vec<(Owner, u64)>, StoreError>> {
        self.read(records::stored_by_caller).boxed()
    }

    fn oldest_ended(
        &self,
        owner: Option<&Owner>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<ResponseRecord>, StoreError>> {
        let owner = owner.cloned();
        self.read(move |connection| records::oldest_ended(connection, owner.as_ref(), limit))
            .boxed()
    }

    fn bytes(&self) -> u64 {
        self.figures().item_bytes
    }
}
