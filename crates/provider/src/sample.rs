//! Requests and items for the tests.

use std::sync::Arc;

use engine::provider::call::UpstreamCall;
use engine::provider::request::ModelRequest;
use protocol::dialect::chat_completions;
use protocol::extra::Extra;
use protocol::id::ItemId;
use protocol::item::{
    FunctionCall, FunctionCallOutput, FunctionOutput, Item, ItemStatus, Message, Part, Reasoning,
    Role,
};
use protocol::request::{
    AllowedTool, AllowedTools, AllowedToolsWord, Create, FunctionTool, InputItem, NamedKind,
    NamedTool, ToolChoice, ToolMode,
};
use serde_json::{Value, json};

/// A minimal request.
pub(crate) fn create() -> Create {
    Create { store: false, stream: true, ..Create::new("any") }
}

pub(crate) fn request(create: Create, context: Vec<Item>) -> ModelRequest {
    ModelRequest {
        create: Arc::new(create),
        model: None,
        context: context.into(),
        call: UpstreamCall::default(),
    }
}

pub(crate) fn message(role: Role, content: Vec<Part>) -> Item {
    Item::Message(Message { id: ItemId::new("msg_1"), ..Message::new(role, content) })
}

pub(crate) fn user(text: &str) -> Item {
    message(Role::User, vec![Part::input_text(text)])
}

pub(crate) fn assistant(text: &str) -> Item {
    message(Role::Assistant, vec![Part::output_text(text)])
}

pub(crate) fn call(call_id: &str, name: &str, arguments: &str) -> Item {
    let (name, arguments) = (name.to_owned(), arguments.to_owned());
    let (id, status, extra) = (ItemId::new("fc_1"), ItemStatus::Completed, Extra::default());
    Item::FunctionCall(FunctionCall { id, call_id: call_id.into(), name, arguments, status, extra })
}

pub(crate) fn output(call_id: &str, text: &str) -> Item {
    let output = FunctionOutput::Text(text.into());
    Item::FunctionCallOutput(FunctionCallOutput {
        id: ItemId::new("fco_1"),
        call_id: call_id.into(),
        output,
        status: ItemStatus::Completed,
        extra: Extra::default(),
    })
}

pub(crate) fn reasoning(text: &str) -> Item {
    let content = vec![Part::ReasoningText { text: text.into() }];
    let (id, extra) = (ItemId::new("rs_1"), Extra::default());
    Item::Reasoning(Reasoning { id, summary: Vec::new(), content, encrypted_content: None, extra })
}

/// An input image.
pub(crate) fn image(url: &str, detail: &str) -> Part {
    Part::InputImage { image_url: Some(url.into()), detail: detail.into(), extra: Extra::default() }
}

/// An input file.
pub(crate) fn file(
    filename: Option<&str>,
    file_data: Option<&str>,
    file_url: Option<&str>,
) -> Part {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Part::InputFile {
        filename: owned(filename),
        file_data: owned(file_data),
        file_url: owned(file_url),
        extra: Extra::default(),
    }
}

/// A function tool.
pub(crate) fn tool(name: &str) -> FunctionTool {
    let (description, parameters) = (Some("does it".to_owned()), Some(json!({ "type": "object" })));
    FunctionTool {
        name: name.into(),
        description,
        parameters,
        strict: Some(true),
        extra: Extra::default(),
    }
}

/// A function tool as a tool choice names it.
pub(crate) fn named(name: &str) -> NamedTool {
    NamedTool { kind: NamedKind::Function, name: name.into() }
}

/// A choice restricted to one of the offered functions.
pub(crate) fn allowed(name: &str, mode: ToolMode) -> ToolChoice {
    let tools = vec![AllowedTool::Named(named(name))];
    ToolChoice::Allowed(AllowedTools { kind: AllowedToolsWord::AllowedTools, tools, mode })
}

/// A call that was cut off while the model generated its arguments.
pub(crate) fn cut_call() -> Item {
    let Item::FunctionCall(call) = call("a", "f", "{\"ci") else { unreachable!("it is a call") };
    Item::FunctionCall(FunctionCall { status: ItemStatus::Incomplete, ..call })
}

/// A chat completions request with these messages and further fields.
pub(crate) fn asked(messages: &Value, more: &Value) -> ModelRequest {
    let mut body = json!({ "model": "any", "stream": true, "store": false, "messages": messages });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let create = chat_completions::read_create(&body).unwrap().create;
    let item = |input: &InputItem| {
        if let InputItem::Item(item) = input { Some(item.clone()) } else { None }
    };
    let context = create.input.iter().filter_map(item).collect();
    request(create, context)
}

/// A function call output with content parts.
pub(crate) fn output_parts(call_id: &str, parts: Vec<Part>) -> Item {
    let Item::FunctionCallOutput(output) = output(call_id, "") else {
        unreachable!("it is an output")
    };
    Item::FunctionCallOutput(FunctionCallOutput { output: FunctionOutput::Parts(parts), ..output })
}
