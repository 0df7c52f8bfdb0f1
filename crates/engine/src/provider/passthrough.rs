//! What the engine needs of an upstream for a pass-through call: the request, and the parts of its
//! response.

use std::fmt;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use protocol::fault::{Fault, FaultKind};
use protocol::fields::JsonFields;
use protocol::passthrough::Passthrough;

use super::call::UpstreamCall;
use super::failure::ProviderFailure;

/// A call of an upstream whose body passes through.
#[derive(Clone, Debug)]
pub struct PassthroughRequest {
    /// The request as the caller made it.
    pub request: Arc<Passthrough>,
    /// The upstream's name for the model, if it differs from the caller's.
    pub model: Option<Arc<str>>,
    /// The call, for traces.
    pub call: UpstreamCall,
}

impl PassthroughRequest {
    /// The upstream's name for the model.
    pub fn model(&self) -> &str {
        self.model.as_deref().unwrap_or(&self.request.model)
    }
}

/// A part of a response.
#[derive(Debug)]
pub enum PassthroughPart {
    /// A keep-alive.
    KeepAlive,
    /// Bytes of a document that is not complete yet.
    Progress,
    /// An event of a stream.
    Event(JsonFields),
    /// The whole document, not parsed yet.
    Document(UnreadDocument),
}

/// A complete document. Parsing may take milliseconds for each megabyte, so it is not done on an
/// async task.
pub struct UnreadDocument {
    /// Parses it.
    pub read: Box<dyn FnOnce() -> Result<JsonFields, ProviderFailure> + Send>,
}

impl fmt::Debug for UnreadDocument {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Document").finish_non_exhaustive()
    }
}

/// The parts of a response. Dropping it closes the upstream connection at once. A failure is the
/// last item; without one, the stream or the document is complete.
pub type PassthroughParts = BoxStream<'static, Result<PassthroughPart, ProviderFailure>>;

/// The fault of a model without such an operation.
pub(super) fn unsupported(request: &Passthrough) -> Fault {
    let message = format!("The model '{}' has no {}.", request.model, request.operation.noun());
    Fault::new(FaultKind::InvalidRequest, "unsupported_operation", message).with_param("model")
}
