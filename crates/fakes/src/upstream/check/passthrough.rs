//! The rules of embeddings, text completions and moderations.

use protocol::passthrough::Operation;
use serde_json::Value;

use super::findings::{CheckedRequest, Findings, list};
use super::request::model;
use crate::upstream::vendor::Vendor;

/// The fields of openai-python's `EmbeddingCreateParams`.
const EMBEDDING_FIELDS: &[&str] = &["input", "model", "dimensions", "encoding_format", "user"];

/// The fields of openai-python's `CompletionCreateParams`.
const COMPLETION_FIELDS: &[&str] = &[
    "model",
    "prompt",
    "best_of",
    "echo",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "n",
    "presence_penalty",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "suffix",
    "temperature",
    "top_p",
    "user",
];

/// The fields of openai-python's `ModerationCreateParams`.
const MODERATION_FIELDS: &[&str] = &["input", "model"];

/// The fields of one request in Gemini's batch.
const EMBED_CONTENT_FIELDS: &[&str] =
    &["model", "content", "taskType", "title", "outputDimensionality", "embedContentConfig"];

/// The context of the fake Ollama's models, in bytes.
const OLLAMA_CONTEXT: usize = 2000;

pub(super) fn check(checked: &CheckedRequest<'_>, operation: Operation, found: &mut Findings) {
    match (checked.route.vendor, operation) {
        (Vendor::Gemini, _) => gemini(checked, found),
        (Vendor::Ollama, Operation::Embeddings) => ollama(checked.body, found),
        (Vendor::Ollama, _) => {
            found.text(checked.body, "model", "model is required");
            if !checked.body["prompt"].is_string() {
                found.invalid("json: cannot unmarshal into Go struct field CompletionRequest.prompt of type string");
            }
        }
        (Vendor::OpenAi | Vendor::Responses | Vendor::Anthropic, _) => {
            openai(checked, operation, found);
        }
    }
}

fn openai(checked: &CheckedRequest<'_>, operation: Operation, found: &mut Findings) {
    let body = checked.body;
    let (fields, input) = match operation {
        Operation::Embeddings => (EMBEDDING_FIELDS, "input"),
        Operation::Completions => (COMPLETION_FIELDS, "prompt"),
        Operation::Moderations => (MODERATION_FIELDS, "input"),
    };
    if operation != Operation::Moderations && model(checked.route, body).is_none() {
        found.invalid("you must provide a model parameter");
    }
    found.unknown(body, fields, |name| format!("Unrecognized request argument supplied: {name}"));
    let value = &body[input];
    let is_nothing =
        value.as_str().map_or_else(|| value.as_array().is_none_or(Vec::is_empty), str::is_empty);
    if is_nothing && operation != Operation::Completions {
        found.invalid(&format!("'$.{input}' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."));
    }
    if list(value).len() > 2048 && list(value).iter().all(|one| !one.is_number()) {
        found.strict(&format!("'$.{input}' is invalid: array too long."));
    }
    let format = &body["encoding_format"];
    if !format.is_null() && format != "float" && format != "base64" {
        found.strict("Invalid value for 'encoding_format': expected 'float' or 'base64'.");
    }
    if !body["stream_options"].is_null() && body["stream"] != true {
        found.strict("The 'stream_options' parameter is only allowed when 'stream' is enabled.");
    }
}

fn ollama(body: &Value, found: &mut Findings) {
    found.text(body, "model", "model is required");
    let input = &body["input"];
    let texts: Vec<&str> =
        input.as_str().into_iter().chain(list(input).iter().filter_map(Value::as_str)).collect();
    if texts.is_empty() || list(input).len() > texts.len() {
        found.invalid("invalid input type");
    }
    // It truncates long texts by default.
    if body["truncate"] == false && texts.iter().any(|text| text.len() > OLLAMA_CONTEXT) {
        found.invalid("the input length exceeds the context length");
    }
}

fn gemini(checked: &CheckedRequest<'_>, found: &mut Findings) {
    let model = format!("models/{}", model(checked.route, checked.body).unwrap_or_default());
    let unknown = |name: &str| {
        format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field.")
    };
    found.unknown(checked.body, &["requests"], unknown);
    let requests = list(&checked.body["requests"]);
    match requests.len() {
        0 => found.invalid("* BatchEmbedContentsRequest.requests: requests must not be empty"),
        1..=100 => {}
        _ => found.invalid(
            "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch",
        ),
    }
    for request in requests {
        found.unknown(request, EMBED_CONTENT_FIELDS, unknown);
        if request["model"] != model.as_str() {
            found.invalid("* BatchEmbedContentsRequest.requests: unexpected model name");
        }
        if list(&request["content"]["parts"]).iter().all(|part| !part["text"].is_string()) {
            found.invalid("* EmbedContentRequest.content: contents is not specified");
        }
    }
}
