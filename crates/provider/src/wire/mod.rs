//! How vendors' APIs speak: requests out, words in. No I/O: [`crate::http`] carries the bytes.

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
pub(crate) mod passthrough;
pub(crate) mod reader;
mod repeat;
mod reported;
mod responses;
mod retry_after;
mod said;
#[cfg(test)]
mod sample;
pub(crate) mod secrets;
mod shared;
mod text;

use std::fmt;

use engine::provider::failure::Failure;
use engine::provider::models::ModelListing;
use engine::provider::passthrough::PassthroughRequest;
use engine::provider::request::ModelRequest;
use protocol::fault::Fault;
use protocol::passthrough::Passthrough;
use protocol::request::Create;
use reqwest::header::{AUTHORIZATION, HeaderName};

use self::fault::{Callee, Reported};
use self::outgoing::{Outgoing, Refused};
use self::passthrough::{Passage, Unserved};
use self::reader::Reader;
use crate::config::{UpstreamConfig, WireKind};
use crate::tools::{Lifter, Offer, UnknownTools};

/// One vendor's API.
pub(crate) trait Wire: fmt::Debug + Send + Sync {
    /// The request that asks for a streamed answer.
    ///
    /// # Errors
    /// What this wire has no word for, by the path of its field in the caller's request.
    fn ask(&self, request: &ModelRequest) -> Result<Outgoing, Fault>;

    /// A reader of one response's body; faults name `callee` and never hold its key.
    fn reader(&self, callee: Callee, lifter: Lifter) -> Box<dyn Reader>;

    /// What an answer with an error status means.
    fn refusal(&self, callee: &Callee, refused: &Refused<'_>) -> Failure {
        callee.refusal(refused.status, Reported::from_body(refused.body), retry_after::read(refused.headers), refused.headers)
    }

    /// What turns calls that this wire reads back into calls of the caller's tools.
    fn lifter(&self, request: &ModelRequest, unknown: UnknownTools) -> Lifter {
        Lifter::new(&Offer::of(request), unknown)
    }

    /// The field that carries the key, and what stands before the key in it.
    fn key_field(&self) -> (HeaderName, &'static str) {
        (AUTHORIZATION, "Bearer ")
    }

    /// The request for the list of models: a GET, without a body.
    fn list(&self) -> Outgoing;

    /// Reads the answer to it; `name` says who serves a model that does not say it itself. `None` where it is no list.
    fn read_list(&self, body: &[u8], name: &str) -> Option<Vec<ModelListing>>;

    /// Checks before a pass-through call whether this wire can serve it.
    ///
    /// # Errors
    /// It has no such operation, or no word for a field.
    fn serves(&self, request: &Passthrough) -> Result<(), Unserved>;

    /// The requests of a pass-through call that this wire [serves](Self::serves).
    ///
    /// # Errors
    /// What it has no word for.
    fn pass(&self, request: &PassthroughRequest) -> Result<Passage, Fault>;

    /// Checks before the call that this wire can carry what the request asks for. What depends on the conversation is checked by
    /// [`Self::ask`]. Gives the fields that are left out because they cannot matter, by path.
    ///
    /// # Errors
    /// The first field that it cannot carry and must not leave out, by its path.
    fn check(&self, create: &Create) -> Result<Vec<String>, Fault>;
}

/// The wire that `config` names.
pub(crate) fn of(config: &UpstreamConfig) -> Box<dyn Wire> {
    match config.wire {
        WireKind::Chat => Box::new(chat::Chat::new(config)),
        WireKind::Responses => Box::new(responses::Responses::new(config)),
        WireKind::Ollama => Box::new(ollama::Ollama::new(config)),
        WireKind::Anthropic => Box::new(anthropic::Anthropic::new(config)),
        WireKind::Gemini => Box::new(gemini::Gemini::new(config)),
    }
}
