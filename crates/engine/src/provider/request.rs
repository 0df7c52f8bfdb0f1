//! What a model is asked: the caller's request with the conversation it continues.

use std::sync::Arc;

use protocol::item::Item;
use protocol::request::Create;

use super::call::UpstreamCall;

/// A request to a model: the caller's request and the conversation it continues.
#[derive(Clone, Debug)]
pub struct ModelRequest {
    /// The request as the caller made it.
    pub create: Arc<Create>,
    /// The upstream's name for the model, if it differs from the caller's.
    pub model: Option<Arc<str>>,
    /// The conversation so far and the new input, oldest first. The request's `input` is in it.
    pub context: Arc<[Item]>,
    /// The call, for traces and back-pressure.
    pub call: UpstreamCall,
}

impl ModelRequest {
    /// The upstream's name for the model.
    pub fn model(&self) -> &str {
        self.model.as_deref().unwrap_or(&self.create.model)
    }
}

/// The last message of a request for a summary, as if the user had said it: every upstream
/// understands that.
pub const SUMMARISE: &str = "Summarise our conversation so far. Your summary will stand in its place when we go on, so keep all that \
    will be needed then: names, facts, numbers, decisions, what I asked for, what was done, and what is still open. Write it in the \
    language we speak, as plain text, and write nothing else.";
