//! Anthropic's Messages API: blocks with a begin and an end, in named events.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::answer::{Answer, MODEL, SIGNATURE};
use super::super::said::{Said, Usage};
use super::super::trouble;
use super::{Speech, named};
use crate::upstream::Vendor;

/// An answer as a message.
#[derive(Debug, Default)]
pub(super) struct Anthropic {
    has_begun: bool,
    has_pinged: bool,
    block: Option<Block>,
    next_index: usize,
    /// The answer's call that the open block is.
    call: usize,
    /// Whether the open block of thinking has its signature.
    is_signed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Thinking,
    Text,
    ToolUse,
}

impl Speech for Anthropic {
    fn say(&mut self, answer: &Answer, said: &Said) -> Vec<Bytes> {
        let mut events = Vec::new();
        if !self.has_begun && !matches!(said, Said::KeepAlive | Said::Failure(_) | Said::Done) {
            self.has_begun = true;
            events.push(begin(answer));
        }
        match said {
            // A refusal has no content of its own: its words stand in `stop_details`.
            Said::Begin | Said::Usage(_) | Said::Refusal(_) => {}
            Said::Reasoning(piece) => {
                self.open(Block::Thinking, &json!({"type": "thinking", "thinking": "", "signature": ""}), &mut events);
                events.push(self.delta(&json!({"type": "thinking_delta", "thinking": piece})));
            }
            Said::Signature(signature) => {
                self.open(Block::Thinking, &json!({"type": "thinking", "thinking": "", "signature": ""}), &mut events);
                events.push(self.delta(&json!({"type": "signature_delta", "signature": signature})));
                self.is_signed = true;
            }
            Said::Text(piece) => {
                self.open(Block::Text, &json!({"type": "text", "text": ""}), &mut events);
                events.push(self.delta(&json!({"type": "text_delta", "text": piece})));
            }
            Said::Call { index, id, name } => {
                self.close(&mut events);
                self.call = *index;
                self.open(Block::ToolUse, &json!({"type": "tool_use", "id": id, "name": name, "input": {}}), &mut events);
            }
            Said::Arguments { index, fragment } => {
                if self.block == Some(Block::ToolUse) && self.call == *index {
                    events.push(self.delta(&json!({"type": "input_json_delta", "partial_json": fragment})));
                }
            }
            Said::Finish(_) => {
                self.close(&mut events);
                let mut usage = Map::from_iter([("output_tokens".to_owned(), json!(answer.cost().output))]);
                if let Some(known) = answer.usage {
                    usage.insert("input_tokens".to_owned(), json!(uncached(known)));
                    usage.insert("cache_read_input_tokens".to_owned(), json!(known.cached));
                    usage.insert("output_tokens_details".to_owned(), json!({"thinking_tokens": known.reasoning}));
                }
                events.push(json!({"type": "message_delta", "delta": stop(answer), "usage": usage}));
            }
            Said::Failure(trouble) => {
                events.push(trouble::body(Vendor::Anthropic, *trouble, trouble.status(Vendor::Anthropic), None, None));
            }
            Said::KeepAlive => events.push(json!({"type": "ping"})),
            Said::Done => events.push(json!({"type": "message_stop"})),
        }
        events.iter().map(named).collect()
    }

    fn document(&self, answer: &Answer) -> Value {
        let mut content = Vec::new();
        if !answer.reasoning.is_empty() {
            let signature = answer.signature.as_deref().unwrap_or(SIGNATURE);
            content.push(json!({"type": "thinking", "thinking": answer.reasoning, "signature": signature}));
        }
        if !answer.text.is_empty() {
            content.push(json!({"type": "text", "text": answer.text}));
        }
        content
            .extend(answer.calls.iter().map(|call| json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.object()})));
        message(answer, &content, &stop(answer), answer.cost().output)
    }

    fn frame(&self, data: &Value) -> Bytes {
        named(data)
    }
}

impl Anthropic {
    fn open(&mut self, block: Block, content: &Value, events: &mut Vec<Value>) {
        if self.block == Some(block) {
            return;
        }
        self.close(events);
        self.block = Some(block);
        self.is_signed = false;
        events.push(json!({"type": "content_block_start", "index": self.next_index, "content_block": content}));
        // The vendor sends one early in every answer, so that clients learn to pass over it.
        if !self.has_pinged {
            self.has_pinged = true;
            events.push(json!({"type": "ping"}));
        }
    }

    fn delta(&self, delta: &Value) -> Value {
        json!({"type": "content_block_delta", "index": self.next_index, "delta": delta})
    }

    fn close(&mut self, events: &mut Vec<Value>) {
        let Some(block) = self.block.take() else { return };
        if block == Block::Thinking && !self.is_signed {
            events.push(self.delta(&json!({"type": "signature_delta", "signature": SIGNATURE})));
        }
        events.push(json!({"type": "content_block_stop", "index": self.next_index}));
        self.next_index += 1;
    }
}

fn begin(answer: &Answer) -> Value {
    let message = message(answer, &[], &json!({"stop_reason": null, "stop_sequence": null}), 1);
    json!({"type": "message_start", "message": message})
}

fn message(answer: &Answer, content: &[Value], stop: &Value, output_tokens: u64) -> Value {
    json!({
        "id": "msg_lab",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": content,
        "stop_reason": stop["stop_reason"],
        "stop_sequence": stop["stop_sequence"],
        "stop_details": stop["stop_details"],
        "usage": {
            "input_tokens": uncached(answer.cost()),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": answer.cost().cached,
            "output_tokens": output_tokens,
            "service_tier": "standard",
        },
    })
}

/// What was read from the cache is counted beside the input.
fn uncached(usage: Usage) -> u64 {
    usage.input.saturating_sub(usage.cached)
}

/// Why the message ended.
fn stop(answer: &Answer) -> Value {
    let is_refused = !answer.refusal.is_empty() || answer.finish() == "content_filter";
    let reason = match answer.finish() {
        _ if is_refused => "refusal",
        "stop" => "end_turn",
        "length" => "max_tokens",
        "tool_calls" => "tool_use",
        other => other,
    };
    let explanation = if answer.refusal.is_empty() { Value::Null } else { json!(answer.refusal) };
    let details = if is_refused { json!({"type": "refusal", "category": null, "explanation": explanation}) } else { Value::Null };
    json!({"stop_reason": reason, "stop_sequence": null, "stop_details": details})
}
