//! The faults of an upstream that is silent for too long.

use std::time::Duration;

use protocol::fault::{Fault, FaultKind};
use tokio::time::{Instant, sleep_until};

/// Resolves at a time; never if there is none.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Nothing at all came from `upstream` within the timeout called `what`.
pub(crate) fn silent(upstream: &str, what: &str, limit: Duration) -> Fault {
    let message = format!(
        "The upstream '{upstream}' was silent for longer than {what}_timeout allows ({limit:?})."
    );
    Fault::new(FaultKind::Upstream, format!("upstream_{what}_timeout"), message).with_status(504)
}

/// Only keep-alives came from `upstream` within the timeout called `what`.
pub(crate) fn only_keep_alives(upstream: &str, what: &str, limit: Duration) -> Fault {
    let message = format!(
        "The upstream '{upstream}' sent nothing but keep-alives for longer than {what}_timeout allows ({limit:?})."
    );
    Fault::new(FaultKind::Upstream, format!("upstream_{what}_timeout"), message).with_status(504)
}
