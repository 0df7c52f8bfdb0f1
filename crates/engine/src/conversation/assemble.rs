//! Turns the input of a request into items, and into the conversation that the model reads.

use std::collections::HashSet;
use std::sync::Arc;

use protocol::fault::Fault;
use protocol::id::{ItemId, Owner};
use protocol::item::Item;
use protocol::request::InputItem;

use crate::id;
use crate::loads::Loads;
use crate::store::{Most, Store, StoreError};

/// The conversation of one turn.
pub(crate) struct AssembledContext {
    /// Everything the model reads, oldest first.
    pub(crate) context: Vec<Item>,
    /// How many of them, at the end, are new in this turn.
    pub(crate) new: usize,
}

/// The items of a conversation that go into the tree with a stored turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoredInput {
    /// This many, at the end. They are counted from there, since a window may cut the start off.
    Last(usize),
    /// All of them, under new ids: they are in no tree yet.
    Copies,
}

impl StoredInput {
    /// Copies the items.
    pub(crate) fn of(self, context: &[Item]) -> Vec<Item> {
        match self {
            Self::Last(new) => {
                context.get(context.len().saturating_sub(new)..).unwrap_or_default().to_vec()
            }
            Self::Copies => context.iter().cloned().map(renamed).collect(),
        }
    }
}

/// Why a conversation cannot be assembled.
pub(crate) enum ConversationError {
    Fault(Fault),
    /// A referenced item does not exist.
    NoSuchItem(Fault),
    Store(StoreError),
}

impl From<StoreError> for ConversationError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A conversation that is being assembled. After a missing item it can be run again, and continues
/// with that item: nothing is copied for the second attempt.
pub(crate) struct Assembly<'a> {
    store: Arc<dyn Store>,
    loads: &'a Loads,
    owner: &'a Owner,
    context: Vec<Item>,
    /// How many items of the context came from earlier turns.
    before: usize,
    calls: HashSet<String>,
    most: Most,
    index: usize,
    new: std::vec::IntoIter<InputItem>,
    /// A reference whose item was not found.
    unresolved: Option<ItemId>,
}

impl<'a> Assembly<'a> {
    /// Continues the items `before` with the request's input.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        loads: &'a Loads,
        owner: &'a Owner,
        before: Vec<Item>,
        new: Vec<InputItem>,
        most: Most,
    ) -> Self {
        let calls = before.iter().filter_map(called).map(str::to_owned).collect();
        let (count, new) = (before.len(), new.into_iter());
        Self {
            store,
            loads,
            owner,
            context: before,
            before: count,
            calls,
            most,
            index: 0,
            new,
            unresolved: None,
        }
    }

    /// Takes in the rest of the input.
    ///
    /// # Errors
    /// A reference to an item that the caller does not have; an output without its call; more than
    /// `most`.
    pub(crate) async fn run(&mut self) -> Result<(), ConversationError> {
        if let Some(id) = self.unresolved.take() {
            self.take_reference(id).await?;
        }
        while let Some(input) = self.new.next() {
            match input {
                InputItem::Item(item) => self.take(item)?,
                InputItem::Reference(id) => self.take_reference(id).await?,
            }
        }
        Ok(())
    }

    /// The conversation.
    pub(crate) fn finish(self) -> AssembledContext {
        AssembledContext { new: self.context.len() - self.before, context: self.context }
    }

    async fn take_reference(&mut self, id: ItemId) -> Result<(), ConversationError> {
        if let Some(item) = self.load(&id).await? {
            return self.take(item);
        }
        let message = format!("Item '{id}' not found.");
        let fault = Fault::invalid("item_not_found", format!("input[{}].id", self.index), message)
            .with_status(404);
        self.unresolved = Some(id);
        Err(ConversationError::NoSuchItem(fault))
    }

    async fn load(&self, id: &ItemId) -> Result<Option<Item>, StoreError> {
        let (store, owner, id) = (Arc::clone(&self.store), self.owner.clone(), id.clone());
        let loaded = self.loads.run(self.owner, async move { store.item(&owner, &id).await });
        loaded.await.unwrap_or(Err(StoreError::Unavailable))
    }

    fn take(&mut self, item: Item) -> Result<(), ConversationError> {
        // Ids that callers send are not kept: a tree cannot have two nodes of one name.
        let item = renamed(item);
        check_call(&self.calls, &item, self.index).map_err(ConversationError::Fault)?;
        self.most = self.most.without(item.weight())?;
        self.calls.extend(called(&item).map(str::to_owned));
        self.context.push(item);
        self.index += 1;
        Ok(())
    }
}

/// The id of a call. Calls of tools that Weir does not interpret (`local_shell_call`) may have
/// outputs like functions.
fn called(item: &Item) -> Option<&str> {
    match item {
        Item::Opaque(item) => item.fields.text("call_id"),
        item => item.call_id(),
    }
}

/// An output must refer to one of the calls before it.
fn check_call(calls: &HashSet<String>, item: &Item, index: usize) -> Result<(), Fault> {
    let (call_id, what) = match item {
        Item::FunctionCallOutput(output) => (&output.call_id, "function call output"),
        Item::CustomToolCallOutput(output) => (&output.call_id, "custom tool call output"),
        Item::Message(_)
        | Item::FunctionCall(_)
        | Item::CustomToolCall(_)
        | Item::Reasoning(_)
        | Item::Compaction(_)
        | Item::Opaque(_) => {
            return Ok(());
        }
    };
    if calls.contains(call_id) {
        return Ok(());
    }
    Err(Fault::invalid(
        "unknown_call_id",
        format!("input[{index}].call_id"),
        format!("No tool call found for {what} with call_id '{call_id}'."),
    ))
}

/// The item under a new id.
fn renamed(item: Item) -> Item {
    let id = id::item(item.id_prefix());
    item.with_id(id)
}
