//! Ollama's own `/api/chat`: one object a line, of which the last is `done`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::answer::{Answer, Call, MODEL};
use super::super::said::Said;
use super::super::trouble;
use super::Speech;
use crate::upstream::Vendor;

/// [`super::super::answer::CREATED`], as Ollama writes times.
const CREATED_AT: &str = "2023-11-14T22:13:20.000000Z";

/// An answer in lines.
#[derive(Debug, Default)]
pub(super) struct Ollama {
    /// A call whose arguments may not be whole yet.
    call: Option<Call>,
}

impl Speech for Ollama {
    fn say(&mut self, answer: &Answer, said: &Said) -> Vec<Bytes> {
        let mut lines = Vec::new();
        if !matches!(said, Said::Arguments { .. } | Said::KeepAlive) {
            let call = self.call.take();
            lines.extend(call.map(|call| line(&json!({"role": "assistant", "content": "", "tool_calls": [whole(&call)]}))));
        }
        match said {
            Said::Begin | Said::Usage(_) | Said::Signature(_) | Said::Done => {}
            Said::Reasoning(piece) => lines.push(line(&json!({"role": "assistant", "content": "", "thinking": piece}))),
            // It has no word for a refusal: it is a text.
            Said::Text(piece) | Said::Refusal(piece) => lines.push(line(&json!({"role": "assistant", "content": piece}))),
            Said::Call { index, id, name } => {
                self.call = Some(Call { index: *index, id: id.clone(), name: name.clone(), arguments: String::new() });
            }
            Said::Arguments { index, fragment } => {
                if let Some(call) = self.call.as_mut().filter(|call| call.index == *index) {
                    call.arguments.push_str(fragment);
                }
            }
            Said::Finish(_) => lines.push(last(answer, &json!({"role": "assistant", "content": ""}))),
            Said::Failure(trouble) => {
                lines.push(trouble::body(Vendor::Ollama, *trouble, trouble.status(Vendor::Ollama), None, None));
            }
            // It has no sign of life of its own. This one says nothing.
            Said::KeepAlive => lines.push(line(&json!({"role": "assistant", "content": ""}))),
        }
        lines.iter().map(|line| self.frame(line)).collect()
    }

    fn document(&self, answer: &Answer) -> Value {
        let mut message = json!({"role": "assistant", "content": format!("{}{}", answer.text, answer.refusal)});
        if !answer.reasoning.is_empty() {
            message["thinking"] = json!(answer.reasoning);
        }
        if !answer.calls.is_empty() {
            message["tool_calls"] = answer.calls.iter().map(whole).collect();
        }
        last(answer, &message)
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

fn whole(call: &Call) -> Value {
    json!({"id": call.id, "function": {"index": call.index, "name": call.name, "arguments": call.object()}})
}

fn last(answer: &Answer, message: &Value) -> Value {
    let reason = match answer.finish() {
        "tool_calls" | "content_filter" => "stop",
        other => other,
    };
    let mut line = line(message);
    line["done"] = json!(true);
    line["done_reason"] = json!(reason);
    if let Some(usage) = answer.usage {
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
