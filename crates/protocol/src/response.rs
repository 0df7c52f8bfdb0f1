//! The response object: every key that Open Responses requires, always present and of the required
//! type.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fault::ResponseError;
use crate::id::ResponseId;
use crate::item::Item;
use crate::request::{Create, ReasoningConfig, TextConfig, Tool, ToolChoice};
use crate::usage::Usage;

/// The state of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseStatus {
    /// Accepted, not started.
    Queued,
    /// The model is at work.
    InProgress,
    /// Whole.
    Completed,
    /// Ended with an error.
    Failed,
    /// Stopped by a caller.
    Cancelled,
    /// Ended early, for the reason in `incomplete_details`.
    Incomplete,
}

impl ResponseStatus {
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Incomplete => "incomplete",
        }
    }

    /// Whether the response has ended.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Queued | Self::InProgress => false,
            Self::Completed | Self::Failed | Self::Cancelled | Self::Incomplete => true,
        }
    }
}

/// Why a response ended early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncompleteDetails {
    /// `max_output_tokens`, `content_filter`, `unknown_finish_reason`, `cancelled`, `client_left`,
    /// `key_revoked`, `server_restarted`.
    pub reason: String,
}

impl IncompleteDetails {
    /// The reason of a response whose model stopped for a reason unknown to Weir. That reason is in
    /// the metadata, under [`FINISH_REASON`].
    pub const UNKNOWN_FINISH_REASON: &str = "unknown_finish_reason";
}

/// The metadata key of the upstream's own finish reason, where it is unknown to Weir.
pub const FINISH_REASON: &str = "upstream_finish_reason";

/// One response, as clients see it (Open Responses `ResponseResource`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The id, `resp_…`.
    pub id: ResponseId,
    /// Always `response`.
    pub object: String,
    /// Seconds since 1970 at which it was accepted.
    pub created_at: u64,
    /// Seconds since 1970 at which it completed; null unless it did.
    pub completed_at: Option<u64>,
    /// Its state.
    pub status: ResponseStatus,
    /// Why it ended early, if it did.
    pub incomplete_details: Option<IncompleteDetails>,
    /// The model.
    pub model: String,
    /// The response it continues.
    pub previous_response_id: Option<ResponseId>,
    /// The instructions of this turn.
    pub instructions: Option<String>,
    /// What the model made.
    pub output: Vec<Item>,
    /// Why it failed, if it did.
    pub error: Option<ResponseError>,
    /// The tools the model may call.
    pub tools: Vec<Tool>,
    /// Which of them it may or must.
    pub tool_choice: ToolChoice,
    /// `auto` or `disabled`.
    pub truncation: String,
    /// Whether it may call several at once.
    pub parallel_tool_calls: bool,
    /// The text format asked for.
    pub text: TextConfig,
    /// Nucleus sampling.
    pub top_p: f64,
    /// Penalty on tokens that occurred.
    pub presence_penalty: f64,
    /// Penalty on tokens by how often they occurred.
    pub frequency_penalty: f64,
    /// How many alternatives per token.
    pub top_logprobs: u64,
    /// Sampling temperature.
    pub temperature: f64,
    /// The reasoning asked for.
    pub reasoning: Option<ReasoningConfig>,
    /// Its token counts; null while unknown.
    pub usage: Option<Usage>,
    /// The limit on output tokens.
    pub max_output_tokens: Option<u64>,
    /// The limit on tool calls.
    pub max_tool_calls: Option<u64>,
    /// Whether it is kept.
    pub store: bool,
    /// Whether it was asked to run without a reader.
    pub background: bool,
    /// The service tier.
    pub service_tier: String,
    /// The caller's own notes.
    pub metadata: Map<String, Value>,
    /// The caller's id of its user.
    pub safety_identifier: Option<String>,
    /// The caller's cache key.
    pub prompt_cache_key: Option<String>,
}

impl Response {
    /// The approximate number of bytes that it takes in memory, and so as JSON: its output, its
    /// instructions and its tools.
    pub fn weight(&self) -> usize {
        let output: usize = self.output.iter().map(Item::weight).sum();
        let tools: usize = self.tools.iter().map(Tool::weight).sum();
        output + tools + self.instructions.as_ref().map_or(0, String::len)
    }

    /// A response that has just been accepted.
    pub fn accepted(id: ResponseId, created_at: u64, create: &Create) -> Self {
        Self {
            id,
            object: "response".into(),
            created_at,
            completed_at: None,
            status: if create.background {
                ResponseStatus::Queued
            } else {
                ResponseStatus::InProgress
            },
            incomplete_details: None,
            model: create.model.clone(),
            previous_response_id: create.previous_response_id.clone(),
            instructions: create.instructions.clone(),
            output: Vec::new(),
            error: None,
            tools: create.tools.clone(),
            tool_choice: create.tool_choice.clone(),
            truncation: create.truncation.clone().unwrap_or_else(|| "disabled".into()),
            parallel_tool_calls: create.parallel_tool_calls.unwrap_or(true),
            text: create.text.clone(),
            top_p: create.top_p.unwrap_or(1.0),
            presence_penalty: create.presence_penalty.unwrap_or(0.0),
            frequency_penalty: create.frequency_penalty.unwrap_or(0.0),
            top_logprobs: create.top_logprobs.unwrap_or(0),
            temperature: create.temperature.unwrap_or(1.0),
            reasoning: create.reasoning.clone(),
            usage: None,
            max_output_tokens: create.max_output_tokens,
            max_tool_calls: create.max_tool_calls,
            store: create.store,
            background: create.background,
            service_tier: create.service_tier.clone().unwrap_or_else(|| "default".into()),
            metadata: create.metadata.clone(),
            safety_identifier: create.safety_identifier.clone(),
            prompt_cache_key: create.prompt_cache_key.clone(),
        }
    }
}
