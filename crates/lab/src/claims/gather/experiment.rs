//! The setting of an experiment.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result};
use client::Request;
use serde_json::json;

use crate::captured::CapturedConnections;
use crate::plan::{Plan, Version};
use crate::run::Harness;
use crate::session::Session;

/// The server and the settings of an experiment.
pub(super) struct Experiment<'a> {
    pub(super) harness: &'a Harness,
    pub(super) plan: &'a Plan,
    /// Whether the connections use TLS.
    pub(super) tls: bool,
}

impl Experiment<'_> {
    pub(super) fn session(&self, version: Version) -> Result<Session> {
        let endpoint = self.harness.endpoint(self.tls, version, &Arc::default())?;
        Ok(Session::new(endpoint, version, self.harness.key.as_deref()))
    }

    /// A question with a long answer.
    pub(super) fn question(&self) -> &str {
        &self.plan.long_question
    }

    /// A question with a short answer.
    pub(super) fn short_question(&self) -> Result<&str> {
        self.plan.questions.first().map(String::as_str).context("no question")
    }

    /// The request for an answer, streamed or not.
    pub(super) fn ask(&self, question: &str, stream: bool) -> Request {
        let body = json!({ "model": self.plan.model, "input": question, "stream": stream });
        Request::post("/v1/responses", &body)
            .header("accept", "text/event-stream")
            .header("prefer", "wait=0")
    }

    /// The captured connections of these ports; `None` without a capture.
    pub(super) async fn caught(&self, ports: &BTreeSet<u16>) -> Option<CapturedConnections> {
        Some(CapturedConnections::collect(self.harness.recorder.as_ref()?, ports).await)
    }

    pub(super) fn forget_packets(&self) {
        if let Some(recorder) = &self.harness.recorder {
            drop(recorder.take());
        }
    }
}
