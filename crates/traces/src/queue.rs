//! The bounded queue of spans; what does not fit is dropped and counted.

use std::sync::Arc;

use engine::metrics::{Counter, Exposition, Kind};
use engine::trace::{Sink, Span};
use tokio::sync::mpsc;

/// As many spans as a thousand answers have.
const BOUND: usize = 2048;

/// The sending end of the queue.
#[derive(Debug)]
pub struct Queue {
    spans: mpsc::Sender<Span>,
    pub(crate) exported: Counter,
    pub(crate) dropped: Counter,
}

impl Queue {
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<Span>) {
        let (spans, waiting) = mpsc::channel(BOUND);
        (Arc::new(Self { spans, exported: Counter::default(), dropped: Counter::default() }), waiting)
    }
}

impl Sink for Queue {
    fn take(&self, span: Span) {
        if self.spans.try_send(span).is_err() {
            self.dropped.add(1);
        }
    }

    fn write_metrics(&self, text: &mut Exposition) {
        let (exported, dropped) = (&[("outcome", "exported")], &[("outcome", "dropped")]);
        let outcomes: [(&[_], u64); 2] = [(exported, self.exported.get()), (dropped, self.dropped.get())];
        let help = "Spans of traces, by what became of them.";
        text.numbers("weir_trace_spans_total", help, Kind::Counter, outcomes);
    }
}
