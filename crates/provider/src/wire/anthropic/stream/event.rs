//! The JSON of the stream's events, and of a whole message.

use protocol::usage::{InputTokensDetails, OutputTokensDetails, Usage, UsageSource};
use serde::Deserialize;
use serde_json::Value;

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    MessageStart,
    ContentBlockStart,
    ContentBlockDelta,
    ContentBlockStop,
    MessageDelta,
    MessageStop,
    Error,
    /// One that says nothing of the answer, or none that is known.
    Other,
}

impl Kind {
    fn of(word: &str) -> Self {
        match word {
            "message_start" => Self::MessageStart,
            "content_block_start" => Self::ContentBlockStart,
            "content_block_delta" => Self::ContentBlockDelta,
            "content_block_stop" => Self::ContentBlockStop,
            "message_delta" => Self::MessageDelta,
            "message_stop" => Self::MessageStop,
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
    pub(super) usage: Option<Value>,
    pub(super) error: Option<Value>,
}

/// What decides how the rest is read.
#[derive(Debug, Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Rest {
    index: Option<u64>,
    message: Option<Message>,
    content_block: Option<Block>,
    delta: Option<Delta>,
    usage: Option<Value>,
    error: Option<Value>,
}

impl Event {
    /// Reads an event. Name and data both say what it is; some relays leave one of them out. `None` where it is none.
    pub(super) fn read(name: Option<&str>, data: &[u8]) -> Option<Self> {
        let kind = match name.map_or(Kind::Other, Kind::of) {
            Kind::Other => {
                let head: Head = serde_json::from_slice(data).ok()?;
                Kind::of(head.kind.as_deref().unwrap_or_default())
            }
            known => known,
        };
        let rest = match kind {
            // An unknown event may use the same names for something else.
            Kind::Other => {
                let error = serde_json::from_slice::<Value>(data).ok()?.get_mut("error").map(Value::take);
                Rest { error, ..Rest::default() }
            }
            _ => serde_json::from_slice(data).ok()?,
        };
        let Rest { index, message, content_block, delta, usage, error } = rest;
        Some(Self { kind, index, message, content_block, delta, usage, error })
    }
}

/// A message: empty at the begin of a stream, or a whole answer.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Message {
    #[serde(default)]
    pub(super) content: Vec<Block>,
    pub(super) stop_reason: Option<String>,
    pub(super) stop_details: Option<Value>,
    pub(super) usage: Option<Value>,
}

/// A block at its begin; in a whole message, all of it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Block {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    pub(super) text: Option<String>,
    pub(super) citations: Option<Vec<Value>>,
    pub(super) thinking: Option<String>,
    pub(super) signature: Option<String>,
    /// Of `redacted_thinking`; others put all kinds of things there.
    #[serde(default, deserialize_with = "text_or_none")]
    pub(super) data: Option<String>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) input: Option<Value>,
}

/// More of a block, or of the message.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Delta {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    pub(super) text: Option<String>,
    pub(super) thinking: Option<String>,
    pub(super) signature: Option<String>,
    pub(super) partial_json: Option<String>,
    pub(super) citation: Option<Value>,
    pub(super) stop_reason: Option<String>,
    pub(super) stop_details: Option<Value>,
}

fn text_or_none<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| value.as_str().map(str::to_owned)))
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
    pub(super) fn read(&mut self, usage: Option<&Value>) -> bool {
        let Some(usage) = usage else { return false };
        let mut is_any = false;
        let mut count = |pointer: &str, place: &mut u64| {
            if let Some(count) = usage.pointer(pointer).and_then(Value::as_u64) {
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
        if let Some(output) = usage.get("output_tokens").and_then(Value::as_u64) {
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
