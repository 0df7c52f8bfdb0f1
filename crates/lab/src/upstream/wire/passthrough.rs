//! Embeddings, text completions and moderations, in each vendor's form.

use bytes::Bytes;
use protocol::passthrough::{Inputs, Operation, Passthrough};
use protocol::vector::VectorFormat;
use serde_json::{Value, json};

use super::super::answer::{Answer, CREATED, MODEL};
use super::super::said::{Said, Usage};
use super::super::trouble;
use super::{Speech, unnamed};
use crate::upstream::Vendor;

/// The dimensions of a vector where none are asked for.
const DIMENSIONS: usize = 3;

pub(super) fn speech(operation: Operation, vendor: Vendor, request: &Value, is_strict: bool) -> Box<dyn Speech> {
    match operation {
        Operation::Embeddings => Box::new(Documents(embeddings(vendor, request, is_strict))),
        Operation::Completions => Box::new(Completions { says_usage: !is_strict || request["stream_options"]["include_usage"] == true }),
        Operation::Moderations => Box::new(Documents(moderations(request))),
    }
}

/// The vector of a text in the lab: the same for the same text, and not the same for others of another length.
pub fn vector(length: usize, dimensions: usize) -> Vec<f32> {
    // Tenths, which no float holds exactly.
    (0..dimensions).map(|place| u16::try_from(length + place).map_or(0.0, f32::from) / 10.0).collect()
}

/// What was known before anything was said.
struct Documents(Value);

impl Speech for Documents {
    fn say(&mut self, _answer: &Answer, _said: &Said) -> Vec<Bytes> {
        Vec::new()
    }

    fn document(&self, _answer: &Answer) -> Value {
        self.0.clone()
    }

    fn frame(&self, data: &Value) -> Bytes {
        unnamed(data)
    }
}

fn embeddings(vendor: Vendor, request: &Value, is_strict: bool) -> Value {
    let lengths: Vec<usize> = match vendor {
        Vendor::Gemini => {
            let text = |request: &Value| request["content"]["parts"][0]["text"].as_str().unwrap_or_default().len();
            request["requests"].as_array().into_iter().flatten().map(text).collect()
        }
        Vendor::OpenAi | Vendor::Responses | Vendor::Anthropic | Vendor::Ollama => lengths(request),
    };
    let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
    let asked = number(&request["dimensions"]).or_else(|| number(&request["requests"][0]["outputDimensionality"]));
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
            let embeddings: Vec<Value> = vectors.map(|values| json!({ "values": values })).collect();
            json!({ "embeddings": embeddings, "usageMetadata": { "promptTokenCount": tokens } })
        }
        Vendor::OpenAi | Vendor::Responses | Vendor::Anthropic => {
            // A server that is merely compatible has one format only, whatever it is asked for.
            let is_base64 = is_strict && request["encoding_format"] == "base64";
            let format = if is_base64 { VectorFormat::Base64 } else { VectorFormat::Float };
            let entry =
                |(index, vector): (usize, Vec<f32>)| json!({ "object": "embedding", "index": index, "embedding": format.encode(&vector) });
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
    let read = Passthrough::read(Operation::Embeddings, request.to_string().as_bytes()).and_then(|request| request.inputs());
    match read {
        Ok(Inputs::Texts(texts)) => texts.iter().map(String::len).collect(),
        Ok(Inputs::Tokens(tokens)) => tokens.iter().map(Vec::len).collect(),
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
    says_usage: bool,
}

impl Speech for Completions {
    fn say(&mut self, _answer: &Answer, said: &Said) -> Vec<Bytes> {
        let data = match said {
            Said::Begin | Said::Reasoning(_) | Said::Refusal(_) | Said::Call { .. } | Said::Arguments { .. } | Said::Signature(_) => {
                return Vec::new();
            }
            Said::Text(piece) => chunk(&json!([choice(piece, None)]), &Value::Null),
            Said::Finish(reason) => chunk(&json!([choice("", Some(reason))]), &Value::Null),
            Said::Usage(usage) if self.says_usage => chunk(&json!([]), &counts(*usage)),
            Said::Usage(_) => return Vec::new(),
            Said::Failure(trouble) => trouble::body(Vendor::OpenAi, *trouble, trouble.status(Vendor::OpenAi), None, None),
            Said::KeepAlive => return vec![Bytes::from_static(b": keep-alive\n\n")],
            Said::Done => return vec![Bytes::from_static(b"data: [DONE]\n\n")],
        };
        vec![unnamed(&data)]
    }

    fn document(&self, answer: &Answer) -> Value {
        chunk(&json!([choice(&answer.text, Some(answer.finish()))]), &answer.usage.map(counts).unwrap_or_default())
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
