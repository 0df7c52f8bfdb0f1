//! The JSON of a chat completion, streamed or complete, with the variations of compatible servers.

use std::borrow::Cow;
use std::{fmt, mem};

use protocol::usage::{InputTokensDetails, OutputTokensDetails, Usage, UsageSource};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::super::lenient::{self, read_count};
use super::super::reported::{is_failure, is_truthy};
use super::super::shared::HOSTED_CALLS;

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
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            match &*key {
                "choices" => chunk.choices = map.next_value::<List<ChatChoice>>()?.0,
                "usage" => chunk.usage = map.next_value()?,
                "error" => chunk.error = map.next_value()?,
                "x_groq" => chunk.x_groq = map.next_value()?,
                "base_resp" => chunk.base_resp = map.next_value()?,
                "citations" | "search_results" => {
                    _ = chunk.sources.insert(key.into_owned(), map.next_value()?)
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
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
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
                    _ = map.next_value::<IgnoredAny>()?
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
        let of_text =
            |text| ChatDelta { content: Some(ChatContent::Text(text)), ..ChatDelta::default() };
        self.delta.take().or_else(|| text.map(of_text))
    }

    /// The log probabilities of the content.
    pub(super) fn take_logprobs(&mut self) -> Vec<Value> {
        match self.logprobs.get_mut("content").map(Value::take) {
            Some(Value::Array(logprobs)) => logprobs,
            Some(_) | None => Vec::new(),
        }
    }
}

/// A delta, or a complete message.
#[derive(Debug, Default)]
pub(super) struct ChatDelta {
    pub(super) content: Option<ChatContent>,
    /// vLLM, Ollama, OpenRouter.
    reasoning: Option<ChatContent>,
    /// DeepSeek, Qwen, older vLLM.
    reasoning_content: Option<ChatContent>,
    pub(super) refusal: Option<String>,
    pub(super) tool_calls: Vec<CallPiece>,
    /// The deprecated single call, without index and id.
    pub(super) function_call: Option<FunctionPiece>,
    /// Images generated by the model (OpenRouter).
    pub(super) images: Vec<Value>,
    /// Citations.
    pub(super) annotations: Vec<Value>,
    /// Reasoning in the form that OpenRouter needs back.
    pub(super) reasoning_details: Vec<Value>,
    /// All other fields.
    pub(super) extra: Map<String, Value>,
}

impl ChatDelta {
    /// The reasoning, from either field. Servers that send both send the same text twice.
    pub(super) fn reasoning(&mut self) -> Option<String> {
        let text = |content: Option<ChatContent>| {
            content.map(ChatContent::into_text).filter(|text| !text.is_empty())
        };
        text(self.reasoning_content.take()).or_else(|| text(self.reasoning.take()))
    }
}

/// Reads an object field by field: of duplicate keys the last one counts, and none is an error.
macro_rules! read_fields {
    ($map:ident, $extra:expr, { $($name:literal => $value:ident => $read:expr,)+ }) => {
        while let Some(key) = $map.next_key::<Cow<'_, str>>()? {
            match &*key {
                $($name => {
                    let $value: Value = $map.next_value()?;
                    $read
                })+
                _ => {
                    let value: Value = $map.next_value()?;
                    if has_content(&value) {
                        $extra.insert(key.into_owned(), value);
                    }
                }
            }
        }
    };
}

/// Whether a field has content: most servers send all their fields with every chunk.
fn has_content(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn text(value: Value) -> Option<String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

fn list(value: Value) -> Vec<Value> {
    if let Value::Array(list) = value { list } else { Vec::new() }
}

/// The calls in a field, which is one call or a list, and calls of tools that are neither functions
/// nor custom, which the upstream runs itself.
fn calls(value: Value) -> (Vec<CallPiece>, Vec<Value>) {
    let entries = if value.as_object().is_some_and(|call| !call.is_empty()) {
        vec![value]
    } else {
        list(value)
    };
    let is_hosted = |call: &Value| {
        let kind = call.get("type").and_then(Value::as_str).unwrap_or_default();
        let is_call = ["function", "custom", "name"]
            .iter()
            .any(|name| call.get(name).is_some_and(|inner| !inner.is_null()));
        !matches!(kind, "" | "function" | "custom") && !is_call
    };
    let (hosted, calls): (Vec<Value>, Vec<Value>) = entries.into_iter().partition(is_hosted);
    (calls.into_iter().filter_map(CallPiece::of).collect(), hosted)
}

struct DeltaVisitor;

impl<'de> Visitor<'de> for DeltaVisitor {
    type Value = ChatDelta;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ChatDelta, A::Error> {
        let mut delta = ChatDelta::default();
        read_fields!(map, delta.extra, {
            "role" => _role => {},
            "content" => value => delta.content = ChatContent::of(value),
            "reasoning" => value => delta.reasoning = ChatContent::of(value),
            "reasoning_content" => value => delta.reasoning_content = ChatContent::of(value),
            "refusal" => value => delta.refusal = text(value).filter(|refusal| !refusal.is_empty()),
            "tool_calls" => value => {
                let (calls, others) = calls(value);
                delta.tool_calls = calls;
                if !others.is_empty() {
                    delta.extra.insert(HOSTED_CALLS.to_owned(), others.into());
                }
            },
            "function_call" => value => delta.function_call = FunctionPiece::of(value),
            "images" => value => delta.images = list(value),
            "annotations" => value => delta.annotations = list(value),
            "reasoning_details" => value => delta.reasoning_details = list(value),
        });
        Ok(delta)
    }
}

impl<'de> Deserialize<'de> for ChatDelta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DeltaVisitor)
    }
}

/// A content, split by kind of part.
#[derive(Debug, Default)]
pub(super) struct SplitContent {
    pub(super) spoken: String,
    pub(super) thought: String,
    pub(super) refused: String,
    pub(super) images: Vec<Value>,
    /// Other parts, unchanged.
    pub(super) others: Vec<Value>,
}

/// A string, or parts (Mistral).
#[derive(Debug)]
pub(super) enum ChatContent {
    Text(String),
    Parts(Vec<Value>),
}

impl ChatContent {
    /// Anything else is not content.
    fn of(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text)),
            Value::Array(parts) => Some(Self::Parts(parts)),
            Value::Object(part) if !part.is_empty() => Some(Self::Parts(vec![part.into()])),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        }
    }

    /// Splits the content into text, reasoning and other parts.
    pub(super) fn split(self) -> SplitContent {
        let parts = match self {
            Self::Text(spoken) => return SplitContent { spoken, ..SplitContent::default() },
            Self::Parts(parts) => parts,
        };
        let mut split = SplitContent::default();
        for part in parts {
            let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
            let text = |name: &str| part.get(name).map(deep_text);
            let place = match kind {
                "" | "text" | "output_text" => text("text").map(|text| (&mut split.spoken, text)),
                "thinking" | "reasoning" | "reasoning_text" => ["thinking", "reasoning", "text"]
                    .into_iter()
                    .find_map(text)
                    .map(|text| (&mut split.thought, text)),
                "refusal" => text("refusal").map(|text| (&mut split.refused, text)),
                _ => None,
            };
            match (place, part) {
                (Some((place, text)), _) => place.push_str(&text),
                (None, Value::String(text)) => split.spoken.push_str(&text),
                (None, part) if part.get("thinking").is_some() => {
                    split.thought.push_str(&deep_text(&part["thinking"]))
                }
                (None, part) if part.get("image_url").is_some() => split.images.push(part),
                (None, part) if has_content(&part) => split.others.push(part),
                (None, _) => {}
            }
        }
        split
    }

    /// The complete text, if the field determines its kind.
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => joined(&parts, "text"),
        }
    }
}

fn joined(parts: &[Value], name: &str) -> String {
    parts.iter().filter_map(|part| part.get(name)).map(deep_text).collect()
}

fn deep_text(value: &Value) -> String {
    match (value.as_str(), value.as_array()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(parts)) => {
            parts.iter().filter_map(|part| part.get("text")).map(deep_text).collect()
        }
        (None, None) => String::new(),
    }
}

/// A piece of a tool call.
#[derive(Debug, Default)]
pub(super) struct CallPiece {
    pub(super) index: Option<u64>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    /// The next piece of the arguments.
    pub(super) arguments: String,
    /// Whether it calls a custom tool, whose arguments are free text.
    pub(super) is_custom: bool,
    /// All other fields; those of the nested object are under its name.
    pub(super) extra: Map<String, Value>,
}

impl CallPiece {
    /// `None` if it is not a call.
    fn of(value: Value) -> Option<Self> {
        let Value::Object(mut fields) = value else { return None };
        let mut take = |name: &str| fields.shift_remove(name).unwrap_or_default();
        let (index, id, mut function, custom) =
            (read_count(&take("index")), text(take("id")), take("function"), take("custom"));
        take("type");
        // Some relays omit the nested object.
        if !function.is_object() && !custom.is_object() {
            let inner = ["name", "arguments"]
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), fields.shift_remove(name)?)));
            function = Value::Object(inner.collect());
        }
        let is_custom = custom.is_object();
        let (inner, kind) = if is_custom { (custom, "custom") } else { (function, "function") };
        let inner = FunctionPiece::of(inner).unwrap_or_default();
        fields.retain(|_, value| has_content(value));
        if !inner.extra.is_empty() {
            fields.insert(kind.to_owned(), inner.extra.into());
        }
        let present = |text: Option<String>| text.filter(|text| !text.is_empty());
        Some(Self {
            index,
            id: present(id),
            name: present(inner.name),
            arguments: inner.arguments,
            is_custom,
            extra: fields,
        })
    }
}

/// A piece of a function's name and arguments.
#[derive(Debug, Default)]
pub(super) struct FunctionPiece {
    pub(super) name: Option<String>,
    pub(super) arguments: String,
    extra: Map<String, Value>,
}

impl FunctionPiece {
    /// `None` if it is not a function.
    fn of(value: Value) -> Option<Self> {
        let Value::Object(mut fields) = value else { return None };
        let mut take = |name: &str| fields.shift_remove(name);
        let name = take("name").and_then(text).filter(|name| !name.is_empty());
        let arguments = match take("arguments").or_else(|| take("input")) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text,
            // Some relays send the object itself.
            Some(other) => other.to_string(),
        };
        fields.retain(|_, value| has_content(value));
        Some(Self { name, arguments, extra: fields })
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
