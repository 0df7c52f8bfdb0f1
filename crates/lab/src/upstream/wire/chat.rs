//! OpenAI's chat completions (`chat.completion.chunk` and `chat.completion`).

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::answer::{Answer, CREATED, MODEL};
use super::super::said::{Said, Usage};
use super::super::trouble;
use super::{Speech, unnamed};
use crate::upstream::Vendor;

/// An answer in chat completions.
#[derive(Debug)]
pub(super) struct Chat {
    says_usage: bool,
}

impl Chat {
    /// A compatible server always says the usage; OpenAI's own only when asked.
    pub(super) fn new(request: &Value, is_strict: bool) -> Self {
        Self { says_usage: !is_strict || request["stream_options"]["include_usage"] == true }
    }
}

impl Speech for Chat {
    fn say(&mut self, _answer: &Answer, said: &Said) -> Vec<Bytes> {
        let data = match said {
            Said::Begin => choice(&json!({"role": "assistant", "content": ""}), None),
            Said::Reasoning(piece) => choice(&json!({"reasoning_content": piece}), None),
            Said::Text(piece) => choice(&json!({"content": piece}), None),
            Said::Refusal(piece) => choice(&json!({"refusal": piece}), None),
            Said::Call { index, id, name } => {
                let function = json!({"name": name, "arguments": ""});
                choice(&json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}), None)
            }
            Said::Arguments { index, fragment } => {
                choice(&json!({"tool_calls": [{"index": index, "function": {"arguments": fragment}}]}), None)
            }
            Said::Finish(reason) => choice(&json!({}), Some(reason)),
            Said::Usage(usage) if self.says_usage => chunk(&json!([]), &counts(*usage)),
            Said::Usage(_) | Said::Signature(_) => return Vec::new(),
            Said::Failure(trouble) => trouble::body(Vendor::OpenAi, *trouble, trouble.status(Vendor::OpenAi), None, None),
            Said::KeepAlive => return vec![Bytes::from_static(b": keep-alive\n\n")],
            Said::Done => return vec![Bytes::from_static(b"data: [DONE]\n\n")],
        };
        vec![unnamed(&data)]
    }

    fn document(&self, answer: &Answer) -> Value {
        let mut message = Map::from_iter([("role".to_owned(), json!("assistant"))]);
        message.insert("content".to_owned(), if answer.text.is_empty() { Value::Null } else { json!(answer.text) });
        message.insert("refusal".to_owned(), if answer.refusal.is_empty() { Value::Null } else { json!(answer.refusal) });
        if !answer.reasoning.is_empty() {
            message.insert("reasoning_content".to_owned(), json!(answer.reasoning));
        }
        if !answer.calls.is_empty() {
            let call = |call: &super::super::answer::Call| {
                let function = json!({"name": call.name, "arguments": call.arguments});
                json!({"id": call.id, "type": "function", "function": function})
            };
            message.insert("tool_calls".to_owned(), answer.calls.iter().map(call).collect());
        }
        json!({
            "id": "chatcmpl-lab",
            "object": "chat.completion",
            "created": CREATED,
            "model": MODEL,
            "system_fingerprint": "fp_lab",
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": answer.finish()}],
            "usage": answer.usage.map(counts),
        })
    }

    fn frame(&self, data: &Value) -> Bytes {
        unnamed(data)
    }
}

/// A chunk with one choice.
pub(super) fn choice(delta: &Value, finish_reason: Option<&str>) -> Value {
    chunk(&json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}]), &Value::Null)
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
