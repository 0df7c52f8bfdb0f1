//! What is counted and measured of answers, for operators. Each engine has its own: nothing here is global.
//!
//! The names are those of OpenTelemetry's conventions for generative AI (of 2026-06, after their move to a repository of their
//! own) in Prometheus' spelling, and `weir_…` for what these have no word for. No label holds what a caller made up.

mod exposition;
mod instruments;
pub(crate) mod kinds;
mod meter;

use std::sync::Arc;

pub use exposition::{Exposition, Kind};
pub use instruments::{Counter, Family, Gauge, Held, Histogram, OTHER, Tally};
pub(crate) use meter::{Ending, Meter, Subject, Times, Tokens};

use crate::answers::Census;

/// Seconds; the conventions' bounds for durations, and for everything of a client.
pub(crate) const DURATION: &[f64] = &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

/// Seconds; the conventions' bounds for `gen_ai.server.time_to_first_token`.
const FIRST_TOKEN: &[f64] = &[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Seconds; the conventions' bounds for `gen_ai.server.time_per_output_token`.
const PER_TOKEN: &[f64] = &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];

/// The conventions' bounds for tokens: powers of four.
const TOKENS: &[f64] =
    &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

/// Readers of one answer: mostly one or none, and where many watch, the order of magnitude.
const READERS: &[f64] = &[0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 300.0, 1000.0];

/// The labels of everything that the conventions name.
const GEN_AI: &[&str] = &["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"];
const GEN_AI_ERROR: &[&str] = &["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "error_type"];
const GEN_AI_TOKENS: &[&str] = &["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type"];

/// The operation that Weir asks of every model.
pub(crate) const OPERATION: &str = "chat";

/// Everything that an engine counts.
#[derive(Debug)]
pub struct Metrics {
    /// Cursors on answers, running or ended.
    pub(crate) readers: Arc<Gauge>,
    answers: Family<Counter>,
    peak_readers: Histogram,
    cancels: Family<Counter>,
    upstream_errors: Family<Counter>,
    retries: Family<Counter>,
    client_tokens: Family<Histogram>,
    client_duration: Family<Histogram>,
    client_first_chunk: Family<Histogram>,
    client_per_chunk: Family<Histogram>,
    server_duration: Family<Histogram>,
    server_first_token: Family<Histogram>,
    server_per_token: Family<Histogram>,
    passed: Family<Counter>,
    /// Pass-through calls that run.
    pub(crate) passing: Arc<Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let duration = || Histogram::new(DURATION);
        Self {
            readers: Arc::default(),
            answers: Family::new(&["status", "reason"], Counter::default),
            peak_readers: Histogram::new(READERS),
            cancels: Family::new(&["cause"], Counter::default),
            upstream_errors: Family::new(&["upstream", "kind"], Counter::default),
            retries: Family::new(&["upstream", "reason"], Counter::default),
            client_tokens: Family::new(GEN_AI_TOKENS, || Histogram::new(TOKENS)),
            client_duration: Family::new(GEN_AI_ERROR, duration),
            client_first_chunk: Family::new(GEN_AI, duration),
            client_per_chunk: Family::new(GEN_AI, duration),
            server_duration: Family::new(GEN_AI_ERROR, duration),
            server_first_token: Family::new(GEN_AI, || Histogram::new(FIRST_TOKEN)),
            server_per_token: Family::new(GEN_AI, || Histogram::new(PER_TOKEN)),
            passed: Family::new(&["operation", "status", "reason"], Counter::default),
            passing: Arc::default(),
        }
    }
}

impl Metrics {
    /// An answer has ended. `reason` is empty where it is whole.
    pub(crate) fn answer(&self, status: &str, reason: &str) {
        self.answers.of(&[status, reason]).add(1);
    }

    /// An answer was stopped.
    pub(crate) fn cancel(&self, cause: &str) {
        self.cancels.of(&[cause]).add(1);
    }

    fn tokens(&self, operation: &str, subject: &Subject, input: u64, output: u64) {
        self.token(operation, subject, "input", input);
        self.token(operation, subject, "output", output);
    }

    fn token(&self, operation: &str, subject: &Subject, kind: &str, count: u64) {
        // Exact as long as it is a number of tokens.
        #[expect(clippy::cast_precision_loss, reason = "nothing has 2^53 tokens")]
        self.client_tokens.of(&[operation, &subject.provider, &subject.model, kind]).observe(count as f64);
    }

    /// A pass-through call has ended. `reason` is empty where it is whole.
    fn passed(&self, operation: &str, status: &str, reason: &str) {
        self.passed.of(&[operation, status, reason]).add(1);
    }

    /// Writes everything down, with what only the engine knows.
    pub(crate) fn write(&self, census: Census, text: &mut Exposition) {
        text.histograms("gen_ai_client_token_usage", "Tokens of each call of a model, as it says or as Weir counts.", &self.client_tokens);
        let help = "From asking the model to the end of its stream.";
        text.histograms("gen_ai_client_operation_duration_seconds", help, &self.client_duration);
        let help = "From asking the model to its first word.";
        text.histograms("gen_ai_client_operation_time_to_first_chunk_seconds", help, &self.client_first_chunk);
        let help = "From each word of the model to the next.";
        text.histograms("gen_ai_client_operation_time_per_output_chunk_seconds", help, &self.client_per_chunk);
        let help = "From accepting a request to the end of its answer.";
        text.histograms("gen_ai_server_request_duration_seconds", help, &self.server_duration);
        let help = "From accepting a request to its first token, where the answer did not fail.";
        text.histograms("gen_ai_server_time_to_first_token_seconds", help, &self.server_first_token);
        let help = "The mean time for a token behind the first, where the answer did not fail.";
        text.histograms("gen_ai_server_time_per_output_token_seconds", help, &self.server_per_token);

        text.counters("weir_answers_total", "Answers that have ended, by how.", &self.answers);
        text.gauge("weir_answers_running", "Answers that run.", census.running);
        let help = "Pass-through calls (embeddings, text completions, moderations) that have ended, by how.";
        text.counters("weir_passthrough_calls_total", help, &self.passed);
        text.gauge("weir_passthrough_calls_running", "Pass-through calls that run.", self.passing.get());
        text.counters("weir_cancels_total", "Answers that were stopped before their end, by why.", &self.cancels);
        let help = "Calls of models that failed, by upstream and kind.";
        text.counters("weir_upstream_errors_total", help, &self.upstream_errors);
        let help = "Calls that were made again after one that failed, by the upstream that failed and why.";
        text.counters("weir_upstream_retries_total", help, &self.retries);
        text.gauge("weir_readers", "Readers of answers.", self.readers.get());
        text.histogram("weir_answer_readers", "The most readers that an answer had at once while it ran.", &self.peak_readers);
        text.gauge("weir_log_bytes", "Bytes of all logs.", census.log_bytes);
        text.gauge("weir_item_bytes", "Bytes of all items.", census.item_bytes);
        text.gauge("weir_tasks", "Tasks that run.", census.tasks);
    }
}
