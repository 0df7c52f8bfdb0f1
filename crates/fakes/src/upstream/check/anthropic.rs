//! The rules of the Messages API.

use serde_json::Value;

use super::findings::{CheckedRequest, Findings, list, texts};

/// The fields of anthropic-sdk-python's `MessageCreateParams`, and those that older models still
/// accept.
const FIELDS: &[&str] = &[
    "max_tokens",
    "messages",
    "model",
    "cache_control",
    "container",
    "diagnostics",
    "inference_geo",
    "metadata",
    "output_config",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
    "user_profile_id",
    "workspace_id",
];

const VERSIONS: &[&str] = &["2026-10-21", "2023-06-01"];

/// Fields that the version of October 2026 no longer accepts.
const SAMPLING: &[&str] = &["temperature", "top_p", "top_k"];

pub(super) fn check(checked: &CheckedRequest<'_>, found: &mut Findings) {
    let body = checked.body;
    match checked.headers.get("anthropic-version") {
        None => found.invalid("anthropic-version: header is required"),
        Some(version) if !VERSIONS.contains(&version) => {
            found.invalid(&format!("anthropic-version: {version} is not valid"));
        }
        Some(_) => {}
    }
    found.text(body, "model", "model: Field required");
    let max_tokens = body["max_tokens"].as_u64().unwrap_or_default();
    if max_tokens == 0 {
        found.invalid(if body["max_tokens"].is_null() {
            "max_tokens: Field required"
        } else {
            "max_tokens: must be greater than 0"
        });
    }
    found.unknown(body, FIELDS, |name| format!("{name}: Extra inputs are not permitted"));
    let is_new = checked.headers.get("anthropic-version") == Some("2026-10-21");
    if is_new {
        for name in SAMPLING.iter().filter(|name| !body[**name].is_null()) {
            found.strict(&format!("{name}: Extra inputs are not permitted"));
        }
    }
    if body["temperature"].as_f64().is_some_and(|temperature| !(0.0..=1.0).contains(&temperature)) {
        found.strict("temperature: range: 0..1");
    }
    check_thinking(body, max_tokens, found);
    if !body["system"].is_null() && !body["system"].is_string() && !body["system"].is_array() {
        found.strict("system: Input should be a valid string or list");
    }
    check_blocks("system", list(&body["system"]), found);
    for (index, tool) in list(&body["tools"]).iter().enumerate() {
        // Only the vendor's own tools have a type instead of a schema.
        if tool["type"].as_str().is_none_or(|kind| kind == "custom")
            && !tool["input_schema"].is_object()
        {
            found.strict(&format!("tools.{index}.custom.input_schema: Field required"));
        }
    }
    let Some(messages) = body["messages"].as_array() else {
        return found.invalid("messages: Field required");
    };
    check_messages(messages, is_new, found);
}

fn check_thinking(body: &Value, max_tokens: u64, found: &mut Findings) {
    let thinking = &body["thinking"];
    match thinking["type"].as_str() {
        Some("enabled") => {
            let budget = thinking["budget_tokens"].as_u64().unwrap_or_default();
            if budget < 1024 {
                found.strict(
                    "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
                );
            }
            if budget >= max_tokens {
                found.strict("`max_tokens` must be greater than `thinking.budget_tokens`.");
            }
        }
        Some("adaptive" | "between_tools" | "disabled") => {}
        None if thinking.is_null() => {}
        Some(_) | None => found.strict(
            "thinking: Input tag is not one of: 'adaptive', 'between_tools', 'disabled', 'enabled'",
        ),
    }
    let is_thinking = matches!(thinking["type"].as_str(), Some("enabled" | "adaptive"));
    if is_thinking && body["temperature"].as_f64().is_some_and(|temperature| temperature < 1.0) {
        found.strict("`temperature` may only be set to 1 when thinking is enabled.");
    }
    if is_thinking && matches!(body["tool_choice"]["type"].as_str(), Some("any" | "tool")) {
        found.strict("Thinking may not be enabled when tool_choice forces tool use.");
    }
}

/// Roles need not alternate, since the service joins adjacent messages of a role; but a tool call
/// must be followed by its result.
fn check_messages(messages: &[Value], is_new: bool, found: &mut Findings) {
    if messages.is_empty() {
        found.invalid("messages: at least one message is required");
    }
    let mut open: Vec<&str> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if !["user", "assistant", "system"].contains(&role) {
            found.strict(&format!("messages.{index}.role: Input should be 'user' or 'assistant'"));
        }
        if index == 0 && role != "user" {
            found.strict("messages: first message must use the \"user\" role");
        }
        let content = list(&message["content"]);
        let is_last = index + 1 == messages.len();
        if !message["content"].is_string() && !message["content"].is_array() {
            found.strict(&format!("messages.{index}.content: Field required"));
        } else if (content.is_empty() && message["content"].as_str().is_none_or(str::is_empty))
            && !(is_last && role == "assistant")
        {
            found.strict(&format!(
                "messages.{index}: all messages must have non-empty content except for the optional final assistant message"
            ));
        }
        check_blocks(&format!("messages.{index}.content"), content, found);
        if is_new {
            check_new(index, role, content, found);
        }
        let results: Vec<Value> =
            content.iter().filter(|block| block["type"] == "tool_result").cloned().collect();
        let answered = texts(&results, "tool_use_id");
        let missing: Vec<&str> =
            open.iter().filter(|id| !answered.contains(*id)).copied().collect();
        if !missing.is_empty() {
            let ids = missing.join(", ");
            found.strict(&format!("messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: {ids}."));
        }
        if let Some(id) = answered.iter().find(|id| !open.contains(*id)) {
            found.strict(&format!(
                "messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {id}."
            ));
        }
        let first_other = content
            .iter()
            .position(|block| block["type"] != "tool_result")
            .unwrap_or(content.len());
        if content[first_other..].iter().any(|block| block["type"] == "tool_result") {
            found.strict(&format!(
                "messages.{index}: tool_result blocks must come before any other content"
            ));
        }
        open = content
            .iter()
            .filter(|block| block["type"] == "tool_use")
            .filter_map(|block| block["id"].as_str())
            .collect();
    }
    if !open.is_empty() {
        found.strict(&format!(
            "`tool_use` ids were found without `tool_result` blocks immediately after: {}.",
            open.join(", ")
        ));
    }
}

/// Content that the version of October 2026 no longer accepts.
fn check_new(index: usize, role: &str, content: &[Value], found: &mut Findings) {
    if role == "assistant" && content.iter().any(|block| block["type"] == "document") {
        found.strict(&format!(
            "messages.{index}: document blocks are not allowed in assistant messages"
        ));
    }
    if role == "user"
        && content
            .iter()
            .any(|block| block["type"] == "text" && !list(&block["citations"]).is_empty())
    {
        found.strict(&format!("messages.{index}: citations are not allowed in user messages"));
    }
}

fn check_blocks(path: &str, blocks: &[Value], found: &mut Findings) {
    for (index, block) in blocks.iter().enumerate() {
        let path = format!("{path}.{index}");
        match block["type"].as_str().unwrap_or_default() {
            "text" if block["text"].as_str().is_none_or(str::is_empty) => {
                found.strict(&format!("{path}: text content blocks must be non-empty"));
            }
            "thinking" if block["signature"].as_str().is_none_or(str::is_empty) => {
                found.strict(&format!("{path}.thinking.signature: Field required"));
            }
            "tool_use" if !block["input"].is_object() => {
                found.strict(&format!("{path}.tool_use.input: Input should be a valid dictionary"));
            }
            "" => found.strict(&format!("{path}.type: Field required")),
            _ => {}
        }
    }
}
