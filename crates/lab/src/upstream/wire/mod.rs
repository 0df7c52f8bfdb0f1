//! How each vendor's wire renders what a script says: as events of a stream, or as one document.

mod anthropic;
mod chat;
mod gemini;
mod ollama;
mod passthrough;
mod responses;

pub use passthrough::vector;

use bytes::{Bytes, BytesMut};
use codec::sse;
use serde_json::Value;

use super::answer::Answer;
use super::said::Said;
use super::vendor::{Goal, Route, Vendor};

/// One answer on one vendor's wire.
pub(super) trait Speech: Send + Sync {
    /// The chunks of the body that a thing said becomes; `answer` has heard it already.
    fn say(&mut self, answer: &Answer, said: &Said) -> Vec<Bytes>;

    /// The answer to a request that asked for no stream.
    fn document(&self, answer: &Answer) -> Value;

    /// Any JSON in the frame of the wire's events.
    fn frame(&self, data: &Value) -> Bytes;

    /// The media type of a stream.
    fn content_type(&self) -> &'static str {
        "text/event-stream"
    }
}

/// The wire of a vendor, for the answer to a request. `is_strict` is a vendor's own server, which says nothing unasked.
pub(super) fn speech(route: &Route, request: &Value, is_strict: bool) -> Box<dyn Speech> {
    if let Goal::Passthrough { operation, .. } = &route.goal {
        return passthrough::speech(*operation, route.vendor, request, is_strict);
    }
    match route.vendor {
        Vendor::OpenAi => Box::new(chat::Chat::new(request, is_strict)),
        Vendor::Responses => Box::new(responses::Responses::new(request)),
        Vendor::Anthropic => Box::new(anthropic::Anthropic::default()),
        Vendor::Gemini => Box::new(gemini::Gemini::default()),
        Vendor::Ollama => Box::new(ollama::Ollama::default()),
    }
}

/// A chunk of chat completions with one choice.
pub(super) fn chat_choice(delta: &Value, finish_reason: Option<&str>) -> Value {
    chat::choice(delta, finish_reason)
}

/// `data: {…}`.
fn unnamed(data: &Value) -> Bytes {
    let mut event = BytesMut::new();
    sse::encode(&mut event, None, None, data.to_string().as_bytes());
    event.freeze()
}

/// `event: …`, as `type` says, and `data: {…}`.
fn named(data: &Value) -> Bytes {
    let mut event = BytesMut::new();
    sse::encode(&mut event, data["type"].as_str(), None, data.to_string().as_bytes());
    event.freeze()
}
