//! What the engine needs of an upstream for a pass-through call: the request, and the parts of its response.

use std::fmt;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use protocol::fault::{Fault, FaultKind};
use protocol::fields::Fields;
use protocol::passthrough::Passthrough;

use super::call::Call;
use super::failure::Failure;

/// A call of an upstream whose body passes through.
#[derive(Clone, Debug)]
pub struct PassthroughRequest {
    /// The request as the caller made it.
    pub request: Arc<Passthrough>,
    /// What the upstream calls the model, where that is another name than the caller's.
    pub model: Option<Arc<str>>,
    /// What is passed on of the trace, and told back.
    pub call: Call,
}

impl PassthroughRequest {
    /// The model's name as the upstream knows it.
    pub fn model(&self) -> &str {
        self.model.as_deref().unwrap_or(&self.request.model)
    }
}

/// A part of a response, as it comes.
#[derive(Debug)]
pub enum Part {
    /// The upstream is there, but sent nothing of the response.
    KeepAlive,
    /// Bytes of a document came; it is not whole yet.
    Progress,
    /// An event of a stream.
    Event(Fields),
    /// The whole document, yet to be read.
    Document(Document),
}

/// A document that has come and is yet to be read. That may take milliseconds for each megabyte, so it is not done on an async task.
pub struct Document {
    /// Reads it.
    pub read: Box<dyn FnOnce() -> Result<Fields, Failure> + Send>,
}

impl fmt::Debug for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Document").finish_non_exhaustive()
    }
}

/// The parts of a response. Dropping it closes the upstream connection at once. A failure is the last of them; without
/// one, the stream or the document has come to its end.
pub type Parts = BoxStream<'static, Result<Part, Failure>>;

/// What a model is told that has no such operation.
pub(super) fn unsupported(request: &Passthrough) -> Fault {
    let message = format!("The model '{}' has no {}.", request.model, request.operation.noun());
    Fault::new(FaultKind::InvalidRequest, "unsupported_operation", message).with_param("model")
}
