//! Ollama's rules. It ignores unknown fields; known ones must have the right type.

use serde_json::Value;

use super::findings::{Findings, list};

pub(super) fn check(body: &Value, found: &mut Findings) {
    found.text(body, "model", "model is required");
    for name in ["options", "messages", "tools"] {
        let fits = body[name].is_null()
            || if name == "options" { body[name].is_object() } else { body[name].is_array() };
        if !fits {
            found.invalid(&format!(
                "json: cannot unmarshal into Go struct field ChatRequest.{name}"
            ));
        }
    }
    let think = &body["think"];
    let is_level =
        think.as_str().is_some_and(|level| ["low", "medium", "high", "max"].contains(&level));
    if !think.is_null() && !think.is_boolean() && !is_level {
        found.strict(&format!("invalid think value: {think} (must be \"high\", \"medium\", \"low\", \"max\", true, or false)"));
    }
    let format = &body["format"];
    if !format.is_null() && !format.is_object() && format != "json" && format != "" {
        found.strict(&format!(
            "invalid format: {format}; expected \"json\" or a valid JSON Schema object"
        ));
    }
    for message in list(&body["messages"]) {
        let role = message["role"].as_str().unwrap_or_default();
        if !["system", "user", "assistant", "tool"].contains(&role) {
            found.strict(&format!("invalid role: {role}"));
        }
        if !message["content"].is_null() && !message["content"].is_string() {
            found.strict("json: cannot unmarshal into Go struct field ChatRequest.messages.content of type string");
        }
        if list(&message["images"]).iter().any(|image| !image.is_string()) {
            found.strict("json: cannot unmarshal into Go struct field ChatRequest.messages.images of type api.ImageData");
        }
        if list(&message["tool_calls"])
            .iter()
            .any(|call| !call["function"]["arguments"].is_object())
        {
            found.strict("json: cannot unmarshal into Go struct field ToolCallFunction.arguments of type api.ToolCallFunctionArguments");
        }
    }
}
