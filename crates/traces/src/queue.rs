//! The bounded queue of spans; what does not fit is dropped and counted.

use std::sync::Arc;

use engine::instruments::counter::Counter;
use engine::trace::{Span, SpanCounts, SpanExporter};
use tokio::sync::mpsc;

/// As many spans as a thousand answers have.
const BOUND: usize = 2048;

/// The sending end of the queue.
#[derive(Debug)]
pub struct SpanQueue {
    spans: mpsc::Sender<Span>,
    pub(crate) exported: Counter,
    pub(crate) dropped: Counter,
}

impl SpanQueue {
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<Span>) {
        let (spans, waiting) = mpsc::channel(BOUND);
        (
            Arc::new(Self { spans, exported: Counter::default(), dropped: Counter::default() }),
            waiting,
        )
    }
}

impl SpanExporter for SpanQueue {
    fn take(&self, span: Span) {
        if self.spans.try_send(span).is_err() {
            self.dropped.add(1);
        }
    }

    fn counts(&self) -> SpanCounts {
        SpanCounts { exported: self.exported.get(), dropped: self.dropped.get() }
    }
}
