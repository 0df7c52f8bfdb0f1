//! The rules of the Responses API.

use serde_json::Value;

use super::findings::{Findings, list};

/// The fields of a request, as openai-python's `ResponseCreateParams` has them.
const FIELDS: &[&str] = &[
    "access_programs",
    "background",
    "background_options",
    "context_management",
    "conversation",
    "image",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "moderation",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

const ROLES: &[&str] = &["developer", "system", "user", "assistant"];

pub(super) fn check(body: &Value, found: &mut Findings) {
    found.text(body, "model", "Missing required parameter: 'model'.");
    found.unknown(body, FIELDS, |name| format!("Unknown parameter: '{name}'."));
    if body["max_output_tokens"].as_u64().is_some_and(|tokens| tokens < 16) {
        found.strict(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16.",
        );
    }
    for (index, tool) in list(&body["tools"]).iter().enumerate() {
        if tool["type"] == "function" && !tool["name"].is_string() {
            found.strict(&format!("Missing required parameter: 'tools[{index}].name'."));
        }
    }
    if body["input"].is_string() {
        return;
    }
    let Some(input) = body["input"].as_array() else {
        // A stored prompt or an earlier response can replace the input.
        if body["prompt"].is_null()
            && body["previous_response_id"].is_null()
            && body["conversation"].is_null()
        {
            found.invalid("Missing required parameter: 'input'.");
        }
        return;
    };
    let is_alone = body["previous_response_id"].is_null() && body["conversation"].is_null();
    check_items(input, is_alone, found);
}

/// `is_alone`: there are no earlier items.
fn check_items(items: &[Value], is_alone: bool, found: &mut Findings) {
    let of_kind = |kind: &'static str| items.iter().filter(move |item| item["type"] == kind);
    let ids = |kind| of_kind(kind).filter_map(|item| item["call_id"].as_str()).collect::<Vec<_>>();
    let (calls, outputs) = (ids("function_call"), ids("function_call_output"));
    if let Some(call) = calls.iter().find(|call| !outputs.contains(call)) {
        found.strict(&format!("No tool output found for function call {call}."));
    }
    if let Some(output) = outputs.iter().find(|output| is_alone && !calls.contains(output)) {
        found
            .strict(&format!("No tool call found for function call output with call_id {output}."));
    }
    for (index, item) in items.iter().enumerate() {
        // Only messages may omit the type.
        match item["type"].as_str().unwrap_or("message") {
            "message" => check_message(index, item, found),
            "function_call" if !item["arguments"].is_string() || !item["name"].is_string() => {
                found.strict(&format!(
                    "Missing required parameter: 'input[{index}].arguments' or 'name'."
                ));
            }
            "function_call_output" if item["output"].is_null() => {
                found.strict(&format!("Missing required parameter: 'input[{index}].output'."));
            }
            "reasoning" if !item["summary"].is_array() => {
                found.strict(&format!("Missing required parameter: 'input[{index}].summary'."));
            }
            _ => {}
        }
    }
}

fn check_message(index: usize, item: &Value, found: &mut Findings) {
    let role = item["role"].as_str().unwrap_or_default();
    if !ROLES.contains(&role) {
        found.strict(&format!("Invalid value: '{role}'. Supported values are: 'assistant', 'system', 'developer', and 'user'."));
    }
    if !item["content"].is_string() && !item["content"].is_array() {
        found.strict(&format!("Missing required parameter: 'input[{index}].content'."));
    }
    let known: &[&str] = match role {
        "assistant" => &["output_text", "refusal"],
        _ => &["input_text", "input_image", "input_file", "input_audio"],
    };
    for part in list(&item["content"]) {
        let kind = part["type"].as_str().unwrap_or_default();
        if !known.contains(&kind) {
            let known = known.join("', '");
            found.strict(&format!("Invalid value: '{kind}' at input[{index}].content. Supported values are: '{known}'."));
        }
    }
}
