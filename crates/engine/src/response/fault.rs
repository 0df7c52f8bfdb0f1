//! The faults of logs and stores, as callers get them.

use protocol::fault::{Fault, FaultKind};
use protocol::id::ResponseId;

use crate::log::LogError;
use crate::store::StoreError;

/// The fault of an unknown id, or of another caller's.
pub(crate) fn not_found(id: &ResponseId) -> Fault {
    Fault::new(
        FaultKind::NotFound,
        "response_not_found",
        format!("Response with id '{id}' not found."),
    )
}

/// The fault of a store that failed.
pub(crate) fn store_fault(error: StoreError) -> Fault {
    if error == StoreError::TooLarge {
        let message = "The conversation exceeds the limits of this server (engine.context_bytes, engine.context_items): start a new one, or compact it.";
        return Fault::invalid("conversation_too_large", "previous_response_id", message);
    }
    Fault::new(FaultKind::Server, "store_unavailable", error.to_string()).with_status(503)
}

/// The fault of a log that failed.
pub fn log_fault(error: LogError) -> Fault {
    Fault::new(FaultKind::Server, "log_unavailable", error.to_string()).with_status(503)
}
