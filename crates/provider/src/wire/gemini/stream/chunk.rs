//! The JSON of a `GenerateContentResponse`.

use protocol::usage::{InputTokensDetails, OutputTokensDetails, Usage, UsageSource};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::super::lenient::{self, read_count};
use crate::wire::gemini::names::PARTS;

/// A chunk of a response. Any field may be missing or have another type; unknown ones are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct GeminiChunk {
    #[serde(deserialize_with = "lenient::list")]
    pub(super) candidates: Option<Vec<GeminiCandidate>>,
    #[serde(deserialize_with = "lenient::object", alias = "prompt_feedback")]
    pub(super) prompt_feedback: Option<PromptFeedback>,
    #[serde(alias = "usage_metadata")]
    usage_metadata: Value,
    pub(super) error: Value,
    /// The complete chunk, if a relay nested it (Code Assist).
    #[serde(deserialize_with = "lenient::object")]
    response: Option<Box<GeminiChunk>>,
}

/// Why there is no response.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PromptFeedback {
    #[serde(deserialize_with = "lenient::text", alias = "block_reason")]
    pub(super) block_reason: Option<String>,
    /// Vertex only.
    #[serde(deserialize_with = "lenient::text")]
    pub(super) block_reason_message: Option<String>,
}

/// A candidate.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct GeminiCandidate {
    #[serde(deserialize_with = "lenient::index")]
    pub(super) index: Option<u64>,
    #[serde(deserialize_with = "lenient::object")]
    pub(super) content: Option<GeminiContent>,
    #[serde(deserialize_with = "lenient::text", alias = "finish_reason")]
    pub(super) finish_reason: Option<String>,
    #[serde(deserialize_with = "lenient::text", alias = "finish_message")]
    pub(super) finish_message: Option<String>,
    #[serde(deserialize_with = "lenient::object")]
    logprobs_result: Option<LogprobsResult>,
    #[serde(alias = "grounding_metadata")]
    grounding_metadata: Value,
    #[serde(alias = "citation_metadata")]
    citation_metadata: Value,
    #[serde(alias = "url_context_metadata")]
    url_context_metadata: Value,
}

/// Content of a candidate.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct GeminiContent {
    #[serde(deserialize_with = "lenient::one_or_more")]
    pub(super) parts: Option<Vec<GeminiPart>>,
}

/// A part: text, reasoning, a call, an image, or something else.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct GeminiPart {
    #[serde(deserialize_with = "lenient::text")]
    pub(super) text: Option<String>,
    #[serde(deserialize_with = "lenient::flag")]
    pub(super) thought: Option<bool>,
    #[serde(deserialize_with = "lenient::text", alias = "thought_signature")]
    pub(super) thought_signature: Option<String>,
    #[serde(deserialize_with = "lenient::object", alias = "function_call")]
    pub(super) function_call: Option<GeminiFunctionCall>,
    #[serde(deserialize_with = "lenient::object", alias = "inline_data")]
    pub(super) inline_data: Option<Blob>,
    /// Uninterpreted fields: code that Gemini ran, its result, files.
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl GeminiPart {
    /// The uninterpreted fields as items, named after them (`executableCode` becomes
    /// `executable_code`).
    pub(super) fn items(&mut self) -> Vec<Map<String, Value>> {
        let mut other = std::mem::take(&mut self.other);
        let mut item = |(kind, field): &(&str, &str)| match other
            .remove(*field)
            .or_else(|| other.remove(*kind))
        {
            Some(Value::Object(fields)) => {
                Some([("type".to_owned(), (*kind).into())].into_iter().chain(fields).collect())
            }
            _ => None,
        };
        PARTS.iter().filter_map(&mut item).collect()
    }
}

/// Base64 data.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Blob {
    #[serde(deserialize_with = "lenient::text", alias = "mime_type")]
    pub(super) mime_type: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) data: Option<String>,
}

/// A complete call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct GeminiFunctionCall {
    #[serde(deserialize_with = "lenient::text")]
    pub(super) id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) name: Option<String>,
    pub(super) args: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LogprobsResult {
    #[serde(deserialize_with = "lenient::list")]
    top_candidates: Option<Vec<TopCandidates>>,
    #[serde(deserialize_with = "lenient::list")]
    chosen_candidates: Option<Vec<Logprob>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TopCandidates {
    #[serde(deserialize_with = "lenient::list")]
    candidates: Option<Vec<Logprob>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Logprob {
    #[serde(deserialize_with = "lenient::text")]
    token: Option<String>,
    log_probability: Value,
}

impl Logprob {
    fn value(&self) -> Value {
        let token = self.token.as_deref().unwrap_or_default();
        json!({ "token": token, "logprob": self.log_probability.as_f64(), "bytes": token.as_bytes() })
    }
}

impl GeminiCandidate {
    /// Its sources, in Gemini's own fields. Each chunk contains all sources so far.
    pub(super) fn sources(&mut self) -> Map<String, Value> {
        let fields = [
            ("groundingMetadata", &mut self.grounding_metadata),
            ("citationMetadata", &mut self.citation_metadata),
            ("urlContextMetadata", &mut self.url_context_metadata),
        ];
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value.take()));
        fields
            .filter(|(_, value)| value.as_object().is_some_and(|fields| !fields.is_empty()))
            .collect()
    }

    /// Log probabilities in OpenAI's format.
    pub(super) fn logprobs(&mut self) -> Vec<Value> {
        let LogprobsResult { top_candidates, chosen_candidates } =
            self.logprobs_result.take().unwrap_or_default();
        let mut top = top_candidates.unwrap_or_default().into_iter();
        let value = |chosen: Logprob| {
            let mut value = chosen.value();
            let alternatives = top.next().unwrap_or_default().candidates.unwrap_or_default();
            value["top_logprobs"] = alternatives.iter().map(Logprob::value).collect();
            value
        };
        chosen_candidates.unwrap_or_default().into_iter().map(value).collect()
    }
}

impl GeminiChunk {
    /// The chunk, or the nested one.
    pub(super) fn unwrapped(self) -> Self {
        if self.candidates.is_some() {
            self
        } else {
            self.response.map_or(Self { response: None, ..self }, |inner| *inner)
        }
    }

    /// The token counts so far. Reasoning tokens are not included in the output count; results of
    /// Gemini's tools count as input.
    pub(super) fn usage(&self) -> Option<Usage> {
        let count = |name: &str| self.usage_metadata.get(name).and_then(read_count);
        let (prompt, candidates) = (count("promptTokenCount"), count("candidatesTokenCount"));
        let thoughts = count("thoughtsTokenCount");
        prompt.or(candidates).or(thoughts)?;
        let input =
            prompt.unwrap_or(0).saturating_add(count("toolUsePromptTokenCount").unwrap_or(0));
        let output = candidates.unwrap_or(0).saturating_add(thoughts.unwrap_or(0));
        let cached_tokens = count("cachedContentTokenCount").unwrap_or(0);
        Some(Usage {
            input_tokens_details: InputTokensDetails { cached_tokens, cache_write_tokens: 0 },
            output_tokens_details: OutputTokensDetails { reasoning_tokens: thoughts.unwrap_or(0) },
            ..Usage::new(UsageSource::Provider, input, output)
        })
    }
}
