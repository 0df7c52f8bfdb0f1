//! The JSON of a chat completion, streamed or complete, with the variations of compatible servers.

use std::borrow::Cow;
use std::{fmt, mem};

use protocol::usage::{InputTokensDetails, OutputTokensDetails, Usage, UsageSource};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::super::lenient::{self, FieldName, read_count};
use super::super::reported::{is_failure, is_truthy};
use super::delta::{ChatDelta, has_content, text};

/// A `chat.completion.chunk` or a `chat.completion`. Any field may be missing or have another type.
#[derive(Debug, Default)]
pub(super) struct ChatChunk {
    pub(super) choices: Option<Vec<ChatChoice>>,
    usage: Value,
    error: Value,
    x_groq: Value,
    /// MiniMax's status, next to the choices.
    base_resp: Value,
    /// Sources of the response (Perplexity). Every chunk repeats them.
    pub(super) sources: Map<String, Value>,
    /// All other fields.
    extra: Map<String, Value>,
}

/// A value that is ignored if it has another type.
#[derive(Debug, Deserialize)]
#[serde(transparent, bound = "T: Deserialize<'de>")]
struct List<T>(#[serde(deserialize_with = "lenient::list")] Option<Vec<T>>);

#[derive(Debug, Deserialize)]
#[serde(transparent, bound = "T: Deserialize<'de>")]
struct Object<T>(#[serde(deserialize_with = "lenient::object")] Option<T>);

struct ChunkVisitor;

impl<'de> Visitor<'de> for ChunkVisitor {
    type Value = ChatChunk;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ChatChunk, A::Error> {
        let mut chunk = ChatChunk::default();
        while let Some(FieldName(key)) = map.next_key()? {
            match &*key {
                "choices" => chunk.choices = map.next_value::<List<ChatChoice>>()?.0,
                "usage" => chunk.usage = map.next_value()?,
                "error" => chunk.error = map.next_value()?,
                "x_groq" => chunk.x_groq = map.next_value()?,
                "base_resp" => chunk.base_resp = map.next_value()?,
                "citations" | "search_results" => {
                    _ = chunk.sources.insert(key.into_owned(), map.next_value()?);
                }
                name if CHUNK.contains(&name) => _ = map.next_value::<IgnoredAny>()?,
                _ => take_extra(&mut chunk.extra, key, map.next_value()?),
            }
        }
        Ok(chunk)
    }
}

/// Fields of every chunk that are of no interest to callers.
const CHUNK: [&str; 12] = [
    "id",
    "object",
    "created",
    "model",
    "system_fingerprint",
    "service_tier",
    "obfuscation",
    "request_id",
    "nvext",
    "input_sensitive",
    "output_sensitive",
    "type",
];

fn take_extra(extra: &mut Map<String, Value>, key: Cow<'_, str>, value: Value) {
    if has_content(&value) {
        extra.insert(key.into_owned(), value);
    }
}

impl<'de> Deserialize<'de> for ChatChunk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ChunkVisitor)
    }
}

impl ChatChunk {
    /// Fields beyond the message: of the chunk, of its first choice, and of the usage except the
    /// counts.
    pub(super) fn take_extra(&mut self) -> Map<String, Value> {
        let mut extra = mem::take(&mut self.extra);
        extra.extend(
            self.choices
                .iter_mut()
                .flatten()
                .take(1)
                .flat_map(|choice| mem::take(&mut choice.extra)),
        );
        let is_count = |name: &str| {
            name.contains("token") || name.ends_with("_details") || name.ends_with("_time")
        };
        let usage = self.usage.as_object().into_iter().flatten();
        let usage: Map<String, Value> = usage
            .filter(|(name, value)| !is_count(name) && has_content(value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !usage.is_empty() {
            extra.insert("usage".to_owned(), usage.into());
        }
        extra
    }

    /// Whether it has an `error` field.
    pub(super) fn has_error(&self) -> bool {
        is_truthy(&self.error)
            || self.choices.iter().flatten().any(|choice| is_truthy(&choice.error))
    }

    /// Whether it may be an error in any format.
    pub(super) fn may_be_error(&self) -> bool {
        self.choices.as_ref().is_none_or(Vec::is_empty)
            || self.has_error()
            || is_failure(&self.base_resp)
    }

    /// The usage, which some servers put into the choice (Moonshot).
    pub(super) fn usage(&self) -> Option<Usage> {
        let choices = || {
            self.choices
                .iter()
                .flatten()
                .map(|choice| &choice.usage)
                .find(|usage| usage.is_object())
        };
        // Groq.
        let groq = || self.x_groq.get("usage").filter(|usage| usage.is_object());
        Some(&self.usage)
            .filter(|usage| usage.is_object())
            .or_else(choices)
            .or_else(groq)
            .and_then(read_usage)
    }
}

/// A choice. Weir requests only one.
#[derive(Debug, Default)]
pub(super) struct ChatChoice {
    pub(super) index: Option<u64>,
    delta: Option<ChatDelta>,
    /// In a complete `chat.completion`: the same fields as in a delta.
    pub(super) message: Option<ChatDelta>,
    pub(super) finish_reason: Option<String>,
    /// Instead of both: the text of a text completion.
    text: Option<String>,
    error: Value,
    logprobs: Value,
    usage: Value,
    /// All other fields.
    extra: Map<String, Value>,
}

struct ChoiceVisitor;

impl<'de> Visitor<'de> for ChoiceVisitor {
    type Value = ChatChoice;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ChatChoice, A::Error> {
        let mut choice = ChatChoice::default();
        while let Some(FieldName(key)) = map.next_key()? {
            match &*key {
                "index" => choice.index = read_count(&map.next_value()?),
                "delta" => choice.delta = map.next_value::<Object<ChatDelta>>()?.0,
                "message" => choice.message = map.next_value::<Object<ChatDelta>>()?.0,
                "finish_reason" => choice.finish_reason = text(map.next_value()?),
                "text" => choice.text = text(map.next_value()?),
                "error" => choice.error = map.next_value()?,
                "logprobs" => choice.logprobs = map.next_value()?,
                "usage" => choice.usage = map.next_value()?,
                // Which stop text matched, and the token ids.
                "stop_reason" | "matched_stop" | "token_ids" | "seed" => {
                    _ = map.next_value::<IgnoredAny>()?;
                }
                _ => take_extra(&mut choice.extra, key, map.next_value()?),
            }
        }
        Ok(choice)
    }
}

impl<'de> Deserialize<'de> for ChatChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ChoiceVisitor)
    }
}

impl ChatChoice {
    /// The delta, if any.
    pub(super) fn take_delta(&mut self) -> Option<ChatDelta> {
        let text = self.text.take().filter(|_| self.message.is_none());
        self.delta.take().or_else(|| text.map(ChatDelta::of_text))
    }

    /// The log probabilities of the content.
    pub(super) fn take_logprobs(&mut self) -> Vec<Value> {
        match self.logprobs.get_mut("content").map(Value::take) {
            Some(Value::Array(logprobs)) => logprobs,
            Some(_) | None => Vec::new(),
        }
    }
}

/// Reads OpenAI's token counts, and DeepSeek's name for cached tokens. Without any count there is
/// no usage.
fn read_usage(usage: &Value) -> Option<Usage> {
    let count = |pointer: &str| usage.pointer(pointer).and_then(read_count);
    // Some relays use Anthropic's names.
    let input = count("/prompt_tokens").or_else(|| count("/input_tokens"));
    let output = count("/completion_tokens").or_else(|| count("/output_tokens"));
    if input.is_none() && output.is_none() {
        return None;
    }
    let counted = Usage::new(UsageSource::Provider, input.unwrap_or(0), output.unwrap_or(0));
    let cache_write_tokens = count("/prompt_tokens_details/cache_write_tokens").unwrap_or(0);
    let cached_tokens = count("/prompt_tokens_details/cached_tokens")
        .or_else(|| count("/prompt_cache_hit_tokens"))
        .or_else(|| count("/cached_tokens"))
        .unwrap_or(0);
    let reasoning_tokens = count("/completion_tokens_details/reasoning_tokens").unwrap_or(0);
    Some(Usage {
        input_tokens_details: InputTokensDetails { cached_tokens, cache_write_tokens },
        output_tokens_details: OutputTokensDetails { reasoning_tokens },
        total_tokens: count("/total_tokens")
            .filter(|total| *total >= counted.total_tokens)
            .unwrap_or(counted.total_tokens),
        ..counted
    })
}
