//! Turns what a caller sent into items, and into the conversation the model will see.

use std::collections::HashSet;

use protocol::fault::Fault;
use protocol::id::Owner;
use protocol::item::Item;
use protocol::request::InputItem;

use crate::id;
use crate::store::{Most, Store, StoreError};

/// The conversation of one turn.
pub(crate) struct Conversation {
    /// Everything the model sees, oldest first.
    pub(crate) context: Vec<Item>,
    /// Where in it the items of this turn start.
    pub(crate) new: usize,
}

/// Which items of a conversation go into the tree with a turn that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// Those from this one on.
    From(usize),
    /// All of them, under names of their own: they are in no tree yet.
    Copies,
}

impl Stored {
    /// Copies the items.
    pub(crate) fn of(self, context: &[Item]) -> Vec<Item> {
        match self {
            Self::From(new) => context.get(new..).unwrap_or_default().to_vec(),
            Self::Copies => context.iter().cloned().map(renamed).collect(),
        }
    }
}

/// Why there is no conversation.
pub(crate) enum ConversationError {
    Fault(Fault),
    /// A reference leads nowhere.
    NoSuchItem(Fault),
    Store(StoreError),
}

impl From<StoreError> for ConversationError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Conversation {
    /// Continues what was said `before` with the request's input.
    ///
    /// # Errors
    /// A reference to an item the caller does not have; an output for a call that nobody made; more than `most`.
    pub(crate) async fn assemble(
        store: &dyn Store,
        owner: &Owner,
        before: Vec<Item>,
        new: Vec<InputItem>,
        mut most: Most,
    ) -> Result<Self, ConversationError> {
        let mut context = before;
        let before = context.len();
        let mut calls: HashSet<String> = context.iter().filter_map(called).map(str::to_owned).collect();
        for (index, input) in new.into_iter().enumerate() {
            let item = to_item(store, owner, index, input).await?;
            check_call(&calls, &item, index).map_err(ConversationError::Fault)?;
            most = most.without(item.weight())?;
            calls.extend(called(&item).map(str::to_owned));
            context.push(item);
        }
        Ok(Self { context, new: before })
    }
}

/// The id of a call. Calls of tools that Weir does not interpret (`local_shell_call`) may be answered like functions.
fn called(item: &Item) -> Option<&str> {
    match item {
        Item::Opaque(item) => item.fields.text("call_id"),
        item => item.call_id(),
    }
}

/// An output must answer one of the calls that stand before it.
fn check_call(calls: &HashSet<String>, item: &Item, index: usize) -> Result<(), Fault> {
    let (call_id, what) = match item {
        Item::FunctionCallOutput(output) => (&output.call_id, "function call output"),
        Item::CustomToolCallOutput(output) => (&output.call_id, "custom tool call output"),
        Item::Message(_) | Item::FunctionCall(_) | Item::CustomToolCall(_) | Item::Reasoning(_) | Item::Compaction(_) | Item::Opaque(_) => {
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

/// Gives an input item an id. Ids that callers send are not taken over: a tree cannot have two nodes of one name.
async fn to_item(store: &dyn Store, owner: &Owner, index: usize, input: InputItem) -> Result<Item, ConversationError> {
    let id = match input {
        InputItem::Item(item) => return Ok(renamed(item)),
        InputItem::Reference(id) => id,
    };
    let missing = || {
        let message = format!("Item '{id}' not found.");
        Fault::invalid("item_not_found", format!("input[{index}].id"), message).with_status(404)
    };
    Ok(renamed(store.item(owner, &id).await?.ok_or_else(missing).map_err(ConversationError::NoSuchItem)?))
}

/// The item under an id of its own, for a place in the tree.
fn renamed(item: Item) -> Item {
    let id = id::item(item.id_prefix());
    item.with_id(id)
}
