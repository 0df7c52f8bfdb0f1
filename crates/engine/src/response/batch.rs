//! Takes the events of a model's stream into the response as they come.

use std::task::{Context, Poll};

use futures_util::StreamExt;

use super::builder::ResponseBuilder;
use super::timeouts::is_output_event;
use crate::provider::event::ModelStream;
use crate::provider::failure::{FailureScope, ProviderFailure, UPSTREAM_CUT};

/// The most events that go into one append. More would only delay the first, and everything else
/// on this thread.
const BATCH: usize = 64;

/// Events that came together.
pub(super) struct Batch {
    /// How the stream ended, if it did.
    pub(super) end: Option<UpstreamEnd>,
    /// The number of output events.
    pub(super) received: u32,
    /// The bytes of their text.
    pub(super) text: usize,
    /// Whether more may be available.
    pub(super) is_full: bool,
}

/// How the stream of a model ended.
pub(super) enum UpstreamEnd {
    Over,
    Failed(ProviderFailure),
}

/// Handles the events that are available, up to [`BATCH`]. Pending if there is none.
pub(super) fn poll_batch(
    events: &mut ModelStream,
    builder: &mut ResponseBuilder,
    upstream: &str,
    context: &mut Context<'_>,
) -> Poll<Batch> {
    let (mut received, mut text, mut left) = (0, 0, BATCH);
    let end = loop {
        if left == 0 {
            break None;
        }
        let event = match events.poll_next_unpin(context) {
            Poll::Ready(event) => event,
            Poll::Pending if left == BATCH => return Poll::Pending,
            Poll::Pending => break None,
        };
        left -= 1;
        let event = match event {
            None => break Some(UpstreamEnd::Over),
            // A connection that breaks after the finish reason loses nothing of the response.
            Some(Err(failure)) if failure.fault.code == UPSTREAM_CUT && builder.is_finished() => {
                break Some(UpstreamEnd::Over);
            }
            Some(Err(failure)) => break Some(UpstreamEnd::Failed(failure)),
            Some(Ok(event)) => event,
        };
        received += u32::from(is_output_event(&event));
        text += event.text_bytes();
        if let Err(fault) = builder.word(event, upstream) {
            // A retry would fail in the same way.
            let failure = ProviderFailure::new(fault, FailureScope::Request);
            break Some(UpstreamEnd::Failed(failure));
        }
    };
    Poll::Ready(Batch { end, received, text, is_full: left == 0 })
}
