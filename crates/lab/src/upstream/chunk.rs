//! The JSON of OpenAI's streamed chat completions (`chat.completion.chunk`).

use serde_json::{Value, json};

/// A chunk with one choice.
pub(super) fn choice(delta: &Value, finish_reason: Option<&str>) -> Value {
    chunk(&json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}]), &Value::Null)
}

/// The chunk without choices that comes last when `stream_options.include_usage` was asked for.
pub(super) fn usage(prompt_tokens: u64, completion_tokens: u64, reasoning_tokens: u64) -> Value {
    let usage = json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning_tokens},
    });
    chunk(&json!([]), &usage)
}

fn chunk(choices: &Value, usage: &Value) -> Value {
    json!({
        "id": "chatcmpl-lab",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "lab-model",
        "system_fingerprint": "fp_lab",
        "choices": choices,
        "usage": usage,
    })
}
