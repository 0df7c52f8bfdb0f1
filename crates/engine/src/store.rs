//! The store: what is kept of responses beside their logs. Records, the tree of items, idempotency
//! keys and conversation heads.

use futures_util::future::BoxFuture;
use protocol::id::{ItemId, Owner, ResponseId};
use protocol::item::Item;

use crate::times::EventTimes;

/// The record of one response.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponseRecord {
    /// Its id.
    pub id: ResponseId,
    /// Its owner.
    pub owner: Owner,
    /// Whether it can be fetched by id after its end. A stateless response that is kept for its
    /// idempotency key cannot.
    pub readable: bool,
    /// The item that this turn continues.
    pub parent: Option<ItemId>,
    /// The input items of this turn, in order.
    pub input: Vec<ItemId>,
    /// The output items of this turn, in order; none before its end.
    pub output: Vec<ItemId>,
    /// The item that the next turn continues: the last one of the output, or of the input, or of
    /// what this turn continued.
    pub head: Option<ItemId>,
    /// Seconds since 1970 at which it ended.
    pub ended_at: Option<u64>,
}

/// The end of a response, as its record gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordEnd {
    /// The output items of this turn, in order.
    pub output: Vec<Item>,
    /// Seconds since 1970.
    pub ended_at: u64,
    /// When its events were appended, as far as it is known.
    pub times: Option<EventTimes>,
}

impl RecordEnd {
    /// An end whose events have no known times.
    pub fn new(output: Vec<Item>, ended_at: u64) -> Self {
        Self { output, ended_at, times: None }
    }
}

/// What the store has under an id.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordLookup {
    /// A response.
    Record(ResponseRecord),
    /// A response that has expired.
    Expired(Expired),
    /// Nothing, or a response that its owner deleted.
    Missing,
}

/// What is left of an expired response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Its owner.
    pub owner: Owner,
    /// The number of its items that are kept because later responses continue them.
    pub items_left: usize,
}

/// The head of a named conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationHead {
    /// The response that the next turn continues.
    pub response: ResponseId,
    /// Seconds since 1970 at which it was last used.
    pub used_at: u64,
}

/// An idempotency key, its caller and its request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyClaim {
    /// The caller.
    pub owner: Owner,
    /// The key.
    pub key: String,
    /// SHA-256 of the path and the body.
    pub request: [u8; 32],
}

/// The result of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The key is new and now belongs to the given id.
    New,
    /// The same request was made before.
    Same(ResponseId),
    /// The key was used for another request.
    Other,
}

/// Why a response is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Its owner deleted it: its text is gone at once, also as a part of longer conversations.
    Deleted,
    /// It has expired: items that later turns continue are kept.
    Expired,
    /// It cannot be fetched by id, or could not be started: nothing of it is remembered.
    Forgotten,
}

/// How much of a conversation is loaded at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Items.
    pub items: usize,
    /// Bytes, roughly.
    pub bytes: u64,
}

impl Most {
    /// No limit.
    pub const ALL: Self = Self { items: usize::MAX, bytes: u64::MAX };

    /// The rest after another item of this many bytes.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`].
    pub fn without(self, bytes: usize) -> Result<Self, StoreError> {
        let items = self.items.checked_sub(1);
        let bytes = self.bytes.checked_sub(bytes as u64);
        items.zip(bytes).map(|(items, bytes)| Self { items, bytes }).ok_or(StoreError::TooLarge)
    }
}

/// Errors of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The id exists already.
    #[error("the id is taken")]
    Taken,
    /// There is no such record.
    #[error("no such record")]
    Missing,
    /// The conversation is larger than the limit.
    #[error("the conversation is too large")]
    TooLarge,
    /// It cannot be read or written now.
    #[error("the store is not available")]
    Unavailable,
}

/// Holds the records and the tree of items. The engine gives it no record of an ephemeral response.
pub trait Store: Send + Sync + 'static {
    /// Adds a record, whose new items `input` continue its parent. While the record exists, the
    /// items it continues are kept, unless they are deleted.
    ///
    /// # Errors
    /// [`StoreError::Taken`], [`StoreError::Unavailable`].
    fn insert(
        &self,
        record: ResponseRecord,
        input: Vec<Item>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends a record: the output continues its head.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Unavailable`].
    fn finish(&self, id: &ResponseId, end: RecordEnd) -> BoxFuture<'_, Result<(), StoreError>>;

    /// When the events of an ended response were appended, if that was recorded.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn times(&self, id: &ResponseId) -> BoxFuture<'_, Result<Option<EventTimes>, StoreError>>;

    /// The record under `id`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn find(&self, id: &ResponseId) -> BoxFuture<'_, Result<RecordLookup, StoreError>>;

    /// Removes a record.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn remove(&self, id: &ResponseId, removal: Removal) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The conversation up to and including `head`, oldest first, at most `most`.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], [`StoreError::Unavailable`].
    fn path(&self, head: &ItemId, most: Most) -> BoxFuture<'_, Result<Vec<Item>, StoreError>>;

    /// One item of `owner`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn item(&self, owner: &Owner, id: &ItemId) -> BoxFuture<'_, Result<Option<Item>, StoreError>>;

    /// What an idempotency key was claimed for; [`Claimed::New`] if it was not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn claimed(&self, claim: &IdempotencyClaim) -> BoxFuture<'_, Result<Claimed, StoreError>>;

    /// Claims an idempotency key for `id`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn claim(
        &self,
        claim: IdempotencyClaim,
        id: &ResponseId,
    ) -> BoxFuture<'_, Result<Claimed, StoreError>>;

    /// Releases a claimed key: the response failed before any output, and the same request may be
    /// tried again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn release(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The head of `owner`'s conversation `name`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn head(
        &self,
        owner: &Owner,
        name: &str,
    ) -> BoxFuture<'_, Result<Option<ConversationHead>, StoreError>>;

    /// Sets the head of a conversation; `None` removes it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn set_head(
        &self,
        owner: &Owner,
        name: &str,
        head: Option<ConversationHead>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Removes the heads that were not used since `before`, in seconds since 1970.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn expire_heads(&self, before: u64) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Records without an end. At start, those are of an earlier process.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<ResponseRecord>, StoreError>>;

    /// The stored bytes of each caller, roughly; most first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn stored_by_caller(&self) -> BoxFuture<'_, Result<Vec<(Owner, u64)>, StoreError>>;

    /// Ended records, oldest end first, at most `limit`: of one caller, or of all.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn oldest_ended(
        &self,
        owner: Option<&Owner>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<ResponseRecord>, StoreError>>;

    /// Bytes of all items, roughly.
    fn bytes(&self) -> u64;
}
