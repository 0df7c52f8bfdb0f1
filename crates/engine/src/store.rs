//! The store: what is kept of responses beside their logs. Records, the tree of items, idempotency keys and conversation heads.

use futures_util::future::BoxFuture;
use protocol::id::{ItemId, Owner, ResponseId};
use protocol::item::Item;

/// What is known of one response.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its id.
    pub id: ResponseId,
    /// The caller that it belongs to.
    pub owner: Owner,
    /// Whether it is kept after its end.
    pub store: bool,
    /// Whether it can be fetched by id after its end. A stateless response that is only kept for its idempotency key cannot.
    pub readable: bool,
    /// The item that this turn continues.
    pub parent: Option<ItemId>,
    /// The items that were sent for this turn, in order.
    pub input: Vec<ItemId>,
    /// The items that the model made in it, in order; none before its end.
    pub output: Vec<ItemId>,
    /// Where the next turn goes on: the last item of the output, or of the input, or of what this turn continued.
    pub head: Option<ItemId>,
    /// Seconds since 1970 at which it ended.
    pub ended_at: Option<u64>,
}

/// What there is under an id.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// An response.
    Record(Record),
    /// An response that was there, until retention took it.
    Expired(Expired),
    /// Nothing, or nothing any more because its owner deleted it.
    Missing,
}

/// What is left of an response that retention took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Whose it was.
    pub owner: Owner,
    /// How many of its items are left, because later responses continue them.
    pub items_left: usize,
}

/// Where a named conversation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationHead {
    /// The response that the next turn continues.
    pub response: ResponseId,
    /// Seconds since 1970 at which it was last used.
    pub used_at: u64,
}

/// Who may use an idempotency key, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The caller.
    pub owner: Owner,
    /// The key it sent.
    pub key: String,
    /// SHA-256 of the path and the body.
    pub request: [u8; 32],
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The key is new and now belongs to the given id.
    New,
    /// The same request was made before.
    Same(ResponseId),
    /// Another request was made under this key.
    Other,
}

/// Why a removed response is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Its owner deleted it: its text is gone at once, also as a part of longer conversations.
    Deleted,
    /// Retention took it: what later turns build on stays for them.
    Expired,
    /// It was stateless and has ended, or its creation failed.
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
    /// All there is.
    pub const ALL: Self = Self { items: usize::MAX, bytes: u64::MAX };

    /// What is left when another item of this many bytes is loaded.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`]: there is no room for it.
    pub fn without(self, bytes: usize) -> Result<Self, StoreError> {
        let items = self.items.checked_sub(1);
        let bytes = self.bytes.checked_sub(bytes as u64);
        items.zip(bytes).map(|(items, bytes)| Self { items, bytes }).ok_or(StoreError::TooLarge)
    }
}

/// Why a store does not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is such a record already.
    #[error("the id is taken")]
    Taken,
    /// There is no such record.
    #[error("no such record")]
    Missing,
    /// The conversation is larger than the caller wants to load.
    #[error("the conversation is too large")]
    TooLarge,
    /// It cannot be read or written now.
    #[error("the store is not available")]
    Unavailable,
}

/// Holds the records and the tree of items.
pub trait Store: Send + Sync + 'static {
    /// Adds a record, whose new items `input` continue its parent. While the record is there, so is what it continues,
    /// unless that is deleted.
    ///
    /// # Errors
    /// [`StoreError::Taken`], [`StoreError::Unavailable`].
    fn insert(&self, record: Record, input: Vec<Item>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends a record: `output` continues its head.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Unavailable`].
    fn finish(&self, id: &ResponseId, output: Vec<Item>, ended_at: u64) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What there is under `id`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn find(&self, id: &ResponseId) -> BoxFuture<'_, Result<Found, StoreError>>;

    /// Takes a record away.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn remove(&self, id: &ResponseId, removal: Removal) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The conversation up to and with `head`, oldest first. No more than `most` is loaded.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], [`StoreError::Unavailable`].
    fn path(&self, head: &ItemId, most: Most) -> BoxFuture<'_, Result<Vec<Item>, StoreError>>;

    /// One item of `owner`, if it has one under this id.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn item(&self, owner: &Owner, id: &ItemId) -> BoxFuture<'_, Result<Option<Item>, StoreError>>;

    /// What an idempotency key was claimed for, if it was. [`Claimed::New`] where it was not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn claimed(&self, claim: &Claim) -> BoxFuture<'_, Result<Claimed, StoreError>>;

    /// Claims an idempotency key for `id`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn claim(&self, claim: Claim, id: &ResponseId) -> BoxFuture<'_, Result<Claimed, StoreError>>;

    /// Gives a claimed key back: the response failed before anything was made, and the same request may try again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn release(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Where the conversation that `owner` calls `name` stands.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn head(&self, owner: &Owner, name: &str) -> BoxFuture<'_, Result<Option<ConversationHead>, StoreError>>;

    /// Says where it stands now; `None` forgets it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn set_head(&self, owner: &Owner, name: &str, head: Option<ConversationHead>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Forgets the heads that were not used since `before`, in seconds since 1970.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn forget_heads(&self, before: u64) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Records without an end. At start, those are of a process that died.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<Record>, StoreError>>;

    /// What each caller has stored, in bytes, roughly; most first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn stored_by_caller(&self) -> BoxFuture<'_, Result<Vec<(Owner, u64)>, StoreError>>;

    /// Ended records, oldest end first, at most `limit`: of one caller, or of all.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn oldest_ended(&self, owner: Option<&Owner>, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, StoreError>>;

    /// Bytes of all items, roughly.
    fn bytes(&self) -> u64;
}
