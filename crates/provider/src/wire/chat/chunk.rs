//! The JSON of a chat completion, streamed or whole, as loosely as the compatible servers write it.

use protocol::usage::{InputTokensDetails, OutputTokensDetails, Usage, UsageSource};
use serde::Deserialize;
use serde_json::Value;

/// A `chat.completion.chunk` or a `chat.completion`. Any field may be missing or null; unknown ones are ignored.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Chunk {
    pub(super) choices: Option<Vec<Choice>>,
    usage: Option<Value>,
    pub(super) error: Option<Value>,
}

impl Chunk {
    /// The usage, which some servers put into the choice (Moonshot).
    pub(super) fn usage(&self) -> Option<Usage> {
        let choices = || self.choices.iter().flatten().find_map(|choice| choice.usage.as_ref());
        self.usage.as_ref().filter(|usage| usage.is_object()).or_else(choices).and_then(read_usage)
    }
}

/// One alternative answer. Weir asks for one only.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Choice {
    pub(super) index: Option<u64>,
    pub(super) delta: Option<Delta>,
    /// In a whole `chat.completion`: the same fields as in a delta.
    pub(super) message: Option<Delta>,
    pub(super) finish_reason: Option<String>,
    logprobs: Option<Value>,
    usage: Option<Value>,
}

impl Choice {
    /// The log probabilities of the content.
    pub(super) fn take_logprobs(&mut self) -> Vec<Value> {
        let content = self.logprobs.as_mut().and_then(|logprobs| logprobs.get_mut("content")).map(Value::take);
        if let Some(Value::Array(logprobs)) = content { logprobs } else { Vec::new() }
    }
}

/// What came with one chunk.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Delta {
    pub(super) content: Option<Content>,
    /// vLLM, Ollama, OpenRouter.
    reasoning: Option<Content>,
    /// DeepSeek, Qwen, older vLLM.
    reasoning_content: Option<Content>,
    pub(super) refusal: Option<String>,
    pub(super) tool_calls: Option<Vec<CallPiece>>,
    /// The call of before there were several, without index and id.
    pub(super) function_call: Option<FunctionPiece>,
}

impl Delta {
    /// The thoughts, under whichever name. Servers that send both names send the same text twice.
    pub(super) fn reasoning(&mut self) -> Option<String> {
        let text = |content: Option<Content>| content.map(Content::into_text).filter(|text| !text.is_empty());
        text(self.reasoning_content.take()).or_else(|| text(self.reasoning.take()))
    }
}

/// Text, or parts of it (Mistral).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Value>),
    /// Something else that no answer consists of.
    Other(serde::de::IgnoredAny),
}

impl Content {
    /// What is said, and what is thought beside it.
    pub(super) fn split(self) -> (String, String) {
        match self {
            Self::Text(text) => (text, String::new()),
            Self::Parts(parts) => (joined(&parts, "text"), joined(&parts, "thinking")),
            Self::Other(_) => Default::default(),
        }
    }

    /// All of it, where its field says what it is.
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => joined(&parts, "text"),
            Self::Other(_) => String::new(),
        }
    }
}

fn joined(parts: &[Value], name: &str) -> String {
    parts.iter().filter_map(|part| part.get(name)).map(deep_text).collect()
}

fn deep_text(value: &Value) -> String {
    match (value.as_str(), value.as_array()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(parts)) => parts.iter().filter_map(|part| part.get("text")).map(deep_text).collect(),
        (None, None) => String::new(),
    }
}

/// A piece of a tool call.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CallPiece {
    pub(super) index: Option<u64>,
    pub(super) id: Option<String>,
    pub(super) function: Option<FunctionPiece>,
}

/// A piece of a function's name and arguments.
#[derive(Debug, Default, Deserialize)]
pub(super) struct FunctionPiece {
    pub(super) name: Option<String>,
    /// A text to be concatenated; some relays send the object itself.
    arguments: Option<Value>,
}

impl FunctionPiece {
    /// The next piece of the arguments.
    pub(super) fn arguments(&mut self) -> String {
        match self.arguments.take() {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
        }
    }
}

/// Reads OpenAI's counts, and DeepSeek's name for the cached ones. Without any count there is no usage.
fn read_usage(usage: &Value) -> Option<Usage> {
    let count = |pointer: &str| usage.pointer(pointer).and_then(read_count);
    let (input, output) = (count("/prompt_tokens"), count("/completion_tokens"));
    if input.is_none() && output.is_none() {
        return None;
    }
    let counted = Usage::new(UsageSource::Provider, input.unwrap_or(0), output.unwrap_or(0));
    let cache_write_tokens = count("/prompt_tokens_details/cache_write_tokens").unwrap_or(0);
    let cached_tokens = count("/prompt_tokens_details/cached_tokens").or_else(|| count("/prompt_cache_hit_tokens")).unwrap_or(0);
    let reasoning_tokens = count("/completion_tokens_details/reasoning_tokens").unwrap_or(0);
    Some(Usage {
        input_tokens_details: InputTokensDetails { cached_tokens, cache_write_tokens },
        output_tokens_details: OutputTokensDetails { reasoning_tokens },
        total_tokens: count("/total_tokens").unwrap_or(counted.total_tokens),
        ..counted
    })
}

/// A count, also when written as `12.0`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates, and a count is no exact science")]
fn read_count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().filter(|number| *number >= 0.0).map(|number| number as u64))
}
