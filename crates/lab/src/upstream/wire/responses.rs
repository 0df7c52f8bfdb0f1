//! OpenAI's Responses API: items with a begin and an end, in named and numbered events, and the whole response in the last.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::answer::{Answer, CREATED, MODEL, SIGNATURE};
use super::super::said::{Said, Usage};
use super::super::trouble;
use super::{Speech, named};
use crate::upstream::Vendor;

/// An answer as a response.
#[derive(Debug)]
pub(super) struct Responses {
    request: Value,
    sequence_number: u64,
    has_begun: bool,
    item: Option<Item>,
    /// The items that are done, in order.
    output: Vec<Value>,
}

/// The item that is being said.
#[derive(Debug)]
struct Item {
    kind: Kind,
    /// Its text, refusal, summary or arguments so far.
    said: String,
    /// The seal of a reasoning.
    signature: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Reasoning,
    Text,
    Refusal,
    Call { index: usize, id: String, name: String },
}

impl Responses {
    pub(super) fn new(request: &Value) -> Self {
        Self { request: request.clone(), sequence_number: 0, has_begun: false, item: None, output: Vec::new() }
    }
}

impl Speech for Responses {
    fn say(&mut self, answer: &Answer, said: &Said) -> Vec<Bytes> {
        let mut events = Vec::new();
        if !self.has_begun && !matches!(said, Said::KeepAlive | Said::Done) {
            self.has_begun = true;
            let response = self.response(answer, "in_progress");
            self.push(&mut events, json!({"type": "response.created", "response": response}));
            self.push(&mut events, json!({"type": "response.in_progress", "response": response}));
        }
        match said {
            Said::Begin | Said::Usage(_) | Said::Done => {}
            Said::Reasoning(piece) => {
                self.open(Kind::Reasoning, &mut events);
                self.piece("response.reasoning_summary_text.delta", piece, &mut events);
            }
            Said::Signature(signature) => {
                self.open(Kind::Reasoning, &mut events);
                if let Some(item) = &mut self.item {
                    item.signature = Some(signature.clone());
                }
            }
            Said::Text(piece) => {
                self.open(Kind::Text, &mut events);
                self.piece("response.output_text.delta", piece, &mut events);
            }
            Said::Refusal(piece) => {
                self.open(Kind::Refusal, &mut events);
                self.piece("response.refusal.delta", piece, &mut events);
            }
            Said::Call { index, id, name } => {
                self.open(Kind::Call { index: *index, id: id.clone(), name: name.clone() }, &mut events);
            }
            Said::Arguments { index, fragment } => {
                if self.item.as_ref().is_some_and(|item| matches!(&item.kind, Kind::Call { index: open, .. } if open == index)) {
                    self.piece("response.function_call_arguments.delta", fragment, &mut events);
                }
            }
            Said::Finish(_) => {
                self.close(&mut events);
                let status = status(answer);
                let response = self.response(answer, status);
                self.push(&mut events, json!({"type": format!("response.{status}"), "response": response}));
            }
            Said::Failure(trouble) => {
                let error = trouble::body(Vendor::Responses, *trouble, 500, None, None)["error"].take();
                let event = json!({"type": "error", "code": error["code"], "message": error["message"], "param": null});
                self.push(&mut events, event);
                let mut response = self.response(answer, "failed");
                response["error"] = json!({"code": failure_code(*trouble), "message": error["message"]});
                self.push(&mut events, json!({"type": "response.failed", "response": response}));
            }
            Said::KeepAlive => self.push(&mut events, json!({"type": "keepalive"})),
        }
        events.iter().map(named).collect()
    }

    fn document(&self, answer: &Answer) -> Value {
        let mut writer = Self::new(&self.request);
        let mut unread = Vec::new();
        let mut item = |kind: Kind, said: &str| {
            let signature = if kind == Kind::Reasoning { answer.signature.clone() } else { None };
            writer.item = Some(Item { kind, said: said.to_owned(), signature });
            writer.close(&mut unread);
        };
        if !answer.reasoning.is_empty() {
            item(Kind::Reasoning, &answer.reasoning);
        }
        if !answer.text.is_empty() {
            item(Kind::Text, &answer.text);
        }
        if !answer.refusal.is_empty() {
            item(Kind::Refusal, &answer.refusal);
        }
        for call in &answer.calls {
            item(Kind::Call { index: call.index, id: call.id.clone(), name: call.name.clone() }, &call.arguments);
        }
        writer.response(answer, status(answer))
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

    /// Where the open item stands.
    fn place(&self, kind: &Kind, event: &str) -> Value {
        let mut place = json!({"type": event, "item_id": self.id(kind), "output_index": self.output.len()});
        match kind {
            Kind::Reasoning => place["summary_index"] = json!(0),
            Kind::Text | Kind::Refusal => place["content_index"] = json!(0),
            Kind::Call { .. } => {}
        }
        place
    }

    fn id(&self, kind: &Kind) -> String {
        let prefix = match kind {
            Kind::Reasoning => "rs",
            Kind::Text | Kind::Refusal => "msg",
            Kind::Call { .. } => "fc",
        };
        format!("{prefix}_lab_{}", self.output.len())
    }

    fn open(&mut self, kind: Kind, events: &mut Vec<Value>) {
        if self.item.as_ref().is_some_and(|item| item.kind == kind) {
            return;
        }
        self.close(events);
        let item = self.whole(&Item { kind: kind.clone(), said: String::new(), signature: None }, "in_progress");
        let output_index = self.output.len();
        self.push(events, json!({"type": "response.output_item.added", "output_index": output_index, "item": item}));
        if let Some((event, part)) = part_event(&kind, "", "added") {
            let mut added = self.place(&kind, event);
            added["part"] = part;
            self.push(events, added);
        }
        self.item = Some(Item { kind, said: String::new(), signature: None });
    }

    fn piece(&mut self, event: &str, piece: &str, events: &mut Vec<Value>) {
        let Some(mut item) = self.item.take() else { return };
        item.said.push_str(piece);
        let mut delta = self.place(&item.kind, event);
        delta["delta"] = json!(piece);
        if item.kind == Kind::Text {
            delta["logprobs"] = json!([]);
        }
        self.push(events, delta);
        self.item = Some(item);
    }

    fn close(&mut self, events: &mut Vec<Value>) {
        let Some(item) = self.item.take() else { return };
        let (event, field) = match &item.kind {
            Kind::Reasoning => ("response.reasoning_summary_text.done", "text"),
            Kind::Text => ("response.output_text.done", "text"),
            Kind::Refusal => ("response.refusal.done", "refusal"),
            Kind::Call { .. } => ("response.function_call_arguments.done", "arguments"),
        };
        let mut done = self.place(&item.kind, event);
        done[field] = json!(item.said);
        match &item.kind {
            Kind::Text => done["logprobs"] = json!([]),
            Kind::Call { name, .. } => done["name"] = json!(name),
            Kind::Reasoning | Kind::Refusal => {}
        }
        self.push(events, done);
        if let Some((event, part)) = part_event(&item.kind, &item.said, "done") {
            let mut done = self.place(&item.kind, event);
            done["part"] = part;
            self.push(events, done);
        }
        let whole = self.whole(&item, "completed");
        let output_index = self.output.len();
        self.push(events, json!({"type": "response.output_item.done", "output_index": output_index, "item": whole}));
        self.output.push(whole);
    }

    /// The item as it is said so far.
    fn whole(&self, item: &Item, status: &str) -> Value {
        let id = self.id(&item.kind);
        let is_begun = status != "in_progress";
        match &item.kind {
            Kind::Reasoning => {
                let summary = if item.said.is_empty() { json!([]) } else { json!([{"type": "summary_text", "text": item.said}]) };
                let mut reasoning = json!({"id": id, "type": "reasoning", "summary": summary});
                // Sealed only for who asks, since only without a store does anybody need it.
                let included = self.request["include"].as_array();
                if included.is_some_and(|included| included.iter().any(|name| name == "reasoning.encrypted_content")) {
                    reasoning["encrypted_content"] = json!(item.signature.as_deref().unwrap_or(SIGNATURE));
                }
                reasoning
            }
            Kind::Text | Kind::Refusal => {
                let content = part_event(&item.kind, &item.said, "done").filter(|_| is_begun).map(|(_, part)| part);
                let content: Vec<Value> = content.into_iter().collect();
                json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content})
            }
            Kind::Call { id: call_id, name, .. } => {
                let (arguments, kind) = (&item.said, "function_call");
                json!({"id": id, "type": kind, "status": status, "call_id": call_id, "name": name, "arguments": arguments})
            }
        }
    }

    fn response(&self, answer: &Answer, status: &str) -> Value {
        let reason = if answer.finish() == "length" { "max_output_tokens" } else { answer.finish() };
        let or = |name: &str, usual: Value| self.request.get(name).filter(|value| !value.is_null()).cloned().unwrap_or(usual);
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
            "usage": answer.usage.filter(|_| status != "in_progress").map(counts),
        })
    }
}

/// The event of a content part, and the part, where an item of this kind has parts.
fn part_event(kind: &Kind, said: &str, what: &str) -> Option<(&'static str, Value)> {
    let is_added = what == "added";
    let content = if is_added { "response.content_part.added" } else { "response.content_part.done" };
    let summary = if is_added { "response.reasoning_summary_part.added" } else { "response.reasoning_summary_part.done" };
    match kind {
        Kind::Reasoning => Some((summary, json!({"type": "summary_text", "text": said}))),
        Kind::Text => Some((content, json!({"type": "output_text", "annotations": [], "logprobs": [], "text": said}))),
        Kind::Refusal => Some((content, json!({"type": "refusal", "refusal": said}))),
        Kind::Call { .. } => None,
    }
}

fn status(answer: &Answer) -> &'static str {
    match answer.finish() {
        "stop" | "tool_calls" => "completed",
        _ => "incomplete",
    }
}

/// Of the codes that a response can fail with, the one that fits.
fn failure_code(trouble: trouble::Trouble) -> &'static str {
    use trouble::Trouble;
    match trouble {
        Trouble::RateLimit | Trouble::Money => "rate_limit_exceeded",
        Trouble::Invalid | Trouble::ContextLength | Trouble::TooLarge => "invalid_prompt",
        Trouble::Key | Trouble::Permission | Trouble::NotFound | Trouble::Overloaded | Trouble::Broken | Trouble::Timeout => "server_error",
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
