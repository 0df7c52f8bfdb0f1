//! One call of an upstream, and the peer it goes to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::id::Owner;
use protocol::trace::TraceContext;
use tokio::time::Instant;

use super::exchange::{ExchangeTarget, UpstreamExchange};
use crate::workers::Workers;

/// One call of an upstream.
#[derive(Clone, Debug)]
pub struct UpstreamCall {
    /// Its place in a trace, if that is passed on.
    pub trace: Option<TraceContext>,
    /// Its caller, for fair queueing at the upstream.
    pub owner: Option<Owner>,
    exchange: Arc<UpstreamExchange>,
    is_given_up: Arc<AtomicBool>,
    /// Runs large work on the request, with the bytes that are reserved for it; without, work runs
    /// on the current thread.
    workers: Option<(Arc<Workers>, u64)>,
}

impl UpstreamCall {
    /// A call of `owner` at this place of a trace, which is recorded in `exchange`.
    pub fn new(owner: Owner, trace: Option<TraceContext>, exchange: Arc<UpstreamExchange>) -> Self {
        Self { trace, owner: Some(owner), ..Self::recorded(exchange) }
    }

    /// A call of this server's own, of the upstream with this name.
    pub fn of_server(upstream: Arc<str>) -> Self {
        Self::recorded(UpstreamExchange::new(ExchangeTarget::named(upstream), Instant::now()))
    }

    fn recorded(exchange: Arc<UpstreamExchange>) -> Self {
        Self { trace: None, owner: None, exchange, is_given_up: Arc::default(), workers: None }
    }

    /// Has `workers` run large work on the request, for which `bytes` are reserved.
    pub(crate) fn with_workers(self, workers: Arc<Workers>, bytes: u64) -> Self {
        Self { workers: Some((workers, bytes)), ..self }
    }

    /// Works on the request: off the runtime's threads and in its caller's turn if it is large.
    /// `None` if that panicked.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        match (&self.workers, &self.owner) {
            (Some((workers, bytes)), Some(owner)) => workers.run_sized(owner, *bytes, work).await,
            _ => Some(work()),
        }
    }

    /// What happens on the way to the upstream and back.
    pub fn exchange(&self) -> &Arc<UpstreamExchange> {
        &self.exchange
    }

    /// The head of the upstream's response came, with this status.
    pub fn answered(&self, status: u16) {
        self.exchange.answered(status);
    }

    /// Records that the upstream was silent for too long. Called before the stream is dropped.
    pub fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    /// Whether it was silent for too long.
    pub fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    /// The HTTP status of the upstream.
    pub fn status(&self) -> Option<u16> {
        self.exchange.status()
    }
}

impl Default for UpstreamCall {
    /// A call of nothing in particular.
    fn default() -> Self {
        Self::of_server("".into())
    }
}

/// The peer of a call, for metrics and traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// OpenTelemetry's `gen_ai.provider.name`, or the name of the upstream.
    pub system: Arc<str>,
    /// The host and the port, unless it is in this process.
    pub address: Option<(Arc<str>, u16)>,
}
