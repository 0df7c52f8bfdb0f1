//! Reads the body of `POST /v1/chat/completions` into the neutral request.

use serde_json::Value;

use super::messages::{ParsedMessages, read_messages};
use super::options::ChatOptions;
use super::tools::{read_functions, read_tool_choice, read_tools};
use crate::dialect::readers::{read_effort, read_format, read_metadata, read_on_leave};
use crate::dialect::tools::ToolNames;
use crate::extra::Extra;
use crate::fault::Fault;
use crate::field_paths::FieldPaths;
use crate::limits;
use crate::read::{RequestObject, RequestValue};
use crate::request::{Create, ReasoningConfig, TextConfig};

/// The fields that the vocabulary has; anything else is `extra`.
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
    "modalities",
    // The former names of `tools` and `tool_choice`.
    "functions",
    "function_call",
    // Weir's extensions.
    "on_leave",
];

/// A chat completion's request: the neutral one, and what only this dialect has.
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
    let root = RequestValue::root(body).object()?;
    if let Some(count) = root.get("n")
        && count.integer(1..=128)? != 1
    {
        return Err(Fault::invalid(
            "unsupported_value",
            "n",
            "Weir generates one completion per request: 'n' must be 1.",
        ));
    }
    read_modalities(&root)?;
    let ParsedMessages { items: input, origins } = read_messages(&root.require("messages")?)?;
    if input.is_empty() {
        return Err(Fault::invalid(
            "empty_input",
            "messages",
            "'messages' is empty: there is nothing to answer.",
        ));
    }
    let mut tools = root.read("tools", read_tools)?.unwrap_or_default();
    let functions = root.read("functions", read_functions)?;
    let has_functions = functions.is_some() && tools.is_empty();
    tools.extend(functions.unwrap_or_default());
    if tools.len() > limits::TOOLS {
        return Err(root.require("functions")?.too_many(tools.len(), limits::TOOLS));
    }
    let tool_choice = read_tool_choice(&root, &ToolNames::of(&tools))?;
    let stream = root.boolean("stream")?.unwrap_or(false);
    let max_output_tokens =
        match root.read("max_completion_tokens", |node| node.integer(1..=u64::MAX))? {
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
            format: root
                .read("response_format", |node| read_format(&node.object()?, Some("json_schema")))?
                .unwrap_or_default(),
            verbosity: root.read("verbosity", |node| node.word(&["low", "medium", "high"]))?,
            extra: Extra::default(),
        },
        reasoning: root
            .read("reasoning_effort", read_effort)?
            .map(|effort| ReasoningConfig { effort: Some(effort), ..ReasoningConfig::default() }),
        temperature: root.read("temperature", |node| node.number(0.0..=2.0))?,
        top_p: root.read("top_p", |node| node.number(0.0..=1.0))?,
        presence_penalty: root.read("presence_penalty", |node| node.number(-2.0..=2.0))?,
        frequency_penalty: root.read("frequency_penalty", |node| node.number(-2.0..=2.0))?,
        top_logprobs: root.read("top_logprobs", |node| node.integer(0..=20))?,
        max_output_tokens,
        max_tool_calls: None,
        truncation: None,
        service_tier: root.string("service_tier")?,
        include: if root.boolean("logprobs")? == Some(true) {
            vec!["message.output_text.logprobs".to_owned()]
        } else {
            Vec::new()
        },
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
        ignored: Vec::new(),
        paths: FieldPaths::new(origins, names(&root, has_functions)),
    };
    let options = ChatOptions { has_functions, ..read_stream_options(&root, stream)? };
    Ok(ChatCreate { create, options })
}

/// The names of neutral fields in this dialect.
fn names(root: &RequestObject<'_>, has_functions: bool) -> Vec<(&'static str, &'static str)> {
    let has = |name: &str| root.get(name).is_some();
    vec![
        ("text.format.schema", "response_format.json_schema.schema"),
        ("text.format", "response_format"),
        ("text.verbosity", "verbosity"),
        ("reasoning.effort", "reasoning_effort"),
        ("reasoning", "reasoning_effort"),
        (
            "max_output_tokens",
            if has("max_completion_tokens") { "max_completion_tokens" } else { "max_tokens" },
        ),
        ("top_logprobs", if has("top_logprobs") { "top_logprobs" } else { "logprobs" }),
        ("include", "logprobs"),
        ("safety_identifier", if has("safety_identifier") { "safety_identifier" } else { "user" }),
        ("tools", if has_functions { "functions" } else { "tools" }),
        (
            "tool_choice",
            if has_functions && !has("tool_choice") { "function_call" } else { "tool_choice" },
        ),
    ]
}

/// The modalities of the response: text.
fn read_modalities(root: &RequestObject<'_>) -> Result<(), Fault> {
    let Some(node) = root.get("modalities") else { return Ok(()) };
    for modality in node.array(limits::WORDS)? {
        if modality.string()? != "text" {
            return Err(Fault::invalid(
                "unsupported_value",
                modality.path(),
                "Weir supports text only: 'modalities' must be [\"text\"].",
            ));
        }
    }
    Ok(())
}

fn read_stream_options(root: &RequestObject<'_>, stream: bool) -> Result<ChatOptions, Fault> {
    let Some(node) = root.get("stream_options") else { return Ok(ChatOptions::default()) };
    if !stream {
        return Err(Fault::invalid(
            "invalid_value",
            "stream_options",
            "'stream_options' is only allowed with 'stream': true.",
        ));
    }
    Ok(ChatOptions {
        include_usage: node.object()?.boolean("include_usage")?.unwrap_or(false),
        ..ChatOptions::default()
    })
}
