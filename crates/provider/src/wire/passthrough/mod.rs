//! Pass-through calls: the requests to send, and the translation of their responses to OpenAI's format.

mod completions;
mod events;
mod halves;
pub(super) mod openai;
pub(super) mod vectors;

use std::fmt;

use bytes::Bytes;
use engine::provider::{Blame, Failure};
use protocol::fault::{Fault, FaultKind};
use protocol::fields::Fields;
use protocol::passthrough::Operation;
use serde_json::Value;

pub(crate) use self::events::EventReader;
use super::body::MAX_EVENT_BYTES;
use super::fault::{Callee, Reported, is_truthy};
use super::{Outgoing, json, text};

/// The most that is read of an error response.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// Why a wire cannot serve a pass-through call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Unserved {
    /// The operation is not supported. The API's name, for messages.
    Operation(&'static str),
    /// A field is not supported.
    Field(Fault),
}

impl From<Fault> for Unserved {
    fn from(fault: Fault) -> Self {
        Self::Field(fault)
    }
}

/// A pass-through call: requests to send one after another, and the translation of their responses.
pub(crate) struct Passage {
    /// At least one; exactly one for a stream.
    pub(crate) outgoing: Vec<Outgoing>,
    /// Translates the documents, in the order of the requests.
    pub(crate) read: Translate,
}

/// Translates complete documents.
pub(crate) type Translate = Box<dyn FnOnce(&[Vec<u8>], &Callee) -> Result<Fields, Failure> + Send>;

impl Passage {
    /// A single request.
    pub(crate) fn one(outgoing: Outgoing, read: impl FnOnce(&[u8], &Callee) -> Result<Fields, Failure> + Send + 'static) -> Self {
        let read: Translate = Box::new(|documents, callee| read(documents.first().map_or(&[][..], Vec::as_slice), callee));
        Self { outgoing: vec![outgoing], read }
    }
}

impl fmt::Debug for Passage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Passage").field("requests", &self.outgoing.len()).finish_non_exhaustive()
    }
}

impl Outgoing {
    /// A request for `path` with a serialised body and a document as its response.
    pub(super) fn raw(path: &[&str], body: Vec<u8>) -> Self {
        Self { raw: Some(Bytes::from(body)), is_whole: true, ..Self::document(path) }
    }

    /// The same request, with an event stream as its response if `is_stream`.
    pub(super) fn streamed_if(self, is_stream: bool) -> Self {
        if is_stream { Self { accept: "text/event-stream", is_whole: false, ..self } } else { self }
    }
}

/// What a caller can do if a model does not support the operation.
pub(crate) fn remedy(operation: Operation) -> &'static str {
    match operation {
        Operation::Completions => {
            "Use POST /v1/chat/completions with this model, or ask a model whose upstream has text completions (docs/upstreams.md)."
        }
        Operation::Embeddings => "Ask a model whose upstream has embeddings (docs/upstreams.md), by its name or by a route.",
        Operation::Moderations => "Ask a model whose upstream has moderations, such as OpenAI's omni-moderation-latest.",
    }
}

impl Callee {
    /// The upstream does not support the operation; `said` is its own message.
    pub(crate) fn lacks(&self, operation: Operation, status: u16, said: Option<&str>) -> Failure {
        let what = format!("has no {}, or not for this model ({status})", operation.noun());
        let reported = Reported { message: said.map(str::to_owned), ..Reported::default() };
        let told = self.told("unsupported_operation", &what, &reported);
        let message = format!("{}. {}", told.message.trim_end_matches('.'), remedy(operation));
        let fault = Fault { kind: FaultKind::InvalidRequest, message, ..told }.with_status(400).with_param("model");
        Failure::new(fault, Blame::Match)
    }
}

/// Reads a document that must have a field. Errors may arrive with status 200.
///
/// # Errors
/// The upstream's error, or that it is something else.
pub(super) fn document(body: &[u8], field: &str, operation: Operation, callee: &Callee) -> Result<Fields, Failure> {
    let fields = Fields::parse(body).ok().or_else(|| repaired(body, operation));
    match fields {
        Some(mut fields) if fields.get(field).is_some() && error_in(&fields, operation).is_none() => {
            if operation == Operation::Completions {
                completions::translate(&mut fields, callee)?;
                completions::check_end(&fields, callee)?;
            }
            Ok(fields)
        }
        Some(_) | None => Err(failure(body, operation, callee)),
    }
}

/// A document with repaired JSON. A vector with an invalid number remains unreadable.
fn repaired(body: &[u8], operation: Operation) -> Option<Fields> {
    let is_wanted = operation != Operation::Embeddings && body.len() <= MAX_EVENT_BYTES;
    is_wanted.then(|| json::value(body).ok().and_then(of_value)).flatten()
}

/// The fields of a repaired value.
fn of_value(mut value: Value) -> Option<Fields> {
    text::remove_marks(&mut value);
    Fields::parse(value.to_string().as_bytes()).ok()
}

/// The error in a document or event. Some servers send an empty `error` with every event.
fn error_in(fields: &Fields, operation: Operation) -> Option<Reported> {
    let error = fields.get("error").filter(|error| error.get().len() <= MAX_ERROR_BYTES);
    let error: Option<Value> = error.and_then(|error| serde_json::from_str(error.get()).ok());
    if let Some(error) = error.filter(is_truthy) {
        return Some(Reported::from_error(&error));
    }
    // Part of a response may have any other field.
    let bytes = fields.get(operation.result()).is_none().then(|| fields.to_bytes()).filter(|bytes| bytes.len() <= MAX_ERROR_BYTES)?;
    Reported::in_document(&serde_json::from_slice(&bytes).ok()?)
}

/// Interprets a document that is not the response.
fn failure(body: &[u8], operation: Operation, callee: &Callee) -> Failure {
    // Anything longer is not an error, and would take many times the memory when parsed.
    let reported = Reported::from_body(if body.len() <= MAX_ERROR_BYTES { body } else { &[] });
    let Some(message) = &reported.message else {
        let what = format!("sent something other than {}", operation.noun());
        return callee.plain("upstream_invalid_data", &what);
    };
    // LM Studio "returns 200 anyway".
    if message.starts_with("Unexpected endpoint or method") {
        return callee.lacks(operation, 200, Some(message));
    }
    callee.in_band(reported)
}
