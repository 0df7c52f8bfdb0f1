//! What embeddings, text completions and moderations demand.

use protocol::passthrough::Operation;
use serde_json::Value;

use super::{Asked, Found, list, model};
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

/// Of one request in Gemini's batch.
const EMBED_CONTENT_FIELDS: &[&str] = &["model", "content", "taskType", "title", "outputDimensionality", "embedContentConfig"];

/// What Ollama's models read at most, in the lab.
const OLLAMAS_CONTEXT: usize = 2000;

pub(super) fn check(asked: &Asked<'_>, operation: Operation, found: &mut Found) {
    match (asked.route.vendor, operation) {
        (Vendor::Gemini, _) => gemini(asked, found),
        (Vendor::Ollama, Operation::Embeddings) => ollama(asked.body, found),
        (Vendor::Ollama, _) => {
            found.text(asked.body, "model", "model is required");
            if !asked.body["prompt"].is_string() {
                found.invalid("json: cannot unmarshal into Go struct field CompletionRequest.prompt of type string");
            }
        }
        (Vendor::OpenAi | Vendor::Responses | Vendor::Anthropic, _) => openai(asked, operation, found),
    }
}

fn openai(asked: &Asked<'_>, operation: Operation, found: &mut Found) {
    let body = asked.body;
    let (fields, input) = match operation {
        Operation::Embeddings => (EMBEDDING_FIELDS, "input"),
        Operation::Completions => (COMPLETION_FIELDS, "prompt"),
        Operation::Moderations => (MODERATION_FIELDS, "input"),
    };
    if operation != Operation::Moderations && model(asked.route, body).is_none() {
        found.invalid("you must provide a model parameter");
    }
    found.unknown(body, fields, |name| format!("Unrecognized request argument supplied: {name}"));
    let value = &body[input];
    let is_nothing = value.as_str().map_or_else(|| value.as_array().is_none_or(Vec::is_empty), str::is_empty);
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

fn ollama(body: &Value, found: &mut Found) {
    found.text(body, "model", "model is required");
    let input = &body["input"];
    let texts: Vec<&str> = input.as_str().into_iter().chain(list(input).iter().filter_map(Value::as_str)).collect();
    if texts.is_empty() || list(input).len() > texts.len() {
        found.invalid("invalid input type");
    }
    // It cuts what is too long, unless told not to.
    if body["truncate"] == false && texts.iter().any(|text| text.len() > OLLAMAS_CONTEXT) {
        found.invalid("the input length exceeds the context length");
    }
}

fn gemini(asked: &Asked<'_>, found: &mut Found) {
    let model = format!("models/{}", model(asked.route, asked.body).unwrap_or_default());
    let unknown = |name: &str| format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field.");
    found.unknown(asked.body, &["requests"], unknown);
    let requests = list(&asked.body["requests"]);
    match requests.len() {
        0 => found.invalid("* BatchEmbedContentsRequest.requests: requests must not be empty"),
        1..=100 => {}
        _ => found.invalid("* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch"),
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
