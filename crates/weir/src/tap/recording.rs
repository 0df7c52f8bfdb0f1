//! What a tap has seen: the events with their times, and the exchanges that brought them.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use client::{ConnectionInfo, Request};
use protocol::event::EventKind;
use serde_json::Value;

/// An event, and when it was made and taken.
#[derive(Clone, Debug)]
pub(super) struct TappedEvent {
    pub(super) position: u64,
    /// Its `type`.
    pub(super) kind: String,
    /// Its bytes, as stored in the log.
    pub(super) data: Bytes,
    /// When the server appended it to its log, since the creation of the response, if it is known.
    pub(super) logged: Option<Duration>,
    /// When the tap took it.
    pub(super) taken: Instant,
    /// The time that was shown, since the creation of the response: `logged`, or for a live event
    /// that of its arrival.
    pub(super) shown: Option<Duration>,
}

impl TappedEvent {
    /// Whether it carries text of the model.
    pub(super) fn has_text(&self) -> bool {
        matches!(
            EventKind::parse(self.kind.as_bytes()),
            Some(
                EventKind::OutputTextDelta
                    | EventKind::RefusalDelta
                    | EventKind::ReasoningDelta
                    | EventKind::ReasoningSummaryDelta
            )
        )
    }

    /// The event as JSON.
    pub(super) fn value(&self) -> Value {
        serde_json::from_slice(&self.data).unwrap_or_default()
    }
}

/// A request of the tap, its response, and the connection of both.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    /// When connecting started, on both clocks.
    pub(super) started: SystemTime,
    pub(super) opened: Instant,
    pub(super) request: Request,
    /// When the request was written.
    pub(super) sent: Instant,
    /// When the head of the response was read.
    pub(super) answered: Instant,
    pub(super) status: u16,
    /// The header fields of the response.
    pub(super) headers: Vec<(String, String)>,
    pub(super) info: ConnectionInfo,
    /// When the connection was given up.
    pub(super) ended: Option<Instant>,
    /// The index of its first event.
    pub(super) first: usize,
}

impl Exchange {
    /// The wall clock at `moment`.
    pub(super) fn date(&self, moment: Instant) -> SystemTime {
        self.started + moment.saturating_duration_since(self.opened)
    }
}

/// How a tap ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TapEnd {
    /// The response has ended, and all of it was tapped.
    Complete,
    /// By the user.
    Stopped,
    /// The connection or the server failed.
    Cut,
}

/// All of a tap.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) response_id: String,
    /// The address of the server.
    pub(super) server: String,
    /// When the response was created, in milliseconds since 1970.
    pub(super) created_ms: Option<u64>,
    /// The first event that was asked for.
    pub(super) from: u64,
    pub(super) events: Vec<TappedEvent>,
    pub(super) exchanges: Vec<Exchange>,
    pub(super) end: TapEnd,
}
