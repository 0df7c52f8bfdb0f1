//! What the timers of a model call watch, and the faults of an upstream that is silent for too long.

use std::time::Duration;

use protocol::fault::{Fault, FaultKind};
use tokio::time::{Instant, sleep_until};

use crate::provider::event::ModelEvent;

/// What the upstream has sent so far, for the timers.
#[derive(Clone, Copy)]
pub(super) struct UpstreamActivity {
    /// Whether any output has arrived. Usage and keep-alives are not output.
    pub(super) has_output: bool,
    pub(super) has_keep_alives: bool,
    pub(super) last_output: Instant,
}

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

/// Whether an event counts as output for the timers and for readers that have left.
pub(super) fn is_output_event(event: &ModelEvent) -> bool {
    match event {
        ModelEvent::Text { .. }
        | ModelEvent::Annotation(_)
        | ModelEvent::Reasoning(_)
        | ModelEvent::ReasoningSummary(_)
        | ModelEvent::ReasoningEnd { .. }
        | ModelEvent::Refusal(_)
        | ModelEvent::ToolCall(_)
        | ModelEvent::Item(_)
        | ModelEvent::ReasoningExtra(_)
        | ModelEvent::Extra(_)
        | ModelEvent::Finish(_) => true,
        ModelEvent::Usage(_) | ModelEvent::ReasoningBreak | ModelEvent::KeepAlive => false,
    }
}
