//! The response object as required by Open Responses 2026-04-24: `ResponseResource`, its items and its usage.

use serde_json::Value;

/// Every key that `ResponseResource` requires, with the allowed types.
const KEYS: &[(&str, &[&str])] = &[
    ("id", &["string"]),
    ("object", &["string"]),
    ("created_at", &["integer"]),
    ("completed_at", &["integer", "null"]),
    ("status", &["string"]),
    ("incomplete_details", &["object", "null"]),
    ("model", &["string"]),
    ("previous_response_id", &["string", "null"]),
    ("instructions", &["string", "null"]),
    ("output", &["array"]),
    ("error", &["object", "null"]),
    ("tools", &["array"]),
    ("tool_choice", &["string", "object"]),
    ("truncation", &["string"]),
    ("parallel_tool_calls", &["boolean"]),
    ("text", &["object"]),
    ("top_p", &["number", "integer"]),
    ("presence_penalty", &["number", "integer"]),
    ("frequency_penalty", &["number", "integer"]),
    ("top_logprobs", &["integer"]),
    ("temperature", &["number", "integer"]),
    ("reasoning", &["object", "null"]),
    ("usage", &["object", "null"]),
    ("max_output_tokens", &["integer", "null"]),
    ("max_tool_calls", &["integer", "null"]),
    ("store", &["boolean"]),
    ("background", &["boolean"]),
    ("service_tier", &["string"]),
    ("metadata", &["object"]),
    ("safety_identifier", &["string", "null"]),
    ("prompt_cache_key", &["string", "null"]),
];

const USAGE: &[(&str, &[&str])] = &[
    ("input_tokens", &["integer"]),
    ("input_tokens_details", &["object"]),
    ("output_tokens", &["integer"]),
    ("output_tokens_details", &["object"]),
    ("total_tokens", &["integer"]),
    ("source", &["string"]),
];

const MESSAGE: &[(&str, &[&str])] = &[
    ("type", &["string"]),
    ("id", &["string"]),
    ("status", &["string"]),
    ("role", &["string"]),
    ("content", &["array"]),
];

const FUNCTION_CALL: &[(&str, &[&str])] = &[
    ("type", &["string"]),
    ("id", &["string"]),
    ("call_id", &["string"]),
    ("name", &["string"]),
    ("arguments", &["string"]),
    ("status", &["string"]),
];

const REASONING: &[(&str, &[&str])] =
    &[("type", &["string"]), ("id", &["string"]), ("summary", &["array"])];

const IMAGE: &[(&str, &[&str])] = &[
    ("type", &["string"]),
    ("id", &["string"]),
    ("status", &["string"]),
    ("result", &["string", "null"]),
];

const TOOL: &[(&str, &[&str])] = &[
    ("type", &["string"]),
    ("name", &["string"]),
    ("description", &["string", "null"]),
    ("parameters", &["object", "null"]),
    ("strict", &["boolean", "null"]),
];

/// Checks a complete response: every required key, its type, and their consistency.
pub(crate) fn check(place: &str, response: &Value) {
    check_keys(place, response, KEYS);
    assert_eq!(response["object"], "response", "{place}");
    let status = response["status"].as_str().unwrap();
    assert!(
        ["queued", "in_progress", "completed", "failed", "cancelled", "incomplete"]
            .contains(&status),
        "{place}: {status}"
    );
    assert_eq!(response["completed_at"].is_null(), status != "completed", "{place}: completed_at");
    assert_eq!(response["error"].is_null(), status != "failed", "{place}: error");
    assert_eq!(
        response["incomplete_details"].is_null(),
        !["incomplete", "cancelled"].contains(&status),
        "{place}: incomplete_details"
    );
    assert!(response["text"]["format"]["type"].is_string(), "{place}: text");
    for tool in response["tools"].as_array().unwrap() {
        check_keys(place, tool, TOOL);
    }
    for item in response["output"].as_array().unwrap() {
        check_item(place, item);
    }
    if !response["error"].is_null() {
        check_keys(place, &response["error"], &[("code", &["string"]), ("message", &["string"])]);
    }
    if !response["usage"].is_null() {
        check_usage(place, &response["usage"]);
    }
}

fn check_usage(place: &str, usage: &Value) {
    check_keys(place, usage, USAGE);
    check_keys(place, &usage["input_tokens_details"], &[("cached_tokens", &["integer"])]);
    check_keys(place, &usage["output_tokens_details"], &[("reasoning_tokens", &["integer"])]);
    let count = |name: &str| usage[name].as_u64().unwrap();
    assert_eq!(
        count("total_tokens"),
        count("input_tokens") + count("output_tokens"),
        "{place}: {usage}"
    );
}

/// Checks an item of the output.
pub(crate) fn check_item(place: &str, item: &Value) {
    match item["type"].as_str().unwrap() {
        "message" => check_keys(place, item, MESSAGE),
        "function_call" => check_keys(place, item, FUNCTION_CALL),
        "reasoning" => check_keys(place, item, REASONING),
        "image_generation_call" => check_keys(place, item, IMAGE),
        other => assert!(other.is_empty(), "{place}: an item of type {other}"),
    }
    for part in item["content"].as_array().into_iter().flatten() {
        check_part(place, part);
    }
}

/// Checks a content part of the output.
pub(crate) fn check_part(place: &str, part: &Value) {
    match part["type"].as_str().unwrap() {
        "output_text" => check_keys(
            place,
            part,
            &[("text", &["string"]), ("annotations", &["array"]), ("logprobs", &["array"])],
        ),
        "refusal" => check_keys(place, part, &[("refusal", &["string"])]),
        "reasoning_text" | "summary_text" => check_keys(place, part, &[("text", &["string"])]),
        other => assert!(other.is_empty(), "{place}: a part of type {other}"),
    }
}

fn check_keys(place: &str, object: &Value, keys: &[(&str, &[&str])]) {
    for (key, types) in keys {
        let kind = match object.get(key) {
            None => "missing",
            Some(Value::Null) => "null",
            Some(Value::Bool(_)) => "boolean",
            Some(Value::String(_)) => "string",
            Some(Value::Array(_)) => "array",
            Some(Value::Object(_)) => "object",
            Some(Value::Number(number)) if number.is_u64() => "integer",
            Some(Value::Number(_)) => "number",
        };
        assert!(types.contains(&kind), "{place}: {key} is {kind}, not {types:?}");
    }
}
