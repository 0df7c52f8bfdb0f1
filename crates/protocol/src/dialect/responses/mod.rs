//! The dialect `responses`: reads Open Responses requests. Its stream is the log itself.

mod client_event;
mod compact;

pub use client_event::{ClientEvent, Lane, read_client_event, refusal};
pub use compact::read_compact;

use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::id::{ItemId, ResponseId};
use crate::item::{FunctionOutput, Part, Role};
use crate::on_leave::{self, OnLeave};
use crate::read::{Node, Object};
use crate::request::{
    AllowedTools, AllowedToolsWord, Create, FunctionTool, FunctionWord, InputItem, NamedFunction, ReasoningConfig, TextConfig, TextFormat,
    ToolChoice, ToolMode,
};

/// The fields of `CreateResponseBody`; anything else is `extra`.
const KNOWN: &[&str] = &[
    "model",
    "input",
    "previous_response_id",
    "include",
    "tools",
    "tool_choice",
    "metadata",
    "text",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "parallel_tool_calls",
    "stream",
    "stream_options",
    "background",
    "max_output_tokens",
    "max_tool_calls",
    "reasoning",
    "safety_identifier",
    "prompt_cache_key",
    "truncation",
    "instructions",
    "store",
    "service_tier",
    "top_logprobs",
    "user",
    // Weir's own.
    "on_leave",
    // Of a socket's `response.create`.
    "type",
    "stream_id",
    "generate",
];

/// Reads the body of `POST /v1/responses`.
///
/// # Errors
/// The first field that is wrong, by its path.
pub fn read_create(body: &Value) -> Result<Create, Fault> {
    let root = Node::root(body).object()?;
    let create = read_common(&root)?;
    check_input(&root, &create, "answer")?;
    if create.background && !create.store {
        return Err(Fault::invalid("invalid_value", "background", "'background' needs 'store': an answer that nobody reads must be kept."));
    }
    if create.background && create.on_leave == Some(OnLeave::Cancel) {
        let message = "'on_leave' cannot be cancel with 'background': nobody reads such an answer from its start.";
        return Err(Fault::invalid("invalid_value", "on_leave", message));
    }
    Ok(create)
}

/// Reads the body of `POST /v1/responses/input_tokens`: the same request, of which nothing is run.
///
/// # Errors
/// The first field that is wrong, by its path.
pub fn read_count(body: &Value) -> Result<Create, Fault> {
    read_common(&Node::root(body).object()?)
}

/// There must be something `to_do` it with.
fn check_input(root: &Object<'_>, create: &Create, to_do: &str) -> Result<(), Fault> {
    if !create.input.is_empty() || create.previous_response_id.is_some() {
        return Ok(());
    }
    Err(if root.get("input").is_some() {
        Fault::invalid("empty_input", "input", format!("'input' is empty: there is nothing to {to_do}."))
    } else {
        Fault::invalid("missing_required_parameter", "input", "Missing required parameter: 'input'.")
    })
}

fn read_common(root: &Object<'_>) -> Result<Create, Fault> {
    let tools = root.read("tools", read_tools)?.unwrap_or_default();
    let tool_choice = root.read("tool_choice", |node| read_tool_choice(node, &tools))?.unwrap_or(ToolChoice::Mode(ToolMode::Auto));
    Ok(Create {
        model: root.require("model")?.short_string(256)?,
        input: root.read("input", read_input)?.unwrap_or_default(),
        instructions: root.string("instructions")?,
        previous_response_id: root.string("previous_response_id")?.map(ResponseId::new),
        tools,
        tool_choice,
        parallel_tool_calls: root.boolean("parallel_tool_calls")?,
        text: root.read("text", read_text)?.unwrap_or_default(),
        reasoning: root.read("reasoning", read_reasoning)?,
        temperature: root.read("temperature", |node| node.number(0.0..=2.0))?,
        top_p: root.read("top_p", |node| node.number(0.0..=1.0))?,
        presence_penalty: root.read("presence_penalty", |node| node.number(-2.0..=2.0))?,
        frequency_penalty: root.read("frequency_penalty", |node| node.number(-2.0..=2.0))?,
        top_logprobs: root.read("top_logprobs", |node| node.integer(0..=20))?,
        max_output_tokens: root.read("max_output_tokens", |node| node.integer(1..=u64::MAX))?,
        max_tool_calls: root.read("max_tool_calls", |node| node.integer(1..=u64::MAX))?,
        truncation: root.read("truncation", |node| node.word(&["auto", "disabled"]))?,
        service_tier: root.string("service_tier")?,
        include: root.read("include", |node| node.array()?.iter().map(Node::string).collect())?.unwrap_or_default(),
        metadata: root.read("metadata", read_metadata)?.unwrap_or_default(),
        safety_identifier: match root.string("safety_identifier")? {
            Some(identifier) => Some(identifier),
            None => root.string("user")?,
        },
        prompt_cache_key: root.string("prompt_cache_key")?,
        store: root.boolean("store")?.unwrap_or(true),
        background: root.boolean("background")?.unwrap_or(false),
        stream: root.boolean("stream")?.unwrap_or(false),
        on_leave: root.read("on_leave", read_on_leave)?,
        extra: root.others(KNOWN),
    })
}

fn read_input(node: &Node<'_>) -> Result<Vec<InputItem>, Fault> {
    if let Value::String(text) = node.value() {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        return Ok(vec![InputItem::Message { id: None, role: Role::User, content: vec![Part::InputText { text: text.clone() }] }]);
    }
    if !node.value().is_array() {
        return Err(node.wrong_type("a string or an array of items"));
    }
    node.array()?.iter().map(read_item).collect()
}

fn read_item(node: &Node<'_>) -> Result<InputItem, Fault> {
    let object = node.object()?;
    let id = object.string("id")?.map(ItemId::new);
    let kind = match object.get("type") {
        Some(kind) => kind.word(&["message", "function_call", "function_call_output", "reasoning", "compaction", "item_reference"])?,
        // The "easy" message has a role and no type; a bare id is a reference.
        None if object.get("role").is_some() => "message".into(),
        None if id.is_some() => "item_reference".into(),
        None => return Err(object.require("type").err().unwrap_or_else(|| node.wrong_type("an item"))),
    };
    match kind.as_str() {
        "function_call" => Ok(InputItem::FunctionCall {
            id,
            call_id: object.require("call_id")?.short_string(64)?,
            name: object.require("name")?.name()?,
            arguments: object.require("arguments")?.string()?,
        }),
        "function_call_output" => {
            let output = object.require("output")?;
            let output = match output.value() {
                Value::String(text) => FunctionOutput::Text(text.clone()),
                Value::Array(_) => FunctionOutput::Parts(read_parts(&output, Role::User)?),
                _ => return Err(output.wrong_type("a string or an array of content parts")),
            };
            Ok(InputItem::FunctionCallOutput { id, call_id: object.require("call_id")?.short_string(64)?, output })
        }
        "reasoning" => Ok(InputItem::Reasoning {
            id,
            summary: object.read("summary", |node| read_parts(node, Role::Assistant))?.unwrap_or_default(),
            content: object.read("content", |node| read_parts(node, Role::Assistant))?.unwrap_or_default(),
            encrypted_content: object.string("encrypted_content")?,
        }),
        "compaction" => Ok(InputItem::Compaction { id, summary: compact::read_content(&object.require("encrypted_content")?)? }),
        "item_reference" => Ok(InputItem::Reference(ItemId::new(object.require("id")?.string()?))),
        _ => {
            let role = match object.require("role")?.word(&["user", "assistant", "system", "developer"])?.as_str() {
                "assistant" => Role::Assistant,
                "system" => Role::System,
                "developer" => Role::Developer,
                _ => Role::User,
            };
            let content = object.require("content")?;
            Ok(InputItem::Message { id, role, content: read_content(&content, role)? })
        }
    }
}

/// Reads a message's content: a string, or parts. Chat completions has parts of its own.
fn read_content(node: &Node<'_>, role: Role) -> Result<Vec<Part>, Fault> {
    match node.value() {
        Value::String(text) => Ok(vec![text_part(role, text.clone())]),
        Value::Array(_) => read_parts(node, role),
        _ => Err(node.wrong_type("a string or an array of content parts")),
    }
}

/// Text as `role` writes it.
pub(super) fn text_part(role: Role, text: String) -> Part {
    match role {
        Role::Assistant => Part::output_text(text),
        Role::User | Role::System | Role::Developer => Part::InputText { text },
    }
}

fn read_parts(node: &Node<'_>, role: Role) -> Result<Vec<Part>, Fault> {
    node.array()?.iter().map(|part| read_part(part, role)).collect()
}

fn read_part(node: &Node<'_>, role: Role) -> Result<Part, Fault> {
    const KINDS: &[&str] = &["input_text", "output_text", "text", "input_image", "input_file", "refusal", "reasoning_text", "summary_text"];
    let object = node.object()?;
    match object.require("type")?.word(KINDS)?.as_str() {
        "input_image" => {
            let image_url = object.string("image_url")?;
            if image_url.is_none() {
                object.require("image_url")?;
            }
            let detail = object.read("detail", |node| node.word(&["low", "high", "auto", "original"]))?;
            Ok(Part::InputImage { image_url, detail: detail.unwrap_or_else(|| "auto".into()) })
        }
        "input_file" => Ok(Part::InputFile {
            filename: object.string("filename")?,
            file_data: object.string("file_data")?,
            file_url: object.string("file_url")?,
        }),
        "refusal" => Ok(Part::Refusal { refusal: object.require("refusal")?.string()? }),
        "reasoning_text" => Ok(Part::ReasoningText { text: object.require("text")?.string()? }),
        "summary_text" => Ok(Part::SummaryText { text: object.require("text")?.string()? }),
        "output_text" => Ok(Part::OutputText {
            text: object.require("text")?.string()?,
            annotations: object
                .read("annotations", |node| Ok(node.array()?.iter().map(|node| node.value().clone()).collect()))?
                .unwrap_or_default(),
            logprobs: Vec::new(),
        }),
        _ => Ok(text_part(role, object.require("text")?.string()?)),
    }
}

fn read_tools(node: &Node<'_>) -> Result<Vec<FunctionTool>, Fault> {
    node.array()?.iter().map(read_tool).collect()
}

fn read_tool(node: &Node<'_>) -> Result<FunctionTool, Fault> {
    let object = node.object()?;
    let kind = object.require("type")?;
    if kind.string()? != "function" {
        return Err(Fault::invalid("unsupported_tool", kind.path(), "Only tools of type 'function' can be called through Weir."));
    }
    read_function(&object)
}

/// Reads a function's definition. Used by both dialects.
pub(super) fn read_function(object: &Object<'_>) -> Result<FunctionTool, Fault> {
    Ok(FunctionTool {
        kind: "function".into(),
        name: object.require("name")?.name()?,
        description: object.string("description")?,
        parameters: object.read("parameters", |node| node.object().map(|_| node.value().clone()))?,
        strict: object.boolean("strict")?,
    })
}

fn read_tool_choice(node: &Node<'_>, tools: &[FunctionTool]) -> Result<ToolChoice, Fault> {
    if node.value().is_string() {
        return read_tool_mode(node, tools).map(ToolChoice::Mode);
    }
    if !node.value().is_object() {
        return Err(node.wrong_type("a string or an object"));
    }
    let object = node.object()?;
    if object.require("type")?.word(&["function", "allowed_tools"])? == "function" {
        return read_named(&object, tools).map(ToolChoice::Function);
    }
    let named = object.require("tools")?.array()?.iter().map(|tool| read_named(&tool.object()?, tools)).collect::<Result<Vec<_>, _>>()?;
    read_allowed(&object, named, tools)
}

/// Reads the rest of `allowed_tools`, of which the names were read. Used by both dialects.
pub(super) fn read_allowed(object: &Object<'_>, named: Vec<NamedFunction>, tools: &[FunctionTool]) -> Result<ToolChoice, Fault> {
    if named.is_empty() {
        return Err(Fault::invalid("invalid_value", object.path_of("tools"), "'allowed_tools' needs at least one tool."));
    }
    let mode = object.read("mode", |node| read_tool_mode(node, tools))?.unwrap_or(ToolMode::Auto);
    Ok(ToolChoice::Allowed(AllowedTools { kind: AllowedToolsWord::AllowedTools, tools: named, mode }))
}

/// Reads `none`, `auto` or `required`. Used by both dialects.
pub(super) fn read_tool_mode(node: &Node<'_>, tools: &[FunctionTool]) -> Result<ToolMode, Fault> {
    match node.word(&["none", "auto", "required"])?.as_str() {
        "none" => Ok(ToolMode::None),
        "auto" => Ok(ToolMode::Auto),
        _ if tools.is_empty() => Err(node.wrong_value("a choice that the request's tools can meet, but there are no 'tools'")),
        _ => Ok(ToolMode::Required),
    }
}

/// Reads a function's name that must be one of the request's tools. Used by both dialects.
pub(super) fn read_named(object: &Object<'_>, tools: &[FunctionTool]) -> Result<NamedFunction, Fault> {
    let node = object.require("name")?;
    let name = node.name()?;
    if tools.iter().any(|tool| tool.name == name) {
        return Ok(NamedFunction { kind: FunctionWord::Function, name });
    }
    Err(node.wrong_value("the name of one of the request's 'tools'"))
}

fn read_text(node: &Node<'_>) -> Result<TextConfig, Fault> {
    let object = node.object()?;
    Ok(TextConfig {
        format: object.read("format", |node| read_format(&node.object()?, None))?.unwrap_or(TextFormat::Text),
        verbosity: object.read("verbosity", |node| node.word(&["low", "medium", "high"]))?,
    })
}

/// Reads a text format; chat completions nests the schema's fields below `nested`. Used by both dialects.
pub(super) fn read_format(object: &Object<'_>, nested: Option<&str>) -> Result<TextFormat, Fault> {
    match object.require("type")?.word(&["text", "json_object", "json_schema"])?.as_str() {
        "text" => Ok(TextFormat::Text),
        "json_object" => Ok(TextFormat::JsonObject),
        _ => match nested {
            Some(nested) => read_schema(&object.require(nested)?.object()?),
            None => read_schema(object),
        },
    }
}

fn read_schema(object: &Object<'_>) -> Result<TextFormat, Fault> {
    let schema = object.require("schema")?;
    schema.object()?;
    Ok(TextFormat::JsonSchema {
        name: object.require("name")?.name()?,
        description: object.string("description")?,
        schema: schema.value().clone(),
        strict: object.boolean("strict")?.unwrap_or(false),
    })
}

fn read_reasoning(node: &Node<'_>) -> Result<ReasoningConfig, Fault> {
    let object = node.object()?;
    Ok(ReasoningConfig {
        effort: object.read("effort", read_effort)?,
        summary: object.read("summary", |node| node.word(&["concise", "detailed", "auto"]))?,
    })
}

/// Reads what happens when the last reader leaves. Used by both dialects.
pub(super) fn read_on_leave(node: &Node<'_>) -> Result<OnLeave, Fault> {
    node.string()?.parse().map_err(|_| node.wrong_value(on_leave::EXPECTED))
}

/// Reads a reasoning effort. Used by both dialects.
pub(super) fn read_effort(node: &Node<'_>) -> Result<String, Fault> {
    node.word(&["none", "minimal", "low", "medium", "high", "xhigh"])
}

/// Reads metadata: at most 16 pairs of short strings. Used by both dialects.
pub(super) fn read_metadata(node: &Node<'_>) -> Result<Map<String, Value>, Fault> {
    let Value::Object(pairs) = node.value() else { return Err(node.wrong_type("an object")) };
    if pairs.len() > 16 {
        return Err(node.wrong_value("at most 16 pairs"));
    }
    for (key, value) in pairs {
        let path = format!("{}.{key}", node.path());
        let Value::String(text) = value else {
            return Err(Fault::invalid("invalid_type", &path, format!("Invalid type for '{path}': expected a string.")));
        };
        if key.chars().count() > 64 || text.chars().count() > 512 {
            return Err(Fault::invalid(
                "invalid_value",
                &path,
                format!("'{path}' is too long: keys have at most 64 characters, values 512."),
            ));
        }
    }
    Ok(pairs.clone())
}
