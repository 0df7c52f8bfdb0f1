//! Reads the body of `POST /v1/chat/completions` into the neutral request.

use serde_json::Value;

use super::ChatOptions;
use crate::dialect::responses::{
    read_allowed, read_effort, read_format, read_function, read_metadata, read_named, read_on_leave, read_tool_mode, text_part,
};
use crate::fault::Fault;
use crate::item::{FunctionOutput, Part, Role};
use crate::read::{Node, Object};
use crate::request::{Create, FunctionTool, InputItem, ReasoningConfig, TextConfig, TextFormat, ToolChoice, ToolMode};

/// The fields that have a word in the vocabulary; anything else is `extra`.
const KNOWN: &[&str] = &[
    "model",
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "verbosity",
    "reasoning_effort",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "max_tokens",
    "max_completion_tokens",
    "metadata",
    "safety_identifier",
    "user",
    "prompt_cache_key",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "n",
    // Weir's own.
    "on_leave",
];

/// A chat completion's request: the neutral one, and what only this dialect knows.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatCreate {
    /// The request.
    pub create: Create,
    /// How the stream should look.
    pub options: ChatOptions,
}

/// Reads the body.
///
/// # Errors
/// The first field that is wrong, by its path.
pub fn read_create(body: &Value) -> Result<ChatCreate, Fault> {
    let root = Node::root(body).object()?;
    if let Some(count) = root.get("n")
        && count.integer(1..=128)? != 1
    {
        return Err(Fault::invalid("unsupported_value", "n", "Weir gives one answer per request: 'n' must be 1."));
    }
    let messages = root.require("messages")?;
    let input = messages.array()?.iter().map(read_message).collect::<Result<Vec<_>, _>>()?.concat();
    if input.is_empty() {
        return Err(Fault::invalid("empty_input", "messages", "'messages' is empty: there is nothing to answer."));
    }
    let tools = root.read("tools", |node| node.array()?.iter().map(read_tool).collect::<Result<Vec<_>, _>>())?.unwrap_or_default();
    let tool_choice = root.read("tool_choice", |node| read_tool_choice(node, &tools))?.unwrap_or(ToolChoice::Mode(ToolMode::Auto));
    let stream = root.boolean("stream")?.unwrap_or(false);
    let max_output_tokens = match root.read("max_completion_tokens", |node| node.integer(1..=u64::MAX))? {
        Some(limit) => Some(limit),
        None => root.read("max_tokens", |node| node.integer(1..=u64::MAX))?,
    };
    let create = Create {
        model: root.require("model")?.short_string(256)?,
        input,
        instructions: None,
        previous_response_id: None,
        tools,
        tool_choice,
        parallel_tool_calls: root.boolean("parallel_tool_calls")?,
        text: TextConfig {
            format: root.read("response_format", |node| read_format(&node.object()?, Some("json_schema")))?.unwrap_or(TextFormat::Text),
            verbosity: root.read("verbosity", |node| node.word(&["low", "medium", "high"]))?,
        },
        reasoning: root.read("reasoning_effort", read_effort)?.map(|effort| ReasoningConfig { effort: Some(effort), summary: None }),
        temperature: root.read("temperature", |node| node.number(0.0..=2.0))?,
        top_p: root.read("top_p", |node| node.number(0.0..=1.0))?,
        presence_penalty: root.read("presence_penalty", |node| node.number(-2.0..=2.0))?,
        frequency_penalty: root.read("frequency_penalty", |node| node.number(-2.0..=2.0))?,
        top_logprobs: root.read("top_logprobs", |node| node.integer(0..=20))?,
        max_output_tokens,
        max_tool_calls: None,
        truncation: None,
        service_tier: root.string("service_tier")?,
        include: if root.boolean("logprobs")? == Some(true) { vec!["message.output_text.logprobs".to_owned()] } else { Vec::new() },
        metadata: root.read("metadata", read_metadata)?.unwrap_or_default(),
        safety_identifier: match root.string("safety_identifier")? {
            Some(identifier) => Some(identifier),
            None => root.string("user")?,
        },
        prompt_cache_key: root.string("prompt_cache_key")?,
        store: root.boolean("store")?.unwrap_or(false),
        background: false,
        stream,
        on_leave: root.read("on_leave", read_on_leave)?,
        extra: root.others(KNOWN),
    };
    Ok(ChatCreate { options: read_stream_options(&root, stream)?, create })
}

fn read_stream_options(root: &Object<'_>, stream: bool) -> Result<ChatOptions, Fault> {
    let Some(node) = root.get("stream_options") else { return Ok(ChatOptions::default()) };
    if !stream {
        return Err(Fault::invalid("invalid_value", "stream_options", "'stream_options' is only allowed with 'stream': true."));
    }
    Ok(ChatOptions { include_usage: node.object()?.boolean("include_usage")?.unwrap_or(false) })
}

/// One message; an assistant's with tool calls becomes several items.
fn read_message(node: &Node<'_>) -> Result<Vec<InputItem>, Fault> {
    let object = node.object()?;
    let role = match object.require("role")?.word(&["system", "developer", "user", "assistant", "tool"])?.as_str() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "assistant" => return read_assistant(&object),
        "tool" => {
            let content = object.require("content")?;
            return Ok(vec![InputItem::FunctionCallOutput {
                id: None,
                call_id: object.require("tool_call_id")?.short_string(64)?,
                output: match content.value() {
                    Value::String(text) => FunctionOutput::Text(text.clone()),
                    _ => FunctionOutput::Parts(read_content(&content, Role::User)?),
                },
            }]);
        }
        _ => Role::User,
    };
    Ok(vec![InputItem::Message { id: None, role, content: read_content(&object.require("content")?, role)? }])
}

fn read_assistant(object: &Object<'_>) -> Result<Vec<InputItem>, Fault> {
    let mut items = Vec::new();
    let reasoning = match object.string("reasoning_content")? {
        Some(text) => Some(text),
        None => object.string("reasoning")?,
    };
    if let Some(text) = reasoning.filter(|text| !text.is_empty()) {
        items.push(InputItem::Reasoning {
            id: None,
            summary: Vec::new(),
            content: vec![Part::ReasoningText { text }],
            encrypted_content: None,
        });
    }
    let mut content = object.read("content", |node| read_content(node, Role::Assistant))?.unwrap_or_default();
    if let Some(refusal) = object.string("refusal")? {
        content.push(Part::Refusal { refusal });
    }
    let calls = object.read("tool_calls", |node| node.array()?.iter().map(read_call).collect::<Result<Vec<_>, _>>())?.unwrap_or_default();
    if content.is_empty() && calls.is_empty() && items.is_empty() {
        object.require("content")?;
    }
    if !content.is_empty() {
        items.push(InputItem::Message { id: None, role: Role::Assistant, content });
    }
    items.extend(calls);
    Ok(items)
}

fn read_call(node: &Node<'_>) -> Result<InputItem, Fault> {
    let object = node.object()?;
    let function = object.require("function")?.object()?;
    Ok(InputItem::FunctionCall {
        id: None,
        call_id: object.require("id")?.short_string(64)?,
        name: function.require("name")?.name()?,
        arguments: function.require("arguments")?.string()?,
    })
}

fn read_content(node: &Node<'_>, role: Role) -> Result<Vec<Part>, Fault> {
    match node.value() {
        Value::String(text) => Ok(vec![text_part(role, text.clone())]),
        Value::Array(_) => node.array()?.iter().map(|part| read_part(part, role)).collect(),
        _ => Err(node.wrong_type("a string or an array of content parts")),
    }
}

fn read_part(node: &Node<'_>, role: Role) -> Result<Part, Fault> {
    let object = node.object()?;
    let kind = object.require("type")?;
    match kind.word(&["text", "image_url", "file", "refusal", "input_audio"])?.as_str() {
        "text" => Ok(text_part(role, object.require("text")?.string()?)),
        "refusal" => Ok(Part::Refusal { refusal: object.require("refusal")?.string()? }),
        "image_url" => {
            let image = object.require("image_url")?.object()?;
            let detail = image.read("detail", |node| node.word(&["low", "high", "auto"]))?;
            Ok(Part::InputImage { image_url: Some(image.require("url")?.string()?), detail: detail.unwrap_or_else(|| "auto".into()) })
        }
        "file" => {
            let file = object.require("file")?.object()?;
            Ok(Part::InputFile { filename: file.string("filename")?, file_data: file.string("file_data")?, file_url: None })
        }
        _ => Err(Fault::invalid("unsupported_value", kind.path(), "Weir does not pass on audio.")),
    }
}

fn read_tool(node: &Node<'_>) -> Result<FunctionTool, Fault> {
    let object = node.object()?;
    let kind = object.require("type")?;
    if kind.string()? != "function" {
        return Err(Fault::invalid("unsupported_tool", kind.path(), "Only tools of type 'function' can be called through Weir."));
    }
    read_function(&object.require("function")?.object()?)
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
        return read_named(&object.require("function")?.object()?, tools).map(ToolChoice::Function);
    }
    let allowed = object.require("allowed_tools")?.object()?;
    let named = allowed
        .require("tools")?
        .array()?
        .iter()
        .map(|tool| read_named(&tool.object()?.require("function")?.object()?, tools))
        .collect::<Result<Vec<_>, _>>()?;
    read_allowed(&allowed, named, tools)
}
