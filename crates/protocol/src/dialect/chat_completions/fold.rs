//! Renders a log as chat completion chunks.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::options::ChatOptions;
use super::request::read_create;
use super::whole;
use crate::dialect::definition::Dialect;
use crate::dialect::message::{Description, Message, Partial, StreamEnd};
use crate::dialect::openai;
use crate::dialect::outline::Outline;
use crate::entry::Entry;
use crate::event::EventKind;
use crate::extra::Extra;
use crate::fault::Fault;
use crate::item::Item;
use crate::request::Create;
use crate::snapshot;

/// The state of rendering: what every chunk repeats, and the index of each tool call.
#[derive(Clone, Debug)]
pub struct ChatCompletions {
    options: ChatOptions,
    /// The start of every chunk, up to its `choices`: rendered once, as there is a chunk for each
    /// token.
    head: String,
    /// The calls so far; a call's position here is its `index`.
    calls: Vec<Call>,
    /// The number of images so far.
    images: usize,
    /// Whether the response ended without a finish reason.
    has_failed: bool,
}

/// A tool call of which chunks were rendered.
#[derive(Clone, Debug)]
struct Call {
    output_index: usize,
    /// Its fields beyond the vocabulary, as far as they were rendered.
    extra: Extra,
}

/// The bytes of a chunk beside its head and its text, at most.
const CHUNK: usize = 96;

/// Texts are copied from the log with their escapes.
#[derive(Deserialize)]
struct DeltaEvent<'a> {
    #[serde(default)]
    output_index: usize,
    #[serde(borrow)]
    delta: &'a RawValue,
}

#[derive(Deserialize)]
struct AnnotationEvent {
    annotation: Value,
}

#[derive(Deserialize)]
struct ItemEvent {
    output_index: usize,
    item: Item,
}

#[derive(Deserialize)]
struct ErrorEvent<'a> {
    #[serde(borrow)]
    error: &'a RawValue,
}

/// Its name and its frames.
pub const DESCRIPTION: Description =
    Description { name: "chat_completions", frames: &["json", "ndjson", "sse"] };

impl Dialect for ChatCompletions {
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn read(body: &Value) -> Result<(Create, Self), Fault> {
        read_create(body).map(|request| (request.create, Self::new(request.options)))
    }

    fn fold(&mut self, entry: &Entry, messages: &mut Vec<Message>) {
        self.render(entry, messages);
    }

    fn whole(&self, terminal: &Entry) -> Result<Bytes, Fault> {
        let response =
            snapshot::response(std::slice::from_ref(terminal)).ok_or_else(snapshot::unreadable)?;
        whole::completion(&response, self.options).map(|completion| completion.to_string().into())
    }

    fn partial(&self, terminal: &Entry) -> Option<Partial> {
        let response = snapshot::response(std::slice::from_ref(terminal))?;
        Some(Partial {
            field: "completion",
            json: whole::partial_completion(&response, self.options).to_string().into(),
        })
    }

    fn error(&mut self, fault: &Fault, messages: &mut Vec<Message>) {
        messages.push(Message {
            name: Some(EventKind::Error.as_str()),
            data: fault.body().to_string().into(),
            ..Message::default()
        });
    }

    /// Chat completions have no event that distinguishes a failed response from a complete one, and
    /// clients that skip the error chunk take every clean end for success.
    fn end(&self) -> StreamEnd {
        if self.has_failed {
            StreamEnd::Abort
        } else {
            StreamEnd::Clean { sentinel: Some(openai::DONE) }
        }
    }
}

impl ChatCompletions {
    /// The dialect at the start of a log.
    pub fn new(options: ChatOptions) -> Self {
        Self { options, head: "{".into(), calls: Vec::new(), images: 0, has_failed: false }
    }

    fn render(&mut self, entry: &Entry, messages: &mut Vec<Message>) {
        self.has_failed |= matches!(entry.kind, EventKind::Error | EventKind::Failed);
        match entry.kind {
            EventKind::Created => self.start(entry),
            EventKind::InProgress => messages.push(self.chunk(
                entry,
                r#"{"role":"assistant","content":""}"#,
                "null",
                "null",
            )),
            EventKind::OutputTextDelta => messages.extend(self.text(entry, "content")),
            EventKind::RefusalDelta => messages.extend(self.text(entry, "refusal")),
            EventKind::ReasoningDelta | EventKind::ReasoningSummaryDelta => {
                messages.extend(self.text(entry, "reasoning_content"));
            }
            EventKind::OutputItemAdded => messages.extend(self.added(entry)),
            EventKind::FunctionCallArgumentsDelta => messages.extend(self.arguments(entry)),
            EventKind::CustomToolCallInputDelta => messages.extend(self.custom_input(entry)),
            EventKind::OutputTextAnnotationAdded => messages.extend(self.annotation(entry)),
            EventKind::OutputItemDone => messages.extend(self.done(entry)),
            EventKind::Error => messages.extend(error(entry)),
            EventKind::Completed | EventKind::Incomplete => self.finish(entry, messages),
            // The deltas had the content, and the `error` event before `response.failed` has the
            // cause.
            EventKind::Queued
            | EventKind::ContentPartAdded
            | EventKind::ReasoningSummaryPartAdded
            | EventKind::ReasoningSummaryDone
            | EventKind::ReasoningSummaryPartDone
            | EventKind::OutputTextDone
            | EventKind::RefusalDone
            | EventKind::ReasoningDone
            | EventKind::FunctionCallArgumentsDone
            | EventKind::CustomToolCallInputDone
            | EventKind::ContentPartDone
            | EventKind::Failed => {}
            // Chat completions have no chunk for tools that the upstream runs.
            hosted => debug_assert!(hosted.is_hosted(), "every other event is listed"),
        }
    }

    fn start(&mut self, entry: &Entry) {
        let Some(outline) = Outline::read(entry) else { return };
        let head = Value::Object(whole::head(&outline, "chat.completion.chunk")).to_string();
        self.head = format!("{},", head.strip_suffix('}').unwrap_or(&head));
    }

    /// A chunk for each token: its text is copied as it is in the log.
    fn text(&self, entry: &Entry, field: &str) -> Option<Message> {
        let delta = entry.delta()?;
        let logprobs = entry
            .after_delta()
            .strip_prefix(b",\"logprobs\":")
            .and_then(|rest| rest.strip_suffix(b"}"))
            .filter(|logprobs| *logprobs != b"[]");
        let size = self.head.len() + field.len() + entry.data.len() + CHUNK;
        let mut chunk = Vec::with_capacity(size);
        let mut put = |bytes: &[u8]| chunk.extend_from_slice(bytes);
        put(self.head.as_bytes());
        put(b"\"choices\":[{\"index\":0,\"delta\":{\"");
        put(field.as_bytes());
        put(b"\":");
        put(delta);
        put(b"},\"logprobs\":");
        match logprobs {
            None => put(b"null"),
            Some(logprobs) => [b"{\"content\":", logprobs, b"}"].into_iter().for_each(&mut put),
        }
        put(b",\"finish_reason\":null}]");
        put(self.tail().as_bytes());
        Some(Message { position: Some(entry.position), data: chunk.into(), ..Message::default() })
    }

    fn added(&mut self, entry: &Entry) -> Option<Message> {
        if has_nothing_beside(entry) {
            return None;
        }
        let ItemEvent { output_index, item } = serde_json::from_slice(&entry.data).ok()?;
        let extra = item.extra()?.clone();
        let call = match item {
            Item::FunctionCall(call) if self.options.has_functions => {
                self.calls.push(Call { output_index, extra });
                let delta = json!({ "function_call": { "name": call.name, "arguments": "" } });
                // The older form allows only one call.
                return (self.calls.len() == 1)
                    .then(|| self.chunk(entry, &delta.to_string(), "null", "null"));
            }
            Item::FunctionCall(call) => whole::function_call(&call.call_id, &call.name, "", &extra),
            Item::CustomToolCall(call) => whole::custom_call(&call.call_id, &call.name, "", &extra),
            _ => return None,
        };
        let index = self.calls.len();
        self.calls.push(Call { output_index, extra });
        Some(self.call_chunk(entry, index, call))
    }

    fn arguments(&self, entry: &Entry) -> Option<Message> {
        let event: DeltaEvent<'_> = serde_json::from_slice(&entry.data).ok()?;
        let index = self.index(event.output_index)?;
        let arguments = event.delta.get();
        let delta = if self.options.has_functions {
            (index == 0).then(|| format!("{{\"function_call\":{{\"arguments\":{arguments}}}}}"))?
        } else {
            format!(
                "{{\"tool_calls\":[{{\"index\":{index},\"function\":{{\"arguments\":{arguments}}}}}]}}"
            )
        };
        Some(self.chunk(entry, &delta, "null", "null"))
    }

    fn custom_input(&self, entry: &Entry) -> Option<Message> {
        let event: DeltaEvent<'_> = serde_json::from_slice(&entry.data).ok()?;
        let index = self.index(event.output_index)?;
        let delta = format!(
            "{{\"tool_calls\":[{{\"index\":{index},\"custom\":{{\"input\":{}}}}}]}}",
            event.delta.get()
        );
        Some(self.chunk(entry, &delta, "null", "null"))
    }

    /// The index of the call at this index of the output.
    fn index(&self, output_index: usize) -> Option<usize> {
        self.calls.iter().position(|call| call.output_index == output_index)
    }

    fn call_chunk(&self, entry: &Entry, index: usize, mut call: Map<String, Value>) -> Message {
        call.shift_insert(0, "index".into(), index.into());
        self.chunk(entry, &json!({ "tool_calls": [call] }).to_string(), "null", "null")
    }

    fn annotation(&self, entry: &Entry) -> Option<Message> {
        let event: AnnotationEvent = serde_json::from_slice(&entry.data).ok()?;
        let delta = json!({ "annotations": [whole::annotation(&event.annotation)] });
        Some(self.chunk(entry, &delta.to_string(), "null", "null"))
    }

    /// The fields of an item that are complete only at its end: those beyond the vocabulary, and
    /// images.
    fn done(&mut self, entry: &Entry) -> Option<Message> {
        if has_nothing_beside(entry) {
            return None;
        }
        let ItemEvent { output_index, item } = serde_json::from_slice(&entry.data).ok()?;
        let delta = match &item {
            Item::FunctionCall(_) | Item::CustomToolCall(_) => {
                let index = self.index(output_index)?;
                let extra = item.extra()?;
                if *extra == self.calls[index].extra || self.options.has_functions {
                    return None;
                }
                return Some(self.call_chunk(entry, index, extra.to_map()));
            }
            Item::Message(_) | Item::Reasoning(_) => item.extra()?.to_map(),
            Item::Opaque(item) => {
                let image = whole::image(item, self.images)?;
                self.images += 1;
                Map::from_iter([("images".to_owned(), vec![image].into())])
            }
            Item::FunctionCallOutput(_) | Item::CustomToolCallOutput(_) | Item::Compaction(_) => {
                return None;
            }
        };
        (!delta.is_empty())
            .then(|| self.chunk(entry, &Value::Object(delta).to_string(), "null", "null"))
    }

    fn finish(&mut self, entry: &Entry, messages: &mut Vec<Message>) {
        let Some(outline) = Outline::read(entry) else { return };
        let reason = whole::finish_reason(&outline, self.options);
        if let Ok(reason) = &reason {
            let native = outline
                .native_finish_reason()
                .map_or_else(String::new, |native| format!(",\"native_finish_reason\":{native}"));
            messages.push(self.chunk(entry, "{}", "null", &format!("\"{reason}\"{native}")));
        }
        if self.options.include_usage {
            let usage = outline.usage.map_or(Value::Null, whole::usage);
            messages
                .push(message(entry, format!("{}\"choices\":[],\"usage\":{usage}}}", self.head)));
        }
        // The last chunk, as clients stop reading at it.
        if let Err(fault) = reason {
            self.has_failed = true;
            messages.push(message(entry, json!({ "error": fault.payload() }).to_string()));
        }
    }

    /// What ends every chunk but the last.
    fn tail(&self) -> &'static str {
        if self.options.include_usage { ",\"usage\":null}" } else { "}" }
    }

    /// One chunk of the one choice; everything is JSON already.
    fn chunk(&self, entry: &Entry, delta: &str, logprobs: &str, finish_reason: &str) -> Message {
        let (head, end) = (&self.head, self.tail());
        let choice = format!(
            "{{\"index\":0,\"delta\":{delta},\"logprobs\":{logprobs},\"finish_reason\":{finish_reason}}}"
        );
        message(entry, format!("{head}\"choices\":[{choice}]{end}"))
    }
}

/// Whether the item of this event is a message without fields beyond the vocabulary, as most are:
/// its text was in deltas.
fn has_nothing_beside(entry: &Entry) -> bool {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only their names are read")]
    struct Plain<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        id: IgnoredAny,
        status: IgnoredAny,
        role: IgnoredAny,
        content: IgnoredAny,
    }
    #[derive(Deserialize)]
    struct WithItem<'a> {
        #[serde(borrow)]
        item: Plain<'a>,
    }
    serde_json::from_slice::<WithItem<'_>>(&entry.data)
        .is_ok_and(|event| event.item.kind == "message")
}

fn error(entry: &Entry) -> Option<Message> {
    let event: ErrorEvent<'_> = serde_json::from_slice(&entry.data).ok()?;
    Some(message(entry, format!("{{\"error\":{}}}", event.error.get())))
}

fn message(entry: &Entry, chunk: String) -> Message {
    Message { position: Some(entry.position), data: chunk.into(), ..Message::default() }
}
