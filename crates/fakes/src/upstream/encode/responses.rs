//! OpenAI's Responses API: items with a start and an end in named, numbered events, and the
//! complete response in the last.

use bytes::Bytes;
use serde_json::{Value, json};

use super::encoder::{ResponseEncoder, named};
use crate::upstream::event::{ScriptEvent, Usage};
use crate::upstream::played::{CREATED, MODEL, PlayedResponse, SIGNATURE};
use crate::upstream::vendor::Vendor;
use crate::upstream::vendor_error::{self, VendorError};

/// Encodes a response of the Responses API.
#[derive(Debug)]
pub(super) struct Responses {
    request: Value,
    sequence_number: u64,
    is_started: bool,
    item: Option<Item>,
    /// The completed items, in order.
    output: Vec<Value>,
}

/// The item in progress.
#[derive(Debug)]
struct Item {
    kind: ItemKind,
    /// Its text, refusal, summary or arguments so far.
    content: String,
    /// The signature of a reasoning item.
    signature: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ItemKind {
    Reasoning,
    Text,
    Refusal,
    Call { index: usize, id: String, name: String },
}

impl Responses {
    pub(super) fn new(request: &Value) -> Self {
        Self {
            request: request.clone(),
            sequence_number: 0,
            is_started: false,
            item: None,
            output: Vec::new(),
        }
    }
}

impl ResponseEncoder for Responses {
    fn encode(&mut self, response: &PlayedResponse, event: &ScriptEvent) -> Vec<Bytes> {
        let mut events = Vec::new();
        if !self.is_started && !matches!(event, ScriptEvent::KeepAlive | ScriptEvent::Done) {
            self.is_started = true;
            let response = self.response(response, "in_progress");
            self.push(&mut events, json!({"type": "response.created", "response": response}));
            self.push(&mut events, json!({"type": "response.in_progress", "response": response}));
        }
        match event {
            ScriptEvent::Start | ScriptEvent::Usage(_) | ScriptEvent::Done => {}
            ScriptEvent::Reasoning(piece) => {
                self.open(ItemKind::Reasoning, &mut events);
                self.piece("response.reasoning_summary_text.delta", piece, &mut events);
            }
            ScriptEvent::Signature(signature) => {
                self.open(ItemKind::Reasoning, &mut events);
                if let Some(item) = &mut self.item {
                    item.signature = Some(signature.clone());
                }
            }
            ScriptEvent::Text(piece) => {
                self.open(ItemKind::Text, &mut events);
                self.piece("response.output_text.delta", piece, &mut events);
            }
            ScriptEvent::Refusal(piece) => {
                self.open(ItemKind::Refusal, &mut events);
                self.piece("response.refusal.delta", piece, &mut events);
            }
            ScriptEvent::Call { index, id, name } => {
                self.open(
                    ItemKind::Call { index: *index, id: id.clone(), name: name.clone() },
                    &mut events,
                );
            }
            ScriptEvent::Arguments { index, fragment } => {
                if self.item.as_ref().is_some_and(|item| matches!(&item.kind, ItemKind::Call { index: open, .. } if open == index)) {
                    self.piece("response.function_call_arguments.delta", fragment, &mut events);
                }
            }
            ScriptEvent::Finish(_) => {
                self.close(&mut events);
                let status = status(response);
                let response = self.response(response, status);
                self.push(
                    &mut events,
                    json!({"type": format!("response.{status}"), "response": response}),
                );
            }
            ScriptEvent::Failure(failure) => {
                let error =
                    vendor_error::body(Vendor::Responses, *failure, 500, None, None)["error"]
                        .take();
                let event = json!({"type": "error", "code": error["code"], "message": error["message"], "param": null});
                self.push(&mut events, event);
                let mut response = self.response(response, "failed");
                response["error"] =
                    json!({"code": failure_code(*failure), "message": error["message"]});
                self.push(&mut events, json!({"type": "response.failed", "response": response}));
            }
            ScriptEvent::KeepAlive => self.push(&mut events, json!({"type": "keepalive"})),
        }
        events.iter().map(named).collect()
    }

    fn document(&self, response: &PlayedResponse) -> Value {
        let mut writer = Self::new(&self.request);
        let mut ignored = Vec::new();
        let mut item = |kind: ItemKind, content: &str| {
            let signature =
                if kind == ItemKind::Reasoning { response.signature.clone() } else { None };
            writer.item = Some(Item { kind, content: content.to_owned(), signature });
            writer.close(&mut ignored);
        };
        if !response.reasoning.is_empty() {
            item(ItemKind::Reasoning, &response.reasoning);
        }
        if !response.text.is_empty() {
            item(ItemKind::Text, &response.text);
        }
        if !response.refusal.is_empty() {
            item(ItemKind::Refusal, &response.refusal);
        }
        for call in &response.calls {
            item(
                ItemKind::Call { index: call.index, id: call.id.clone(), name: call.name.clone() },
                &call.arguments,
            );
        }
        writer.response(response, status(response))
    }

    fn frame(&self, data: &Value) -> Bytes {
        named(data)
    }
}

impl Responses {
    fn push(&mut self, events: &mut Vec<Value>, mut event: Value) {
        event["sequence_number"] = json!(self.sequence_number);
        self.sequence_number += 1;
        events.push(event);
    }

    /// An event with the position of an item.
    fn item_event(&self, kind: &ItemKind, event: &str) -> Value {
        let mut fields =
            json!({"type": event, "item_id": self.id(kind), "output_index": self.output.len()});
        match kind {
            ItemKind::Reasoning => fields["summary_index"] = json!(0),
            ItemKind::Text | ItemKind::Refusal => fields["content_index"] = json!(0),
            ItemKind::Call { .. } => {}
        }
        fields
    }

    fn id(&self, kind: &ItemKind) -> String {
        let prefix = match kind {
            ItemKind::Reasoning => "rs",
            ItemKind::Text | ItemKind::Refusal => "msg",
            ItemKind::Call { .. } => "fc",
        };
        format!("{prefix}_lab_{}", self.output.len())
    }

    fn open(&mut self, kind: ItemKind, events: &mut Vec<Value>) {
        if self.item.as_ref().is_some_and(|item| item.kind == kind) {
            return;
        }
        self.close(events);
        let item = self.item(
            &Item { kind: kind.clone(), content: String::new(), signature: None },
            "in_progress",
        );
        let output_index = self.output.len();
        self.push(events, json!({"type": "response.output_item.added", "output_index": output_index, "item": item}));
        if let Some((event, part)) = part_event(&kind, "", "added") {
            let mut added = self.item_event(&kind, event);
            added["part"] = part;
            self.push(events, added);
        }
        self.item = Some(Item { kind, content: String::new(), signature: None });
    }

    fn piece(&mut self, event: &str, piece: &str, events: &mut Vec<Value>) {
        let Some(mut item) = self.item.take() else { return };
        item.content.push_str(piece);
        let mut delta = self.item_event(&item.kind, event);
        delta["delta"] = json!(piece);
        if item.kind == ItemKind::Text {
            delta["logprobs"] = json!([]);
        }
        self.push(events, delta);
        self.item = Some(item);
    }

    fn close(&mut self, events: &mut Vec<Value>) {
        let Some(item) = self.item.take() else { return };
        let (event, field) = match &item.kind {
            ItemKind::Reasoning => ("response.reasoning_summary_text.done", "text"),
            ItemKind::Text => ("response.output_text.done", "text"),
            ItemKind::Refusal => ("response.refusal.done", "refusal"),
            ItemKind::Call { .. } => ("response.function_call_arguments.done", "arguments"),
        };
        let mut done = self.item_event(&item.kind, event);
        done[field] = json!(item.content);
        match &item.kind {
            ItemKind::Text => done["logprobs"] = json!([]),
            ItemKind::Call { name, .. } => done["name"] = json!(name),
            ItemKind::Reasoning | ItemKind::Refusal => {}
        }
        self.push(events, done);
        if let Some((event, part)) = part_event(&item.kind, &item.content, "done") {
            let mut done = self.item_event(&item.kind, event);
            done["part"] = part;
            self.push(events, done);
        }
        let finished = self.item(&item, "completed");
        let output_index = self.output.len();
        self.push(events, json!({"type": "response.output_item.done", "output_index": output_index, "item": finished}));
        self.output.push(finished);
    }

    /// The item with its content so far.
    fn item(&self, item: &Item, status: &str) -> Value {
        let id = self.id(&item.kind);
        let has_content = status != "in_progress";
        match &item.kind {
            ItemKind::Reasoning => {
                let summary = if item.content.is_empty() {
                    json!([])
                } else {
                    json!([{"type": "summary_text", "text": item.content}])
                };
                let mut reasoning = json!({"id": id, "type": "reasoning", "summary": summary});
                // Only on request: a client needs it only if the vendor does not store the
                // response.
                let included = self.request["include"].as_array();
                if included.is_some_and(|included| {
                    included.iter().any(|name| name == "reasoning.encrypted_content")
                }) {
                    reasoning["encrypted_content"] =
                        json!(item.signature.as_deref().unwrap_or(SIGNATURE));
                }
                reasoning
            }
            ItemKind::Text | ItemKind::Refusal => {
                let content = part_event(&item.kind, &item.content, "done")
                    .filter(|_| has_content)
                    .map(|(_, part)| part);
                let content: Vec<Value> = content.into_iter().collect();
                json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content})
            }
            ItemKind::Call { id: call_id, name, .. } => {
                let (arguments, kind) = (&item.content, "function_call");
                json!({"id": id, "type": kind, "status": status, "call_id": call_id, "name": name, "arguments": arguments})
            }
        }
    }

    fn response(&self, response: &PlayedResponse, status: &str) -> Value {
        let reason =
            if response.finish() == "length" { "max_output_tokens" } else { response.finish() };
        let or = |name: &str, default: Value| {
            self.request.get(name).filter(|value| !value.is_null()).cloned().unwrap_or(default)
        };
        json!({
            "id": "resp_lab",
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "background": false,
            "error": null,
            "incomplete_details": if status == "incomplete" { json!({"reason": reason}) } else { Value::Null },
            "instructions": or("instructions", Value::Null),
            "max_output_tokens": or("max_output_tokens", Value::Null),
            "metadata": or("metadata", json!({})),
            "model": MODEL,
            "output": self.output,
            "parallel_tool_calls": or("parallel_tool_calls", json!(true)),
            "previous_response_id": or("previous_response_id", Value::Null),
            "reasoning": or("reasoning", json!({"effort": null, "summary": null})),
            "service_tier": "default",
            "store": or("store", json!(true)),
            "temperature": or("temperature", json!(1.0)),
            "text": or("text", json!({"format": {"type": "text"}})),
            "tool_choice": or("tool_choice", json!("auto")),
            "tools": or("tools", json!([])),
            "top_p": or("top_p", json!(1.0)),
            "truncation": or("truncation", json!("disabled")),
            "usage": response.usage.filter(|_| status != "in_progress").map(counts),
        })
    }
}

/// The event of a content part and the part itself, for kinds of items that have parts.
fn part_event(kind: &ItemKind, text: &str, what: &str) -> Option<(&'static str, Value)> {
    let is_added = what == "added";
    let content =
        if is_added { "response.content_part.added" } else { "response.content_part.done" };
    let summary = if is_added {
        "response.reasoning_summary_part.added"
    } else {
        "response.reasoning_summary_part.done"
    };
    match kind {
        ItemKind::Reasoning => Some((summary, json!({"type": "summary_text", "text": text}))),
        ItemKind::Text => Some((
            content,
            json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text}),
        )),
        ItemKind::Refusal => Some((content, json!({"type": "refusal", "refusal": text}))),
        ItemKind::Call { .. } => None,
    }
}

fn status(response: &PlayedResponse) -> &'static str {
    match response.finish() {
        "stop" | "tool_calls" => "completed",
        _ => "incomplete",
    }
}

/// The closest code that a failed response can have.
fn failure_code(error: VendorError) -> &'static str {
    match error {
        VendorError::RateLimit | VendorError::Quota => "rate_limit_exceeded",
        VendorError::Invalid | VendorError::ContextLength | VendorError::TooLarge => {
            "invalid_prompt"
        }
        VendorError::InvalidKey
        | VendorError::Permission
        | VendorError::NotFound
        | VendorError::Overloaded
        | VendorError::Internal
        | VendorError::Timeout => "server_error",
    }
}

fn counts(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    })
}
