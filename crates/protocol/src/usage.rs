//! Token counts of a response, and their source.

use serde::{Deserialize, Serialize};

/// The source of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The upstream reported them.
    Provider,
    /// Weir counted them with the model's vocabulary.
    Counted,
}

/// Token counts of one response (Open Responses `Usage`), with their source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of everything the model read.
    pub input_tokens: u64,
    /// How many of them came from the upstream's cache.
    pub input_tokens_details: InputTokensDetails,
    /// Tokens the model wrote, reasoning included.
    pub output_tokens: u64,
    /// How many of them were reasoning.
    pub output_tokens_details: OutputTokensDetails,
    /// The sum.
    pub total_tokens: u64,
    /// Who counted.
    pub source: UsageSource,
}

/// Details of the input's count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputTokensDetails {
    /// Tokens read from a cache.
    pub cached_tokens: u64,
    /// Tokens written to a cache; OpenAI's field, which its SDK demands.
    #[serde(default)]
    pub cache_write_tokens: u64,
}

/// Details of the output's count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputTokensDetails {
    /// Tokens spent on reasoning.
    pub reasoning_tokens: u64,
}

impl Usage {
    /// Counts from `source`; the total is their sum.
    pub fn new(source: UsageSource, input_tokens: u64, output_tokens: u64) -> Self {
        Self {
            input_tokens,
            input_tokens_details: InputTokensDetails::default(),
            output_tokens,
            output_tokens_details: OutputTokensDetails::default(),
            total_tokens: input_tokens.saturating_add(output_tokens),
            source,
        }
    }

    /// The same with each detail limited to the count that it is a part of.
    #[must_use]
    pub fn within_its_sums(self) -> Self {
        let InputTokensDetails { cached_tokens, cache_write_tokens } = self.input_tokens_details;
        let sum = self.input_tokens.saturating_add(self.output_tokens);
        Self {
            input_tokens_details: InputTokensDetails {
                cached_tokens: cached_tokens.min(self.input_tokens),
                cache_write_tokens: cache_write_tokens.min(self.input_tokens),
            },
            output_tokens_details: OutputTokensDetails {
                reasoning_tokens: self
                    .output_tokens_details
                    .reasoning_tokens
                    .min(self.output_tokens),
            },
            // Some vendors count more than these two, but none twice as much.
            total_tokens: if self.total_tokens >= sum && self.total_tokens / 2 <= sum {
                self.total_tokens
            } else {
                sum
            },
            ..self
        }
    }
}
