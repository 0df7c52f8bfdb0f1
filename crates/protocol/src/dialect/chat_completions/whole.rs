//! Renders a finished response as one chat completion, and the parts of it that chunks have, too.

use serde_json::{Map, Value, json};

use super::options::ChatOptions;
use crate::dialect::outline::Outline;
use crate::extra::Extra;
use crate::fault::{Fault, FaultKind};
use crate::item::{Item, OpaqueItem, Part};
use crate::response::{IncompleteDetails, Response, ResponseStatus};
use crate::usage::Usage;

/// A finished response as one `chat.completion`.
///
/// # Errors
/// Where it did not end as a completion can: stopped by a caller, failed.
pub(super) fn completion(response: &Response, options: ChatOptions) -> Result<Value, Fault> {
    finish_reason(&response.into(), options).map(|reason| document(response, Some(reason), options))
}

/// The output of a response that did not end as a completion can, as a completion without a finish
/// reason.
pub(super) fn partial_completion(response: &Response, options: ChatOptions) -> Value {
    document(response, None, options)
}

fn document(response: &Response, reason: Option<&str>, options: ChatOptions) -> Value {
    let (message, logprobs) = message(response, options);
    let mut choice =
        json!({ "index": 0, "message": message, "logprobs": logprobs, "finish_reason": reason });
    let outline = Outline::from(response);
    if let Some(native) = outline.native_finish_reason() {
        choice["native_finish_reason"] = native.clone();
    }
    let mut completion = head(&outline, "chat.completion");
    completion.insert("choices".into(), json!([choice]));
    completion.insert("usage".into(), response.usage.map_or(Value::Null, usage));
    completion.into()
}

/// The assistant's message, and the log probabilities of its text.
fn message(response: &Response, options: ChatOptions) -> (Value, Value) {
    let mut message = json!({ "role": "assistant", "content": null, "refusal": null });
    let (mut logprobs, mut annotations, mut calls, mut images) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut beside = Map::new();
    for item in &response.output {
        match item {
            Item::Message(item) => {
                beside.extend(item.extra.to_map());
                for part in &item.content {
                    match part {
                        Part::OutputText { text, logprobs: more, annotations: notes, .. } => {
                            append(&mut message, "content", text);
                            logprobs.extend(more.iter().cloned());
                            annotations.extend(notes.iter().map(annotation));
                        }
                        Part::Refusal { refusal } => append(&mut message, "refusal", refusal),
                        Part::InputText { .. }
                        | Part::InputImage { .. }
                        | Part::InputFile { .. }
                        | Part::ReasoningText { .. }
                        | Part::SummaryText { .. }
                        | Part::Opaque(_) => {}
                    }
                }
            }
            Item::FunctionCall(call) => {
                calls.push(function_call(&call.call_id, &call.name, &call.arguments, &call.extra));
            }
            Item::CustomToolCall(call) => {
                calls.push(custom_call(&call.call_id, &call.name, &call.input, &call.extra));
            }
            Item::Reasoning(reasoning) => {
                beside.extend(reasoning.extra.to_map());
                let texts =
                    reasoning.summary.iter().chain(&reasoning.content).filter_map(Part::text);
                texts.for_each(|text| append(&mut message, "reasoning_content", text));
            }
            Item::Opaque(item) => images.extend(image(item, images.len())),
            Item::FunctionCallOutput(_) | Item::CustomToolCallOutput(_) | Item::Compaction(_) => {}
        }
    }
    let first_function = calls.first().and_then(|call| call.get("function")).cloned();
    match first_function.filter(|_| options.has_functions) {
        Some(function) => message["function_call"] = function,
        None if !calls.is_empty() => {
            message["tool_calls"] = calls.into_iter().map(Value::Object).collect();
        }
        None => {}
    }
    for (name, list) in [("annotations", annotations), ("images", images)] {
        if !list.is_empty() {
            message[name] = list.into();
        }
    }
    for (name, value) in beside {
        // Extra fields must not replace those of the vocabulary.
        if message.get(&name).is_none() {
            message[name] = value;
        }
    }
    let logprobs = if logprobs.is_empty() { Value::Null } else { json!({ "content": logprobs }) };
    (message, logprobs)
}

/// A call of a function, with its fields beyond the vocabulary.
pub(super) fn function_call(
    call_id: &str,
    name: &str,
    arguments: &str,
    extra: &Extra,
) -> Map<String, Value> {
    call(call_id, "function", json!({ "name": name, "arguments": arguments }), extra)
}

/// A call of a tool that takes free text.
pub(super) fn custom_call(
    call_id: &str,
    name: &str,
    input: &str,
    extra: &Extra,
) -> Map<String, Value> {
    call(call_id, "custom", json!({ "name": name, "input": input }), extra)
}

fn call(call_id: &str, kind: &str, mut inner: Value, extra: &Extra) -> Map<String, Value> {
    let mut call = Map::new();
    call.insert("id".into(), call_id.into());
    call.insert("type".into(), kind.into());
    for (name, value) in extra.iter() {
        match (name == kind, value) {
            // Fields of the object itself are kept below its name.
            (true, Value::Object(fields)) => {
                fields.iter().for_each(|(name, value)| inner[name] = value.clone());
            }
            _ => _ = call.insert(name.clone(), value.clone()),
        }
    }
    call.insert(kind.into(), inner);
    call
}

/// Annotations of a text: chat completions nest the fields below the type.
pub(super) fn annotation(annotation: &Value) -> Value {
    let Some(fields) = annotation.as_object() else { return annotation.clone() };
    match fields.get("type").and_then(Value::as_str) {
        Some(kind) if !fields.contains_key(kind) => {
            let inner: Map<String, Value> = fields
                .iter()
                .filter(|(name, _)| *name != "type")
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            json!({ "type": kind, kind: inner })
        }
        _ => annotation.clone(),
    }
}

/// An image that the model made, as OpenRouter and others give it.
pub(super) fn image(item: &OpaqueItem, index: usize) -> Option<Value> {
    let result = (item.kind == "image_generation_call").then(|| item.fields.text("result"))??;
    let url = if result.starts_with("http://")
        || result.starts_with("https://")
        || result.starts_with("data:")
    {
        result.to_owned()
    } else {
        format!("data:image/{};base64,{result}", item.fields.text("output_format").unwrap_or("png"))
    };
    Some(json!({ "type": "image_url", "image_url": { "url": url }, "index": index }))
}

/// What every chunk repeats.
pub(super) fn head(response: &Outline, object: &str) -> Map<String, Value> {
    let id = response.id.as_str();
    let mut head = Map::new();
    head.insert("id".into(), format!("chatcmpl-{}", id.strip_prefix("resp_").unwrap_or(id)).into());
    head.insert("object".into(), object.into());
    head.insert("created".into(), response.created_at.into());
    head.insert("model".into(), response.model.clone().into());
    head.insert("system_fingerprint".into(), Value::Null);
    head.insert("service_tier".into(), response.service_tier.clone().into());
    head
}

/// The `finish_reason` of a response that ended well, or early for a reason this dialect has;
/// otherwise an error, so that a partial response is not mistaken for a complete one.
pub(super) fn finish_reason(
    response: &Outline,
    options: ChatOptions,
) -> Result<&'static str, Fault> {
    match (response.status, response.reason()) {
        (ResponseStatus::Completed, _) => Ok(match (response.has_calls(), options.has_functions) {
            (true, true) => "function_call",
            (true, false) => "tool_calls",
            (false, _) => "stop",
        }),
        // Of all finish reasons of this dialect, only `length` means that a response may be
        // incomplete. The upstream's own is added beside it.
        (
            ResponseStatus::Incomplete,
            "max_output_tokens" | IncompleteDetails::UNKNOWN_FINISH_REASON,
        ) => Ok("length"),
        (ResponseStatus::Incomplete, "content_filter") => Ok("content_filter"),
        (ResponseStatus::Failed, _) => Err(match &response.error {
            Some(error) => Fault::new(FaultKind::Server, error.code.clone(), error.message.clone()),
            None => Fault::new(FaultKind::Server, "server_error", "the response failed"),
        }),
        (ResponseStatus::Cancelled, _) => Err(Fault::new(
            FaultKind::Conflict,
            "response_cancelled",
            "the response was stopped before its end",
        )),
        (
            ResponseStatus::Queued | ResponseStatus::InProgress | ResponseStatus::Incomplete,
            reason,
        ) => {
            let code = if reason.is_empty() { "incomplete" } else { reason };
            Err(Fault::new(FaultKind::Server, code, "the response ended before it was complete"))
        }
    }
}

/// The usage of a response, with this dialect's names.
pub(super) fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.input_tokens_details.cached_tokens,
            "cache_write_tokens": usage.input_tokens_details.cache_write_tokens,
        },
        "completion_tokens_details": { "reasoning_tokens": usage.output_tokens_details.reasoning_tokens },
        "source": usage.source,
    })
}

fn append(message: &mut Value, field: &str, text: &str) {
    let joined = message.get(field).and_then(Value::as_str).unwrap_or_default().to_owned() + text;
    message[field] = joined.into();
}
