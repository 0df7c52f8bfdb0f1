//! Says a log in chat completion chunks, and a finished response as one chat completion.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::dialect::Spoken;
use crate::event::{Entry, EventKind};
use crate::fault::{Fault, FaultKind};
use crate::item::{Item, Part};
use crate::response::{Response, ResponseStatus};
use crate::usage::Usage;

/// What a caller may choose about the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChatOptions {
    /// Whether one more chunk with the usage comes before the end (`stream_options.include_usage`).
    pub include_usage: bool,
}

/// The state of the fold: what every chunk repeats, and which tool call stands where.
#[derive(Clone, Debug)]
pub struct Fold {
    options: ChatOptions,
    /// The begin of every chunk, up to its `choices`: rendered once, as a chunk is what a token costs.
    head: String,
    /// The `output_index` of each function call so far; its place here is the call's `index`.
    calls: Vec<usize>,
    /// Whether it has ended without a finish reason.
    has_failed: bool,
}

/// Texts are spliced as they stand in the log, escapes and all.
#[derive(Deserialize)]
struct DeltaEvent<'a> {
    #[serde(default)]
    output_index: usize,
    #[serde(borrow)]
    delta: &'a RawValue,
    #[serde(borrow)]
    logprobs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct AddedEvent {
    output_index: usize,
    item: Item,
}

#[derive(Deserialize)]
struct ErrorEvent<'a> {
    #[serde(borrow)]
    error: &'a RawValue,
}

#[derive(Deserialize)]
struct SnapshotEvent {
    response: Response,
}

impl Fold {
    /// A fold at the start of a log.
    pub fn new(options: ChatOptions) -> Self {
        Self { options, head: "{".into(), calls: Vec::new(), has_failed: false }
    }

    /// Whether the response has ended, or is about to end, without a finish reason.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Takes in one entry and appends the chunks it makes.
    pub fn entry(&mut self, entry: &Entry, spoken: &mut Vec<Spoken>) {
        self.has_failed |= matches!(entry.kind, EventKind::Error | EventKind::Failed);
        match entry.kind {
            EventKind::Created => self.begin(entry),
            EventKind::InProgress => spoken.push(self.chunk(entry, r#"{"role":"assistant","content":""}"#, "null", "null")),
            EventKind::OutputTextDelta => spoken.extend(self.text(entry, "content")),
            EventKind::RefusalDelta => spoken.extend(self.text(entry, "refusal")),
            EventKind::ReasoningDelta | EventKind::ReasoningSummaryDelta => spoken.extend(self.text(entry, "reasoning_content")),
            EventKind::OutputItemAdded => spoken.extend(self.added(entry)),
            EventKind::FunctionCallArgumentsDelta => spoken.extend(self.arguments(entry)),
            EventKind::Error => spoken.extend(error(entry)),
            EventKind::Completed | EventKind::Incomplete => self.end(entry, spoken),
            // Their content was said by the deltas, and the error before `response.failed` has said the rest.
            EventKind::Queued
            | EventKind::ContentPartAdded
            | EventKind::OutputTextAnnotationAdded
            | EventKind::ReasoningSummaryPartAdded
            | EventKind::ReasoningSummaryDone
            | EventKind::ReasoningSummaryPartDone
            | EventKind::OutputTextDone
            | EventKind::RefusalDone
            | EventKind::ReasoningDone
            | EventKind::FunctionCallArgumentsDone
            | EventKind::ContentPartDone
            | EventKind::OutputItemDone
            | EventKind::Failed => {}
        }
    }

    fn begin(&mut self, entry: &Entry) {
        let Ok(event) = serde_json::from_slice::<SnapshotEvent>(&entry.data) else { return };
        let head = Value::Object(head(&event.response, "chat.completion.chunk")).to_string();
        self.head = format!("{},", head.strip_suffix('}').unwrap_or(&head));
    }

    fn text(&self, entry: &Entry, field: &str) -> Option<Spoken> {
        let event: DeltaEvent<'_> = serde_json::from_slice(&entry.data).ok()?;
        let delta = format!("{{\"{field}\":{}}}", event.delta.get());
        let logprobs = match event.logprobs.map(RawValue::get) {
            None | Some("[]") => "null".into(),
            Some(logprobs) => format!("{{\"content\":{logprobs}}}"),
        };
        Some(self.chunk(entry, &delta, &logprobs, "null"))
    }

    fn added(&mut self, entry: &Entry) -> Option<Spoken> {
        let AddedEvent { output_index, item: Item::FunctionCall(call) } = serde_json::from_slice(&entry.data).ok()? else {
            return None;
        };
        let index = self.calls.len();
        self.calls.push(output_index);
        let function = json!({ "name": call.name, "arguments": "" });
        let delta = json!({ "tool_calls": [{ "index": index, "id": call.call_id, "type": "function", "function": function }] });
        Some(self.chunk(entry, &delta.to_string(), "null", "null"))
    }

    fn arguments(&self, entry: &Entry) -> Option<Spoken> {
        let event: DeltaEvent<'_> = serde_json::from_slice(&entry.data).ok()?;
        let index = self.calls.iter().position(|output_index| *output_index == event.output_index)?;
        let delta = format!("{{\"tool_calls\":[{{\"index\":{index},\"function\":{{\"arguments\":{}}}}}]}}", event.delta.get());
        Some(self.chunk(entry, &delta, "null", "null"))
    }

    fn end(&mut self, entry: &Entry, spoken: &mut Vec<Spoken>) {
        let Ok(event) = serde_json::from_slice::<SnapshotEvent>(&entry.data) else { return };
        let reason = finish_reason(&event.response);
        if let Ok(reason) = &reason {
            spoken.push(self.chunk(entry, "{}", "null", &format!("\"{reason}\"")));
        }
        if self.options.include_usage {
            let usage = event.response.usage.map_or(Value::Null, usage);
            spoken.push(say(entry, format!("{}\"choices\":[],\"usage\":{usage}}}", self.head)));
        }
        // The last chunk, as clients stop reading at it.
        if let Err(fault) = reason {
            self.has_failed = true;
            spoken.push(say(entry, json!({ "error": fault.payload() }).to_string()));
        }
    }

    /// One chunk of the one choice; everything is JSON already.
    fn chunk(&self, entry: &Entry, delta: &str, logprobs: &str, finish_reason: &str) -> Spoken {
        let head = &self.head;
        let usage = if self.options.include_usage { ",\"usage\":null" } else { "" };
        let choice = format!("{{\"index\":0,\"delta\":{delta},\"logprobs\":{logprobs},\"finish_reason\":{finish_reason}}}");
        say(entry, format!("{head}\"choices\":[{choice}]{usage}}}"))
    }
}

fn error(entry: &Entry) -> Option<Spoken> {
    let event: ErrorEvent<'_> = serde_json::from_slice(&entry.data).ok()?;
    Some(say(entry, format!("{{\"error\":{}}}", event.error.get())))
}

/// A finished response as one `chat.completion`.
///
/// # Errors
/// Where it did not end as a completion can: stopped by a caller, failed.
pub fn completion(response: &Response) -> Result<Value, Fault> {
    finish_reason(response).map(|reason| document(response, Some(reason)))
}

/// What there is of a response that did not end as a completion can, as one without a finish reason.
pub fn partial_completion(response: &Response) -> Value {
    document(response, None)
}

fn document(response: &Response, reason: Option<&str>) -> Value {
    let mut message = json!({ "role": "assistant", "content": null, "refusal": null });
    let parts = || {
        response.output.iter().flat_map(|item| match item {
            Item::Message(message) => message.content.as_slice(),
            Item::FunctionCall(_) | Item::FunctionCallOutput(_) | Item::Reasoning(_) | Item::Compaction(_) => &[],
        })
    };
    let mut logprobs = Vec::new();
    for part in parts() {
        match part {
            Part::OutputText { text, logprobs: more, .. } => {
                append(&mut message, "content", text);
                logprobs.extend(more.iter().cloned());
            }
            Part::Refusal { refusal } => append(&mut message, "refusal", refusal),
            Part::InputText { .. }
            | Part::InputImage { .. }
            | Part::InputFile { .. }
            | Part::ReasoningText { .. }
            | Part::SummaryText { .. } => {}
        }
    }
    let mut calls = Vec::new();
    for item in &response.output {
        match item {
            Item::FunctionCall(call) => calls.push(json!({
                "id": call.call_id, "type": "function", "function": { "name": call.name, "arguments": call.arguments },
            })),
            Item::Reasoning(reasoning) => {
                let texts = reasoning.summary.iter().chain(&reasoning.content).filter_map(Part::text);
                texts.for_each(|text| append(&mut message, "reasoning_content", text));
            }
            Item::Message(_) | Item::FunctionCallOutput(_) | Item::Compaction(_) => {}
        }
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    let logprobs = if logprobs.is_empty() { Value::Null } else { json!({ "content": logprobs }) };
    let mut completion = head(response, "chat.completion");
    completion.insert("choices".into(), json!([{ "index": 0, "message": message, "logprobs": logprobs, "finish_reason": reason }]));
    completion.insert("usage".into(), response.usage.map_or(Value::Null, usage));
    completion.into()
}

/// What every chunk repeats.
fn head(response: &Response, object: &str) -> Map<String, Value> {
    let id = response.id.as_str();
    let mut head = Map::new();
    head.insert("id".into(), format!("chatcmpl-{}", id.strip_prefix("resp_").unwrap_or(id)).into());
    head.insert("object".into(), object.into());
    head.insert("created".into(), response.created_at.into());
    head.insert("model".into(), response.model.clone().into());
    head.insert("system_fingerprint".into(), Value::Null);
    head.insert("service_tier".into(), response.service_tier.clone().into());
    head
}

/// The `finish_reason` of a response that ended well, or early for a reason this dialect knows; otherwise an error, so
/// that nobody takes a part for the whole.
fn finish_reason(response: &Response) -> Result<&'static str, Fault> {
    let reason = response.incomplete_details.as_ref().map_or("", |details| details.reason.as_str());
    match (response.status, reason) {
        (ResponseStatus::Completed, _) => {
            let calls = response.output.iter().any(|item| matches!(item, Item::FunctionCall(_)));
            Ok(if calls { "tool_calls" } else { "stop" })
        }
        (ResponseStatus::Incomplete, "max_output_tokens") => Ok("length"),
        (ResponseStatus::Incomplete, "content_filter") => Ok("content_filter"),
        (ResponseStatus::Failed, _) => Err(match &response.error {
            Some(error) => Fault::new(FaultKind::Server, error.code.clone(), error.message.clone()),
            None => Fault::new(FaultKind::Server, "server_error", "the answer failed"),
        }),
        (ResponseStatus::Cancelled, _) => {
            Err(Fault::new(FaultKind::Conflict, "response_cancelled", "the answer was stopped before its end"))
        }
        (ResponseStatus::Queued | ResponseStatus::InProgress | ResponseStatus::Incomplete, reason) => {
            let code = if reason.is_empty() { "incomplete" } else { reason };
            Err(Fault::new(FaultKind::Server, code, "the answer ended before it was whole"))
        }
    }
}

fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.input_tokens_details.cached_tokens,
            "cache_write_tokens": usage.input_tokens_details.cache_write_tokens,
        },
        "completion_tokens_details": { "reasoning_tokens": usage.output_tokens_details.reasoning_tokens },
        "source": usage.source,
    })
}

fn append(message: &mut Value, field: &str, text: &str) {
    let joined = message.get(field).and_then(Value::as_str).unwrap_or_default().to_owned() + text;
    message[field] = joined.into();
}

fn say(entry: &Entry, chunk: String) -> Spoken {
    Spoken { name: None, position: entry.position, data: chunk.into() }
}
