//! The JSON of events and responses, with the variations of different servers.

use std::time::Duration;

use engine::provider::failure::{FailureScope, ProviderFailure};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use protocol::usage::{InputTokensDetails, OutputTokensDetails, Usage, UsageSource};
use serde::Deserialize;
use serde_json::Value;

use super::super::fault::{Callee, Reported, is_truthy};
use super::super::{json, lenient, retry_after};

/// An event of any type. Any field may be missing; unknown ones are ignored, as is
/// `sequence_number`: servers number differently, and the order of the bytes counts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ResponsesEvent {
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    pub(super) kind: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) item_id: Option<String>,
    #[serde(deserialize_with = "lenient::index")]
    pub(super) output_index: Option<u64>,
    #[serde(deserialize_with = "lenient::index")]
    pub(super) content_index: Option<u64>,
    #[serde(deserialize_with = "lenient::index")]
    pub(super) summary_index: Option<u64>,
    pub(super) delta: Value,
    pub(super) text: Value,
    pub(super) refusal: Value,
    pub(super) arguments: Value,
    pub(super) input: Value,
    pub(super) logprobs: Value,
    pub(super) annotation: Value,
    pub(super) part: Value,
    pub(super) item: Value,
    pub(super) response: Value,
    pub(super) error: Value,
    /// No event of this API has this field, but every chat completions chunk.
    pub(super) choices: Value,
}

/// Takes the list in a field; empty if there is none.
pub(super) fn take_list(value: &mut Value, field: &str) -> Vec<Value> {
    match value.get_mut(field).map(Value::take) {
        Some(Value::Array(list)) => list,
        Some(_) | None => Vec::new(),
    }
}

/// The non-empty string in a field.
pub(super) fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str().filter(|text| !text.is_empty())
}

/// The token counts of a response; `None` without any.
pub(super) fn usage(response: &Value) -> Option<Usage> {
    let usage = response.get("usage")?;
    let count = |pointer: &str| usage.pointer(pointer).and_then(lenient::read_count);
    let (input, output) = (count("/input_tokens"), count("/output_tokens"));
    if input.is_none() && output.is_none() {
        return None;
    }
    let counted = Usage::new(UsageSource::Provider, input.unwrap_or(0), output.unwrap_or(0));
    Some(Usage {
        input_tokens_details: InputTokensDetails {
            cached_tokens: count("/input_tokens_details/cached_tokens").unwrap_or(0),
            cache_write_tokens: count("/input_tokens_details/cache_write_tokens").unwrap_or(0),
        },
        output_tokens_details: OutputTokensDetails {
            reasoning_tokens: count("/output_tokens_details/reasoning_tokens").unwrap_or(0),
        },
        total_tokens: count("/total_tokens").unwrap_or(counted.total_tokens),
        ..counted
    })
}

/// The failure in an `error` event: flat (OpenAI), nested (Open Responses, and OpenAI's WebSocket),
/// with a status and headers, or not JSON.
pub(super) fn failure_of_event(data: &[u8], callee: &Callee) -> ProviderFailure {
    let value = json::value(data)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(data).into_owned()));
    let root = value.get(0).unwrap_or(&value);
    let error =
        root.get("error").filter(|error| error.is_object() && is_truthy(error)).unwrap_or(root);
    let mut reported = reported(error);
    reported.status = Reported::from_error(root).status.or(reported.status);
    let headers =
        error.get("headers").or_else(|| root.get("headers")).map(read_headers).unwrap_or_default();
    with_wait(callee.in_band(reported), &headers)
}

/// The failure in a failed response.
pub(super) fn failure_of_response(response: &Value, callee: &Callee) -> ProviderFailure {
    match response.get("error").filter(|error| is_truthy(error)) {
        Some(error) => callee.in_band(reported(error)),
        None => callee.plain("upstream_error", "failed without an explanation"),
    }
}

fn reported(error: &Value) -> Reported {
    let mut reported = Reported::from_error(error);
    // The flat event's own type is not the type of the error.
    reported.kind = reported.kind.filter(|kind| kind != "error");
    if reported.code.as_deref().is_some_and(is_on_the_request) {
        reported.status = reported.status.or(Some(400));
    }
    reported
}

/// Codes of a failed response (`ResponseError.code`) for which a retry is useless.
fn is_on_the_request(code: &str) -> bool {
    const OTHERS: &[&str] = &[
        "data_residency_mismatch",
        "bio_policy",
        "cyber_policy",
        "misalignment_policy_violation",
        "image_too_large",
        "image_too_small",
        "image_parse_error",
        "image_content_policy_violation",
        "image_file_too_large",
        "unsupported_image_media_type",
        "empty_image_file",
        "failed_to_download_image",
        "image_file_not_found",
    ];
    let is_invalid = ["invalid_prompt", "invalid_image", "invalid_base64_image"]
        .iter()
        .any(|prefix| code.starts_with(prefix));
    is_invalid || code == "invalid_encrypted_content" || OTHERS.contains(&code)
}

fn read_headers(fields: &Value) -> HeaderMap {
    let field = |(name, value): (&String, &Value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.as_str()?).ok()?))
    };
    fields.as_object().into_iter().flatten().filter_map(field).collect()
}

/// Adds the retry delay from the headers in an event.
fn with_wait(mut failure: ProviderFailure, headers: &HeaderMap) -> ProviderFailure {
    if let Some(seconds) = retry_after::read(headers) {
        match &mut failure.scope {
            FailureScope::RateLimited(wait) | FailureScope::Upstream(wait) => {
                *wait = Some(Duration::from_secs(seconds));
                failure.fault.retry_after = Some(seconds);
            }
            FailureScope::Request
            | FailureScope::Unsupported
            | FailureScope::Credential
            | FailureScope::Quota => {}
        }
    }
    failure
}
