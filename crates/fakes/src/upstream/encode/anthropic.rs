//! Anthropic's Messages API: content blocks with a start and an end, in named events.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::encoder::{ResponseEncoder, named};
use crate::upstream::event::{ScriptEvent, Usage};
use crate::upstream::played::{MODEL, PlayedResponse, SIGNATURE};
use crate::upstream::vendor::Vendor;
use crate::upstream::vendor_error;

/// Encodes a message of the Messages API.
#[derive(Debug, Default)]
pub(super) struct Anthropic {
    is_started: bool,
    has_pinged: bool,
    block: Option<Block>,
    next_index: usize,
    /// The index of the tool call in the open block.
    call: usize,
    /// Whether the open thinking block has its signature.
    is_signed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Thinking,
    Text,
    ToolUse,
}

impl ResponseEncoder for Anthropic {
    fn encode(&mut self, response: &PlayedResponse, event: &ScriptEvent) -> Vec<Bytes> {
        let mut events = Vec::new();
        if !self.is_started
            && !matches!(
                event,
                ScriptEvent::KeepAlive | ScriptEvent::Failure(_) | ScriptEvent::Done
            )
        {
            self.is_started = true;
            events.push(message_start(response));
        }
        match event {
            // A refusal has no content block: its text is in `stop_details`.
            ScriptEvent::Start | ScriptEvent::Usage(_) | ScriptEvent::Refusal(_) => {}
            ScriptEvent::Reasoning(piece) => {
                self.open(
                    Block::Thinking,
                    &json!({"type": "thinking", "thinking": "", "signature": ""}),
                    &mut events,
                );
                events.push(self.delta(&json!({"type": "thinking_delta", "thinking": piece})));
            }
            ScriptEvent::Signature(signature) => {
                self.open(
                    Block::Thinking,
                    &json!({"type": "thinking", "thinking": "", "signature": ""}),
                    &mut events,
                );
                events
                    .push(self.delta(&json!({"type": "signature_delta", "signature": signature})));
                self.is_signed = true;
            }
            ScriptEvent::Text(piece) => {
                self.open(Block::Text, &json!({"type": "text", "text": ""}), &mut events);
                events.push(self.delta(&json!({"type": "text_delta", "text": piece})));
            }
            ScriptEvent::Call { index, id, name } => {
                self.close(&mut events);
                self.call = *index;
                self.open(
                    Block::ToolUse,
                    &json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
                    &mut events,
                );
            }
            ScriptEvent::Arguments { index, fragment } => {
                if self.block == Some(Block::ToolUse) && self.call == *index {
                    events.push(
                        self.delta(&json!({"type": "input_json_delta", "partial_json": fragment})),
                    );
                }
            }
            ScriptEvent::Finish(_) => {
                self.close(&mut events);
                let mut usage = Map::from_iter([(
                    "output_tokens".to_owned(),
                    json!(response.usage_or_default().output),
                )]);
                if let Some(known) = response.usage {
                    usage.insert("input_tokens".to_owned(), json!(uncached(known)));
                    usage.insert("cache_read_input_tokens".to_owned(), json!(known.cached));
                    usage.insert(
                        "output_tokens_details".to_owned(),
                        json!({"thinking_tokens": known.reasoning}),
                    );
                }
                events.push(
                    json!({"type": "message_delta", "delta": stop(response), "usage": usage}),
                );
            }
            ScriptEvent::Failure(error) => {
                events.push(vendor_error::body(
                    Vendor::Anthropic,
                    *error,
                    error.status(Vendor::Anthropic),
                    None,
                    None,
                ));
            }
            ScriptEvent::KeepAlive => events.push(json!({"type": "ping"})),
            ScriptEvent::Done => events.push(json!({"type": "message_stop"})),
        }
        events.iter().map(named).collect()
    }

    fn document(&self, response: &PlayedResponse) -> Value {
        let mut content = Vec::new();
        if !response.reasoning.is_empty() {
            let signature = response.signature.as_deref().unwrap_or(SIGNATURE);
            content.push(
                json!({"type": "thinking", "thinking": response.reasoning, "signature": signature}),
            );
        }
        if !response.text.is_empty() {
            content.push(json!({"type": "text", "text": response.text}));
        }
        content.extend(
            response.calls.iter().map(|call| json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.object()})),
        );
        message(response, &content, &stop(response), response.usage_or_default().output)
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
        // The vendor sends a ping early in every response.
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

fn message_start(response: &PlayedResponse) -> Value {
    let message = message(response, &[], &json!({"stop_reason": null, "stop_sequence": null}), 1);
    json!({"type": "message_start", "message": message})
}

fn message(
    response: &PlayedResponse,
    content: &[Value],
    stop: &Value,
    output_tokens: u64,
) -> Value {
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
            "input_tokens": uncached(response.usage_or_default()),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": response.usage_or_default().cached,
            "output_tokens": output_tokens,
            "service_tier": "standard",
        },
    })
}

/// `input_tokens` excludes the tokens that were read from the cache.
fn uncached(usage: Usage) -> u64 {
    usage.input.saturating_sub(usage.cached)
}

/// The reason of the end.
fn stop(response: &PlayedResponse) -> Value {
    let is_refused = !response.refusal.is_empty() || response.finish() == "content_filter";
    let reason = match response.finish() {
        _ if is_refused => "refusal",
        "stop" => "end_turn",
        "length" => "max_tokens",
        "tool_calls" => "tool_use",
        other => other,
    };
    let explanation =
        if response.refusal.is_empty() { Value::Null } else { json!(response.refusal) };
    let details = if is_refused {
        json!({"type": "refusal", "category": null, "explanation": explanation})
    } else {
        Value::Null
    };
    json!({"stop_reason": reason, "stop_sequence": null, "stop_details": details})
}
