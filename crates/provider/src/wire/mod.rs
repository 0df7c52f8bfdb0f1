//! The vendors' APIs: encode requests and parse responses. Without I/O; [`crate::http`] transfers
//! the bytes.

mod anthropic;
mod body;
mod carry;
pub(crate) mod chat;
#[cfg(test)]
mod cost;
mod credentials;
mod family;
pub(crate) mod fault;
mod finish;
mod gemini;
mod json;
mod lenient;
mod list;
mod ollama;
pub(crate) mod outgoing;
mod parsed_output;
pub(crate) mod passthrough;
pub(crate) mod reader;
mod repeat;
mod reported;
mod responses;
mod retry_after;
#[cfg(test)]
mod sample;
pub(crate) mod secrets;
mod shared;
mod text;

use std::fmt;

use engine::provider::failure::ProviderFailure;
use engine::provider::models::ModelListing;
use engine::provider::passthrough::PassthroughRequest;
use engine::provider::request::ModelRequest;
use http::header::{AUTHORIZATION, HeaderName};
use protocol::fault::Fault;
use protocol::passthrough::Passthrough;
use protocol::request::Create;

use self::fault::{Callee, Reported};
use self::outgoing::{Outgoing, Refused};
use self::passthrough::{Passage, Unserved};
use self::reader::StreamParser;
use crate::config::{UpstreamConfig, WireKind};
use crate::tools::{Lifter, OfferedTools, UnknownTools};

/// One vendor's API.
pub(crate) trait Wire: fmt::Debug + Send + Sync {
    /// The request for a streamed response.
    ///
    /// # Errors
    /// The path of the first field in the caller's request that this wire does not support.
    fn ask(&self, request: &ModelRequest) -> Result<Outgoing, Fault>;

    /// A reader of one response body. Faults name `callee` and never contain its key.
    fn reader(&self, callee: Callee, lifter: Lifter) -> Box<dyn StreamParser>;

    /// Classifies an error response.
    fn refusal(&self, callee: &Callee, refused: &Refused<'_>) -> ProviderFailure {
        callee.refusal(
            refused.status,
            Reported::from_body(refused.body),
            retry_after::read(refused.headers),
            refused.headers,
        )
    }

    /// Translates calls from this wire back to calls of the caller's tools.
    fn lifter(&self, request: &ModelRequest, unknown: UnknownTools) -> Lifter {
        Lifter::new(&OfferedTools::of(request), unknown)
    }

    /// The header for the API key, and the text before the key in it.
    fn key_field(&self) -> (HeaderName, &'static str) {
        (AUTHORIZATION, "Bearer ")
    }

    /// The GET request for the list of models.
    fn list(&self) -> Outgoing;

    /// Parses the list of models; `name` is the owner of models without one. `None` if it is not a
    /// list.
    fn read_list(&self, body: &[u8], name: &str) -> Option<Vec<ModelListing>>;

    /// Checks before a pass-through call whether this wire can serve it.
    ///
    /// # Errors
    /// The operation or a field is not supported.
    fn serves(&self, request: &Passthrough) -> Result<(), Unserved>;

    /// The requests of a pass-through call that this wire [serves](Self::serves).
    ///
    /// # Errors
    /// A field that is not supported.
    fn pass(&self, request: &PassthroughRequest) -> Result<Passage, Fault>;

    /// Checks before the call that this wire supports the request. What depends on the conversation
    /// is checked by [`Self::ask`]. Returns the paths of irrelevant fields that are left out.
    ///
    /// # Errors
    /// The path of the first unsupported field that must not be left out.
    fn check(&self, create: &Create) -> Result<Vec<String>, Fault>;
}

/// The wire for `config`.
pub(crate) fn of(config: &UpstreamConfig) -> Box<dyn Wire> {
    match config.wire {
        WireKind::Chat => Box::new(chat::ChatWire::new(config)),
        WireKind::Responses => Box::new(responses::ResponsesWire::new(config)),
        WireKind::Ollama => Box::new(ollama::OllamaWire::new(config)),
        WireKind::Anthropic => Box::new(anthropic::AnthropicWire::new(config)),
        WireKind::Gemini => Box::new(gemini::GeminiWire::new(config)),
    }
}
