//! Reads whole documents: the response, or the error in its place.

use engine::provider::failure::ProviderFailure;
use protocol::fields::JsonFields;
use protocol::passthrough::Operation;
use serde_json::Value;

use super::completions;
use crate::wire::body::MAX_EVENT_BYTES;
use crate::wire::fault::{Callee, Reported, is_truthy};
use crate::wire::{json, text};

/// The most that is read of an error response.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// Reads a document that must have a field. Errors may arrive with status 200.
///
/// # Errors
/// The upstream's error, or that it is something else.
pub(in crate::wire) fn document(
    body: &[u8],
    field: &str,
    operation: Operation,
    callee: &Callee,
) -> Result<JsonFields, ProviderFailure> {
    let fields = JsonFields::parse(body).ok().or_else(|| repaired(body, operation));
    match fields {
        Some(mut fields)
            if fields.get(field).is_some() && error_in(&fields, operation).is_none() =>
        {
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
fn repaired(body: &[u8], operation: Operation) -> Option<JsonFields> {
    let is_wanted = operation != Operation::Embeddings && body.len() <= MAX_EVENT_BYTES;
    is_wanted.then(|| json::value(body).ok().and_then(of_value)).flatten()
}

/// The fields of a repaired value.
pub(super) fn of_value(mut value: Value) -> Option<JsonFields> {
    text::remove_marks(&mut value);
    JsonFields::parse(value.to_string().as_bytes()).ok()
}

/// The error in a document or event. Some servers send an empty `error` with every event.
pub(super) fn error_in(fields: &JsonFields, operation: Operation) -> Option<Reported> {
    let error = fields.get("error").filter(|error| error.get().len() <= MAX_ERROR_BYTES);
    let error: Option<Value> = error.and_then(|error| serde_json::from_str(error.get()).ok());
    if let Some(error) = error.filter(is_truthy) {
        return Some(Reported::from_error(&error));
    }
    // Part of a response may have any other field.
    let bytes = fields
        .get(operation.result())
        .is_none()
        .then(|| fields.to_bytes())
        .filter(|bytes| bytes.len() <= MAX_ERROR_BYTES)?;
    Reported::in_document(&serde_json::from_slice(&bytes).ok()?)
}

/// Interprets a document that is not the response.
fn failure(body: &[u8], operation: Operation, callee: &Callee) -> ProviderFailure {
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
