//! Turns what a caller sent into items, and into the conversation the model will see.

use protocol::compaction::Compaction;
use protocol::fault::Fault;
use protocol::id::Owner;
use protocol::item::{FunctionCall, FunctionCallOutput, Item, ItemStatus, Message, Reasoning};
use protocol::request::{Create, InputItem};

use crate::id;
use crate::store::{Store, StoreError};

/// The conversation of one turn.
pub(crate) struct Conversation {
    /// Everything the model sees, oldest first; the last `input.len()` are new.
    pub(crate) context: Vec<Item>,
    /// What is new in this turn.
    pub(crate) input: Vec<Item>,
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
    /// A reference to an item the caller does not have; an output for a call that nobody made.
    pub(crate) async fn assemble(store: &dyn Store, owner: &Owner, before: Vec<Item>, create: &Create) -> Result<Self, ConversationError> {
        let mut context = before;
        let before = context.len();
        for (index, input) in create.input.iter().enumerate() {
            let item = to_item(store, owner, index, input).await?;
            check_call(&context, &item, index).map_err(ConversationError::Fault)?;
            context.push(item);
        }
        let input = context.get(before..).unwrap_or_default().to_vec();
        Ok(Self { context, input })
    }

    /// The whole of it under names of its own, for a place in the tree.
    pub(crate) fn copy(&self) -> Vec<Item> {
        self.context.iter().cloned().map(renamed).collect()
    }
}

/// An output must answer a call that stands before it.
fn check_call(context: &[Item], item: &Item, index: usize) -> Result<(), Fault> {
    let Item::FunctionCallOutput(output) = item else { return Ok(()) };
    let is_made = context.iter().any(|item| matches!(item, Item::FunctionCall(call) if call.call_id == output.call_id));
    if is_made {
        return Ok(());
    }
    Err(Fault::invalid(
        "unknown_call_id",
        format!("input[{index}].call_id"),
        format!("No tool call found for function call output with call_id '{}'.", output.call_id),
    ))
}

/// Gives an input item an id. Ids that callers send are not taken over: a tree cannot have two nodes of one name.
async fn to_item(store: &dyn Store, owner: &Owner, index: usize, input: &InputItem) -> Result<Item, ConversationError> {
    Ok(match input {
        InputItem::Message { role, content, .. } => {
            Item::Message(Message { id: id::item("msg"), status: ItemStatus::Completed, role: *role, content: content.clone() })
        }
        InputItem::FunctionCall { call_id, name, arguments, .. } => Item::FunctionCall(FunctionCall {
            id: id::item("fc"),
            call_id: call_id.clone(),
            name: name.clone(),
            arguments: arguments.clone(),
            status: ItemStatus::Completed,
        }),
        InputItem::FunctionCallOutput { call_id, output, .. } => Item::FunctionCallOutput(FunctionCallOutput {
            id: id::item("fco"),
            call_id: call_id.clone(),
            output: output.clone(),
            status: ItemStatus::Completed,
        }),
        InputItem::Reasoning { summary, content, encrypted_content, .. } => Item::Reasoning(Reasoning {
            id: id::item("rs"),
            summary: summary.clone(),
            content: content.clone(),
            encrypted_content: encrypted_content.clone(),
        }),
        InputItem::Compaction { summary, .. } => Item::Compaction(Compaction { id: id::item("cmp"), summary: summary.clone() }),
        InputItem::Reference(id) => {
            let item = store.item(owner, id).await?;
            let missing = || {
                let message = format!("Item '{id}' not found.");
                Fault::invalid("item_not_found", format!("input[{index}].id"), message).with_status(404)
            };
            renamed(item.ok_or_else(missing).map_err(ConversationError::NoSuchItem)?)
        }
    })
}

/// A copy of a stored item at a new place in the tree.
fn renamed(item: Item) -> Item {
    match item {
        Item::Message(message) => Item::Message(Message { id: id::item("msg"), ..message }),
        Item::FunctionCall(call) => Item::FunctionCall(FunctionCall { id: id::item("fc"), ..call }),
        Item::FunctionCallOutput(output) => Item::FunctionCallOutput(FunctionCallOutput { id: id::item("fco"), ..output }),
        Item::Reasoning(reasoning) => Item::Reasoning(Reasoning { id: id::item("rs"), ..reasoning }),
        Item::Compaction(compaction) => Item::Compaction(Compaction { id: id::item("cmp"), ..compaction }),
    }
}
