//! When the events of a response were made, as its server recorded it.

use std::time::{Duration, Instant};

use client::now;
use serde_json::Value;

use crate::chat::server::{ChatError, ChatServer};

/// The times that the server has recorded so far.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// When the response was created, in milliseconds since 1970.
    pub(super) created_ms: Option<u64>,
    /// The time of each event since then, by its position.
    logged: Vec<Duration>,
    /// When it was created by the clock of this machine, if it is running.
    created_here: Option<Instant>,
}

impl Timeline {
    /// Asks the server. A server without this path has recorded nothing.
    pub(super) async fn fetch(server: &ChatServer, id: &str) -> Result<Self, ChatError> {
        let path = format!("/v1/responses/{id}/event_times");
        let asked = now();
        let told = match server.json(&server.request("GET", &path)).await {
            Ok(told) => told,
            // If it is the response that is unknown, reading it will fail in the same way.
            Err(ChatError::Refused(404 | 405, _)) => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        // The server read its clock between the request and its response.
        let middle = asked + asked.elapsed() / 2;
        let elapsed = told["elapsed_ms"].as_f64().map(milliseconds);
        let times = told["times_ms"].as_array().into_iter().flatten();
        Ok(Self {
            created_ms: told["created_at_ms"].as_u64(),
            logged: times.filter_map(Value::as_f64).map(milliseconds).collect(),
            created_here: elapsed.and_then(|elapsed| middle.checked_sub(elapsed)),
        })
    }

    /// Whether the response is running.
    pub(super) fn is_live(&self) -> bool {
        self.created_here.is_some()
    }

    /// Whether any time is known.
    pub(super) fn is_known(&self) -> bool {
        !self.logged.is_empty()
    }

    /// When the event at `position` was appended to the log, since the creation.
    pub(super) fn logged(&self, position: u64) -> Option<Duration> {
        self.logged.get(usize::try_from(position).ok()?).copied()
    }

    /// The time of `moment` since the creation of a running response.
    pub(super) fn since_creation(&self, moment: Instant) -> Option<Duration> {
        Some(moment.saturating_duration_since(self.created_here?))
    }
}

fn milliseconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number / 1000.0).unwrap_or_default()
}
