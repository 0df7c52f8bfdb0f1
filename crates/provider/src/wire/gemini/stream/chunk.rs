//! The JSON of a `GenerateContentResponse`.

use protocol::usage::{InputTokensDetails, OutputTokensDetails, Usage, UsageSource};
use serde::Deserialize;
use serde_json::{Value, json};

/// A chunk of an answer. Any field may be missing; unknown ones are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Chunk {
    pub(super) candidates: Option<Vec<Candidate>>,
    pub(super) prompt_feedback: Option<PromptFeedback>,
    usage_metadata: Option<Value>,
    pub(super) error: Option<Value>,
}

/// Why there is no answer at all.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PromptFeedback {
    pub(super) block_reason: Option<String>,
    /// Vertex only.
    pub(super) block_reason_message: Option<String>,
}

/// One alternative answer.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate {
    pub(super) index: Option<u64>,
    pub(super) content: Option<Content>,
    pub(super) finish_reason: Option<String>,
    pub(super) finish_message: Option<String>,
    logprobs_result: Option<LogprobsResult>,
}

/// More of the answer.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Content {
    pub(super) parts: Option<Vec<Part>>,
}

/// A part: text, a thought, or a call. What else there is (code that Gemini runs itself, pictures), Weir does not ask for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part {
    pub(super) text: Option<String>,
    pub(super) thought: Option<bool>,
    pub(super) thought_signature: Option<String>,
    pub(super) function_call: Option<FunctionCall>,
}

/// A whole call.
#[derive(Debug, Default, Deserialize)]
pub(super) struct FunctionCall {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) args: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogprobsResult {
    #[serde(default)]
    top_candidates: Vec<TopCandidates>,
    #[serde(default)]
    chosen_candidates: Vec<Logprob>,
}

#[derive(Debug, Default, Deserialize)]
struct TopCandidates {
    #[serde(default)]
    candidates: Vec<Logprob>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Logprob {
    #[serde(default)]
    token: String,
    log_probability: Option<f64>,
}

impl Logprob {
    fn value(&self) -> Value {
        json!({ "token": self.token, "logprob": self.log_probability, "bytes": self.token.as_bytes() })
    }
}

impl Candidate {
    /// The log probabilities in OpenAI's form.
    pub(super) fn logprobs(&mut self) -> Vec<Value> {
        let LogprobsResult { top_candidates, chosen_candidates } = self.logprobs_result.take().unwrap_or_default();
        let mut top = top_candidates.into_iter();
        let value = |chosen: Logprob| {
            let mut value = chosen.value();
            let alternatives = top.next().unwrap_or_default().candidates;
            value["top_logprobs"] = alternatives.iter().map(Logprob::value).collect();
            value
        };
        chosen_candidates.into_iter().map(value).collect()
    }
}

impl Chunk {
    /// The counts so far. Thoughts are beside what was said, and what tools of Gemini's own gave is read like a question.
    pub(super) fn usage(&self) -> Option<Usage> {
        let usage = self.usage_metadata.as_ref()?;
        let count = |name: &str| usage.get(name).and_then(Value::as_u64);
        let (prompt, candidates) = (count("promptTokenCount"), count("candidatesTokenCount"));
        let thoughts = count("thoughtsTokenCount");
        prompt.or(candidates).or(thoughts)?;
        let input = prompt.unwrap_or(0).saturating_add(count("toolUsePromptTokenCount").unwrap_or(0));
        let output = candidates.unwrap_or(0).saturating_add(thoughts.unwrap_or(0));
        let cached_tokens = count("cachedContentTokenCount").unwrap_or(0);
        Some(Usage {
            input_tokens_details: InputTokensDetails { cached_tokens, cache_write_tokens: 0 },
            output_tokens_details: OutputTokensDetails { reasoning_tokens: thoughts.unwrap_or(0) },
            ..Usage::new(UsageSource::Provider, input, output)
        })
    }
}
