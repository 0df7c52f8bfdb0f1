//! What the format of each vendor implements, and the framing of events that several share.

use bytes::{Bytes, BytesMut};
use codec::sse;
use serde_json::Value;

use crate::upstream::event::ScriptEvent;
use crate::upstream::played::PlayedResponse;

/// Encodes one response in one vendor's format.
pub(crate) trait ResponseEncoder: Send + Sync {
    /// The chunks of the body for an event that was already applied to `response`.
    fn encode(&mut self, response: &PlayedResponse, event: &ScriptEvent) -> Vec<Bytes>;

    /// The response without streaming.
    fn document(&self, response: &PlayedResponse) -> Value;

    /// Any JSON in the framing of the format's events.
    fn frame(&self, data: &Value) -> Bytes;

    /// The media type of a streamed response.
    fn content_type(&self) -> &'static str {
        "text/event-stream"
    }
}

/// `data: {…}`.
pub(super) fn unnamed(data: &Value) -> Bytes {
    let mut event = BytesMut::new();
    sse::encode(&mut event, None, None, data.to_string().as_bytes());
    event.freeze()
}

/// `event: …`, named by the field `type`, and `data: {…}`.
pub(super) fn named(data: &Value) -> Bytes {
    let mut event = BytesMut::new();
    sse::encode(&mut event, data["type"].as_str(), None, data.to_string().as_bytes());
    event.freeze()
}
