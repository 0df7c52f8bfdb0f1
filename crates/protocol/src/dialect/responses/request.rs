//! Reads the body of `POST /v1/responses` into the neutral request.

use serde_json::Value;

use super::input::read_input;
use super::tools::{read_tool_choice, read_tools};
use crate::dialect::readers::{read_effort, read_format, read_metadata, read_on_leave};
use crate::dialect::tools::ToolNames;
use crate::fault::Fault;
use crate::field_paths::FieldPaths;
use crate::id::ResponseId;
use crate::limits;
use crate::on_leave::OnLeave;
use crate::read::{RequestObject, RequestValue};
use crate::request::{Create, ReasoningConfig, TextConfig, ToolChoice, ToolMode};

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
    // The client's data about itself (Codex), which is not passed on.
    "client_metadata",
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
    let root = RequestValue::root(body).object()?;
    let create = read_common(&root)?;
    check_input(&root, &create, "answer")?;
    if create.background && !create.store {
        return Err(Fault::invalid(
            "invalid_value",
            "background",
            "'background' requires 'store': a response without a client must be kept.",
        ));
    }
    if create.background && create.on_leave == Some(OnLeave::Cancel) {
        let message = "'on_leave' cannot be cancel with 'background': such a response starts without a client.";
        return Err(Fault::invalid("invalid_value", "on_leave", message));
    }
    Ok(create)
}

/// Reads the body of `POST /v1/responses/input_tokens`: the same request, which is not run.
///
/// # Errors
/// The first field that is wrong, by its path.
pub fn read_count(body: &Value) -> Result<Create, Fault> {
    read_common(&RequestValue::root(body).object()?)
}

/// Checks that there is input to `to_do`.
pub(super) fn check_input(
    root: &RequestObject<'_>,
    create: &Create,
    to_do: &str,
) -> Result<(), Fault> {
    if !create.input.is_empty() || create.previous_response_id.is_some() {
        return Ok(());
    }
    Err(if root.get("input").is_some() {
        Fault::invalid(
            "empty_input",
            "input",
            format!("'input' is empty: there is nothing to {to_do}."),
        )
    } else {
        Fault::invalid(
            "missing_required_parameter",
            "input",
            "Missing required parameter: 'input'.",
        )
    })
}

pub(super) fn read_common(root: &RequestObject<'_>) -> Result<Create, Fault> {
    if let Some(conversation) = root.get("conversation") {
        let message = "Weir does not support conversation ids yet: use 'previous_response_id' to continue one.";
        return Err(Fault::invalid("unsupported_parameter", conversation.path(), message));
    }
    let tools = root.read("tools", read_tools)?.unwrap_or_default();
    let tool_choice = root
        .read("tool_choice", |node| read_tool_choice(node, &ToolNames::of(&tools)))?
        .unwrap_or(ToolChoice::Mode(ToolMode::Auto));
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
        include: root
            .read("include", |node| {
                node.array(limits::WORDS)?.iter().map(RequestValue::string).collect()
            })?
            .unwrap_or_default(),
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
        ignored: Vec::new(),
        paths: FieldPaths::default(),
    })
}

fn read_text(node: &RequestValue<'_>) -> Result<TextConfig, Fault> {
    let object = node.object()?;
    Ok(TextConfig {
        format: object
            .read("format", |node| read_format(&node.object()?, None))?
            .unwrap_or_default(),
        verbosity: object.read("verbosity", |node| node.word(&["low", "medium", "high"]))?,
        extra: object.extra(&["format", "verbosity"]),
    })
}

fn read_reasoning(node: &RequestValue<'_>) -> Result<ReasoningConfig, Fault> {
    let object = node.object()?;
    let read_summary =
        |name: &str| object.read(name, |node| node.word(&["concise", "detailed", "auto", "none"]));
    // Its name before `summary`.
    let summary = read_summary("summary")?.or(read_summary("generate_summary")?);
    Ok(ReasoningConfig {
        effort: object.read("effort", read_effort)?,
        summary: summary.filter(|summary| summary != "none"),
        extra: object.extra(&["effort", "summary", "generate_summary"]),
    })
}
