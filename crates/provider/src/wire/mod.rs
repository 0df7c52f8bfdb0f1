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
pub(crate) mod passthrough;
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

use bytes::Bytes;
use engine::provider::event::Word;
use engine::provider::failure::Failure;
use engine::provider::models::ModelListing;
use engine::provider::passthrough::PassthroughRequest;
use engine::provider::request::ModelRequest;
use protocol::fault::Fault;
use protocol::passthrough::Passthrough;
use protocol::request::Create;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName};
use serde_json::Value;

use self::fault::{Callee, Reported};
use self::passthrough::{Passage, Unserved};
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

/// A request to be sent below the upstream's address.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outgoing {
    /// The segments of the path behind `base_url`.
    pub(crate) path: Vec<String>,
    /// What is added to the query.
    pub(crate) query: Vec<(&'static str, String)>,
    /// Fields of the head beside the usual ones.
    pub(crate) fields: HeaderMap,
    /// The media type of the answer.
    pub(crate) accept: &'static str,
    /// The JSON of its body.
    pub(crate) body: Value,
    /// A body that is written already. It goes before `body`.
    pub(crate) raw: Option<Bytes>,
    /// Whether the head of the response comes only when all of it is made. That takes as long as the model does, and whoever
    /// asked sees to the time.
    pub(crate) is_whole: bool,
}

impl Outgoing {
    /// A request for `path`, whose answer is a stream of events.
    pub(crate) fn new(path: &[&str], body: Value) -> Self {
        let path = path.iter().map(|segment| (*segment).to_owned()).collect();
        Self { path, query: Vec::new(), fields: HeaderMap::new(), accept: "text/event-stream", body, raw: None, is_whole: false }
    }

    /// A request for `path`, whose answer is one document.
    pub(crate) fn document(path: &[&str]) -> Self {
        Self { accept: "application/json", ..Self::new(path, Value::Null) }
    }
}

/// An answer with an error status.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused<'a> {
    /// Its status.
    pub(crate) status: u16,
    /// Its head.
    pub(crate) headers: &'a HeaderMap,
    /// Its body, as far as it came.
    pub(crate) body: &'a [u8],
}

/// A push parser of one answer: give it bytes as they come, then take words until there are none. It makes no `Finish` up:
/// whether the answer is whole is for its reader to say (promise 4). After a failure it has nothing more to say.
pub(crate) trait Reader: Send {
    /// Takes the next bytes. Call [`Self::next_word`] until `None` before the next push.
    fn push(&mut self, bytes: &[u8]);

    /// The next word; `None` when more bytes are needed, or nothing more can come.
    fn next_word(&mut self) -> Option<Result<Word, Failure>>;

    /// The body has ended. What is left then comes by [`Self::next_word`].
    fn finish(&mut self);

    /// Whether nothing more can come, whatever the body still holds.
    fn is_over(&self) -> bool;
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
