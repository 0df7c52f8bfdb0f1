//! The faults of an upstream's stream that makes no sense or is not whole.

use protocol::fault::{Fault, FaultKind};

/// The upstream as the subject of a sentence. Its name may be empty.
pub(super) fn of_upstream(upstream: &str) -> String {
    if upstream.is_empty() {
        "The upstream".to_owned()
    } else {
        format!("The upstream '{upstream}'")
    }
}

/// A stream that ended without the evidence that the response is complete. The name of the upstream
/// may be empty.
pub(in crate::response) fn truncated(upstream: &str) -> Fault {
    let message = format!(
        "{} ended its response without a finish reason: the response is not complete.",
        of_upstream(upstream)
    );
    Fault::new(FaultKind::Upstream, "upstream_truncated", message)
}

/// A tool call without a name.
pub(super) fn nameless(upstream: &str) -> Fault {
    Fault::new(
        FaultKind::Upstream,
        "upstream_invalid_data",
        format!("{}: the model called a tool without naming it.", of_upstream(upstream)),
    )
}
