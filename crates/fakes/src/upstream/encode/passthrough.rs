//! Embeddings, text completions and moderations in each vendor's format.

use bytes::Bytes;
use protocol::passthrough::{EmbeddingInputs, Operation, Passthrough};
use protocol::vector::VectorFormat;
use serde_json::{Value, json};

use super::encoder::{ResponseEncoder, unnamed};
use crate::upstream::event::{ScriptEvent, Usage};
use crate::upstream::played::{CREATED, MODEL, PlayedResponse};
use crate::upstream::vendor::Vendor;
use crate::upstream::vendor_error;

/// The dimensions of a vector if the request has none.
const DIMENSIONS: usize = 3;

pub(super) fn encoder(
    operation: Operation,
    vendor: Vendor,
    request: &Value,
    is_strict: bool,
) -> Box<dyn ResponseEncoder> {
    match operation {
        Operation::Embeddings => Box::new(Documents(embeddings(vendor, request, is_strict))),
        Operation::Completions => Box::new(Completions {
            sends_usage: !is_strict || request["stream_options"]["include_usage"] == true,
        }),
        Operation::Moderations => Box::new(Documents(moderations(request))),
    }
}

/// The embedding of a text: it depends only on the length of the text.
pub fn vector(length: usize, dimensions: usize) -> Vec<f32> {
    // Tenths, which floating-point numbers cannot represent exactly.
    (0..dimensions)
        .map(|index| u16::try_from(length + index).map_or(0.0, f32::from) / 10.0)
        .collect()
}

/// A document that does not depend on the script.
struct Documents(Value);

impl ResponseEncoder for Documents {
    fn encode(&mut self, _response: &PlayedResponse, _event: &ScriptEvent) -> Vec<Bytes> {
        Vec::new()
    }

    fn document(&self, _response: &PlayedResponse) -> Value {
        self.0.clone()
    }

    fn frame(&self, data: &Value) -> Bytes {
        unnamed(data)
    }
}

fn embeddings(vendor: Vendor, request: &Value, is_strict: bool) -> Value {
    let lengths: Vec<usize> = match vendor {
        Vendor::Gemini => {
            let text = |request: &Value| {
                request["content"]["parts"][0]["text"].as_str().unwrap_or_default().len()
            };
            request["requests"].as_array().into_iter().flatten().map(text).collect()
        }
        Vendor::OpenAi | Vendor::Responses | Vendor::Anthropic | Vendor::Ollama => lengths(request),
    };
    let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
    let asked = number(&request["dimensions"])
        .or_else(|| number(&request["requests"][0]["outputDimensionality"]));
    let vectors = lengths.iter().map(|length| vector(*length, asked.unwrap_or(DIMENSIONS)));
    let tokens = lengths.len() as u64 * 2;
    match vendor {
        Vendor::Ollama => json!({
            "model": request["model"],
            "embeddings": vectors.collect::<Vec<_>>(),
            "total_duration": 14_143_917,
            "load_duration": 1_019_500,
            "prompt_eval_count": tokens,
        }),
        Vendor::Gemini => {
            let embeddings: Vec<Value> =
                vectors.map(|values| json!({ "values": values })).collect();
            json!({ "embeddings": embeddings, "usageMetadata": { "promptTokenCount": tokens } })
        }
        Vendor::OpenAi | Vendor::Responses | Vendor::Anthropic => {
            // A compatible server has only one format, whatever is requested.
            let is_base64 = is_strict && request["encoding_format"] == "base64";
            let format = if is_base64 { VectorFormat::Base64 } else { VectorFormat::Float };
            let entry = |(index, vector): (usize, Vec<f32>)| json!({ "object": "embedding", "index": index, "embedding": format.encode(&vector) });
            let data: Vec<Value> = vectors.enumerate().map(entry).collect();
            json!({
                "object": "list",
                "data": data,
                "model": MODEL,
                "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
                "lab": { "odd": 1.50 },
            })
        }
    }
}

/// The lengths of the inputs, in bytes or in tokens.
fn lengths(request: &Value) -> Vec<usize> {
    let read = Passthrough::read(Operation::Embeddings, request.to_string().as_bytes())
        .and_then(|request| request.inputs());
    match read {
        Ok(EmbeddingInputs::Texts(texts)) => texts.iter().map(String::len).collect(),
        Ok(EmbeddingInputs::Tokens(tokens)) => tokens.iter().map(Vec::len).collect(),
        Err(_) => Vec::new(),
    }
}

fn moderations(request: &Value) -> Value {
    let texts = request["input"].as_array().map_or(1, Vec::len);
    let result = json!({ "flagged": false, "categories": { "violence": false }, "category_scores": { "violence": 1.23e-7 } });
    json!({ "id": "modr-lab", "model": MODEL, "results": vec![result; texts] })
}

/// A text completion.
struct Completions {
    sends_usage: bool,
}

impl ResponseEncoder for Completions {
    fn encode(&mut self, _response: &PlayedResponse, event: &ScriptEvent) -> Vec<Bytes> {
        let data = match event {
            ScriptEvent::Start
            | ScriptEvent::Reasoning(_)
            | ScriptEvent::Refusal(_)
            | ScriptEvent::Call { .. }
            | ScriptEvent::Arguments { .. }
            | ScriptEvent::Signature(_) => {
                return Vec::new();
            }
            ScriptEvent::Text(piece) => chunk(&json!([choice(piece, None)]), &Value::Null),
            ScriptEvent::Finish(reason) => chunk(&json!([choice("", Some(reason))]), &Value::Null),
            ScriptEvent::Usage(usage) if self.sends_usage => chunk(&json!([]), &counts(*usage)),
            ScriptEvent::Usage(_) => return Vec::new(),
            ScriptEvent::Failure(error) => {
                vendor_error::body(Vendor::OpenAi, *error, error.status(Vendor::OpenAi), None, None)
            }
            ScriptEvent::KeepAlive => return vec![Bytes::from_static(b": keep-alive\n\n")],
            ScriptEvent::Done => return vec![Bytes::from_static(b"data: [DONE]\n\n")],
        };
        vec![unnamed(&data)]
    }

    fn document(&self, response: &PlayedResponse) -> Value {
        chunk(
            &json!([choice(&response.text, Some(response.finish()))]),
            &response.usage.map(counts).unwrap_or_default(),
        )
    }

    fn frame(&self, data: &Value) -> Bytes {
        unnamed(data)
    }
}

fn choice(text: &str, finish_reason: Option<&str>) -> Value {
    json!({ "text": text, "index": 0, "logprobs": null, "finish_reason": finish_reason })
}

fn chunk(choices: &Value, usage: &Value) -> Value {
    json!({
        "id": "cmpl-lab",
        "object": "text_completion",
        "created": CREATED,
        "model": MODEL,
        "system_fingerprint": "fp_lab",
        "choices": choices,
        "usage": usage,
    })
}

fn counts(usage: Usage) -> Value {
    json!({ "prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": usage.input + usage.output })
}
