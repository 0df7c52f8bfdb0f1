//! OpenAI's chat completions (`chat.completion.chunk` and `chat.completion`).

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::encoder::{ResponseEncoder, unnamed};
use crate::upstream::event::{ScriptEvent, Usage};
use crate::upstream::played::{CREATED, Call, MODEL, PlayedResponse};
use crate::upstream::vendor::Vendor;
use crate::upstream::vendor_error;

/// Encodes chat completions.
#[derive(Debug)]
pub(super) struct Chat {
    sends_usage: bool,
}

impl Chat {
    /// A compatible server always sends the usage, OpenAI's own only on request.
    pub(super) fn new(request: &Value, is_strict: bool) -> Self {
        Self { sends_usage: !is_strict || request["stream_options"]["include_usage"] == true }
    }
}

impl ResponseEncoder for Chat {
    fn encode(&mut self, _response: &PlayedResponse, event: &ScriptEvent) -> Vec<Bytes> {
        let data = match event {
            ScriptEvent::Start => choice(&json!({"role": "assistant", "content": ""}), None),
            ScriptEvent::Reasoning(piece) => choice(&json!({"reasoning_content": piece}), None),
            ScriptEvent::Text(piece) => choice(&json!({"content": piece}), None),
            ScriptEvent::Refusal(piece) => choice(&json!({"refusal": piece}), None),
            ScriptEvent::Call { index, id, name } => {
                let function = json!({"name": name, "arguments": ""});
                choice(
                    &json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}),
                    None,
                )
            }
            ScriptEvent::Arguments { index, fragment } => choice(
                &json!({"tool_calls": [{"index": index, "function": {"arguments": fragment}}]}),
                None,
            ),
            ScriptEvent::Finish(reason) => choice(&json!({}), Some(reason)),
            ScriptEvent::Usage(usage) if self.sends_usage => chunk(&json!([]), &counts(*usage)),
            ScriptEvent::Usage(_) | ScriptEvent::Signature(_) => return Vec::new(),
            ScriptEvent::Failure(error) => {
                vendor_error::body(Vendor::OpenAi, *error, error.status(Vendor::OpenAi), None, None)
            }
            ScriptEvent::KeepAlive => return vec![Bytes::from_static(b": keep-alive\n\n")],
            ScriptEvent::Done => return vec![Bytes::from_static(b"data: [DONE]\n\n")],
        };
        vec![unnamed(&data)]
    }

    fn document(&self, response: &PlayedResponse) -> Value {
        let mut message = Map::from_iter([("role".to_owned(), json!("assistant"))]);
        message.insert(
            "content".to_owned(),
            if response.text.is_empty() { Value::Null } else { json!(response.text) },
        );
        message.insert(
            "refusal".to_owned(),
            if response.refusal.is_empty() { Value::Null } else { json!(response.refusal) },
        );
        if !response.reasoning.is_empty() {
            message.insert("reasoning_content".to_owned(), json!(response.reasoning));
        }
        if !response.calls.is_empty() {
            let call = |call: &Call| {
                let function = json!({"name": call.name, "arguments": call.arguments});
                json!({"id": call.id, "type": "function", "function": function})
            };
            message.insert("tool_calls".to_owned(), response.calls.iter().map(call).collect());
        }
        json!({
            "id": "chatcmpl-lab",
            "object": "chat.completion",
            "created": CREATED,
            "model": MODEL,
            "system_fingerprint": "fp_lab",
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": response.finish()}],
            "usage": response.usage.map(counts),
        })
    }

    fn frame(&self, data: &Value) -> Bytes {
        unnamed(data)
    }
}

/// A chunk with one choice.
pub(super) fn choice(delta: &Value, finish_reason: Option<&str>) -> Value {
    chunk(
        &json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}]),
        &Value::Null,
    )
}

fn chunk(choices: &Value, usage: &Value) -> Value {
    json!({
        "id": "chatcmpl-lab",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": MODEL,
        "system_fingerprint": "fp_lab",
        "choices": choices,
        "usage": usage,
    })
}

fn counts(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}
