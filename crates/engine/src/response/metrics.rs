//! The metrics of one engine: what is counted and measured of responses. Nothing here is global.
//!
//! The names are those of OpenTelemetry's conventions for generative AI (of 2026-06, after their
//! move to a repository of their own) in Prometheus' spelling, and `weir_…` for everything else. No
//! label holds a value that a caller chose.

use std::sync::Arc;

use protocol::fault::Fault;
use protocol::response::Response;

use super::labels;
use crate::instruments::counter::{Counter, Gauge};
use crate::instruments::family::MetricFamily;
use crate::instruments::histogram::Histogram;

/// Seconds; the conventions' bounds for durations, and for everything of a client.
pub(super) const DURATION: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

/// Seconds; the conventions' bounds for `gen_ai.server.time_to_first_token`.
const FIRST_TOKEN: &[f64] =
    &[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Seconds; the conventions' bounds for `gen_ai.server.time_per_output_token`.
const PER_TOKEN: &[f64] =
    &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];

/// The conventions' bounds for tokens: powers of four.
const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// Readers of one response: mostly one or none; above that, the order of magnitude.
const READERS: &[f64] = &[0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 300.0, 1000.0];

/// The labels of everything that the conventions name.
const GEN_AI: &[&str] = &["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"];
const GEN_AI_ERROR: &[&str] =
    &["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "error_type"];
const GEN_AI_TOKENS: &[&str] =
    &["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type"];

/// The operation that is asked of every model.
pub(crate) const OPERATION: &str = "chat";

/// What was asked of which model, as bounded labels.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(super) provider: Arc<str>,
    pub(super) model: Arc<str>,
}

/// The metrics of one engine.
#[derive(Debug)]
pub(crate) struct EngineMetrics {
    /// Cursors on responses, running or ended.
    pub(crate) readers: Arc<Gauge>,
    pub(crate) answers: MetricFamily<Counter>,
    pub(crate) peak_readers: Histogram,
    pub(crate) cancels: MetricFamily<Counter>,
    pub(crate) upstream_errors: MetricFamily<Counter>,
    pub(crate) retries: MetricFamily<Counter>,
    pub(crate) client_tokens: MetricFamily<Histogram>,
    pub(crate) client_duration: MetricFamily<Histogram>,
    pub(crate) client_first_chunk: MetricFamily<Histogram>,
    pub(crate) client_per_chunk: MetricFamily<Histogram>,
    pub(crate) server_duration: MetricFamily<Histogram>,
    pub(crate) server_first_token: MetricFamily<Histogram>,
    pub(crate) server_per_token: MetricFamily<Histogram>,
    pub(crate) passed: MetricFamily<Counter>,
    /// Running pass-through calls.
    pub(crate) passing: Arc<Gauge>,
}

impl Default for EngineMetrics {
    fn default() -> Self {
        let duration = || Histogram::new(DURATION);
        Self {
            readers: Arc::default(),
            answers: MetricFamily::new(&["status", "reason"], Counter::default),
            peak_readers: Histogram::new(READERS),
            cancels: MetricFamily::new(&["cause"], Counter::default),
            upstream_errors: MetricFamily::new(&["upstream", "kind"], Counter::default),
            retries: MetricFamily::new(&["upstream", "reason"], Counter::default),
            client_tokens: MetricFamily::new(GEN_AI_TOKENS, || Histogram::new(TOKENS)),
            client_duration: MetricFamily::new(GEN_AI_ERROR, duration),
            client_first_chunk: MetricFamily::new(GEN_AI, duration),
            client_per_chunk: MetricFamily::new(GEN_AI, duration),
            server_duration: MetricFamily::new(GEN_AI_ERROR, duration),
            server_first_token: MetricFamily::new(GEN_AI, || Histogram::new(FIRST_TOKEN)),
            server_per_token: MetricFamily::new(GEN_AI, || Histogram::new(PER_TOKEN)),
            passed: MetricFamily::new(&["operation", "status", "reason"], Counter::default),
            passing: Arc::default(),
        }
    }
}

impl EngineMetrics {
    /// Counts an ended response. `reason` is empty if it is complete.
    pub(crate) fn answer(&self, status: &str, reason: &str) {
        self.answers.of(&[status, reason]).add(1);
    }

    /// Counts a response that was stopped.
    pub(crate) fn cancel(&self, cause: &str) {
        self.cancels.of(&[cause]).add(1);
    }

    pub(super) fn tokens(&self, operation: &str, subject: &Subject, input: u64, output: u64) {
        self.token(operation, subject, "input", input);
        self.token(operation, subject, "output", output);
    }

    pub(super) fn token(&self, operation: &str, subject: &Subject, kind: &str, count: u64) {
        // Exact as long as it is a number of tokens.
        #[expect(clippy::cast_precision_loss, reason = "nothing has 2^53 tokens")]
        self.client_tokens
            .of(&[operation, &subject.provider, &subject.model, kind])
            .observe(count as f64);
    }

    /// Counts an ended pass-through call. `reason` is empty if it is complete.
    pub(super) fn passed(&self, operation: &str, status: &str, reason: &str) {
        self.passed.of(&[operation, status, reason]).add(1);
    }

    /// Counts a response that has ended.
    pub(crate) fn ended(&self, response: &Response, failure: Option<&Fault>) {
        let early =
            response.incomplete_details.as_ref().map(|details| labels::of_reason(&details.reason));
        let reason = failure.map(labels::of_fault).or(early).unwrap_or_default();
        self.answer(labels::of_status(response.status), reason);
    }
}
