//! Reads the items of a request and their content parts.

use serde_json::Value;

use crate::compaction::{self, Compaction};
use crate::dialect::readers::{check_parts, text_part};
use crate::fault::Fault;
use crate::id::ItemId;
use crate::item::{
    CustomToolCall, CustomToolCallOutput, FunctionCall, FunctionCallOutput, FunctionOutput, Item,
    ItemStatus, Message, OpaqueItem, Part, Reasoning, Role,
};
use crate::limits;
use crate::read::{RequestObject, RequestValue};
use crate::request::InputItem;

/// The longest name of an item's or a part's type.
const LONGEST_TYPE: usize = 64;

/// Reads `input`: a text of the user's, or items.
pub(super) fn read_input(node: &RequestValue<'_>) -> Result<Vec<InputItem>, Fault> {
    if let Value::String(text) = node.value() {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let message = Message::new(Role::User, vec![Part::input_text(text)]);
        return Ok(vec![InputItem::Item(Item::Message(message))]);
    }
    if !node.value().is_array() {
        return Err(node.wrong_type("a string or an array of items"));
    }
    let items: Vec<InputItem> =
        node.array(limits::ITEMS)?.iter().map(read_item).collect::<Result<_, _>>()?;
    check_parts(node, &items)?;
    Ok(items)
}

fn read_item(node: &RequestValue<'_>) -> Result<InputItem, Fault> {
    let object = node.object()?;
    let id = object.string("id")?;
    let kind = match object.get("type") {
        Some(kind) => read_type(&kind)?,
        // The "easy" message has a role and no type; a bare id is a reference.
        None if object.get("role").is_some() => "message".into(),
        None if id.is_some() => "item_reference".into(),
        None => {
            return Err(object.require("type").err().unwrap_or_else(|| node.wrong_type("an item")));
        }
    };
    if kind == "item_reference" {
        return Ok(InputItem::Reference(ItemId::new(object.require("id")?.string()?)));
    }
    let id = ItemId::new(id.unwrap_or_default());
    let status = ItemStatus::Completed;
    Ok(InputItem::Item(match kind.as_str() {
        "message" => Item::Message(read_message(&object, id)?),
        "function_call" => Item::FunctionCall(FunctionCall {
            id,
            call_id: object.require("call_id")?.some_string()?,
            name: object.require("name")?.some_string()?,
            arguments: read_arguments(&object.require("arguments")?)?,
            status,
            extra: object.extra(&["type", "id", "status", "call_id", "name", "arguments"]),
        }),
        "function_call_output" => Item::FunctionCallOutput(FunctionCallOutput {
            id,
            call_id: object.require("call_id")?.some_string()?,
            output: read_output(&object.require("output")?)?,
            status,
            extra: object.extra(&["type", "id", "status", "call_id", "output"]),
        }),
        "custom_tool_call" => Item::CustomToolCall(CustomToolCall {
            id,
            call_id: object.require("call_id")?.some_string()?,
            name: object.require("name")?.some_string()?,
            input: object.require("input")?.string()?,
            status,
            extra: object.extra(&["type", "id", "status", "call_id", "name", "input"]),
        }),
        "custom_tool_call_output" => Item::CustomToolCallOutput(CustomToolCallOutput {
            id,
            call_id: object.require("call_id")?.some_string()?,
            output: read_output(&object.require("output")?)?,
            status,
            extra: object.extra(&["type", "id", "status", "call_id", "output"]),
        }),
        "reasoning" => Item::Reasoning(Reasoning {
            id,
            summary: object
                .read("summary", |node| read_parts(node, Role::Assistant))?
                .unwrap_or_default(),
            content: object
                .read("content", |node| read_parts(node, Role::Assistant))?
                .unwrap_or_default(),
            encrypted_content: object.string("encrypted_content")?,
            extra: object.extra(&[
                "type",
                "id",
                "status",
                "summary",
                "content",
                "encrypted_content",
            ]),
        }),
        "compaction" => {
            let summary = read_content(&object.require("encrypted_content")?)?;
            Item::Compaction(Compaction { id, summary })
        }
        _ => Item::Opaque(read_opaque(&object, id, kind)),
    }))
}

/// An item of a type that Weir does not interpret. Its id at the upstream is kept beside its new
/// one.
fn read_opaque(object: &RequestObject<'_>, id: ItemId, kind: String) -> OpaqueItem {
    let mut fields = object.extra(&["type", "id"]);
    if !id.as_str().is_empty() && fields.get(OpaqueItem::UPSTREAM_ID).is_none() {
        fields.insert(OpaqueItem::UPSTREAM_ID, id.as_str().into());
    }
    OpaqueItem { kind, id, fields }
}

/// The name of a type, which an upstream may support.
fn read_type(node: &RequestValue<'_>) -> Result<String, Fault> {
    let kind = node.string()?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if kind.is_empty() || kind.len() > LONGEST_TYPE || !kind.bytes().all(is_name) {
        return Err(node.wrong_value("the name of a type"));
    }
    Ok(kind)
}

fn read_message(object: &RequestObject<'_>, id: ItemId) -> Result<Message, Fault> {
    let role =
        match object.require("role")?.word(&["user", "assistant", "system", "developer"])?.as_str()
        {
            "assistant" => Role::Assistant,
            "system" => Role::System,
            "developer" => Role::Developer,
            _ => Role::User,
        };
    let content = object.require("content")?;
    let content = match content.value() {
        Value::String(text) => vec![text_part(role, text.clone())],
        Value::Array(_) => read_parts(&content, role)?,
        _ => return Err(content.wrong_type("a string or an array of content parts")),
    };
    let extra = object.extra(&["type", "id", "status", "role", "content"]);
    Ok(Message { id, status: ItemStatus::Completed, role, content, extra })
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
        Value::Array(_) => Ok(FunctionOutput::Parts(read_parts(node, Role::User)?)),
        _ => Err(node.wrong_type("a string or an array of content parts")),
    }
}

fn read_parts(node: &RequestValue<'_>, role: Role) -> Result<Vec<Part>, Fault> {
    node.array(limits::PARTS)?.iter().map(|part| read_part(part, role)).collect()
}

fn read_part(node: &RequestValue<'_>, role: Role) -> Result<Part, Fault> {
    let object = node.object()?;
    let text = || object.require("text")?.string();
    Ok(match read_type(&object.require("type")?)?.as_str() {
        "input_image" => {
            let image_url = object.string("image_url")?;
            // An image may also be a file that the upstream holds.
            if image_url.is_none() && object.get("file_id").is_none() {
                object.require("image_url")?;
            }
            let detail = object.string("detail")?.unwrap_or_else(|| "auto".into());
            Part::InputImage {
                image_url,
                detail,
                extra: object.extra(&["type", "image_url", "detail"]),
            }
        }
        "input_file" => Part::InputFile {
            filename: object.string("filename")?,
            file_data: object.string("file_data")?,
            file_url: object.string("file_url")?,
            extra: object.extra(&["type", "filename", "file_data", "file_url"]),
        },
        "refusal" => Part::Refusal { refusal: object.require("refusal")?.string()? },
        "reasoning_text" => Part::ReasoningText { text: text()? },
        "summary_text" => Part::SummaryText { text: text()? },
        "output_text" => Part::OutputText {
            text: text()?,
            annotations: object
                .read("annotations", |node| {
                    Ok(node
                        .array(limits::ANNOTATIONS)?
                        .iter()
                        .map(|node| node.value().clone())
                        .collect())
                })?
                .unwrap_or_default(),
            logprobs: Vec::new(),
            extra: object.extra(&["type", "text", "annotations", "logprobs"]),
        },
        "input_text" | "text" => {
            let extra = object.extra(&["type", "text", "annotations", "logprobs"]);
            match text_part(role, text()?) {
                Part::OutputText { text, annotations, logprobs, .. } => {
                    Part::OutputText { text, annotations, logprobs, extra }
                }
                Part::InputText { text, .. } => Part::InputText { text, extra },
                part => part,
            }
        }
        _ => Part::Opaque(object.extra(&[])),
    })
}

/// Reads an `encrypted_content`.
fn read_content(node: &RequestValue<'_>) -> Result<String, Fault> {
    compaction::decode(&node.string()?).ok_or_else(|| {
        let message = format!(
            "'{}' was not made by this server's /v1/responses/compact, or was modified.",
            node.path()
        );
        Fault::invalid("invalid_encrypted_content", node.path(), message)
    })
}
