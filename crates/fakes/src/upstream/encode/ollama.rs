//! Ollama's own `/api/chat`: one JSON object per line; the last is `done`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::encoder::ResponseEncoder;
use crate::upstream::event::ScriptEvent;
use crate::upstream::played::{Call, MODEL, PlayedResponse};
use crate::upstream::vendor::Vendor;
use crate::upstream::vendor_error;

/// [`crate::upstream::played::CREATED`] in Ollama's format.
const CREATED_AT: &str = "2023-11-14T22:13:20.000000Z";

/// Encodes lines of `/api/chat`.
#[derive(Debug, Default)]
pub(super) struct Ollama {
    /// A call whose arguments may be incomplete.
    call: Option<Call>,
}

impl ResponseEncoder for Ollama {
    fn encode(&mut self, response: &PlayedResponse, event: &ScriptEvent) -> Vec<Bytes> {
        let mut lines = Vec::new();
        if !matches!(event, ScriptEvent::Arguments { .. } | ScriptEvent::KeepAlive) {
            let call = self.call.take();
            lines.extend(call.map(|call| {
                line(&json!({"role": "assistant", "content": "", "tool_calls": [tool_call(&call)]}))
            }));
        }
        match event {
            ScriptEvent::Start
            | ScriptEvent::Usage(_)
            | ScriptEvent::Signature(_)
            | ScriptEvent::Done => {}
            ScriptEvent::Reasoning(piece) => {
                lines.push(line(&json!({"role": "assistant", "content": "", "thinking": piece})));
            }
            // Ollama has no refusals: a refusal is text.
            ScriptEvent::Text(piece) | ScriptEvent::Refusal(piece) => {
                lines.push(line(&json!({"role": "assistant", "content": piece})));
            }
            ScriptEvent::Call { index, id, name } => {
                self.call = Some(Call {
                    index: *index,
                    id: id.clone(),
                    name: name.clone(),
                    arguments: String::new(),
                });
            }
            ScriptEvent::Arguments { index, fragment } => {
                if let Some(call) = self.call.as_mut().filter(|call| call.index == *index) {
                    call.arguments.push_str(fragment);
                }
            }
            ScriptEvent::Finish(_) => {
                lines.push(last(response, &json!({"role": "assistant", "content": ""})));
            }
            ScriptEvent::Failure(error) => {
                lines.push(vendor_error::body(
                    Vendor::Ollama,
                    *error,
                    error.status(Vendor::Ollama),
                    None,
                    None,
                ));
            }
            // Ollama has no keep-alive. This line has no content.
            ScriptEvent::KeepAlive => {
                lines.push(line(&json!({"role": "assistant", "content": ""})));
            }
        }
        lines.iter().map(|line| self.frame(line)).collect()
    }

    fn document(&self, response: &PlayedResponse) -> Value {
        let mut message = json!({"role": "assistant", "content": format!("{}{}", response.text, response.refusal)});
        if !response.reasoning.is_empty() {
            message["thinking"] = json!(response.reasoning);
        }
        if !response.calls.is_empty() {
            message["tool_calls"] = response.calls.iter().map(tool_call).collect();
        }
        last(response, &message)
    }

    fn frame(&self, data: &Value) -> Bytes {
        Bytes::from(format!("{data}\n"))
    }

    fn content_type(&self) -> &'static str {
        "application/x-ndjson"
    }
}

fn line(message: &Value) -> Value {
    json!({"model": MODEL, "created_at": CREATED_AT, "message": message, "done": false})
}

fn tool_call(call: &Call) -> Value {
    json!({"id": call.id, "function": {"index": call.index, "name": call.name, "arguments": call.object()}})
}

fn last(response: &PlayedResponse, message: &Value) -> Value {
    let reason = match response.finish() {
        "tool_calls" | "content_filter" => "stop",
        other => other,
    };
    let mut line = line(message);
    line["done"] = json!(true);
    line["done_reason"] = json!(reason);
    if let Some(usage) = response.usage {
        line["total_duration"] = json!(5_000_000);
        line["load_duration"] = json!(1_000_000);
        line["prompt_eval_count"] = json!(usage.input);
        line["prompt_eval_duration"] = json!(2_000_000);
        if usage.cached > 0 {
            line["prompt_eval_cached_count"] = json!(usage.cached);
        }
        line["eval_count"] = json!(usage.output);
        line["eval_duration"] = json!(2_000_000);
    }
    line
}
