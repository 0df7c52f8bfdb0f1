//! The JSON of stream events and of complete messages.

use protocol::usage::{InputTokensDetails, OutputTokensDetails, Usage, UsageSource};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::super::lenient::{self, read_count};

/// The type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnthropicEventKind {
    MessageStart,
    ContentBlockStart,
    ContentBlockDelta,
    ContentBlockStop,
    MessageDelta,
    MessageStop,
    /// A complete message, instead of a stream or at its end.
    Message,
    Error,
    /// An event without response content, or an unknown one.
    Other,
}

impl AnthropicEventKind {
    /// Both the SSE name and the data's `type` say the type; some relays omit one of them.
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

/// An event. Its fields depend on its type; unknown ones are ignored.
#[derive(Debug)]
pub(super) struct AnthropicEvent {
    pub(super) kind: AnthropicEventKind,
    pub(super) index: Option<u64>,
    pub(super) message: Option<AnthropicMessage>,
    pub(super) content_block: Option<ContentBlock>,
    pub(super) delta: Option<BlockDelta>,
    /// An unknown kind of delta, unchanged.
    pub(super) unknown_delta: Option<Map<String, Value>>,
    pub(super) usage: Value,
}

/// The delta types that are interpreted.
const DELTAS: [&str; 6] =
    ["", "text_delta", "thinking_delta", "signature_delta", "input_json_delta", "citations_delta"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rest {
    #[serde(deserialize_with = "lenient::index")]
    index: Option<u64>,
    #[serde(deserialize_with = "lenient::object")]
    message: Option<AnthropicMessage>,
    #[serde(deserialize_with = "lenient::object")]
    content_block: Option<ContentBlock>,
    #[serde(deserialize_with = "lenient::object")]
    delta: Option<BlockDelta>,
    usage: Value,
}

impl AnthropicEvent {
    /// Parses an event.
    pub(super) fn read(name: Option<&str>, value: Value) -> Self {
        let kind = AnthropicEventKind::of_event(name, &value);
        let of_delta = || value.pointer("/delta/type").and_then(Value::as_str).unwrap_or_default();
        let is_unknown =
            kind == AnthropicEventKind::ContentBlockDelta && !DELTAS.contains(&of_delta());
        let unknown_delta = if is_unknown { value["delta"].as_object().cloned() } else { None };
        let rest = match kind {
            // The event itself is the message.
            AnthropicEventKind::Message => {
                Rest { message: serde_json::from_value(value).ok(), ..Rest::default() }
            }
            // An unknown event may use the same names with another meaning.
            AnthropicEventKind::Other => Rest::default(),
            _ => serde_json::from_value(value).unwrap_or_default(),
        };
        let Rest { index, message, content_block, delta, usage } = rest;
        Self { kind, index, message, content_block, delta, unknown_delta, usage }
    }
}

/// A message: empty in `message_start`, or a complete response.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AnthropicMessage {
    #[serde(deserialize_with = "lenient::list")]
    pub(super) content: Option<Vec<ContentBlock>>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) stop_reason: Option<String>,
    pub(super) stop_details: Value,
    pub(super) usage: Value,
}

/// A block in `content_block_start`, or a complete block.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContentBlock {
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    pub(super) kind: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) text: Option<String>,
    pub(super) citations: Value,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) thinking: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) signature: Option<String>,
    /// Of `redacted_thinking`; other blocks put other values there.
    #[serde(deserialize_with = "lenient::text")]
    pub(super) data: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) name: Option<String>,
    pub(super) input: Value,
    /// Fields of other block types.
    #[serde(flatten)]
    pub(super) other: Map<String, Value>,
}

impl ContentBlock {
    /// An uninterpreted block, unchanged.
    pub(super) fn into_fields(self) -> Map<String, Value> {
        let Self { kind, text, citations, thinking, signature, data, id, name, input, other } =
            self;
        let texts = [
            ("type", kind),
            ("id", id),
            ("name", name),
            ("text", text),
            ("thinking", thinking),
            ("signature", signature),
            ("data", data),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, Value::String(text?))));
        let values = [("citations", citations), ("input", input)]
            .into_iter()
            .filter(|(_, value)| !value.is_null());
        texts.chain(values).map(|(name, value)| (name.to_owned(), value)).chain(other).collect()
    }
}

/// A delta of a block or of the message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BlockDelta {
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

impl BlockDelta {
    /// The delta's type, derived from its fields if missing.
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

/// Token counts. They are cumulative; counts missing from later events keep their value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AnthropicTokens {
    input: u64,
    cache_read: u64,
    cache_written: u64,
    output: u64,
    thoughts: u64,
}

impl AnthropicTokens {
    /// Updates the counts; returns whether there were any.
    pub(super) fn read(&mut self, usage: &Value) -> bool {
        let mut is_any = false;
        let mut count = |pointer: &str, place: &mut u64| {
            if let Some(count) = usage.pointer(pointer).and_then(read_count) {
                // Some relays know the input count only at the start, and send 0 at the end.
                *place = count.max(*place);
                is_any = true;
            }
        };
        count("/input_tokens", &mut self.input);
        count("/cache_read_input_tokens", &mut self.cache_read);
        count("/cache_creation_input_tokens", &mut self.cache_written);
        count("/output_tokens_details/thinking_tokens", &mut self.thoughts);
        // The initial value is a placeholder, which can exceed the final one if a filter removed
        // all output.
        if let Some(output) = usage.get("output_tokens").and_then(read_count) {
            (self.output, is_any) = (output, true);
        }
        is_any
    }

    /// Converts to Open Responses usage: Anthropic's `input_tokens` exclude cached tokens, Open
    /// Responses' include them.
    pub(super) fn usage(self) -> Usage {
        let input = self.input.saturating_add(self.cache_read).saturating_add(self.cache_written);
        Usage {
            input_tokens_details: InputTokensDetails {
                cached_tokens: self.cache_read,
                cache_write_tokens: self.cache_written,
            },
            output_tokens_details: OutputTokensDetails { reasoning_tokens: self.thoughts },
            ..Usage::new(UsageSource::Provider, input, self.output)
        }
    }
}
