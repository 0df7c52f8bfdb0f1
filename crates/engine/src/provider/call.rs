//! One call of an upstream, and the peer it goes to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use protocol::id::Owner;
use protocol::trace::TraceContext;

use crate::workers::Workers;

/// One call of an upstream.
#[derive(Clone, Debug, Default)]
pub struct UpstreamCall {
    /// Its place in a trace, if that is passed on.
    pub trace: Option<TraceContext>,
    /// Its caller, for fair queueing at the upstream.
    pub owner: Option<Owner>,
    /// Zero if there is none.
    status: Arc<AtomicU16>,
    is_given_up: Arc<AtomicBool>,
    /// Runs large work on the request, with the bytes that are reserved for it; without, work runs
    /// on the current thread.
    workers: Option<(Arc<Workers>, u64)>,
}

impl UpstreamCall {
    /// A call of `owner` at this place of a trace.
    pub fn new(owner: Owner, trace: Option<TraceContext>) -> Self {
        Self { trace, owner: Some(owner), ..Self::default() }
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

    /// Records the HTTP status of the upstream.
    pub fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
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
        Some(self.status.load(Ordering::Relaxed)).filter(|status| *status != 0)
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
