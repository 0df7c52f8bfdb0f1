//! Requests and items for the tests.

use std::sync::Arc;

use engine::provider::{Call, ModelRequest};
use protocol::id::ItemId;
use protocol::item::{FunctionCall, FunctionCallOutput, FunctionOutput, Item, ItemStatus, Message, Part, Reasoning, Role};
use protocol::request::Create;

/// A request that asks for nothing special.
pub(crate) fn create() -> Create {
    Create { store: false, stream: true, ..Create::new("any") }
}

pub(crate) fn request(create: Create, context: Vec<Item>) -> ModelRequest {
    ModelRequest { create: Arc::new(create), model: None, context: context.into(), call: Call::default() }
}

pub(crate) fn message(role: Role, content: Vec<Part>) -> Item {
    Item::Message(Message { id: ItemId::new("msg_1"), status: ItemStatus::Completed, role, content })
}

pub(crate) fn user(text: &str) -> Item {
    message(Role::User, vec![Part::InputText { text: text.into() }])
}

pub(crate) fn assistant(text: &str) -> Item {
    message(Role::Assistant, vec![Part::output_text(text)])
}

pub(crate) fn call(call_id: &str, name: &str, arguments: &str) -> Item {
    let (name, arguments) = (name.to_owned(), arguments.to_owned());
    Item::FunctionCall(FunctionCall { id: ItemId::new("fc_1"), call_id: call_id.into(), name, arguments, status: ItemStatus::Completed })
}

pub(crate) fn output(call_id: &str, text: &str) -> Item {
    let output = FunctionOutput::Text(text.into());
    Item::FunctionCallOutput(FunctionCallOutput {
        id: ItemId::new("fco_1"),
        call_id: call_id.into(),
        output,
        status: ItemStatus::Completed,
    })
}

pub(crate) fn reasoning(text: &str) -> Item {
    let content = vec![Part::ReasoningText { text: text.into() }];
    Item::Reasoning(Reasoning { id: ItemId::new("rs_1"), summary: Vec::new(), content, encrypted_content: None })
}
