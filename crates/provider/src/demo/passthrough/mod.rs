//! The demo's embeddings and text completions: deterministic and meaningless, which they say.

mod completions;
mod embeddings;

use engine::provider::failure::{FailureScope, ProviderFailure};
use engine::provider::passthrough::{
    PassthroughPart, PassthroughParts, PassthroughRequest, UnreadDocument,
};
use futures_util::StreamExt;
use futures_util::future::ready;
use futures_util::stream::once;
use protocol::fault::{Fault, FaultKind};
use protocol::fields::JsonFields;
use protocol::passthrough::{Operation, Passthrough};

use crate::wire::fault::unknown_parameter;
use crate::wire::passthrough::remedy;

/// Rejects what the demo does not support.
///
/// # Errors
/// The operation, or the first unsupported field.
pub(super) fn check(request: &Passthrough) -> Result<(), Fault> {
    match request.operation {
        Operation::Embeddings => embeddings::EmbeddingPlan::of(request).map(drop),
        Operation::Completions => completions::CompletionPlan::of(request).map(drop),
        // A moderation that never flags anything would be mistaken for a judgement.
        Operation::Moderations => {
            let message = format!(
                "The demo model does not support moderations. {}",
                remedy(request.operation)
            );
            Err(Fault::new(FaultKind::InvalidRequest, "unsupported_operation", message)
                .with_param("model"))
        }
    }
}

/// Makes the response.
///
/// # Errors
/// As [`check`].
pub(super) fn pass(
    request: &PassthroughRequest,
    tokens_per_second: f64,
) -> Result<PassthroughParts, ProviderFailure> {
    let asked = &request.request;
    let refused = |fault| ProviderFailure::new(fault, FailureScope::Request);
    match asked.operation {
        Operation::Embeddings => {
            let plan = embeddings::EmbeddingPlan::of(asked).map_err(refused)?;
            Ok(document(move || plan.list()))
        }
        Operation::Completions => {
            let plan = completions::CompletionPlan::of(asked).map_err(refused)?;
            Ok(if asked.stream {
                plan.stream(tokens_per_second)
            } else {
                document(move || plan.whole())
            })
        }
        Operation::Moderations => Err(refused(
            check(asked).err().unwrap_or_else(|| unknown_parameter(&asked.model, "input")),
        )),
    }
}

/// A document. Computing many vectors takes a while.
fn document(make: impl FnOnce() -> JsonFields + Send + 'static) -> PassthroughParts {
    let document = UnreadDocument { read: Box::new(|| Ok(make())) };
    once(ready(Ok(PassthroughPart::Document(document)))).boxed()
}

/// Rejects unknown fields.
fn check_fields(request: &Passthrough, known: &[&str]) -> Result<(), Fault> {
    let unknown = request.body.names().find(|name| !known.contains(name));
    unknown.map_or(Ok(()), |name| Err(unknown_parameter(&request.model, name)))
}

/// An integer among a request's fields.
fn number(request: &Passthrough, name: &str, least: u64, most: u64) -> Result<Option<u64>, Fault> {
    let Some(value) = request.body.get(name) else { return Ok(None) };
    let number = value.get().parse().ok().filter(|number| (least..=most).contains(number));
    let wrong = || {
        Fault::invalid(
            "invalid_value",
            name,
            format!("Invalid value for '{name}': expected an integer from {least} to {most}."),
        )
    };
    number.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
