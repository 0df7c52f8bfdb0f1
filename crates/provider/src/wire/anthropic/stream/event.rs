//! The JSON of the stream's events, and of a whole message.

use protocol::usage::{InputTokensDetails, OutputTokensDetails, Usage, UsageSource};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::super::lenient::{self, read_count};

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    MessageStart,
    ContentBlockStart,
    ContentBlockDelta,
    ContentBlockStop,
    MessageDelta,
    MessageStop,
    /// A whole message, in place of a stream or at the end of one.
    Message,
    Error,
    /// One that says nothing of the answer, or none that is known.
    Other,
}

impl Kind {
    /// Name and data both say what an event is; some relays leave one of them out.
    pub(super) fn of_event(name: Option<&str>, value: &Value) -> Self {
        let of_data = || value.get("type").and_then(Value::as_str).map_or(Self::Other, Self::of);
        match name.map_or(Self::Other, Self::of) {
            Self::Other => of_data(),
            known => known,
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "message_start" => Self::MessageStart,
            "content_block_start" => Self::ContentBlockStart,
            "content_block_delta" => Self::ContentBlockDelta,
            "content_block_stop" => Self::ContentBlockStop,
            "message_delta" => Self::MessageDelta,
            "message_stop" => Self::MessageStop,
            "message" => Self::Message,
            "error" => Self::Error,
            _ => Self::Other,
        }
    }
}

/// One event. Which fields it has depends on its kind; unknown ones are ignored.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) kind: Kind,
    pub(super) index: Option<u64>,
    pub(super) message: Option<Message>,
    pub(super) content_block: Option<Block>,
    pub(super) delta: Option<Delta>,
    /// A delta of a kind that Weir does not know, as it came.
    pub(super) unknown_delta: Option<Map<String, Value>>,
    pub(super) usage: Value,
}

/// The kinds of deltas that have a meaning here.
const DELTAS: [&str; 6] = ["", "text_delta", "thinking_delta", "signature_delta", "input_json_delta", "citations_delta"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rest {
    #[serde(deserialize_with = "lenient::index")]
    index: Option<u64>,
    #[serde(deserialize_with = "lenient::object")]
    message: Option<Message>,
    #[serde(deserialize_with = "lenient::object")]
    content_block: Option<Block>,
    #[serde(deserialize_with = "lenient::object")]
    delta: Option<Delta>,
    usage: Value,
}

impl Event {
    /// Reads an event.
    pub(super) fn read(name: Option<&str>, value: Value) -> Self {
        let kind = Kind::of_event(name, &value);
        let of_delta = || value.pointer("/delta/type").and_then(Value::as_str).unwrap_or_default();
        let is_unknown = kind == Kind::ContentBlockDelta && !DELTAS.contains(&of_delta());
        let unknown_delta = if is_unknown { value["delta"].as_object().cloned() } else { None };
        let rest = match kind {
            // The message is the event itself.
            Kind::Message => Rest { message: serde_json::from_value(value).ok(), ..Rest::default() },
            // An unknown event may use the same names for something else.
            Kind::Other => Rest::default(),
            _ => serde_json::from_value(value).unwrap_or_default(),
        };
        let Rest { index, message, content_block, delta, usage } = rest;
        Self { kind, index, message, content_block, delta, unknown_delta, usage }
    }
}

/// A message: empty at the start of a stream, or a whole response.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message {
    #[serde(deserialize_with = "lenient::list")]
    pub(super) content: Option<Vec<Block>>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) stop_reason: Option<String>,
    pub(super) stop_details: Value,
    pub(super) usage: Value,
}

/// A block at its start; in a whole message, all of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Block {
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    pub(super) kind: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) text: Option<String>,
    pub(super) citations: Value,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) thinking: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) signature: Option<String>,
    /// Of `redacted_thinking`; others put all kinds of things there.
    #[serde(deserialize_with = "lenient::text")]
    pub(super) data: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) name: Option<String>,
    pub(super) input: Value,
    /// Fields that only blocks of other types have.
    #[serde(flatten)]
    pub(super) other: Map<String, Value>,
}

impl Block {
    /// A block that Weir does not interpret, as it came.
    pub(super) fn into_fields(self) -> Map<String, Value> {
        let Self { kind, text, citations, thinking, signature, data, id, name, input, other } = self;
        let texts =
            [("type", kind), ("id", id), ("name", name), ("text", text), ("thinking", thinking), ("signature", signature), ("data", data)];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, Value::String(text?))));
        let values = [("citations", citations), ("input", input)].into_iter().filter(|(_, value)| !value.is_null());
        texts.chain(values).map(|(name, value)| (name.to_owned(), value)).chain(other).collect()
    }
}

/// More of a block, or of the message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Delta {
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    pub(super) kind: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) text: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) thinking: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) signature: Option<String>,
    partial_json: Value,
    pub(super) citation: Value,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) stop_reason: Option<String>,
    pub(super) stop_details: Value,
}

impl Delta {
    /// What it is more of; where no type says it, its fields do.
    pub(super) fn kind(&self) -> &str {
        match self.kind.as_deref() {
            Some(kind) if !kind.is_empty() => kind,
            _ if self.text.is_some() => "text_delta",
            _ if self.thinking.is_some() => "thinking_delta",
            _ if !self.partial_json.is_null() => "input_json_delta",
            _ if self.signature.is_some() => "signature_delta",
            _ => "",
        }
    }

    /// The next piece of the arguments; some relays send the object itself.
    pub(super) fn take_json(&mut self) -> String {
        match self.partial_json.take() {
            Value::String(text) => text,
            Value::Object(fields) => Value::Object(fields).to_string(),
            _ => String::new(),
        }
    }
}

/// The counts so far. They are cumulative; what a later event leaves out stays as it was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tokens {
    input: u64,
    cache_read: u64,
    cache_written: u64,
    output: u64,
    thoughts: u64,
}

impl Tokens {
    /// Reads counts; whether there are any.
    pub(super) fn read(&mut self, usage: &Value) -> bool {
        let mut is_any = false;
        let mut count = |pointer: &str, place: &mut u64| {
            if let Some(count) = usage.pointer(pointer).and_then(read_count) {
                // Some relays know the input only at the begin, and send 0 at the end.
                *place = count.max(*place);
                is_any = true;
            }
        };
        count("/input_tokens", &mut self.input);
        count("/cache_read_input_tokens", &mut self.cache_read);
        count("/cache_creation_input_tokens", &mut self.cache_written);
        count("/output_tokens_details/thinking_tokens", &mut self.thoughts);
        // What stands at the begin is a placeholder: where a filter let nothing be said, the end is less than it.
        if let Some(output) = usage.get("output_tokens").and_then(read_count) {
            (self.output, is_any) = (output, true);
        }
        is_any
    }

    /// In Open Responses' words: Anthropic's `input_tokens` are those that no cache had to do with, Open Responses' are all.
    pub(super) fn usage(self) -> Usage {
        let input = self.input.saturating_add(self.cache_read).saturating_add(self.cache_written);
        Usage {
            input_tokens_details: InputTokensDetails { cached_tokens: self.cache_read, cache_write_tokens: self.cache_written },
            output_tokens_details: OutputTokensDetails { reasoning_tokens: self.thoughts },
            ..Usage::new(UsageSource::Provider, input, self.output)
        }
    }
}
