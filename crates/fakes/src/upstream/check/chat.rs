//! The rules of chat completions.

use serde_json::Value;

use super::findings::{CheckedRequest, Findings, list, texts};
use crate::upstream::vendor::RequestKind;

/// The fields of a request, as openai-python's `CompletionCreateParams` has them.
const FIELDS: &[&str] = &[
    "messages",
    "model",
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

const ROLES: &[&str] = &["developer", "system", "user", "assistant", "tool", "function"];

pub(super) fn check(checked: &CheckedRequest<'_>, found: &mut Findings) {
    let body = checked.body;
    match &checked.route.kind {
        // Azure's older path contains the deployment; the version is in the query.
        RequestKind::Response { model: Some(_), .. } => {
            if !checked.query.split('&').any(|pair| pair.starts_with("api-version=")) {
                found.strict("The query has no api-version.");
            }
        }
        RequestKind::Response { model: None, .. }
        | RequestKind::Passthrough { .. }
        | RequestKind::Models => {
            found.text(body, "model", "you must provide a model parameter");
        }
    }
    found.unknown(body, FIELDS, |name| format!("Unrecognized request argument supplied: {name}"));
    if !body["stream_options"].is_null() && body["stream"] != true {
        found.strict("The 'stream_options' parameter is only allowed when 'stream' is enabled.");
    }
    if !body["tools"].is_null() && list(&body["tools"]).is_empty() {
        found.strict("[] is too short - 'tools'");
    }
    let Some(messages) = body["messages"].as_array() else {
        return found.invalid("Missing required parameter: 'messages'.");
    };
    if messages.is_empty() {
        found.strict("Invalid 'messages': empty array. Expected an array with minimum length 1.");
    }
    check_messages(messages, found);
}

fn check_messages(messages: &[Value], found: &mut Findings) {
    let mut open: Vec<&str> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if !ROLES.contains(&role) {
            found.strict(&format!("Invalid value: '{role}' at messages[{index}].role."));
        }
        if role == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            if !open.contains(&id) {
                found.strict("messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.");
            }
            open.retain(|open| *open != id);
            continue;
        }
        unanswered(&mut open, found);
        if role == "assistant" {
            let calls = list(&message["tool_calls"]);
            if message["content"].is_null()
                && calls.is_empty()
                && message["function_call"].is_null()
                && message["refusal"].is_null()
            {
                found.strict(&format!(
                    "Invalid value for 'content': expected a string, got null. (messages[{index}])"
                ));
            }
            if calls.iter().any(|call| !call["function"]["arguments"].is_string()) {
                found.strict(&format!("Invalid type for 'messages[{index}].tool_calls[0].function.arguments': expected a string."));
            }
            open = texts(calls, "id");
        } else if message["content"].is_null() {
            found.strict(&format!(
                "Invalid value for 'content': expected a string, got null. (messages[{index}])"
            ));
        }
    }
    unanswered(&mut open, found);
}

fn unanswered(open: &mut Vec<&str>, found: &mut Findings) {
    if !open.is_empty() {
        let ids = open.join(", ");
        found.strict(&format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The \
             following tool_call_ids did not have response messages: {ids}"
        ));
    }
    open.clear();
}
