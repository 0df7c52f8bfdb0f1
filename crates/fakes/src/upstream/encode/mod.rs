//! Encodes the events of a script in each vendor's format: as a stream or as one document.

pub(crate) mod encoder;

mod anthropic;
mod chat;
mod gemini;
mod ollama;
pub(crate) mod passthrough;
mod responses;

use serde_json::Value;

use super::vendor::{RequestKind, Route, Vendor};
use encoder::ResponseEncoder;

/// The encoder for the response to a request. `is_strict`: the vendor's own server, which sends
/// nothing unrequested.
pub(super) fn encoder(route: &Route, request: &Value, is_strict: bool) -> Box<dyn ResponseEncoder> {
    if let RequestKind::Passthrough { operation, .. } = &route.kind {
        return passthrough::encoder(*operation, route.vendor, request, is_strict);
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
