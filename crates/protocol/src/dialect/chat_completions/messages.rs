//! Reads the messages of a chat into items.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::dialect::readers::{check_parts, text_part};
use crate::extra::Extra;
use crate::fault::Fault;
use crate::field_paths::InputOrigin;
use crate::id::ItemId;
use crate::item::{
    CustomToolCall, CustomToolCallOutput, FunctionCall, FunctionCallOutput, FunctionOutput, Item,
    ItemStatus, Message, OpaqueItem, Part, Reasoning, Role,
};
use crate::limits;
use crate::read::{RequestObject, RequestValue};
use crate::request::InputItem;

/// The fields of an assistant's message that become items or parts of their own.
const ASSISTANT: &[&str] = &[
    "role",
    "content",
    "refusal",
    "tool_calls",
    "function_call",
    "reasoning_content",
    "reasoning",
    "images",
];

/// Items and the message that each was read from.
pub(super) struct ParsedMessages {
    pub(super) items: Vec<InputItem>,
    pub(super) origins: Vec<InputOrigin>,
}

/// Reads `messages`. An assistant's message with tool calls becomes several items.
pub(super) fn read_messages(node: &RequestValue<'_>) -> Result<ParsedMessages, Fault> {
    let mut reader = Reader::default();
    for (index, message) in node.array(limits::ITEMS)?.iter().enumerate() {
        reader.message(message, index)?;
    }
    if reader.items.len() > limits::ITEMS {
        return Err(node.too_many(reader.items.len(), limits::ITEMS));
    }
    let items: Vec<InputItem> = reader.items.into_iter().map(InputItem::Item).collect();
    check_parts(node, &items)?;
    Ok(ParsedMessages { items, origins: reader.origins })
}

/// The state of reading.
#[derive(Default)]
struct Reader {
    items: Vec<Item>,
    /// The source of each item.
    origins: Vec<InputOrigin>,
    /// The ids of calls of tools that take free text.
    custom_calls: HashSet<String>,
    /// The calls of each function, by its name.
    calls: HashMap<String, Vec<String>>,
    /// The ids of calls that have an output.
    with_output: HashSet<String>,
}

impl Reader {
    fn message(&mut self, node: &RequestValue<'_>, index: usize) -> Result<(), Fault> {
        let object = node.object()?;
        let role = object.require("role")?.word(&[
            "system",
            "developer",
            "user",
            "assistant",
            "tool",
            "function",
        ])?;
        let role = match role.as_str() {
            "system" => Role::System,
            "developer" => Role::Developer,
            "user" => Role::User,
            "assistant" => return self.assistant(&object, index),
            "function" => return self.function_result(node, &object, index),
            _ => return self.tool_result(&object, index),
        };
        let content = object.require("content")?;
        let (parts, is_text) = (read_content(&content, role)?, content.value().is_string());
        let message =
            Message { extra: object.extra(&["role", "content"]), ..Message::new(role, parts) };
        self.push(Item::Message(message), InputOrigin::Message { message: index, is_text });
        Ok(())
    }

    fn push(&mut self, item: Item, origin: InputOrigin) {
        self.items.push(item);
        self.origins.push(origin);
    }

    fn assistant(&mut self, object: &RequestObject<'_>, index: usize) -> Result<(), Fault> {
        let before = self.items.len();
        let reasoning = match object.string("reasoning_content")? {
            Some(text) => Some(text),
            // OpenRouter has an object of this name in requests, but in messages it is a text.
            None => object.string("reasoning")?,
        };
        if let Some(text) = reasoning.filter(|text| !text.is_empty()) {
            let content = vec![Part::ReasoningText { text }];
            let id = ItemId::new("");
            let reasoning = Reasoning {
                id,
                summary: Vec::new(),
                content,
                encrypted_content: None,
                extra: Extra::default(),
            };
            self.push(Item::Reasoning(reasoning), InputOrigin::Reasoning { message: index });
        }
        let mut content =
            object.read("content", |node| read_content(node, Role::Assistant))?.unwrap_or_default();
        if let Some(refusal) = object.string("refusal")? {
            content.push(Part::Refusal { refusal });
        }
        let mut calls = Vec::new();
        if let Some(list) = object.get("tool_calls") {
            for (call, node) in list.array(limits::CALLS)?.iter().enumerate() {
                calls.push((read_call(node)?, InputOrigin::ToolCall { message: index, call }));
            }
        }
        if let Some(call) = object.get("function_call") {
            calls.push((
                read_function_call(&call, index)?,
                InputOrigin::FunctionCall { message: index },
            ));
        }
        let mut extra = object.extra(ASSISTANT);
        let images =
            object.read("images", |node| read_images(node, &mut extra))?.unwrap_or_default();
        let is_silent = content.is_empty() && extra.is_empty();
        // An empty message is one: Weir produces such messages. Fields of the message itself need
        // one, too.
        if !is_silent || (calls.is_empty() && images.is_empty() && self.items.len() == before) {
            let is_text = object.get("content").is_some_and(|content| content.value().is_string());
            let message = Message { extra, ..Message::new(Role::Assistant, content) };
            self.push(Item::Message(message), InputOrigin::Message { message: index, is_text });
        }
        for (image, item) in images {
            self.push(Item::Opaque(item), InputOrigin::Image { message: index, image });
        }
        for (call, origin) in calls {
            self.remember_call(&call);
            self.push(call, origin);
        }
        Ok(())
    }

    /// Records the keys by which the output of a call is matched.
    fn remember_call(&mut self, call: &Item) {
        match call {
            Item::CustomToolCall(call) => _ = self.custom_calls.insert(call.call_id.clone()),
            Item::FunctionCall(call) => {
                self.calls.entry(call.name.clone()).or_default().push(call.call_id.clone());
            }
            _ => {}
        }
    }

    /// A message with the role `tool`: the output of a call, named by its id.
    fn tool_result(&mut self, object: &RequestObject<'_>, index: usize) -> Result<(), Fault> {
        let call_id = object.require("tool_call_id")?.some_string()?;
        let output = read_output(&object.require("content")?)?;
        let (id, status, extra) = (
            ItemId::new(""),
            ItemStatus::Completed,
            object.extra(&["role", "content", "tool_call_id"]),
        );
        self.with_output.insert(call_id.clone());
        let item = if self.custom_calls.contains(&call_id) {
            Item::CustomToolCallOutput(CustomToolCallOutput { id, call_id, output, status, extra })
        } else {
            Item::FunctionCallOutput(FunctionCallOutput { id, call_id, output, status, extra })
        };
        self.push(item, InputOrigin::Output { message: index });
        Ok(())
    }

    /// A message with the role `function`: the output of a `function_call`, named only by the
    /// function.
    fn function_result(
        &mut self,
        node: &RequestValue<'_>,
        object: &RequestObject<'_>,
        index: usize,
    ) -> Result<(), Fault> {
        let name = object.require("name")?.some_string()?;
        // The last call of it without an output.
        let calls = self.calls.get_mut(&name);
        let call_id = calls.and_then(|calls| {
            std::iter::from_fn(|| calls.pop()).find(|call_id| !self.with_output.contains(call_id))
        });
        let Some(call_id) = call_id else {
            let what = format!(
                "a function that an earlier message of the assistant calls, but none calls '{name}'"
            );
            return Err(object
                .require("name")
                .map_or_else(|fault| fault, |_| node_of_name(node, &what)));
        };
        let output = match object.get("content") {
            Some(content) => read_output(&content)?,
            None => FunctionOutput::Text(String::new()),
        };
        let extra = object.extra(&["role", "content", "name"]);
        let (id, status) = (ItemId::new(""), ItemStatus::Completed);
        let item =
            Item::FunctionCallOutput(FunctionCallOutput { id, call_id, output, status, extra });
        self.push(item, InputOrigin::Output { message: index });
        Ok(())
    }
}

fn node_of_name(node: &RequestValue<'_>, expected: &str) -> Fault {
    let path = format!("{}.name", node.path());
    Fault::invalid(
        "invalid_value",
        &path,
        format!("Invalid value for '{path}': expected {expected}."),
    )
}

/// The images that a model made, as items, each with its place. Entries that are not in Weir's own
/// form stay a field of the message.
fn read_images(
    node: &RequestValue<'_>,
    extra: &mut Extra,
) -> Result<Vec<(usize, OpaqueItem)>, Fault> {
    let nodes = node.array(limits::PARTS)?;
    let items: Vec<Option<OpaqueItem>> =
        nodes.iter().map(|node| read_image(node.value())).collect();
    let others: Vec<Value> = nodes
        .iter()
        .zip(&items)
        .filter(|(_, item)| item.is_none())
        .map(|(node, _)| node.value().clone())
        .collect();
    if !others.is_empty() {
        extra.insert("images", others.into());
    }
    Ok(items.into_iter().enumerate().filter_map(|(place, item)| Some((place, item?))).collect())
}

fn read_image(image: &Value) -> Option<OpaqueItem> {
    let url = image.pointer("/image_url/url").and_then(Value::as_str)?;
    let (format, result) =
        match url.strip_prefix("data:image/").and_then(|url| url.split_once(";base64,")) {
            Some((format, data)) => (Some(format), data),
            None => (None, url),
        };
    let format = format.map(|format| ("output_format".to_owned(), format.into()));
    let fields = [("status".to_owned(), "completed".into())]
        .into_iter()
        .chain(format)
        .chain([("result".to_owned(), result.into())]);
    Some(OpaqueItem {
        kind: "image_generation_call".to_owned(),
        id: ItemId::new(""),
        fields: fields.collect(),
    })
}

fn read_call(node: &RequestValue<'_>) -> Result<Item, Fault> {
    let object = node.object()?;
    let (id, status) = (ItemId::new(""), ItemStatus::Completed);
    let call_id = object.require("id")?.some_string()?;
    if object.string("type")?.as_deref() == Some("custom") {
        let custom = object.require("custom")?.object()?;
        return Ok(Item::CustomToolCall(CustomToolCall {
            id,
            call_id,
            name: custom.require("name")?.some_string()?,
            input: custom.require("input")?.string()?,
            status,
            extra: with_inner(
                object.extra(&["id", "type", "index", "custom"]),
                "custom",
                &custom.extra(&["name", "input"]),
            ),
        }));
    }
    let function = object.require("function")?.object()?;
    let extra = with_inner(
        object.extra(&["id", "type", "index", "function"]),
        "function",
        &function.extra(&["name", "arguments"]),
    );
    Ok(Item::FunctionCall(FunctionCall {
        id,
        call_id,
        name: function.require("name")?.some_string()?,
        // A call may lack arguments.
        arguments: function.read("arguments", read_arguments)?.unwrap_or_else(|| "{}".to_owned()),
        status,
        extra,
    }))
}

/// `function_call`, the form before calls had ids: its output names only the function.
fn read_function_call(node: &RequestValue<'_>, index: usize) -> Result<Item, Fault> {
    let object = node.object()?;
    Ok(Item::FunctionCall(FunctionCall {
        id: ItemId::new(""),
        call_id: format!("call_message_{index}"),
        name: object.require("name")?.some_string()?,
        arguments: object.read("arguments", read_arguments)?.unwrap_or_else(|| "{}".to_owned()),
        status: ItemStatus::Completed,
        extra: object.extra(&["name", "arguments"]),
    }))
}

/// Arguments are JSON in a string; some clients send the JSON itself.
fn read_arguments(node: &RequestValue<'_>) -> Result<String, Fault> {
    match node.value() {
        Value::Object(object) => Ok(Value::Object(object.clone()).to_string()),
        _ => node.string(),
    }
}

fn read_output(node: &RequestValue<'_>) -> Result<FunctionOutput, Fault> {
    match node.value() {
        Value::String(text) => Ok(FunctionOutput::Text(text.clone())),
        _ => Ok(FunctionOutput::Parts(read_content(node, Role::User)?)),
    }
}

fn read_content(node: &RequestValue<'_>, role: Role) -> Result<Vec<Part>, Fault> {
    match node.value() {
        Value::String(text) => Ok(vec![text_part(role, text.clone())]),
        Value::Array(_) => {
            node.array(limits::PARTS)?.iter().map(|part| read_part(part, role)).collect()
        }
        _ => Err(node.wrong_type("a string or an array of content parts")),
    }
}

fn read_part(node: &RequestValue<'_>, role: Role) -> Result<Part, Fault> {
    let object = node.object()?;
    let kind = object.require("type")?;
    Ok(match kind.some_string()?.as_str() {
        "text" => {
            let extra = object.extra(&["type", "text"]);
            match text_part(role, object.require("text")?.string()?) {
                Part::OutputText { text, annotations, logprobs, .. } => {
                    Part::OutputText { text, annotations, logprobs, extra }
                }
                Part::InputText { text, .. } => Part::InputText { text, extra },
                part => part,
            }
        }
        "refusal" => Part::Refusal { refusal: object.require("refusal")?.string()? },
        "image_url" => {
            let image = object.require("image_url")?.object()?;
            Part::InputImage {
                image_url: Some(image.require("url")?.string()?),
                detail: image.string("detail")?.unwrap_or_else(|| "auto".into()),
                extra: with_inner(
                    object.extra(&["type", "image_url"]),
                    "image_url",
                    &image.extra(&["url", "detail"]),
                ),
            }
        }
        "file" => {
            let file = object.require("file")?.object()?;
            Part::InputFile {
                filename: file.string("filename")?,
                file_data: file.string("file_data")?,
                file_url: None,
                extra: with_inner(
                    object.extra(&["type", "file"]),
                    "file",
                    &file.extra(&["filename", "file_data"]),
                ),
            }
        }
        _ => Part::Opaque(object.extra(&[])),
    })
}

/// Fields of the object `name`, kept below its name beside those of the object that it is in.
fn with_inner(mut extra: Extra, name: &str, inner: &Extra) -> Extra {
    if !inner.is_empty() {
        extra.insert(name, inner.to_map().into());
    }
    extra
}
