//! Pass-through calls: the requests to send, and the translation of their responses to OpenAI's
//! format.

mod completions;
pub(super) mod document;
mod events;
mod halves;
pub(super) mod openai;
pub(super) mod vectors;

use std::fmt;

use bytes::Bytes;
use engine::provider::failure::{FailureScope, ProviderFailure};
use protocol::fault::{Fault, FaultKind};
use protocol::fields::JsonFields;
use protocol::passthrough::Operation;

pub(crate) use self::events::EventReader;
use super::fault::{Callee, Reported};
use super::outgoing::Outgoing;

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
pub(crate) type Translate =
    Box<dyn FnOnce(&[Vec<u8>], &Callee) -> Result<JsonFields, ProviderFailure> + Send>;

impl Passage {
    /// A single request.
    pub(crate) fn one(
        outgoing: Outgoing,
        read: impl FnOnce(&[u8], &Callee) -> Result<JsonFields, ProviderFailure> + Send + 'static,
    ) -> Self {
        let read: Translate = Box::new(|documents, callee| {
            read(documents.first().map_or(&[][..], Vec::as_slice), callee)
        });
        Self { outgoing: vec![outgoing], read }
    }
}

impl fmt::Debug for Passage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Passage")
            .field("requests", &self.outgoing.len())
            .finish_non_exhaustive()
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
            "Use POST /v1/chat/completions with this model, or ask a model whose upstream has text completions (docs/how-to/upstreams.md)."
        }
        Operation::Embeddings => {
            "Ask a model whose upstream has embeddings (docs/how-to/upstreams.md), by its name or by a route."
        }
        Operation::Moderations => {
            "Ask a model whose upstream has moderations, such as OpenAI's omni-moderation-latest."
        }
    }
}

impl Callee {
    /// The upstream does not support the operation; `said` is its own message.
    pub(crate) fn lacks(
        &self,
        operation: Operation,
        status: u16,
        said: Option<&str>,
    ) -> ProviderFailure {
        let what = format!("has no {}, or not for this model ({status})", operation.noun());
        let reported = Reported { message: said.map(str::to_owned), ..Reported::default() };
        let told = self.told("unsupported_operation", &what, &reported);
        let message = format!("{}. {}", told.message.trim_end_matches('.'), remedy(operation));
        let fault = Fault { kind: FaultKind::InvalidRequest, message, ..told }
            .with_status(400)
            .with_param("model");
        ProviderFailure::new(fault, FailureScope::Unsupported)
    }
}
